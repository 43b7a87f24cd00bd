/* SPDX-License-Identifier: GPL-2.0-or-later */
/* stop, suspend, resume, reset: what users ask of a guest that runs. */
#include "vmjob/agent/ops.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <systemd/sd-event.h>
#include <time.h>

#include "vmjob/agent/eventlog.h"
#include "vmjob/agent/pause.h"
#include "vmjob/agent/phase.h"
#include "vmjob/agent/ready.h"
#include "vmjob/agent/volumes.h"
#include "vmjob/base/log.h"

#define WAIT_PRESS_US (30 * 1000000ull)
#define AGAIN_US      (3 * 1000000ull) /* a guest that boots does not see the button yet */
#define WAITING_MAX   8 /* of a guest's tasks, where its owner asks for more than is done */

/* One call to libvirt about a guest. */
struct power {
	struct vmj_entry *entry;
	struct vmj_call *call; /* NULL: answered already */
	int (*work)(struct vmj_virt *v, uint32_t job, struct vmj_error *err);
	void (*then)(struct vmj_entry *e);
	struct vmj_work *waking; /* its volumes are looked at first; NULL: it needs none for this */
	struct vmj_settings *settings; /* waking's */
	int r;
	struct vmj_error err;
};

static void power_work(void *arg)
{
	struct power *p = arg;

	p->r = p->waking ? vmj_guest_volumes_retake(p->waking, &p->err) : 0;
	if (p->r == 0)
		p->r = p->work(p->entry->agent->virt, p->entry->rec.job, &p->err);
}

static void power_free(struct power *p)
{
	vmj_settings_unref(p->settings);
	vmj_entry_unref(p->entry);
	free(p->waking);
	free(p);
}

static void power_done(void *arg)
{
	struct power *p = arg;

	if (p->r == 0 && p->then)
		p->then(p->entry);
	if (p->call && p->r < 0)
		vmj_call_fail(p->call, &p->err);
	else if (p->call)
		vmj_call_ok(p->call, NULL);
	else if (p->r < 0)
		vmj_log_info("guest %u: %s", p->entry->rec.job, p->err.text);
	power_free(p);
}

/* While a guest stood still, others may have taken a volume of its over by the rules. */
static int look_before_waking(struct power *p)
{
	struct vmj_agent *a = p->entry->agent;

	p->waking = calloc(1, sizeof(*p->waking));
	if (!p->waking)
		return -ENOMEM;
	p->settings = vmj_settings_ref(a->settings);
	vmj_work_begin(p->waking, a, p->settings);
	p->waking->guest = p->entry->rec;
	return 0;
}

/* wakes: a guest that may have been paused writes again. */
static void power(struct vmj_entry *e, struct vmj_call *call, enum vmj_lane lane, bool wakes,
		  int (*work)(struct vmj_virt *v, uint32_t job, struct vmj_error *err),
		  void (*then)(struct vmj_entry *e))
{
	uint64_t number = vmj_lane(e->rec.job, lane);
	struct power *p = calloc(1, sizeof(*p));
	struct vmj_error err;
	int r = p ? 0 : -ENOMEM;

	if (p) {
		*p = (struct power){
			.entry = vmj_entry_ref(e), .call = call, .work = work, .then = then};
		if (vmj_pool_load(e->agent->pool, number) >= WAITING_MAX)
			r = -EBUSY;
		else if (wakes)
			r = look_before_waking(p);
		if (r == 0)
			r = vmj_pool_submit(e->agent->pool, number, power_work, power_done, p);
		if (r == 0)
			return;
		power_free(p);
	}
	vmj_fail_user(&err, -r, "guest %u is busy with %u earlier requests: try again", e->rec.job,
		      WAITING_MAX);
	if (call)
		vmj_call_fail(call, &err);
}

static bool allowed(struct vmj_entry *e, struct vmj_call *call, enum vmj_action action)
{
	struct vmj_error err;

	if (vmj_phase_check(&e->rec, action, &err) == 0)
		return true;
	vmj_call_fail(call, &err);
	return false;
}

/* --- suspend, resume, reset ------------------------------------------------------------------ */

static void suspended(struct vmj_entry *e)
{
	vmj_entry_paused(e, VMJ_PAUSE_USER);
}

VMJ_OP_HANDLER(suspend)
{
	if (allowed(e, call, VMJ_ACTION_SUSPEND))
		power(e, call, VMJ_LANE_MAIN, false, vmj_virt_suspend, suspended);
}

