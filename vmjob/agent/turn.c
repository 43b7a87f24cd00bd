/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/agent/turn.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "vmjob/agent/console.h"
#include "vmjob/agent/eventlog.h"
#include "vmjob/agent/phase.h"
#include "vmjob/agent/ready.h"
#include "vmjob/agent/sweep.h"
#include "vmjob/agent/work.h"
#include "vmjob/base/cleanup.h"
#include "vmjob/base/log.h"

/* How long a restart of libvirtd is waited for; prolog and epilog wait longer than this. */
#define WAIT_PREPARE_US (10 * 1000000ull)
#define WAIT_RELEASE_US (20 * 1000000ull)
#define TRIES           2 /* libvirtd may go away in the middle once */

struct vmj_turn {
	STAILQ_ENTRY(vmj_turn) link;
	bool prepare; /* else release */
	bool was_alive;
	unsigned int tries;
	struct vmj_entry *entry;
	struct vmj_call *call;
	struct vmj_settings *settings;
	struct vmj_work work;
	char *user_data;
	int r;
	struct vmj_error err;
};

static void start_next(struct vmj_entry *e);

static void turn_free(struct vmj_turn *t)
{
	vmj_settings_unref(t->settings);
	vmj_entry_unref(t->entry);
	free(t->user_data);
	free(t);
}

void vmj_turn_drop_all(struct vmj_entry *e)
{
	struct vmj_turn *t;

	while ((t = STAILQ_FIRST(&e->turns))) {
		struct vmj_error err;

		STAILQ_REMOVE_HEAD(&e->turns, link);
		vmj_fail(&err, ESHUTDOWN, "the agent ends");
		if (t->call)
			vmj_call_fail(t->call, &err);
		free(t->user_data);
		free(t);
	}
}

/* --- the end of a turn ----------------------------------------------------------------------- */

static void answer(struct vmj_turn *t)
{
	struct json_object *o;

	if (!t->call)
		return;
	if (t->r < 0) {
		vmj_call_fail(t->call, &t->err);
	} else {
		o = json_object_new_object();
		if (t->prepare)
			json_object_object_add(
				o, "phase",
				json_object_new_string(vmj_phase_name(t->entry->rec.phase)));
		vmj_call_ok(t->call, o);
	}
	t->call = NULL;
}

static void end_turn(struct vmj_turn *t)
{
	struct vmj_entry *e = vmj_entry_ref(t->entry);

	e->busy = false;
	answer(t);
	turn_free(t);
	start_next(e);
	vmj_entry_settle(e);
	vmj_entry_unref(e);
}

static void prepared(struct vmj_turn *t)
{
	struct vmj_entry *e = t->entry;
	const struct vmj_guest *g = &t->work.guest;

	e->rec = *g;
	if (t->r == 0) {
		vmj_eventlog_add(e->agent->events, g->job, g->uid, "prepared", "prepared for %s",
				 g->user);
		if (t->work.note[0])
			vmj_eventlog_add(e->agent->events, g->job, g->uid, "note", "%s",
					 t->work.note);
		return;
	}
	e->known = t->err.fault == VMJ_FAULT_USER || t->work.leftovers;
	vmj_eventlog_add(e->agent->events, g->job, g->uid, e->known ? "refused" : "failed",
			 "could not be prepared: %s", t->err.text);
}

/* Of a protected guest: they stay until the job has ended. */
static bool had_job_volumes(const struct vmj_guest *g)
{
	for (unsigned int i = 0; i < g->n_disks; i++)
		if (strncmp(g->disks[i].volume, "job-", 4) == 0)
			return true;
	return false;
}

static void released(struct vmj_turn *t)
{
	struct vmj_entry *e = t->entry;

	if (t->r < 0) {
		e->known = true;
		e->rec.phase = VMJ_PHASE_RELEASING;
		vmj_log_warning("guest %u could not be released: %s", e->rec.job, t->err.text);
		return;
	}
	if (e->known)
		vmj_eventlog_add(e->agent->events, e->rec.job, e->rec.uid, "released",
				 t->was_alive ? "released while it still ran" : "released");
	if (t->was_alive) {
		e->rec.end = VMJ_END_RELEASED;
		vmj_entry_tell_ended(e);
	}
	if (had_job_volumes(&t->work.guest))
		vmj_sweep_volumes_soon(e->agent);
	if (!e->known && !t->call) /* found without a record: perhaps leases tell of it too */
		vmj_sweep_leases(e->agent);
	e->rec.n_disks = 0;
	e->known = false;
	vmj_conn_detach(&e->claim);
	vmj_console_close(e->console);
}

/* --- at work --------------------------------------------------------------------------------- */

static void turn_work(void *arg)
{
	struct vmj_turn *t = arg;

	t->r = t->prepare ? vmj_work_prepare(&t->work, &t->err)
			  : vmj_work_release(&t->work, &t->err);
}

static void begin(void *arg);

static void turn_done(void *arg)
{
	struct vmj_turn *t = arg;

	if (t->r < 0 && t->err.code == ENOTCONN && ++t->tries < TRIES) {
		vmj_ready_wait(t->entry->agent->ready,
			       t->prepare ? WAIT_PREPARE_US : WAIT_RELEASE_US, begin, t);
		return;
	}
	if (t->prepare)
		prepared(t);
	else
		released(t);
	end_turn(t);
}

