/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * run: the step takes its guest over, and is told what happens to it as long as its connection
 * lasts.
 *
 * Who may: a process in the job's cgroups, so that QEMU is led to where Slurm put the job and
 * nowhere else. One connection at a time holds a guest (the claim). A step that lost its connection
 * (the agent was restarted) runs its guest again: joining and pinning are repeated, and a guest
 * that somebody paused stays paused.
 */
#include "vmjob/agent/ops.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>

#include "vmjob/agent/eventlog.h"
#include "vmjob/agent/phase.h"
#include "vmjob/agent/ready.h"
#include "vmjob/agent/work.h"
#include "vmjob/base/log.h"

#define WAIT_RUN_US (30 * 1000000ull)

struct running {
	struct vmj_entry *entry;
	struct vmj_call *call; /* NULL: answered already */
	struct vmj_settings *settings;
	pid_t peer;
	struct vmj_work work;
	int r;
	struct vmj_error err;
};

static void running_free(struct running *n)
{
	n->entry->runs--;
	vmj_settings_unref(n->settings);
	vmj_entry_unref(n->entry);
	free(n);
}

static void answer(struct vmj_entry *e, struct vmj_call *call)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "phase", json_object_new_string(vmj_phase_name(e->rec.phase)));
	json_object_object_add(o, "restart", json_object_new_int64(e->rec.restart));
	vmj_call_ok(call, o);
	if (e->rec.phase == VMJ_PHASE_ENDED)
		vmj_entry_tell_ended(e);
}

static void run_work(void *arg)
{
	struct running *n = arg;

	n->r = vmj_cgroups_of_task("/", n->peer, n->work.guest.job, &n->work.cgroups, &n->err);
	if (n->r == 0)
		n->r = vmj_work_run(&n->work, &n->err);
}

static void take_over(struct vmj_entry *e, const struct vmj_work *w)
{
	bool first = e->rec.phase == VMJ_PHASE_PREPARED;

	if (w->gone) {
		vmj_entry_ended(e, VMJ_END_LOST);
		return;
	}
	e->rec.pid = w->guest.pid;
	e->rec.start_us = w->guest.start_us;
	if (first && vmj_entry_become(e, VMJ_PHASE_RUNNING))
		vmj_eventlog_add(e->agent->events, e->rec.job, e->rec.uid, "running", "running");
}

static void run_done(void *arg)
{
	struct running *n = arg;
	struct vmj_entry *e = n->entry;
	bool same = e->known && !e->busy && e->rec.restart == n->work.guest.restart;

	if (n->r == 0 && same)
		take_over(e, &n->work);
	else if (n->r == 0)
		n->r = vmj_fail(&n->err, ESRCH, "guest %u is being released", e->rec.job);
	if (n->r < 0) {
		vmj_log_warning("guest %u: %s", e->rec.job, n->err.text);
		if (n->call && n->call->conn == e->claim.conn)
			vmj_conn_detach(&e->claim);
	}
	if (n->call && n->r < 0)
		vmj_call_fail(n->call, &n->err);
	else if (n->call)
		answer(e, n->call);
	running_free(n);
}

static void run_begin(void *arg)
{
	struct running *n = arg;
	struct vmj_entry *e = n->entry;
	int r;

	if (e->known && !e->busy)
		n->work.guest = e->rec;
	r = vmj_pool_submit(e->agent->pool, vmj_lane(e->rec.job, VMJ_LANE_MAIN), run_work, run_done,
			    n);
	if (r == 0)
		return;
	n->r = vmj_fail(&n->err, -r, "no thread can be started for guest %u", e->rec.job);
	run_done(n);
}

static int check(const struct vmj_entry *e, const struct vmj_call *call, struct vmj_error *err)
{
	if (e->rec.phase == VMJ_PHASE_REFUSED)
		return vmj_fail_user(err, EINVAL, "%s", e->rec.failure);
	if (e->claim.conn && e->claim.conn != call->conn)
		return vmj_fail_user(err, EALREADY, "guest %u is run by process %d already",
				     e->rec.job, vmj_conn_peer(e->claim.conn)->pid);
	return vmj_phase_check(&e->rec, VMJ_ACTION_RUN, err);
}

/* A guest that runs already needs no waiting for libvirt: its step has it back at once, and the
 * joining follows. */
VMJ_OP_HANDLER(run)
{
	struct running *n = NULL;
	struct vmj_error err;

	if (check(e, call, &err) < 0) {
		vmj_call_fail(call, &err);
		return;
	}
	if (!e->claim.conn)
		vmj_conn_attach(call->conn, &e->claim);
	if (e->rec.phase == VMJ_PHASE_PREPARED || (e->rec.phase != VMJ_PHASE_ENDED && !e->runs))
		n = calloc(1, sizeof(*n));
	if (!n) {
		answer(e, call);
		return;
	}
	n->entry = vmj_entry_ref(e);
	e->runs++;
	n->settings = vmj_settings_ref(a->settings);
	n->peer = call->peer.pid;
	vmj_work_begin(&n->work, a, n->settings);
	n->work.guest = e->rec;
	if (vmj_ready(a->ready) || e->rec.phase == VMJ_PHASE_PREPARED)
		n->call = call;
	else
		answer(e, call);
	vmj_ready_wait(a->ready, WAIT_RUN_US, run_begin, n);
}
