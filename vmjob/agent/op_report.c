/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * list, show, host: what is here.
 *
 * Statistics and the state of storage are asked for only now, by workers, and a report waits for
 * them a bounded time: a guest or a file server that does not answer is shown without.
 */
#include "vmjob/agent/ops.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <systemd/sd-event.h>
#include <time.h>
#include <unistd.h>

#include "vmj-autoconf.h"
#include "vmjob/agent/disk_report.h"
#include "vmjob/agent/phase.h"
#include "vmjob/agent/ready.h"
#include "vmjob/agent/space.h"
#include "vmjob/base/cleanup.h"
#include "vmjob/model/json.h"
#include "vmjob/storage/image.h"
#include "vmjob/storage/layout.h"
#include "vmjob/host/topology.h"
#include "vmjob/wire/frame.h"

#define PATIENCE_US    (2 * 1000000ull)
#define STATS_FRESH_US 1000000
#define WAITING_MAX    4 /* tasks of a lane beyond which a report does not ask again */
#define LIST_BYTES_MAX (VMJ_FRAME_MAX - 4096)

struct report {
	struct vmj_agent *agent;
	struct vmj_call *call; /* NULL: answered */
	uid_t uid;             /* who asks */
	unsigned int refs;     /* of the tasks, and one until all are submitted */
	uint32_t job;          /* show: of this one */
	struct json_object *(*make)(struct report *r);
	sd_event_source *timer;
	struct json_object *storages; /* host */
	unsigned int n_disks;         /* show */
	struct vmj_disk_figures disks[VMJ_GUEST_DISKS_MAX];
};

/* --- waiting --------------------------------------------------------------------------------- */

static void report_answer(struct report *r)
{
	struct vmj_call *call = r->call;
	struct json_object *o = call ? r->make(r) : NULL; /* looks at who called */

	r->timer = sd_event_source_disable_unref(r->timer);
	r->call = NULL;
	if (call)
		vmj_call_ok(call, o);
}

static void report_unref(struct report *r)
{
	if (--r->refs)
		return;
	report_answer(r);
	json_object_put(r->storages);
	free(r);
}

static int on_timer(sd_event_source *s, uint64_t usec, void *arg)
{
	report_answer(arg);
	return 0;
}

static struct report *report_new(struct vmj_agent *a, struct vmj_call *call, uint32_t job,
				 struct json_object *(*make)(struct report *r))
{
	struct report *r = calloc(1, sizeof(*r));
	struct vmj_error err;

	if (!r || sd_event_add_time_relative(a->loop, &r->timer, CLOCK_MONOTONIC, PATIENCE_US, 0,
					     on_timer, r) < 0) {
		vmj_fail(&err, ENOMEM, "the agent has no memory left");
		vmj_call_fail(call, &err);
		free(r);
		return NULL;
	}
	r->agent = a;
	r->call = call;
	r->uid = call->peer.uid;
	r->refs = 1;
	r->job = job;
	r->make = make;
	return r;
}

/* --- statistics of guests -------------------------------------------------------------------- */

struct stats_task {
	struct report *report;
	struct vmj_entry *entry;
	struct vmj_virt_stats stats;
	int r;
};

static void stats_work(void *arg)
{
	struct stats_task *t = arg;

	t->r = vmj_virt_stats(t->entry->agent->virt, t->entry->rec.job, &t->stats, NULL);
}

static void stats_done(void *arg)
{
	struct stats_task *t = arg;

	if (t->r == 0) {
		t->entry->stats = t->stats;
		t->entry->stats_us = vmj_now_us();
	}
	report_unref(t->report);
	vmj_entry_unref(t->entry);
	free(t);
}

