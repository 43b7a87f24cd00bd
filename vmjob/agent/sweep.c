/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/agent/sweep.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-event.h>
#include <time.h>

#include "vmjob/agent/guests.h"
#include "vmjob/agent/phase.h"
#include "vmjob/agent/turn.h"
#include "vmjob/base/cleanup.h"
#include "vmjob/base/log.h"
#include "vmjob/base/spawn.h"
#include "vmjob/storage/layout.h"
#include "vmjob/storage/lease.h"
#include "vmjob/storage/volume.h"

#define AGAIN_US    (30 * 1000000ull) /* a storage that did not answer */
#define SOON_US     (20 * 1000000ull) /* an epilog, and Slurm, have ended by then */
#define LATER_US    (60 * 1000000ull) /* jobs that were still ending */
#define SCONTROL_MS 30000

struct vmj_sweep {
	struct vmj_agent *agent;
	sd_event_source *again, *soon;
	bool collecting;
	char host[VMJ_NAME_MAX + 1];
};

int vmj_sweep_new(struct vmj_agent *agent, struct vmj_sweep **ret, struct vmj_error *err)
{
	struct vmj_sweep *s = calloc(1, sizeof(*s));

	if (!s)
		return vmj_fail(err, ENOMEM, "no memory for the agent");
	s->agent = agent;
	snprintf(s->host, sizeof(s->host), "%.63s", agent->host);
	*ret = s;
	return 0;
}

void vmj_sweep_free(struct vmj_sweep *s)
{
	if (!s)
		return;
	sd_event_source_disable_unref(s->again);
	sd_event_source_disable_unref(s->soon);
	free(s);
}

/* This start of the agent, at work. */
static struct vmj_lease_who me(const struct vmj_agent *a)
{
	return (struct vmj_lease_who){.host = a->sweep->host, .boot = a->boot_id, .agent = a->id};
}

/* --- leases ---------------------------------------------------------------------------------- */

struct leases {
	struct vmj_agent *agent;
	char storage[VMJ_NAME_MAX + 1], path[VMJ_CONFIG_PATH_MAX];
	struct vmj_lease_own *own;
	size_t n;
	int r;
	struct vmj_error err;
};

/* Its guest ended with the boot. */
static int give_back(struct leases *l, const struct vmj_lease_own *own, struct vmj_error *err)
{
	const struct vmj_lease_who who = {.host = l->agent->sweep->host,
					  .boot = own->lease.boot,
					  .agent = own->lease.agent,
					  .guest = true,
					  .job = own->lease.job};

	return vmj_lease_release(l->path, own->uid, own->volume, &who, err);
}

static void leases_work(void *arg)
{
	struct leases *l = arg;
	const struct vmj_lease_who who = me(l->agent);
	struct vmj_error why;

	l->r = vmj_storage_check(l->path, &l->err);
	if (l->r == 0)
		l->r = vmj_lease_mine(l->path, &who, &l->own, &l->n, &l->err);
	for (size_t i = 0; l->r == 0 && i < l->n; i++) {
		const struct vmj_lease_own *own = &l->own[i];

		if (!own->lease.guest || own->lease.state != VMJ_LEASE_LEFT)
			continue;
		vmj_log_info("volume %s of user %u in storage %s is given back: its guest %u ended "
			     "with this host's last boot",
			     own->volume, (unsigned int)own->uid, l->storage, own->lease.job);
		if (give_back(l, own, &why) < 0)
			vmj_log_warning("volume %s: %s", own->volume, why.text);
	}
}

/* For the release of a guest of which only this lease tells. */
static void note_disk(struct vmj_agent *a, const struct leases *l, const struct vmj_lease_own *own)
{
	struct vmj_entry *e = vmj_guests_get(a->guests, own->lease.job);
	struct vmj_guest_disk *d;

	if (!e || e->known || e->busy || !STAILQ_EMPTY(&e->turns) ||
	    e->rec.n_disks == VMJ_GUEST_DISKS_MAX)
		return;
	e->rec.uid = own->uid;
	snprintf(e->rec.host, sizeof(e->rec.host), "%s", a->sweep->host);
	snprintf(e->rec.boot_id, sizeof(e->rec.boot_id), "%s", a->boot_id);
	d = &e->rec.disks[e->rec.n_disks];
	*d = (struct vmj_guest_disk){.kind = VMJ_GUEST_DISK_VOLUME};
	vmj_guest_disk_set_target(d, e->rec.n_disks++);
	memcpy(d->storage, l->storage, sizeof(d->storage));
	memcpy(d->volume, own->volume, sizeof(d->volume));
}

static void release_unknown(struct vmj_agent *a)
{
	struct vmj_entry *e, *next;

	for (e = vmj_guests_first(a->guests); e; e = next) {
		next = LIST_NEXT(e, link);
		if (e->known || e->busy || !STAILQ_EMPTY(&e->turns) || !e->rec.n_disks)
			continue;
		vmj_log_warning("guest %u has %u volumes, and nobody knows it: they are given back",
				e->rec.job, e->rec.n_disks);
		vmj_turn_release(e, NULL);
	}
}

