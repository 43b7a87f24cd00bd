/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One operation on a volume: its request read on the loop, its work done on a worker under the
 * volume's lease, its progress sent as it goes, its call ended.
 *
 * Members of every such request: "storage" (a name of vmjob.conf; default: its first), "uid" (root
 * and operators: whose volumes; default: the caller), and, but for NOTHING, "volume".
 *
 * Bounds: VMJ_VOLUME_TASKS_UID of one caller and VMJ_VOLUME_TASKS_MAX in all at a time. Operations
 * on one volume, here, are done one after the other.
 */
#ifndef VMJ_AGENT_VOLUME_TASK_H
#define VMJ_AGENT_VOLUME_TASK_H

#include <sys/queue.h>

#include "vmjob/agent/guests.h"
#include "vmjob/storage/lease.h"
#include "vmjob/storage/volume.h"

#define VMJ_VOLUME_TASKS_UID 8
#define VMJ_VOLUME_TASKS_MAX 32

enum vmj_volume_need {
	VMJ_VOLUME_NOTHING, /* no "volume", no lease */
	VMJ_VOLUME_LOOK,    /* v as volume.json is now; no lease */
	VMJ_VOLUME_NEW,     /* the name's lease; what was left of such a volume is swept; v is unset
			     */
	VMJ_VOLUME_CHANGE,  /* the lease, as work; v read and recovered */
	/* The same; or, where a guest of this host has the volume: guest_job is its job, the lease
	 * is the guest's and stays so while work() runs; v is read, not recovered. */
	VMJ_VOLUME_CHANGE_LIVE,
};

struct vmj_volume_task;

struct vmj_volume_kind {
	enum vmj_volume_need need;
	size_t args_size; /* of task->args */
	/* The operation's own members, on the loop. NULL: none. */
	void (*read)(struct vmj_volume_task *t, struct vmj_json *in);
	/* On a worker. Members for the answer go into t->answer. */
	int (*work)(struct vmj_volume_task *t, struct vmj_error *err);
	/* On the loop, before the call is ended, whether work() was done (rc 0) or not. NULL: none.
	 */
	void (*done)(struct vmj_volume_task *t, int rc);
};

struct vmj_volume_task {
	LIST_ENTRY(vmj_volume_task) link; /* the agent's */
	const struct vmj_volume_kind *kind;
	struct vmj_agent *agent;                  /* on workers: only what agent.h says */
	struct vmj_settings *settings;            /* a reference */
	const struct vmj_storage_config *storage; /* in settings */
	struct vmj_call *call;                    /* NULL: our own doing */
	uint32_t job;                             /* "job" of the request; 0: none */
	bool trusted;                             /* the caller is root or an operator */
	uid_t caller, uid;                        /* who asks; whose volume */
	gid_t gid;                   /* the caller's; NEW: of uid, but of our own doing */
	char name[VMJ_NAME_MAX + 1]; /* of the volume */
	void *args;                  /* kind->args_size zeroed bytes, freed with the task */

	struct vmj_volume v;
	bool fresh, answered; /* the storage has answered just before; does so now */
	uint32_t guest_job;   /* CHANGE_LIVE: in this guest of this host; 0: in none */
	struct json_object *answer;

	sd_event_source *timer;        /* progress is sent */
	_Atomic unsigned int progress; /* in 1/1000 */
	_Atomic uint64_t bytes;        /* of the disk that `progress` is about */
	unsigned int sent;
	int rc;
	struct vmj_error err;
};

/* Ends the call, now or later. job: what the request's "job" was, 0: none. */
void vmj_volume_task_start(struct vmj_agent *a, struct vmj_call *call, uint32_t job,
			   const struct vmj_volume_kind *kind);
/* Our own doing, of a volume in the storage of this name: what fails is logged. */
void vmj_volume_task_own(struct vmj_agent *a, const char *storage, uid_t uid, const char *name,
			 const struct vmj_volume_kind *kind);

/* A vmj_progress_fn whose arg is the task: for work(). */
void vmj_volume_task_progress(double fraction, void *task);

/* Who we are in leases as work, for work() that needs a second one. */
struct vmj_lease_who vmj_volume_task_who(const struct vmj_volume_task *t);

/* Which guest of this host and boot has the volume of t->uid: its job, 0: none. */
int vmj_volume_task_find_guest(const struct vmj_volume_task *t,
			       const struct vmj_storage_config *storage, const char *volume,
			       uint32_t *ret, struct vmj_error *err);

/* Does this host still hold what it holds in the domain? EOWNERDEAD (host's fault): it may have
 * been declared dead, nothing may be changed any more. For work() that takes long, before its
 * commits. */
int vmj_volume_task_holds(const struct vmj_volume_task *t, struct vmj_error *err);

#endif