static void ask_stats(struct report *r, struct vmj_entry *e)
{
	uint64_t lane = vmj_lane(e->rec.job, VMJ_LANE_ASIDE);
	struct stats_task *t;

	if (!vmj_phase_alive(e->rec.phase) || !vmj_ready(r->agent->ready) ||
	    vmj_now_us() - e->stats_us < STATS_FRESH_US ||
	    vmj_pool_load(r->agent->pool, lane) >= WAITING_MAX)
		return;
	t = calloc(1, sizeof(*t));
	if (!t)
		return;
	t->report = r;
	t->entry = vmj_entry_ref(e);
	r->refs++;
	if (vmj_pool_submit(r->agent->pool, lane, stats_work, stats_done, t) == 0)
		return;
	r->refs--;
	vmj_entry_unref(e);
	free(t);
}

static struct json_object *stats_json(const struct vmj_entry *e)
{
	const struct vmj_virt_stats *s = &e->stats;
	const struct {
		const char *name;
		uint64_t value;
	} members[] = {
		{"cpu_ns", s->cpu_ns},
		{"rss_kib", s->rss_kib},
		{"balloon_available_kib", s->balloon_available_kib},
		{"balloon_unused_kib", s->balloon_unused_kib},
		{"rd_bytes", s->rd_bytes},
		{"wr_bytes", s->wr_bytes},
		{"rx_bytes", s->rx_bytes},
		{"tx_bytes", s->tx_bytes},
	};
	struct json_object *o = json_object_new_object();

	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		json_object_object_add(o, members[i].name,
				       json_object_new_uint64(members[i].value));
	json_object_object_add(o, "time_us", json_object_new_int64(e->stats_us));
	return o;
}

/* --- disks of a guest ------------------------------------------------------------------------ */

struct disks_task {
	struct report *report;
	unsigned int n;
	struct vmj_guest_disk disks[VMJ_GUEST_DISKS_MAX];
	struct vmj_disk_figures figures[VMJ_GUEST_DISKS_MAX];
};

static void disks_work(void *arg)
{
	struct disks_task *t = arg;

	for (unsigned int i = 0; i < t->n; i++)
		vmj_disk_figures(&t->disks[i], &t->figures[i]);
}

static void disks_done(void *arg)
{
	struct disks_task *t = arg;

	t->report->n_disks = t->n;
	memcpy(t->report->disks, t->figures, sizeof(t->figures));
	report_unref(t->report);
	free(t);
}

static void ask_disks(struct report *r, struct vmj_entry *e)
{
	uint64_t lane = vmj_lane(e->rec.job, VMJ_LANE_ASIDE);
	struct disks_task *t;

	if (!e->rec.n_disks || vmj_pool_load(r->agent->pool, lane) >= WAITING_MAX)
		return;
	t = calloc(1, sizeof(*t));
	if (!t)
		return;
	t->report = r;
	t->n = e->rec.n_disks;
	memcpy(t->disks, e->rec.disks, sizeof(t->disks));
	r->refs++;
	if (vmj_pool_submit(r->agent->pool, lane, disks_work, disks_done, t) == 0)
		return;
	r->refs--;
	free(t);
}

static void add_disks(const struct report *r, const struct vmj_guest *g, struct json_object *guest)
{
	struct json_object *disks = json_object_object_get(guest, "disks");

	for (unsigned int i = 0; i < g->n_disks; i++)
		vmj_disk_figures_add(json_object_array_get_idx(disks, i), &g->disks[i],
				     i < r->n_disks ? &r->disks[i] : NULL);
}

/* --- list and show --------------------------------------------------------------------------- */

static struct json_object *guest_json(const struct vmj_entry *e)
{
	struct json_object *o = vmj_guest_to_json(&e->rec);

	if (!o)
		return NULL;
	json_object_object_add(o, "claimed", json_object_new_boolean(e->claim.conn != NULL));
	if (e->rec.phase == VMJ_PHASE_PAUSED)
		vmj_json_put_string(o, "reason",
				    vmj_pause_name(e->rec.pause ? e->rec.pause : VMJ_PAUSE_USER));
	if (e->rec.phase == VMJ_PHASE_PAUSED && e->stall.text[0])
		vmj_json_put_string(o, "reason_text", e->stall.text);
	if (e->stats_us)
		json_object_object_add(o, "stats", stats_json(e));
	return o;
}

