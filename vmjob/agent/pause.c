/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/agent/pause.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <systemd/sd-event.h>
#include <time.h>

#include "vmjob/agent/eventlog.h"
#include "vmjob/agent/ops.h"
#include "vmjob/agent/phase.h"
#include "vmjob/agent/volumes.h"
#include "vmjob/base/log.h"
#include "vmjob/host/virt_disk.h"
#include "vmjob/storage/layout.h"

#define TICK_US     (2 * 1000000ull)
#define BACKOFF_MAX 5                /* doublings of TICK_US: about a minute */
#define CALM_US     (60 * 1000000ll) /* ran so long: the next pause is another matter */
#define LANE_LOCAL  VMJ_LANE_STORAGE(VMJ_CONFIG_ITEMS_MAX)

/* One storage being looked at, for all the guests that wait for it. */
struct probe {
	LIST_ENTRY(probe) link;
	struct vmj_agent *agent;
	char storage[VMJ_NAME_MAX + 1]; /* "": this host's scratch */
	char path[VMJ_GUEST_PATH_MAX];
	bool ask; /* whether it answers, not only for room */
	bool answers, room;
};

struct vmj_pauses {
	struct vmj_agent *agent;
	sd_event_source *timer; /* NULL: nobody waits */
	LIST_HEAD(, probe) probes;
};

int vmj_pauses_new(struct vmj_agent *agent, struct vmj_pauses **ret, struct vmj_error *err)
{
	struct vmj_pauses *p = calloc(1, sizeof(*p));

	if (!p)
		return vmj_fail(err, ENOMEM, "no memory for the agent");
	p->agent = agent;
	LIST_INIT(&p->probes);
	*ret = p;
	return 0;
}

void vmj_pauses_free(struct vmj_pauses *p)
{
	struct probe *probe;

	if (!p)
		return;
	sd_event_source_disable_unref(p->timer);
	while ((probe = LIST_FIRST(&p->probes))) {
		LIST_REMOVE(probe, link);
		free(probe);
	}
	free(p);
}

static bool is_stalled(const struct vmj_entry *e)
{
	return e->known && !e->busy && e->rec.phase == VMJ_PHASE_PAUSED &&
	       (e->rec.pause == VMJ_PAUSE_IO || e->rec.pause == VMJ_PAUSE_SPACE);
}

static int64_t monotonic_us(const struct vmj_agent *a)
{
	uint64_t now = 0;

	sd_event_now(a->loop, CLOCK_MONOTONIC, &now);
	return (int64_t)now;
}

/* --- looking at storages --------------------------------------------------------------------- */

static void probe_work(void *arg)
{
	struct probe *p = arg;
	struct statvfs fs;

	if (p->ask && p->storage[0] && vmj_storage_check(p->path, NULL) < 0)
		return;
	p->answers = true;
	if (statvfs(p->path, &fs) == 0)
		p->room = vmj_phase_room((uint64_t)fs.f_bavail * fs.f_frsize,
					 (uint64_t)fs.f_blocks * fs.f_frsize);
}

static void wait_longer(struct vmj_entry *e)
{
	e->stall.next_us = monotonic_us(e->agent) + (int64_t)(TICK_US << e->stall.tries);
	if (e->stall.tries < BACKOFF_MAX)
		e->stall.tries++;
}

struct going {
	struct vmj_entry *entry;
	struct vmj_settings *settings;
	struct vmj_work work;
	int r;
	struct vmj_error err;
};

static void going_free(struct going *n)
{
	n->entry->stall.going = false;
	vmj_settings_unref(n->settings);
	vmj_entry_unref(n->entry);
	free(n);
}

static void going_work(void *arg)
{
	struct going *n = arg;

	n->r = vmj_guest_volumes_retake(&n->work, &n->err);
}

static void going_done(void *arg)
{
	struct going *n = arg;
	struct vmj_entry *e = n->entry;

	if (n->r < 0)
		vmj_log_warning("guest %u does not go on: %s", e->rec.job, n->err.text);
	if (is_stalled(e) && n->r == 0) {
		vmj_ops_go_on(e);
	} else if (is_stalled(e) && n->r == -EBUSY) {
		vmj_eventlog_add(e->agent->events, e->rec.job, e->rec.uid, "lost",
				 "destroyed, since others have its volume: %s", n->err.text);
		vmj_entry_destroy(e);
	}
	going_free(n);
}

