/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The records of a host's guests and the directories in which they and the node-local disks are:
 * SCRATCH/guests/<job>/guest.json. Blocking.
 *
 * They tell an agent that was killed what runs. A crash of the host ends all guests, and a record
 * from before it, or half of one, has nothing removed but their leavings: so nothing is synced,
 * which on a busy disk would cost a guest's start more than all the rest. */
#ifndef VMJ_AGENT_RECORD_H
#define VMJ_AGENT_RECORD_H

#include "vmjob/base/error.h"
#include "vmjob/model/guest.h"
#include "vmjob/policy/lease.h"

#define VMJ_GUEST_PATH_MAX 512

/* The guests' directory of this host, made if need be; `dir` is VMJ_GUEST_PATH_MAX bytes. */
int vmj_record_init(const char *scratch, char *ret_dir, struct vmj_error *err);

/* DIR/<job>/FILE, or DIR/<job> where file is NULL; returns buf of VMJ_GUEST_PATH_MAX. */
const char *vmj_record_path(const char *dir, uint32_t job, const char *file, char *buf);

/* Makes the guest's directory too. Root only may list or write it; the guest's user may pass
 * through to the disks that are theirs. */
int vmj_record_write(const char *dir, const struct vmj_guest *g, struct vmj_error *err);
int vmj_record_read(const char *dir, uint32_t job, struct vmj_guest *ret, struct vmj_error *err);

/* The guest's directory with all that is in it; gone already: success. */
int vmj_record_remove(const char *dir, uint32_t job, struct vmj_error *err);

/* Calls `found` for each guest's directory; g is NULL where there is no readable record. */
typedef void (*vmj_record_fn)(uint32_t job, const struct vmj_guest *g, const struct vmj_error *why,
			      void *arg);
int vmj_record_scan(const char *dir, vmj_record_fn found, void *arg, struct vmj_error *err);

/* What tells this run of the host from others: the kernel's boot id, made different for each
 * container in which we may be. */
int vmj_boot_id(char ret[37], struct vmj_error *err);

/* What tells this start of the agent from others: random, VMJ_AGENT_ID_MAX hex digits. */
int vmj_agent_id(char ret[VMJ_AGENT_ID_MAX + 1], struct vmj_error *err);

#endif