static bool visible(const struct report *r, const struct vmj_entry *e)
{
	return e->known &&
	       (vmj_settings_trusts(r->agent->settings, r->uid) || r->uid == e->rec.uid);
}

/* In a list nobody looks for them, and they would leave room for fewer guests. */
static void leave_keys_out(struct json_object *guest)
{
	struct json_object *request;

	if (json_object_object_get_ex(guest, "request", &request))
		json_object_object_del(request, "ssh_keys");
}

/* As many as a frame holds. */
static struct json_object *make_list(struct report *r)
{
	struct json_object *o = json_object_new_object(), *list = json_object_new_array();
	struct vmj_entry *e;
	size_t bytes = 0;

	for (e = vmj_guests_first(r->agent->guests); e; e = LIST_NEXT(e, link)) {
		struct json_object *g = visible(r, e) ? guest_json(e) : NULL;

		if (!g)
			continue;
		leave_keys_out(g);
		bytes += 1 + strlen(json_object_to_json_string_ext(g, JSON_C_TO_STRING_PLAIN));
		if (bytes > LIST_BYTES_MAX) {
			json_object_object_add(o, "truncated", json_object_new_boolean(1));
			json_object_put(g);
			break;
		}
		json_object_array_add(list, g);
	}
	json_object_object_add(o, "guests", list);
	return o;
}

VMJ_OP_HANDLER(list)
{
	struct report *r = report_new(a, call, 0, make_list);

	if (!r)
		return;
	for (e = vmj_guests_first(a->guests); e; e = LIST_NEXT(e, link))
		if (visible(r, e))
			ask_stats(r, e);
	report_unref(r);
}

static struct json_object *make_show(struct report *r)
{
	struct vmj_entry *e = vmj_guests_find(r->agent->guests, r->job);
	struct json_object *o = json_object_new_object();
	struct json_object *guest = e ? guest_json(e) : NULL;

	if (guest) {
		add_disks(r, &e->rec, guest);
		json_object_object_add(o, "guest", guest);
		json_object_object_add(o, "stats", e->stats_us ? stats_json(e) : NULL);
	}
	return o;
}

VMJ_OP_HANDLER(show)
{
	struct report *r = report_new(a, call, job, make_show);

	if (!r)
		return;
	ask_stats(r, e);
	ask_disks(r, e);
	report_unref(r);
}

/* --- host ------------------------------------------------------------------------------------ */

/* One thing of the host that may not answer: a storage, or libvirt about KVM. */
struct host_task {
	struct report *report;
	struct vmj_agent *agent;
	struct vmj_storage_config storage; /* name "": libvirt */
	struct json_object *shown;         /* the storage, as the report has it */
	bool kvm;
	int r;
	struct vmj_error err;
};

static void host_work(void *arg)
{
	struct host_task *t = arg;

	if (t->storage.name[0])
		t->r = vmj_storage_check(t->storage.path, &t->err);
	else
		t->r = vmj_virt_has_kvm(t->agent->virt, &t->kvm, &t->err);
}

/* Until then the storage is shown as one that does not answer. */
static void host_done(void *arg)
{
	struct host_task *t = arg;

	if (!t->shown && t->r == 0)
		t->agent->kvm = t->kvm;
	if (t->shown) {
		json_object_object_add(t->shown, "ok", json_object_new_boolean(t->r == 0));
		json_object_object_del(t->shown, "error");
		if (t->r < 0)
			json_object_object_add(t->shown, "error",
					       json_object_new_string(t->err.text));
		json_object_put(t->shown);
	}
	report_unref(t->report);
	free(t);
}

static void add_space(struct vmj_agent *a, struct json_object *o, const char *path)
{
	struct vmj_capacity room;
	enum vmj_watermark mark;

	if (!vmj_spaces_find(a->spaces, path, &room, &mark))
		return;
	vmj_json_put_string(o, "space", vmj_watermark_name(mark));
	vmj_json_put_u64(o, "size_bytes", room.total_bytes);
	vmj_json_put_u64(o, "free_bytes", room.free_bytes);
}

