/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/agent/guests.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-event.h>
#include <time.h>

#include "vmjob/agent/console.h"
#include "vmjob/agent/eventlog.h"
#include "vmjob/agent/pause.h"
#include "vmjob/agent/phase.h"
#include "vmjob/agent/turn.h"
#include "vmjob/base/cleanup.h"
#include "vmjob/base/file.h"
#include "vmjob/base/log.h"

#define REBOOT_EVENTS_US 2000000 /* events of resets this near to each other are of one reboot */

#define DESTROYS_MAX 4 /* under way: one more would not help */

struct vmj_guests {
	struct vmj_agent *agent;
	LIST_HEAD(, vmj_entry) entries;
};

/* --- the table ------------------------------------------------------------------------------- */

int vmj_guests_new(struct vmj_agent *agent, struct vmj_guests **ret, struct vmj_error *err)
{
	struct vmj_guests *g = calloc(1, sizeof(*g));

	if (!g)
		return vmj_fail(err, ENOMEM, "no memory for the guests");
	g->agent = agent;
	LIST_INIT(&g->entries);
	*ret = g;
	return 0;
}

static void entry_free(struct vmj_entry *e)
{
	vmj_conn_detach(&e->claim);
	vmj_console_free(e->console);
	vmj_detaching_free(e->detaching);
	vmj_turn_drop_all(e);
	sd_event_source_disable_unref(e->deadline);
	sd_event_source_disable_unref(e->press);
	free(e);
}

void vmj_guests_free(struct vmj_guests *g)
{
	struct vmj_entry *e;

	if (!g)
		return;
	while ((e = LIST_FIRST(&g->entries))) {
		LIST_REMOVE(e, link);
		entry_free(e);
	}
	free(g);
}

struct vmj_entry *vmj_guests_first(struct vmj_guests *g)
{
	return LIST_FIRST(&g->entries);
}

static struct vmj_entry *find_any(struct vmj_guests *g, uint32_t job)
{
	struct vmj_entry *e;

	LIST_FOREACH (e, &g->entries, link)
		if (e->rec.job == job)
			return e;
	return NULL;
}

struct vmj_entry *vmj_guests_find(struct vmj_guests *g, uint32_t job)
{
	struct vmj_entry *e = find_any(g, job);

	return e && e->known ? e : NULL;
}

/* The step's connection is gone; the guest goes on until the step is back or the epilog comes. */
static void claim_closed(struct vmj_attachment *a)
{
}

struct vmj_entry *vmj_guests_get(struct vmj_guests *g, uint32_t job)
{
	struct vmj_entry *e = find_any(g, job);

	if (e)
		return e;
	e = calloc(1, sizeof(*e));
	if (!e)
		return NULL;
	e->agent = g->agent;
	e->refs = 1;
	e->rec.job = job;
	e->claim.closed = claim_closed;
	STAILQ_INIT(&e->turns);
	LIST_INSERT_HEAD(&g->entries, e, link);
	return e;
}

struct vmj_entry *vmj_entry_ref(struct vmj_entry *e)
{
	e->refs++;
	return e;
}

void vmj_entry_unref(struct vmj_entry *e)
{
	if (--e->refs == 0)
		entry_free(e);
}

void vmj_entry_settle(struct vmj_entry *e)
{
	if (e->known || e->busy || !STAILQ_EMPTY(&e->turns))
		return;
	LIST_REMOVE(e, link);
	vmj_entry_unref(e);
}

/* --- the record ------------------------------------------------------------------------------ */

struct saving {
	struct vmj_entry *entry;
	struct vmj_guest rec;
	int r;
	struct vmj_error err;
};

static void save_work(void *arg)
{
	struct saving *s = arg;

	s->r = vmj_record_write(s->entry->agent->dir, &s->rec, &s->err);
}

static void save_done(void *arg)
{
	struct saving *s = arg;
	struct vmj_entry *e = s->entry;

	if (s->r < 0)
		vmj_log_warning("guest %u: %s", s->rec.job, s->err.text);
	free(s);
	e->saving = false;
	if (e->save_again)
		vmj_entry_save(e);
	vmj_entry_unref(e);
}

