/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * volume-attach, volume-detach: volumes of a guest that runs. One at a time of a guest.
 *
 * A guest gives a disk back when it likes: the answer to a detach waits for that a bounded time. If
 * it comes later, or while nobody has asked, the volume is given back all the same.
 */
#include "vmjob/agent/ops.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-event.h>
#include <time.h>

#include "vmjob/agent/eventlog.h"
#include "vmjob/agent/phase.h"
#include "vmjob/agent/plug.h"
#include "vmjob/agent/ready.h"
#include "vmjob/base/log.h"

#define CONSENT_US (30 * 1000000ull)

enum plug_kind { PLUG_ATTACH, PLUG_DETACH, PLUG_SETTLE };

struct plugging {
	enum plug_kind kind;
	struct vmj_entry *entry;
	struct vmj_settings *settings;
	struct vmj_call *call; /* NULL: nobody asked */
	char storage[VMJ_NAME_MAX + 1], volume[VMJ_NAME_MAX + 1];
	struct vmj_work work;
	int r;
	struct vmj_error err;
};

/* A detach whose guest has not let go yet. */
struct vmj_detaching {
	struct vmj_entry *entry;
	struct vmj_call *call;
	sd_event_source *timer;
	char storage[VMJ_NAME_MAX + 1], volume[VMJ_NAME_MAX + 1];
};

static void log_volume(struct vmj_entry *e, const char *what, const char *volume)
{
	vmj_eventlog_add(e->agent->events, e->rec.job, e->rec.uid, what, "volume %s is %s", volume,
			 what);
}

/* --- waiting for the guest ------------------------------------------------------------------- */

void vmj_detaching_free(struct vmj_detaching *d)
{
	struct vmj_error err;

	if (!d)
		return;
	d->entry->detaching = NULL;
	sd_event_source_disable_unref(d->timer);
	if (d->call) {
		vmj_fail_user(&err, ESRCH, "guest %u has ended meanwhile", d->entry->rec.job);
		vmj_call_fail(d->call, &err);
	}
	free(d);
}

static int on_patience_over(sd_event_source *s, uint64_t usec, void *arg)
{
	struct vmj_detaching *d = arg;
	struct vmj_error err;

	vmj_fail_user(
		&err, ETIMEDOUT,
		"guest %u has not let go of volume \"%s\" within %llu s: unmount it there and "
		"try again; it is detached whenever the guest lets go of it",
		d->entry->rec.job, d->volume, CONSENT_US / 1000000);
	vmj_call_fail(d->call, &err);
	d->call = NULL;
	vmj_detaching_free(d);
	return 0;
}

/* The call is taken over, or failed. */
static void wait_for_consent(struct plugging *p)
{
	struct vmj_entry *e = p->entry;
	struct vmj_detaching *d = calloc(1, sizeof(*d));

	if (!d || sd_event_add_time_relative(e->agent->loop, &d->timer, CLOCK_MONOTONIC, CONSENT_US,
					     CONSENT_US / 10, on_patience_over, d) < 0) {
		free(d);
		vmj_fail(&p->err, ENOMEM, "the agent has no memory left");
		vmj_call_fail(p->call, &p->err);
		return;
	}
	d->entry = e;
	d->call = p->call;
	memcpy(d->storage, p->storage, sizeof(d->storage));
	memcpy(d->volume, p->volume, sizeof(d->volume));
	e->detaching = d;
}

static void answer_consent(struct vmj_entry *e)
{
	struct vmj_detaching *d = e->detaching;

	if (!d || vmj_guest_disk_of(&e->rec, d->storage, d->volume))
		return;
	vmj_call_ok(d->call, NULL);
	d->call = NULL;
	vmj_detaching_free(d);
}

/* --- the worker's result --------------------------------------------------------------------- */

static void plugging_free(struct plugging *p)
{
	if (p->kind != PLUG_SETTLE)
		p->entry->plugging = false;
	vmj_settings_unref(p->settings);
	vmj_entry_unref(p->entry);
	free(p);
}

