/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What workers do to a guest: make it, run it, unmake it. Tables of steps (steps.h), each with its
 * undo. All block; a struct vmj_work belongs to one thread at a time.
 */
#ifndef VMJ_AGENT_WORK_H
#define VMJ_AGENT_WORK_H

#include "vmjob/agent/adapters.h"
#include "vmjob/agent/record.h"
#include "vmjob/agent/steps.h"

struct vmj_disk_name {
	char storage[VMJ_NAME_MAX + 1], volume[VMJ_NAME_MAX + 1];
};

struct vmj_agent;
struct vmj_settings;

struct vmj_work {
	const struct vmj_adapters *adapters;
	const struct vmj_config *config;
	struct vmj_topology *topology;
	struct vmj_virt *virt;
	const char *agent_id;       /* of this start of the agent, for leases */
	const char *dir;            /* the guests' directory: vmj_record_init() */
	struct vmj_guest guest;     /* in and out: as the record says */
	unsigned int node_index;    /* prepare: this host among the job's */
	const char *user_data;      /* prepare: for the seed; NULL: none */
	struct vmj_cgroups cgroups; /* run: the job's */
	unsigned int leftovers;     /* out: undos that failed; the record is still there then */
	bool gone;                  /* out of run: there was no domain any more */
	struct vmj_image image;     /* within prepare */
	bool fresh;                 /* within prepare: nothing was left of an earlier one */
	uint64_t reached;           /* storages of vmjob.conf that answered, by their places */
	unsigned int asked;         /* detach: which disk */
	unsigned int n_returned;    /* out of attach, detach, settle: volumes given back */
	struct vmj_disk_name returned[VMJ_GUEST_DISKS_MAX];
	char note[VMJ_ERROR_TEXT_MAX]; /* out of prepare: what the user should hear; "": nothing */
};

/* Work in this host's own world, by these settings, which must outlive it. The rest stays as it is:
 * the caller says whose guest it is. On the loop's thread. */
void vmj_work_begin(struct vmj_work *w, const struct vmj_agent *a, const struct vmj_settings *s);

/*
 * Make the guest of `guest` (job, restart, user, request…; and the disks and the process of the
 * job's last run on this host) up to a paused domain, whatever was left of it before. On success
 * its phase is PREPARED. A failure by the user's fault leaves a record in phase REFUSED, with the
 * sentence in `failure`, and nothing else; one by the host's fault leaves nothing, or, where even
 * the undoing failed, the record in phase RELEASING.
 */
int vmj_work_prepare(struct vmj_work *w, struct vmj_error *err);

/* Join QEMU to the job's cgroups, pin it and, unless the record says PAUSED, resume it. On success
 * the phase is RUNNING (or PAUSED still); if the domain is gone, `gone` is set and nothing done. */
int vmj_work_run(struct vmj_work *w, struct vmj_error *err);

/* End what runs, give its volumes back and remove all there is of the guest, its record last. Needs
 * only guest.job; ports and disks if they are known. */
int vmj_work_release(struct vmj_work *w, struct vmj_error *err);

/* All steps in their order, for `vmjobd --list-steps`; the table ends with NULL. */
extern const struct vmj_step vmj_prepare_steps[], vmj_run_steps[], vmj_release_steps[];

#endif
