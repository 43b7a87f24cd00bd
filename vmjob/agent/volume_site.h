/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the layers of a volume are changed: on its files, or, for one that a guest of this host
 * has, partly by the guest's QEMU. Workers only, in the work() of a task, so that lease or lock is
 * held.
 */
#ifndef VMJ_AGENT_VOLUME_SITE_H
#define VMJ_AGENT_VOLUME_SITE_H

#include "vmjob/agent/volume_task.h"
#include "vmjob/model/guest-disk.h"
#include "vmjob/storage/snapshot_files.h"

struct vmj_volume_site {
	struct vmj_layers_env env; /* for the functions of snapshot.h */
	struct vmj_layer_files files;
	struct vmj_volume_task *task;
	uint32_t job;                /* 0: no guest */
	char target[8];              /* its disk in the guest: "vda" */
	struct vmj_layers_env plain; /* files only */
};

/* Of v, in guest `job` of this host (0: none; then v is recovered already). What a crash left is
 * put right, as QEMU has it. -ENOENT (user's fault): the guest has no such disk any more. Then
 * done, also after a failure. */
int vmj_volume_site_open(struct vmj_volume_site *s, struct vmj_volume_task *t,
			 const struct vmj_storage_config *storage, struct vmj_volume *v,
			 uint32_t job, struct vmj_error *err);
void vmj_volume_site_done(struct vmj_volume_site *s);
#define VMJ_VOLUME_SITE_INIT          \
	{                             \
		.files = {.dir = -1 } \
	}
#define vmj_auto_volume_site VMJ_CLEANUP(vmj_volume_site_done)

/* On the loop: the record of the guest on this host follows, if it has the volume. */
void vmj_guests_follow_volume(struct vmj_guests *g, uint32_t job,
			      const struct vmj_storage_config *storage, const struct vmj_volume *v);

#endif
