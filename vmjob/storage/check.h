/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Looks through a whole storage domain, names each inconsistency, and mends those that can be
 * mended safely. Needs root's rights. Blocking, and slow where there is much.
 *
 * It may run while everything is in use: what may be under way (a volume whose lease is held, an
 * import whose writer lives, a temporary file that is young) is no finding. Only what nobody can be
 * working on is mended; volumes only by `mend_volume`, under their lease.
 */
#ifndef VMJ_STORAGE_CHECK_H
#define VMJ_STORAGE_CHECK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "vmjob/base/error.h"
#include "vmjob/model/config.h"

/* note: nothing is wrong, but somebody may wonder. warning: leavings and what may become a problem.
 * error: something does not work, or data is in danger. */
enum vmj_severity { VMJ_NOTE, VMJ_WARNING, VMJ_ERROR, VMJ_SEVERITIES_ };
const char *vmj_severity_name(enum vmj_severity s);

struct vmj_finding {
	enum vmj_severity severity;
	bool mended;
	char where[256]; /* path within the domain, printable; "": the domain itself */
	char what[VMJ_ERROR_TEXT_MAX];
	char todo[VMJ_ERROR_TEXT_MAX]; /* what to do; mended: what was done */
};

struct vmj_check {
	const struct vmj_storage_config *storage;
	bool repair;
	bool deep; /* read all images and volumes: checksums, and qemu-img check as their user */
	int64_t ahead_s; /* of the clock, for tests: what is there seems so much older */
	void (*found)(const struct vmj_finding *f, void *arg);
	/* Takes the volume's lease as work, removes leavings of its name, recovers it if it exists,
	 * and gives the lease back. Only an agent may do that. NULL: there is none. */
	int (*mend_volume)(const char *domain, uid_t uid, const char *name, void *arg,
			   struct vmj_error *err);
	void *arg;
};

struct vmj_check_sum {
	unsigned int left[VMJ_SEVERITIES_];
	unsigned int mended;
};

/* Fails only where nothing could be looked at: a directory that cannot be opened, memory. */
int vmj_storage_check_all(const struct vmj_check *c, struct vmj_check_sum *ret,
			  struct vmj_error *err);

#endif
