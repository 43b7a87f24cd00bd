/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Snapshots of volumes and of guests: shared by op_snapshot*.c; and what the guests' adoption wants
 * of them. */
#ifndef VMJ_AGENT_OP_SNAPSHOT_H
#define VMJ_AGENT_OP_SNAPSHOT_H

#include "vmjob/agent/volume_site.h"

/* On the loop, when the guest was found again after a restart of ours: what we were doing to its
 * volumes is ended, and its record follows. */
void vmj_snapshots_recover(struct vmj_entry *e);

struct vmj_snapshot_args {
	char name[VMJ_NAME_MAX + 1];
};

/* Members of a request for a new snapshot, into the struct vmj_snapshot_args with which t->args
 * begins. */
void vmj_snapshot_read_new(struct vmj_volume_task *t, struct vmj_json *in);

struct json_object *vmj_snapshot_to_answer(const struct vmj_volume *v,
					   const struct vmj_snapshot *s); /* caller's */

/* On the loop: if its chain is long, merge what can be. */
void vmj_snapshot_flatten_later(struct vmj_agent *a, const struct vmj_storage_config *storage,
				const struct vmj_volume *v);

/* Take a snapshot of several volumes of one guest at one moment: of all, or of none. Each v is as
 * its volume.json is afterwards. */
struct vmj_snapshot_part {
	struct vmj_volume *v;
	struct vmj_volume_site *site;
};
int vmj_snapshot_take_live(struct vmj_volume_task *t, uint32_t job,
			   const struct vmj_snapshot_part *parts, unsigned int n, const char *name,
			   struct vmj_error *err);

/* snapshot-create with "job". e: NULL if it has no guest here. */
void vmj_snapshot_job_start(struct vmj_agent *a, struct vmj_call *call, uint32_t job,
			    struct vmj_entry *e);

#endif