void vmj_entry_save(struct vmj_entry *e)
{
	struct saving *s;

	e->save_again = e->saving;
	if (e->saving || e->busy || !e->known)
		return;
	s = calloc(1, sizeof(*s));
	if (!s)
		return;
	s->entry = vmj_entry_ref(e);
	s->rec = e->rec;
	e->saving = true;
	if (vmj_pool_submit(e->agent->pool, vmj_lane(e->rec.job, VMJ_LANE_MAIN), save_work,
			    save_done, s) == 0)
		return;
	vmj_log_warning("guest %u: its record could not be written", e->rec.job);
	e->saving = false;
	vmj_entry_unref(e);
	free(s);
}

static bool become(struct vmj_entry *e, enum vmj_phase phase)
{
	if (e->busy || !e->known || e->rec.phase == phase ||
	    !vmj_phase_may_become(e->rec.phase, phase))
		return false;
	e->rec.phase = phase;
	e->deadline = sd_event_source_disable_unref(e->deadline);
	e->press = sd_event_source_disable_unref(e->press);
	return true;
}

bool vmj_entry_become(struct vmj_entry *e, enum vmj_phase phase)
{
	if (!become(e, phase))
		return false;
	vmj_entry_save(e);
	return true;
}

/* --- telling --------------------------------------------------------------------------------- */

void vmj_entry_tell(struct vmj_entry *e, const char *event, struct json_object *more)
{
	if (!e->claim.conn) {
		json_object_put(more);
		return;
	}
	if (!more)
		more = json_object_new_object();
	json_object_object_add(more, "event", json_object_new_string(event));
	vmj_conn_send(e->claim.conn, more);
}

void vmj_entry_tell_ended(struct vmj_entry *e)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "end", json_object_new_string(vmj_end_name(e->rec.end)));
	json_object_object_add(o, "text", json_object_new_string(vmj_end_text(e->rec.end)));
	vmj_entry_tell(e, "ended", o);
}

static void log_event(struct vmj_entry *e, const char *what, const char *text)
{
	vmj_eventlog_add(e->agent->events, e->rec.job, e->rec.uid, what, "%s", text);
}

/* --- what happened --------------------------------------------------------------------------- */

void vmj_entry_ended(struct vmj_entry *e, enum vmj_end end)
{
	if (!become(e, VMJ_PHASE_ENDED))
		return;
	e->rec.end = end;
	e->rec.end_us = vmj_now_us();
	e->rec.pid = 0;
	vmj_entry_save(e);
	log_event(e, "ended", vmj_end_text(end));
	vmj_entry_tell_ended(e);
	vmj_console_end(e->console);
	vmj_detaching_free(e->detaching);
}

/* One reset of the machine makes several events, since firmware resets it again in other ways. */
static void entry_rebooted(struct vmj_entry *e)
{
	int64_t now = vmj_now_us();
	bool same = e->rebooted_us && now - e->rebooted_us < REBOOT_EVENTS_US;

	e->rebooted_us = now;
	if (same)
		return;
	log_event(e, "rebooted", "rebooted");
	vmj_entry_tell(e, "rebooted", NULL);
}

struct ending {
	struct vmj_entry *entry;
	enum vmj_end end;
	pid_t pid;
	struct vmj_virt_info info;
	int r;
};

static void ending_work(void *arg)
{
	struct ending *n = arg;

	n->r = vmj_virt_info(n->entry->agent->virt, n->entry->rec.job, &n->info, NULL);
}

static void ending_done(void *arg)
{
	struct ending *n = arg;

	if (n->r == 0 && n->info.state == VMJ_VIRT_GONE && n->entry->rec.pid == n->pid)
		vmj_entry_ended(n->entry, n->end);
	vmj_entry_unref(n->entry);
	free(n);
}

/* Its QEMU lives: either the event is of the last run, or QEMU hangs in the kernel where not even
 * SIGKILL ends it. libvirt knows. */