static void submit(struct vmj_turn *t, enum vmj_lane lane, void (*work)(void *arg),
		   void (*done)(void *arg))
{
	int r = vmj_pool_submit(t->entry->agent->pool, vmj_lane(t->entry->rec.job, lane), work,
				done, t);

	if (r == 0)
		return;
	t->r = vmj_fail(&t->err, -r, "no thread can be started for guest %u: %s", t->entry->rec.job,
			vmj_strerror(r));
	t->entry->known = t->entry->known && !t->prepare;
	end_turn(t);
}

static void nothing(void *arg)
{
}

static void begin_work(void *arg)
{
	submit(arg, VMJ_LANE_MAIN, turn_work, turn_done);
}

/* A destroy of the job's last domain that is still under way must not hit the new one. */
static void begin(void *arg)
{
	struct vmj_turn *t = arg;

	if (!vmj_ready(t->entry->agent->ready))
		t->tries = TRIES; /* waited in vain */
	if (t->prepare)
		submit(t, VMJ_LANE_END, nothing, begin_work);
	else
		begin_work(t);
}

/* The prolog comes again when its connection broke, or slurmd restarted. */
static bool prepared_already(const struct vmj_entry *e, const struct vmj_guest *g)
{
	return e->known && e->rec.restart == g->restart && e->rec.uid == g->uid &&
	       strcmp(e->rec.boot_id, g->boot_id) == 0 && e->rec.phase != VMJ_PHASE_PREPARING &&
	       e->rec.phase != VMJ_PHASE_RELEASING;
}

/* What of the job's last run here is still to be given back. */
static void keep_last_run(const struct vmj_entry *e, struct vmj_guest *g)
{
	g->pid = e->known ? e->rec.pid : 0;
	g->n_disks = e->known ? e->rec.n_disks : 0;
	memcpy(g->disks, e->rec.disks, sizeof(g->disks));
}

static void begin_prepare(struct vmj_turn *t)
{
	struct vmj_entry *e = t->entry;

	if (prepared_already(e, &t->work.guest)) {
		if (e->rec.phase == VMJ_PHASE_REFUSED)
			t->r = vmj_fail_user(&t->err, EINVAL, "%s", e->rec.failure);
		end_turn(t);
		return;
	}
	vmj_conn_detach(&e->claim);
	vmj_detaching_free(e->detaching);
	e->deadline = sd_event_source_disable_unref(e->deadline);
	e->press = sd_event_source_disable_unref(e->press);
	keep_last_run(e, &t->work.guest);
	e->known = true;
	e->rec = t->work.guest;
	e->rec.phase = VMJ_PHASE_PREPARING;
	vmj_ready_wait(e->agent->ready, WAIT_PREPARE_US, begin, t);
}

/* The record, and its directory, come before all else that a guest leaves: without, libvirt need
 * not be there to know that nothing is to be released. */
static bool nothing_left(const struct vmj_entry *e)
{
	char path[VMJ_GUEST_PATH_MAX];

	return !e->known &&
	       access(vmj_record_path(e->agent->dir, e->rec.job, NULL, path), F_OK) < 0 &&
	       errno == ENOENT;
}

/* What of the guest is stuck in a call is freed by destroying it beside. */
static void begin_release(struct vmj_turn *t)
{
	struct vmj_entry *e = t->entry;

	if (t->call && nothing_left(e)) {
		end_turn(t);
		return;
	}
	t->was_alive = e->known && vmj_phase_alive(e->rec.phase) &&
		       strcmp(e->rec.boot_id, e->agent->boot_id) == 0;
	t->work.guest = e->rec;
	vmj_detaching_free(e->detaching);
	e->deadline = sd_event_source_disable_unref(e->deadline);
	e->press = sd_event_source_disable_unref(e->press);
	if (t->was_alive)
		vmj_entry_destroy(e);
	vmj_ready_wait(e->agent->ready, WAIT_RELEASE_US, begin, t);
}

static void start_next(struct vmj_entry *e)
{
	struct vmj_turn *t = STAILQ_FIRST(&e->turns);
	struct vmj_agent *a = e->agent;

	if (e->busy || !t)
		return;
	STAILQ_REMOVE_HEAD(&e->turns, link);
	e->busy = true;
	e->in_adoption = false;
	t->entry = vmj_entry_ref(e);
	t->settings = vmj_settings_ref(a->settings);
	vmj_work_begin(&t->work, a, t->settings);
	if (t->prepare)
		begin_prepare(t);
	else
		begin_release(t);
}

static struct vmj_turn *turn_new(struct vmj_entry *e, struct vmj_call *call)
{
	struct vmj_turn *t = calloc(1, sizeof(*t));
	struct vmj_error err;

	if (t) {
		t->call = call;
		return t;
	}
	if (call) {
		vmj_fail(&err, ENOMEM, "the agent has no memory left");
		vmj_call_fail(call, &err);
	}
	vmj_entry_settle(e);
	return NULL;
}

void vmj_turn_prepare(struct vmj_entry *e, struct vmj_call *call, const struct vmj_guest *guest,
		      unsigned int node_index, char *user_data)
{
	struct vmj_turn *t = turn_new(e, call);

	if (!t) {
		free(user_data);
		return;
	}
	t->prepare = true;
	t->user_data = user_data;
	t->work.user_data = user_data;
	t->work.guest = *guest;
	t->work.node_index = node_index;
	STAILQ_INSERT_TAIL(&e->turns, t, link);
	start_next(e);
}

void vmj_turn_release(struct vmj_entry *e, struct vmj_call *call)
{
	struct vmj_turn *t = turn_new(e, call);

	if (!t)
		return;
	STAILQ_INSERT_TAIL(&e->turns, t, link);
	start_next(e);
}