/* The disks that the worker has changed; all else of the guest is the loop's. */
static void take_over(struct plugging *p)
{
	struct vmj_entry *e = p->entry;
	struct vmj_guest_disk *d, *now;

	for (unsigned int i = 0; i < p->work.n_returned; i++) {
		const struct vmj_disk_name *gone = &p->work.returned[i];

		d = vmj_guest_disk_of(&e->rec, gone->storage, gone->volume);
		if (d)
			vmj_guest_disk_forget(&e->rec, d);
		if (d && p->kind != PLUG_ATTACH)
			log_volume(e, "detached", gone->volume);
	}
	for (unsigned int i = 0; i < e->rec.n_disks; i++) {
		d = &e->rec.disks[i];
		now = vmj_guest_disk_of(&p->work.guest, d->storage, d->volume);
		if (now && !d->path[0])
			*d = *now;
	}
	vmj_entry_save(e);
}

static void answer(struct plugging *p)
{
	struct vmj_entry *e = p->entry;

	if (p->r < 0) {
		vmj_log_info("guest %u: %s", e->rec.job, p->err.text);
		if (p->call)
			vmj_call_fail(p->call, &p->err);
	} else if (p->kind == PLUG_DETACH && vmj_guest_disk_of(&e->rec, p->storage, p->volume)) {
		wait_for_consent(p);
	} else if (p->call) {
		vmj_call_ok(p->call, NULL);
	}
	p->call = NULL;
}

static void plug_done(void *arg)
{
	struct plugging *p = arg;
	struct vmj_entry *e = p->entry;

	if (e->known && !e->busy && e->rec.restart == p->work.guest.restart)
		take_over(p);
	else if (p->r == 0)
		p->r = vmj_fail_user(&p->err, ESRCH, "guest %u is being released", e->rec.job);
	if (p->r == 0 && p->kind == PLUG_ATTACH)
		log_volume(e, "attached", p->volume);
	answer(p);
	answer_consent(e);
	plugging_free(p);
}

static void plug_work(void *arg)
{
	struct plugging *p = arg;
	struct vmj_work *w = &p->work;
	struct vmj_guest_disk *d;

	if (p->kind == PLUG_ATTACH) {
		p->r = vmj_work_attach(w, &p->err);
	} else if (p->kind == PLUG_SETTLE) {
		p->r = vmj_work_settle(w, &p->err);
	} else {
		d = vmj_guest_disk_of(&w->guest, p->storage, p->volume);
		p->r = vmj_work_detach(w, (unsigned int)(d - w->guest.disks), &p->err);
	}
}

/* --- beginning ------------------------------------------------------------------------------- */

static struct plugging *plugging_new(struct vmj_entry *e, enum plug_kind kind)
{
	struct plugging *p = calloc(1, sizeof(*p));
	struct vmj_agent *a = e->agent;

	if (!p)
		return NULL;
	p->kind = kind;
	p->entry = vmj_entry_ref(e);
	p->settings = vmj_settings_ref(a->settings);
	vmj_work_begin(&p->work, a, p->settings);
	p->work.guest = e->rec;
	return p;
}

static int submit(struct plugging *p)
{
	struct vmj_entry *e = p->entry;

	return vmj_pool_submit(e->agent->pool, vmj_lane(e->rec.job, VMJ_LANE_MAIN), plug_work,
			       plug_done, p);
}

void vmj_entry_settle_disks(struct vmj_entry *e)
{
	struct plugging *p = NULL;
	bool any = false;

	for (unsigned int i = 1; i < e->rec.n_disks; i++)
		any |= e->rec.disks[i].volume[0] != '\0';
	if (any && e->known && !e->busy && vmj_phase_alive(e->rec.phase))
		p = plugging_new(e, PLUG_SETTLE);
	if (p && submit(p) < 0)
		plugging_free(p);
}

/* --- what is asked for ----------------------------------------------------------------------- */

