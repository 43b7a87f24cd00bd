/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A lock of this process on one volume. A lease says which host, and which guest or work, may
 * change a volume; a guest's own lease covers what this agent does to the volume for it while it
 * runs (snapshots, growth), and giving that lease back must wait for it. Workers only: it blocks.
 */
#ifndef VMJ_AGENT_VOLUME_LOCK_H
#define VMJ_AGENT_VOLUME_LOCK_H

#include <sys/types.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/error.h"

struct vmj_volume_lock;

/* domain: the storage's path. Who takes several takes them in the order of a guest's disks. */
int vmj_volume_lock(const char *domain, uid_t uid, const char *volume, struct vmj_volume_lock **ret,
		    struct vmj_error *err);
void vmj_volume_unlock(struct vmj_volume_lock *l); /* NULL allowed */
VMJ_DEFINE_CLEANUP(struct vmj_volume_lock *, vmj_volume_unlock);
#define vmj_auto_volume_lock VMJ_CLEANUP(vmj_volume_unlockp)

#endif