static void ask_whether_ended(struct vmj_entry *e, enum vmj_end end)
{
	struct ending *n = calloc(1, sizeof(*n));

	if (!n)
		return;
	n->entry = vmj_entry_ref(e);
	n->end = end;
	n->pid = e->rec.pid;
	if (vmj_pool_submit(e->agent->pool, vmj_lane(e->rec.job, VMJ_LANE_END), ending_work,
			    ending_done, n) == 0)
		return;
	vmj_entry_unref(e);
	free(n);
}

void vmj_guests_event(struct vmj_guests *g, uint32_t job, enum vmj_virt_event event,
		      enum vmj_end end)
{
	struct vmj_entry *e = vmj_guests_find(g, job);

	if (!e || e->busy)
		return;
	switch (event) {
	case VMJ_VIRT_ENDED:
		/* It names a domain by its job only, and may be of the job's last run. */
		if (vmj_virt_process_lives(e->rec.pid, e->rec.job))
			ask_whether_ended(e, end);
		else
			vmj_entry_ended(e, end);
		break;
	case VMJ_VIRT_PAUSED:
	case VMJ_VIRT_PAUSED_IO:
		vmj_entry_paused(e, event == VMJ_VIRT_PAUSED ? VMJ_PAUSE_USER : VMJ_PAUSE_IO);
		break;
	case VMJ_VIRT_RESUMED:
		vmj_entry_resumed(e);
		break;
	case VMJ_VIRT_REBOOTED:
		entry_rebooted(e);
		break;
	case VMJ_VIRT_WATCHDOG:
		log_event(e, "watchdog", "its watchdog fired");
		vmj_entry_tell(e, "watchdog", NULL);
		break;
	case VMJ_VIRT_DISK_REMOVED:
		vmj_entry_settle_disks(e);
		break;
	case VMJ_VIRT_STARTED:
	case VMJ_VIRT_AGENT_UP:
	case VMJ_VIRT_AGENT_DOWN:
		break;
	}
}

/* --- ending ---------------------------------------------------------------------------------- */

struct destroying {
	struct vmj_entry *entry;
	int r;
	struct vmj_error err;
};

static void destroy_work(void *arg)
{
	struct destroying *d = arg;

	d->r = vmj_virt_destroy(d->entry->agent->virt, d->entry->rec.job, &d->err);
}

static void destroy_done(void *arg)
{
	struct destroying *d = arg;

	if (d->r < 0) {
		vmj_log_warning("guest %u: %s", d->entry->rec.job, d->err.text);
		vmj_entry_set_deadline(d->entry, 5);
	}
	vmj_entry_unref(d->entry);
	free(d);
}

void vmj_entry_destroy(struct vmj_entry *e)
{
	struct destroying *d;

	if (vmj_pool_load(e->agent->pool, vmj_lane(e->rec.job, VMJ_LANE_END)) >= DESTROYS_MAX)
		return;
	d = calloc(1, sizeof(*d));
	if (!d)
		return;
	d->entry = vmj_entry_ref(e);
	if (vmj_pool_submit(e->agent->pool, vmj_lane(e->rec.job, VMJ_LANE_END), destroy_work,
			    destroy_done, d) == 0)
		return;
	vmj_entry_unref(e);
	free(d);
}

static int on_deadline(sd_event_source *s, uint64_t usec, void *arg)
{
	struct vmj_entry *e = arg;

	e->deadline = sd_event_source_disable_unref(e->deadline);
	vmj_log_info("guest %u did not end in time: it is destroyed", e->rec.job);
	vmj_entry_destroy(e);
	return 0;
}

void vmj_entry_set_deadline(struct vmj_entry *e, uint32_t seconds)
{
	uint64_t now, at, earlier;

	if (!e->known || e->busy || e->rec.phase != VMJ_PHASE_STOPPING)
		return;
	sd_event_now(e->agent->loop, CLOCK_MONOTONIC, &now);
	at = now + seconds * 1000000ull;
	if (e->deadline && sd_event_source_get_time(e->deadline, &earlier) >= 0 && earlier <= at)
		return;
	e->deadline = sd_event_source_disable_unref(e->deadline);
	if (sd_event_add_time(e->agent->loop, &e->deadline, CLOCK_MONOTONIC, at, 50000, on_deadline,
			      e) < 0)
		vmj_entry_destroy(e);
}