struct asked {
	char volume[VMJ_NAME_MAX + 1], storage[VMJ_NAME_MAX + 1];
	bool readonly;
};

static int read_asked(struct vmj_agent *a, const struct vmj_call *call, struct asked *ret,
		      struct vmj_error *err)
{
	const struct vmj_storage_config *s;
	struct vmj_json in;
	uint32_t job;
	int r;

	memset(ret, 0, sizeof(*ret));
	vmj_op_args(&in, vmj_op_find(call->op), call, &job, err);
	vmj_json_string(&in, "volume", VMJ_NEEDED, ret->volume, sizeof(ret->volume));
	vmj_json_string(&in, "storage", VMJ_OPTIONAL, ret->storage, sizeof(ret->storage));
	if (strcmp(call->op, "volume-attach") == 0)
		vmj_json_bool(&in, "readonly", VMJ_OPTIONAL, &ret->readonly);
	r = vmj_json_close(&in);
	if (r == 0)
		r = vmj_parse_name("the volume's name", ret->volume, err);
	if (r == 0)
		r = vmj_config_storage(a->settings->config, ret->storage[0] ? ret->storage : NULL,
				       &s, err);
	if (r == 0)
		memcpy(ret->storage, s->name, sizeof(ret->storage));
	return r;
}

static int check(const struct vmj_entry *e, struct vmj_error *err)
{
	int r = vmj_phase_check(&e->rec, VMJ_ACTION_PLUG, err);

	if (r == 0 && (e->plugging || e->detaching || e->busy))
		r = vmj_fail_user(err, EBUSY,
				  "guest %u is being given a volume, or asked for one: try again",
				  e->rec.job);
	return r;
}

/* The call is taken over. */
static void plug(struct vmj_entry *e, struct vmj_call *call, enum plug_kind kind,
		 const struct asked *q)
{
	struct plugging *p = plugging_new(e, kind);
	struct vmj_error err;

	if (p) {
		p->call = call;
		memcpy(p->storage, q->storage, sizeof(p->storage));
		memcpy(p->volume, q->volume, sizeof(p->volume));
		e->plugging = true;
		if (submit(p) == 0)
			return;
		plugging_free(p);
	}
	vmj_fail(&err, ENOMEM, "the agent has no memory left");
	vmj_call_fail(call, &err);
}

VMJ_OP_HANDLER(volume_attach)
{
	struct vmj_guest_disk *d;
	struct vmj_error err;
	struct asked q;
	int r = read_asked(a, call, &q, &err);

	if (r == 0)
		r = check(e, &err);
	if (r == 0)
		r = vmj_plug_plan(&e->rec, q.storage, q.volume, q.readonly, &err);
	if (r < 0) {
		vmj_call_fail(call, &err);
		return;
	}
	plug(e, call, PLUG_ATTACH, &q);
	d = vmj_guest_disk_of(&e->rec, q.storage, q.volume);
	if (!e->plugging && d)
		vmj_guest_disk_forget(&e->rec, d);
}

static int check_detach(struct vmj_entry *e, const struct asked *q, struct vmj_error *err)
{
	struct vmj_guest_disk *d = vmj_guest_disk_of(&e->rec, q->storage, q->volume);

	if (!d)
		return vmj_fail_user(err, ENOENT, "guest %u has no volume \"%s\" of storage %s",
				     e->rec.job, q->volume, q->storage);
	if (d == &e->rec.disks[0])
		return vmj_fail_user(err, EINVAL,
				     "volume \"%s\" is the root disk of guest %u: stop the guest",
				     q->volume, e->rec.job);
	return 0;
}

VMJ_OP_HANDLER(volume_detach)
{
	struct vmj_error err;
	struct asked q;
	int r = read_asked(a, call, &q, &err);

	if (r == 0)
		r = check(e, &err);
	if (r == 0)
		r = check_detach(e, &q, &err);
	if (r < 0)
		vmj_call_fail(call, &err);
	else
		plug(e, call, PLUG_DETACH, &q);
}