static int on_again(sd_event_source *s, uint64_t usec, void *arg)
{
	struct vmj_sweep *sweep = arg;

	sweep->again = sd_event_source_disable_unref(sweep->again);
	vmj_sweep_leases(sweep->agent);
	return 0;
}

static void leases_done(void *arg)
{
	struct leases *l = arg;
	struct vmj_agent *a = l->agent;

	for (size_t i = 0; l->r == 0 && i < l->n; i++)
		if (l->own[i].lease.guest && l->own[i].lease.state == VMJ_LEASE_MINE)
			note_disk(a, l, &l->own[i]);
	release_unknown(a);
	if (l->r < 0) {
		vmj_log_info("the leases of storage %s cannot be looked at yet: %s", l->storage,
			     l->err.text);
		if (!a->sweep->again)
			sd_event_add_time_relative(a->loop, &a->sweep->again, CLOCK_MONOTONIC,
						   AGAIN_US, AGAIN_US / 10, on_again, a->sweep);
	}
	free(l->own);
	free(l);
}

void vmj_sweep_leases(struct vmj_agent *a)
{
	const struct vmj_config *c = a->settings->config;

	for (unsigned int i = 0; i < c->n_storages; i++) {
		struct leases *l = calloc(1, sizeof(*l));

		if (!l)
			return;
		l->agent = a;
		snprintf(l->storage, sizeof(l->storage), "%s", c->storages[i].name);
		snprintf(l->path, sizeof(l->path), "%s", c->storages[i].path);
		if (vmj_pool_submit(a->pool, VMJ_LANE_STORAGE(i), leases_work, leases_done, l) < 0)
			free(l);
	}
}

/* --- volumes of jobs ------------------------------------------------------------------------- */

struct collecting {
	struct vmj_agent *agent;
	struct vmj_settings *settings;
	bool still_ending; /* some jobs */
};

/* What is not known for certain has not ended. */
static bool job_ended(uint32_t job, void *arg)
{
	struct collecting *c = arg;
	vmj_autofree char *output = NULL;
	struct vmj_error err = {0};
	char number[16];
	bool ended;
	int r;

	snprintf(number, sizeof(number), "%" PRIu32, job);
	r = vmj_spawn(&(struct vmj_spawn){.argv = (const char *const[]){"scontrol", "-o", "show",
									"job", number, NULL},
					  .ret_output = &output,
					  .timeout_ms = SCONTROL_MS},
		      &err);
	if (r < 0)
		return r == -EIO && strstr(err.text, "Invalid job id");
	ended = vmj_phase_job_over(output);
	c->still_ending |= !ended && strstr(output, "JobState=COMPLETING");
	return ended;
}

static void collect_work(void *arg)
{
	struct collecting *c = arg;
	const struct vmj_config *config = c->settings->config;
	const struct vmj_lease_who who = me(c->agent);

	for (unsigned int i = 0; i < config->n_storages; i++) {
		const char *path = config->storages[i].path;
		struct vmj_error err;
		unsigned int removed = 0;
		int r = vmj_storage_check(path, &err);

		if (r == 0)
			r = vmj_volume_collect(path, &who, job_ended, c, &removed, &err);
		if (r < 0)
			vmj_log_info("volumes of ended jobs in storage %s: %s",
				     config->storages[i].name, err.text);
		if (removed)
			vmj_log_info("%u volumes of ended jobs are removed from storage %s",
				     removed, config->storages[i].name);
	}
}

static void arm(struct vmj_sweep *s, uint64_t us);

static void collect_done(void *arg)
{
	struct collecting *c = arg;
	struct vmj_sweep *s = c->agent->sweep;

	s->collecting = false;
	if (c->still_ending)
		arm(s, LATER_US);
	vmj_settings_unref(c->settings);
	free(c);
}

static int on_soon(sd_event_source *source, uint64_t usec, void *arg)
{
	struct vmj_sweep *s = arg;
	struct collecting *c = calloc(1, sizeof(*c));

	s->soon = sd_event_source_disable_unref(s->soon);
	if (!c)
		return 0;
	c->agent = s->agent;
	c->settings = vmj_settings_ref(s->agent->settings);
	s->collecting = vmj_pool_submit(s->agent->pool, 0, collect_work, collect_done, c) == 0;
	if (!s->collecting) {
		vmj_settings_unref(c->settings);
		free(c);
	}
	return 0;
}

static void arm(struct vmj_sweep *s, uint64_t us)
{
	if (!s->soon && !s->collecting)
		sd_event_add_time_relative(s->agent->loop, &s->soon, CLOCK_MONOTONIC, us, us / 10,
					   on_soon, s);
}

void vmj_sweep_volumes_soon(struct vmj_agent *a)
{
	arm(a->sweep, SOON_US);
}