/* The guest's clock stood still meanwhile; setting it may wait for the guest's own agent. */
static void resumed(struct vmj_entry *e)
{
	vmj_entry_resumed(e);
	power(e, NULL, VMJ_LANE_ASIDE, false, vmj_virt_set_time, NULL);
}

VMJ_OP_HANDLER(resume)
{
	if (allowed(e, call, VMJ_ACTION_RESUME))
		power(e, call, VMJ_LANE_MAIN, true, vmj_virt_resume, resumed);
}

void vmj_ops_go_on(struct vmj_entry *e)
{
	power(e, NULL, VMJ_LANE_MAIN, false, vmj_virt_resume, resumed);
}

VMJ_OP_HANDLER(reset)
{
	if (allowed(e, call, VMJ_ACTION_RESET))
		power(e, call, VMJ_LANE_MAIN, false, vmj_virt_reset, NULL);
}

/* --- stop ------------------------------------------------------------------------------------ */

/* A paused guest cannot follow the power button; one that runs is resumed without effect. */
static int wake_and_shutdown(struct vmj_virt *v, uint32_t job, struct vmj_error *err)
{
	int r = vmj_virt_resume(v, job, err);

	return r < 0 ? r : vmj_virt_shutdown(v, job, err);
}

static int on_press_again(sd_event_source *s, uint64_t usec, void *arg)
{
	struct vmj_entry *e = arg;

	e->press = sd_event_source_disable_unref(e->press);
	vmj_ops_press_power(e);
	return 0;
}

static void pressed(struct vmj_entry *e)
{
	if (e->known && !e->busy && e->rec.phase == VMJ_PHASE_STOPPING && !e->press)
		sd_event_add_time_relative(e->agent->loop, &e->press, CLOCK_MONOTONIC, AGAIN_US,
					   AGAIN_US / 10, on_press_again, e);
}

static void press(void *arg)
{
	struct vmj_entry *e = arg;

	if (e->known && !e->busy && e->rec.phase == VMJ_PHASE_STOPPING)
		power(e, NULL, VMJ_LANE_MAIN, e->was_paused,
		      e->was_paused ? wake_and_shutdown : vmj_virt_shutdown, pressed);
	vmj_entry_unref(e);
}

void vmj_ops_press_power(struct vmj_entry *e)
{
	vmj_ready_wait(e->agent->ready, WAIT_PRESS_US, press, vmj_entry_ref(e));
}

static void ask_to_stop(struct vmj_entry *e, uint32_t grace)
{
	bool paused = e->rec.phase == VMJ_PHASE_PAUSED;

	if (vmj_entry_become(e, VMJ_PHASE_STOPPING)) {
		e->was_paused = paused;
		vmj_eventlog_add(e->agent->events, e->rec.job, e->rec.uid, "stopping",
				 "asked to power off, and destroyed in %u s", grace);
		vmj_ops_press_power(e);
	}
	vmj_entry_set_deadline(e, grace);
}

static void stop_now(struct vmj_entry *e)
{
	if (vmj_entry_become(e, VMJ_PHASE_STOPPING))
		vmj_eventlog_add(e->agent->events, e->rec.job, e->rec.uid, "stopping", "destroyed");
	vmj_entry_destroy(e);
}

static int read_stop(struct vmj_call *call, bool *force, uint32_t *grace, struct vmj_error *err)
{
	struct vmj_json in;
	uint32_t job;

	vmj_op_args(&in, vmj_op_find(call->op), call, &job, err);
	vmj_json_bool(&in, "force", VMJ_OPTIONAL, force);
	vmj_json_u32(&in, "grace", VMJ_OPTIONAL, 0, VMJ_GRACE_MAX, grace);
	return vmj_json_close(&in);
}

VMJ_OP_HANDLER(stop)
{
	uint32_t grace = e->rec.request.grace_s;
	struct vmj_error err;
	bool force = false;

	if (!grace)
		grace = a->settings->config->default_grace_s;
	if (read_stop(call, &force, &grace, &err) < 0) {
		vmj_call_fail(call, &err);
		return;
	}
	if (!allowed(e, call, VMJ_ACTION_STOP))
		return;
	if (e->rec.phase != VMJ_PHASE_ENDED) {
		if (force || !grace || e->rec.phase == VMJ_PHASE_PREPARED)
			stop_now(e);
		else
			ask_to_stop(e, grace);
	}
	vmj_call_ok(call, NULL);
}
