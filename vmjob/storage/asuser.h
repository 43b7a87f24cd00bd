/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files with a user's rights, from a root process with threads: the calling thread alone takes the
 * user's file system identity (fsuid, fsgid, no supplementary groups, hence no capabilities over
 * files), just as QEMU will have it.
 */
#ifndef VMJ_STORAGE_ASUSER_H
#define VMJ_STORAGE_ASUSER_H

#include <stdbool.h>
#include <sys/types.h>

#include "vmjob/base/cleanup.h"

#define VMJ_ASUSER_GROUPS_MAX 256

struct vmj_asuser {
	bool changed;
	int n_groups;
	gid_t groups[VMJ_ASUSER_GROUPS_MAX]; /* to go back to */
};

/* Nothing to do unless the caller is root and uid is not. 0 or -errno; on failure the thread is as
 * it was. */
int vmj_asuser_begin(struct vmj_asuser *a, uid_t uid, gid_t gid);
/* Back to root. Aborts if that fails: going on with half an identity is worse. Does nothing if not
 * begun. */
void vmj_asuser_end(struct vmj_asuser *a);
#define vmj_auto_asuser VMJ_CLEANUP(vmj_asuser_end)

#endif