static struct json_object *show_storage(struct report *r, const struct vmj_storage_config *storage)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "name", json_object_new_string(storage->name));
	json_object_object_add(o, "path", json_object_new_string(storage->path));
	json_object_object_add(o, "ok", json_object_new_boolean(0));
	json_object_object_add(o, "error", json_object_new_string("it does not answer"));
	add_space(r->agent, o, storage->path);
	json_object_array_add(r->storages, o);
	return json_object_get(o);
}

static void ask_host(struct report *r, uint64_t lane, const struct vmj_storage_config *storage)
{
	struct host_task *t = calloc(1, sizeof(*t));

	if (!t)
		return;
	t->report = r;
	t->agent = r->agent;
	if (storage) {
		t->storage = *storage;
		t->shown = show_storage(r, storage);
	}
	r->refs++;
	if (vmj_pool_load(r->agent->pool, lane) < WAITING_MAX &&
	    vmj_pool_submit(r->agent->pool, lane, host_work, host_done, t) == 0)
		return;
	r->refs--;
	json_object_put(t->shown);
	free(t);
}

static void count_guests(struct vmj_agent *a, struct json_object *o)
{
	unsigned int n[VMJ_PHASE_COUNT_] = {0};
	struct json_object *counts = json_object_new_object();
	struct vmj_entry *e;

	for (e = vmj_guests_first(a->guests); e; e = LIST_NEXT(e, link))
		n[e->rec.phase] += e->known;
	for (unsigned int p = 0; p < VMJ_PHASE_COUNT_; p++)
		json_object_object_add(counts, vmj_phase_name(p), json_object_new_int64(n[p]));
	json_object_object_add(o, "guests", counts);
}

static void add_scratch(struct vmj_agent *a, struct json_object *o)
{
	struct json_object *scratch = json_object_new_object();
	struct statvfs fs;

	json_object_object_add(scratch, "path", json_object_new_string(a->dir));
	if (statvfs(a->dir, &fs) == 0) {
		json_object_object_add(
			scratch, "free_mib",
			json_object_new_uint64((uint64_t)fs.f_bavail * fs.f_frsize >> 20));
		json_object_object_add(
			scratch, "size_mib",
			json_object_new_uint64((uint64_t)fs.f_blocks * fs.f_frsize >> 20));
	}
	json_object_object_add(o, "scratch", scratch);
}

static struct json_object *make_host(struct report *r)
{
	struct json_object *o = json_object_new_object(), *answer = json_object_new_object();
	struct vmj_agent *a = r->agent;
	struct sysinfo info = {0};

	sysinfo(&info);
	json_object_object_add(o, "name", json_object_new_string(a->host));
	json_object_object_add(o, "version", json_object_new_string(PACKAGE_VERSION));
	json_object_object_add(o, "pid", json_object_new_int(getpid()));
	json_object_object_add(o, "started_us", json_object_new_int64(a->started_us));
	json_object_object_add(o, "boot_id", json_object_new_string(a->boot_id));
	json_object_object_add(o, "cpus", json_object_new_int64(vmj_topology_pus(a->topology)));
	json_object_object_add(
		o, "memory_mib",
		json_object_new_uint64((uint64_t)info.totalram * info.mem_unit >> 20));
	json_object_object_add(o, "libvirt", json_object_new_boolean(vmj_ready(a->ready)));
	json_object_object_add(o, "kvm", json_object_new_boolean(a->kvm));
	json_object_object_add(o, "storages", json_object_get(r->storages));
	add_scratch(a, o);
	count_guests(a, o);
	json_object_object_add(answer, "host", o);
	return answer;
}

VMJ_OP_HANDLER(host)
{
	struct report *r = report_new(a, call, 0, make_host);
	const struct vmj_config *config = a->settings->config;

	if (!r)
		return;
	r->storages = json_object_new_array();
	if (vmj_ready(a->ready))
		ask_host(r, VMJ_LANE_HOST, NULL);
	for (unsigned int i = 0; i < config->n_storages; i++)
		ask_host(r, VMJ_LANE_STORAGE(i), &config->storages[i]);
	report_unref(r);
}