/* Not before it is seen that its volumes are still its own. */
static void go_on(struct vmj_entry *e)
{
	struct vmj_agent *a = e->agent;
	struct going *n = e->stall.going ? NULL : calloc(1, sizeof(*n));

	if (!n)
		return;
	e->stall.going = true;
	n->entry = vmj_entry_ref(e);
	n->settings = vmj_settings_ref(a->settings);
	vmj_work_begin(&n->work, a, n->settings);
	n->work.guest = e->rec;
	if (vmj_pool_submit(a->pool, vmj_lane(e->rec.job, VMJ_LANE_MAIN), going_work, going_done,
			    n) < 0)
		going_free(n);
}

static void probe_done(void *arg)
{
	struct probe *p = arg;
	struct vmj_entry *e, *next;

	LIST_REMOVE(p, link);
	for (e = vmj_guests_first(p->agent->guests); e; e = next) {
		bool full = e->rec.pause == VMJ_PAUSE_SPACE;

		next = LIST_NEXT(e, link);
		if (!is_stalled(e) || e->stall.asking || strcmp(e->stall.storage, p->storage) != 0)
			continue;
		if (full && !p->room)
			continue; /* at the next tick: this costs nothing */
		if (full || p->ask)
			wait_longer(e);
		if (full || p->answers)
			go_on(e);
	}
	free(p);
}

static struct probe *probe_of(struct vmj_pauses *s, const char *storage)
{
	struct probe *p;

	LIST_FOREACH (p, &s->probes, link)
		if (strcmp(p->storage, storage) == 0)
			return p;
	return NULL;
}

/* Where the storage is, and in which lane it is looked at; -ENOENT if vmjob.conf has it no more. */
static int locate(const struct vmj_agent *a, struct probe *p, uint64_t *ret_lane)
{
	const struct vmj_config *c = a->settings->config;
	const struct vmj_storage_config *storage;

	*ret_lane = LANE_LOCAL;
	snprintf(p->path, sizeof(p->path), "%s", a->dir);
	if (!p->storage[0])
		return 0;
	if (vmj_config_storage(c, p->storage, &storage, NULL) < 0)
		return -ENOENT;
	*ret_lane = VMJ_LANE_STORAGE((uint64_t)(storage - c->storages));
	snprintf(p->path, sizeof(p->path), "%s", storage->path);
	return 0;
}

static void probe_start(struct vmj_agent *a, const char *storage, bool ask)
{
	struct probe *p = calloc(1, sizeof(*p));
	uint64_t lane;

	if (!p)
		return;
	p->agent = a;
	p->ask = ask;
	snprintf(p->storage, sizeof(p->storage), "%s", storage);
	LIST_INSERT_HEAD(&a->pauses->probes, p, link);
	if (locate(a, p, &lane) == 0 &&
	    vmj_pool_submit(a->pool, lane, probe_work, probe_done, p) == 0)
		return;
	LIST_REMOVE(p, link);
	free(p);
}

/* Of those that wait for the storage and whose time has come, does one want an answer of it? */
static bool wants_answer(struct vmj_agent *a, const char *storage, int64_t now)
{
	struct vmj_entry *e;

	for (e = vmj_guests_first(a->guests); e; e = LIST_NEXT(e, link))
		if (is_stalled(e) && e->rec.pause == VMJ_PAUSE_IO && e->stall.next_us <= now &&
		    strcmp(e->stall.storage, storage) == 0)
			return true;
	return false;
}

static int on_tick(sd_event_source *s, uint64_t usec, void *arg)
{
	struct vmj_pauses *p = arg;
	int64_t now = monotonic_us(p->agent);
	struct vmj_entry *e;
	bool any = false;

	for (e = vmj_guests_first(p->agent->guests); e; e = LIST_NEXT(e, link)) {
		if (!is_stalled(e))
			continue;
		any = true;
		if (e->stall.asking || e->stall.next_us > now || probe_of(p, e->stall.storage))
			continue;
		probe_start(p->agent, e->stall.storage,
			    wants_answer(p->agent, e->stall.storage, now));
	}
	if (!any) {
		p->timer = sd_event_source_disable_unref(p->timer);
		return 0;
	}
	sd_event_source_set_time_relative(s, TICK_US);
	return sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
}

static void start_timer(struct vmj_pauses *p)
{
	if (!p->timer)
		sd_event_add_time_relative(p->agent->loop, &p->timer, CLOCK_MONOTONIC, TICK_US,
					   TICK_US / 10, on_tick, p);
}

/* --- why it stands still --------------------------------------------------------------------- */

struct asking {
	struct vmj_entry *entry;
	struct vmj_virt_disk disks[VMJ_VIRT_DISKS_MAX];
	unsigned int n;
};

static void asking_work(void *arg)
{
	struct asking *q = arg;

	if (vmj_virt_disk_errors(q->entry->agent->virt, q->entry->rec.job, q->disks, &q->n, NULL) <
	    0)
		q->n = 0;
}

