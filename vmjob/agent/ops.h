/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What can be asked of the agent (doc/protocol.md), by whom, and from where: one table.
 *
 * Rights: root and the operators of vmjob.conf may do all but what only root may (what prolog and
 * epilog do); a user what is theirs. What concerns processes of this host is served on the local
 * socket only.
 */
#ifndef VMJ_AGENT_OPS_H
#define VMJ_AGENT_OPS_H

#include "vmjob/agent/guests.h"

enum vmj_who {
	VMJ_WHO_ANYBODY,  /* the handler shows each what is theirs */
	VMJ_WHO_OWNER,    /* of the guest; root; operators */
	VMJ_WHO_OPERATOR, /* root; operators */
	VMJ_WHO_ROOT,
};

enum vmj_wants { VMJ_WANTS_NO_JOB, VMJ_WANTS_MAYBE_JOB, VMJ_WANTS_JOB, VMJ_WANTS_GUEST };

struct vmj_op {
	const char *name;
	enum vmj_who who;
	bool local_only;
	enum vmj_wants wants; /* GUEST: the job must have one here; JOB: need not */
	bool more_args;       /* the handler reads more of the request than "op", "id" and "job" */
	/* Ends the call, now or later. job: 0 where none was given; e: NULL where there is none. */
	void (*handle)(struct vmj_agent *a, struct vmj_call *call, uint32_t job,
		       struct vmj_entry *e);
};

extern const struct vmj_op vmj_ops[]; /* ends with name == NULL */
const struct vmj_op *vmj_op_find(const char *name);

/* Pure. trusted: root or operator. owner: of the guest, NULL: no such guest. 0, or by the user's
 * fault -EPERM, -ENOENT. */
int vmj_op_check(const struct vmj_op *op, const struct vmj_peer *peer, bool trusted, uint32_t job,
		 const uid_t *owner, struct vmj_error *err);

/* For the server: finds, checks and handles. arg: the agent. */
void vmj_ops_call(struct vmj_call *call, void *arg);

/* Begin to read a request strictly: the members that every request may have are asked for already.
 * Those of a handler follow, then vmj_json_close(). */
void vmj_op_args(struct vmj_json *in, const struct vmj_op *op, const struct vmj_call *call,
		 uint32_t *ret_job, struct vmj_error *err);

/* For the event log: shows it to those who follow. arg: the agent. */
void vmj_ops_event_logged(struct json_object *o, void *arg);

/* Presses the guest's power button once libvirt is there, and again until it has ended. */
void vmj_ops_press_power(struct vmj_entry *e);
/* Resumes a guest that a disk has stopped. */
void vmj_ops_go_on(struct vmj_entry *e);

#define VMJ_OP_HANDLER(name)                                                         \
	void vmj_op_##name(struct vmj_agent *a, struct vmj_call *call, uint32_t job, \
			   struct vmj_entry *e)
VMJ_OP_HANDLER(hello);
VMJ_OP_HANDLER(prepare);
VMJ_OP_HANDLER(release);
VMJ_OP_HANDLER(run);
VMJ_OP_HANDLER(stop);
VMJ_OP_HANDLER(suspend);
VMJ_OP_HANDLER(resume);
VMJ_OP_HANDLER(reset);
VMJ_OP_HANDLER(list);
VMJ_OP_HANDLER(show);
VMJ_OP_HANDLER(host);
VMJ_OP_HANDLER(confirm_dead);
VMJ_OP_HANDLER(console);
VMJ_OP_HANDLER(events);
VMJ_OP_HANDLER(snapshot_create);
VMJ_OP_HANDLER(snapshot_list);
VMJ_OP_HANDLER(snapshot_revert);
VMJ_OP_HANDLER(snapshot_rm);
VMJ_OP_HANDLER(volume_attach);
VMJ_OP_HANDLER(volume_detach);
VMJ_OP_HANDLER(storage_show);
VMJ_OP_HANDLER(storage_admit);
VMJ_OP_HANDLER(volume_mend);
VMJ_OP_HANDLER(volume_create);
VMJ_OP_HANDLER(volume_list);
VMJ_OP_HANDLER(volume_show);
VMJ_OP_HANDLER(volume_clone);
VMJ_OP_HANDLER(volume_resize);
VMJ_OP_HANDLER(volume_rm);

#endif