/* NULL: a guest of an earlier version, or the seed. */
static const struct vmj_guest_disk *disk_at(const struct vmj_guest *g, const char *target)
{
	for (unsigned int i = 0; i < g->n_disks; i++)
		if (strcmp(g->disks[i].target, target) == 0)
			return &g->disks[i];
	return NULL;
}

static void describe(struct vmj_entry *e, const char *target, const struct vmj_guest_disk *d)
{
	bool full = e->rec.pause == VMJ_PAUSE_SPACE;
	char disk[2 * VMJ_NAME_MAX], place[2 * VMJ_NAME_MAX];

	snprintf(disk, sizeof(disk), "%s%s%s%s", target[0] ? "disk " : "a disk", target,
		 d && d->volume[0] ? ", volume " : "", d ? d->volume : "");
	snprintf(place, sizeof(place), "%s%s", d && d->storage[0] ? "storage " : "",
		 d && d->storage[0] ? d->storage : "the scratch directory of this host");
	if (full)
		snprintf(e->stall.text, sizeof(e->stall.text),
			 "paused: %s cannot grow, since %s is full; make room there, and the guest "
			 "goes on by itself",
			 disk, place);
	else
		snprintf(
			e->stall.text, sizeof(e->stall.text),
			"paused: %s cannot be read or written, since %s fails; the guest goes on by "
			"itself once that works again",
			disk, place);
}

static void tell_paused(struct vmj_entry *e, const char *text)
{
	struct json_object *o = json_object_new_object();

	vmj_eventlog_add(e->agent->events, e->rec.job, e->rec.uid, "paused", "%s", text);
	vmj_json_put_string(o, "reason", vmj_pause_name(e->rec.pause));
	vmj_json_put_string(o, "text", text);
	vmj_entry_tell(e, "paused", o);
}

static void asking_done(void *arg)
{
	struct asking *q = arg;
	struct vmj_entry *e = q->entry;
	const struct vmj_virt_disk *failed = q->n ? &q->disks[0] : NULL;
	const struct vmj_guest_disk *d;

	e->stall.asking = false;
	if (is_stalled(e)) {
		e->rec.pause = failed && failed->full ? VMJ_PAUSE_SPACE : VMJ_PAUSE_IO;
		d = disk_at(&e->rec, failed ? failed->target : "vda");
		snprintf(e->stall.storage, sizeof(e->stall.storage), "%s", d ? d->storage : "");
		describe(e, failed ? failed->target : "", d);
		wait_longer(e);
		vmj_entry_save(e);
		tell_paused(e, e->stall.text);
		start_timer(e->agent->pauses);
	}
	vmj_entry_unref(e);
	free(q);
}

void vmj_entry_stalled(struct vmj_entry *e)
{
	struct asking *q = is_stalled(e) && !e->stall.asking ? calloc(1, sizeof(*q)) : NULL;

	if (!q)
		return;
	if (monotonic_us(e->agent) - e->stall.resumed_us > CALM_US)
		e->stall.tries = 0;
	q->entry = vmj_entry_ref(e);
	e->stall.asking = true;
	if (vmj_pool_submit(e->agent->pool, vmj_lane(e->rec.job, VMJ_LANE_ASIDE), asking_work,
			    asking_done, q) == 0)
		return;
	asking_done(q);
}

/* --- pausing and going on -------------------------------------------------------------------- */

void vmj_entry_paused(struct vmj_entry *e, enum vmj_pause why)
{
	enum vmj_pause before = e->rec.pause;

	if (is_stalled(e) && why == VMJ_PAUSE_USER) {
		e->rec.pause = why;
		vmj_entry_save(e);
		tell_paused(e, "paused");
		return;
	}
	if (e->rec.phase != VMJ_PHASE_RUNNING)
		return;
	e->rec.pause = why;
	if (!vmj_entry_become(e, VMJ_PHASE_PAUSED)) {
		e->rec.pause = before;
		return;
	}
	if (why == VMJ_PAUSE_USER)
		tell_paused(e, "paused");
	else
		vmj_entry_stalled(e);
}

void vmj_entry_resumed(struct vmj_entry *e)
{
	enum vmj_pause before = e->rec.pause;

	if (e->rec.phase != VMJ_PHASE_PAUSED)
		return;
	e->rec.pause = VMJ_PAUSE_NONE;
	if (!vmj_entry_become(e, VMJ_PHASE_RUNNING)) {
		e->rec.pause = before;
		return;
	}
	e->stall.text[0] = '\0';
	e->stall.resumed_us = monotonic_us(e->agent);
	vmj_eventlog_add(e->agent->events, e->rec.job, e->rec.uid, "resumed", "resumed");
	vmj_entry_tell(e, "resumed", NULL);
}
