/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The hosts of the simulation: power, agents, renewal, and what they do about volumes. */
#include <stdio.h>
#include <string.h>

#include "lease-world.h"

#define BOOT_MIN_MS 5000
#define GHOST_MS    12000 /* last words of what has died; less than booting twice and some more */

bool writes(const struct host *h, unsigned int volume)
{
	return h->up && h->uses[volume].doing == WRITING;
}

bool writes_any(const struct host *h)
{
	for (unsigned int v = 0; v < h->world->n_volumes; v++)
		if (writes(h, v))
			return true;
	return false;
}

/* --- agents ---------------------------------------------------------------------------------- */

static struct vmj_lease_record me(const struct host *h, const struct use *u)
{
	struct vmj_lease_record r = {.guest = u->guest,
				     .job = u->job,
				     .generation = h->generation,
				     .term = h->term,
				     .since = h->world->now / 1000};

	memcpy(r.host, h->name, sizeof(h->name));
	memcpy(r.boot, h->boot, sizeof(r.boot));
	memcpy(r.agent, h->agent, sizeof(r.agent));
	return r;
}

void become(struct host *h, unsigned int v, enum doing doing, int64_t wait)
{
	struct use *u = &h->uses[v];

	u->doing = doing;
	u->op_begun = false;
	u->next = h->world->now + wait;
}

static struct ghost *add_ghost(struct host *h, int64_t delay)
{
	struct world *w = h->world;

	if (w->n_ghosts == GHOSTS_MAX || chance(w, 50))
		return NULL;
	w->ghosts[w->n_ghosts] =
		(struct ghost){.at = w->now + (int64_t)rnd(w, (uint64_t)delay), .host = h};
	return &w->ghosts[w->n_ghosts++];
}

static struct vmj_lease_host next_record(struct host *h)
{
	struct vmj_lease_host r = {.generation = h->generation,
				   .seq = h->seq + 1,
				   .stop_after_ms = h->world->stop_after};

	memcpy(r.boot, h->boot, sizeof(r.boot));
	memcpy(r.agent, h->agent, sizeof(r.agent));
	return r;
}

/* What it had asked of the storage may still be done. Its work dies with it, its guests do not. */
void agent_dies(struct host *h)
{
	struct world *w = h->world;

	for (unsigned int v = 0; v < w->n_volumes; v++) {
		struct use *u = &h->uses[v];
		struct ghost *g = u->op_begun ? add_ghost(h, GHOST_MS) : NULL;

		if (g) {
			g->volume = v;
			g->op = u->op;
		}
		if (u->guest)
			u->op_begun = false;
		else
			become(h, v, IDLE, 0);
	}
	if (h->keeping == KEEP_WRITING || (h->registered && chance(w, 30))) {
		struct ghost *g = add_ghost(h, GHOST_MS);

		if (g) {
			g->renewal = true;
			g->record = next_record(h);
		}
	}
	h->agent_up = false;
	h->registered = false;
	memset(h->seen, 0, sizeof(h->seen));
	h->agent_next = w->now + some_time(w, 3000);
	note(w, "%s: the agent dies", h->name);
}

/* It finds its guests on record: what it was about begins again, or is undone. */
void agent_starts(struct host *h)
{
	struct world *w = h->world;

	snprintf(h->agent, sizeof(h->agent), "n%u-agent-%u", h->index + 1, ++h->agents);
	h->agent_up = true;
	h->keeping = KEEP_READING;
	h->keep_next = w->now + some_time(w, w->latency);
	for (unsigned int v = 0; v < w->n_volumes; v++) {
		struct use *u = &h->uses[v];
		enum doing doing = u->doing;

		if (doing == TAKING || doing == STARTING)
			doing = chance(w, 50) ? TAKING : RELEASING;
		if (doing == WRITING)
			continue;
		become(h, v, doing, some_time(w, w->hold_time));
	}
	note(w, "%s: the agent starts as %s", h->name, h->agent);
}

void power_off(struct host *h)
{
	struct world *w = h->world;

	if (h->agent_up)
		agent_dies(h);
	h->up = false;
	h->power_next = w->now + BOOT_MIN_MS + some_time(w, 20000);
	note(w, "%s: off", h->name);
}

/* Guests of the boot before are on record still, and are released or begun again. */
void power_on(struct host *h)
{
	struct world *w = h->world;

	h->up = true;
	h->boot_time = w->now;
	/* As far apart as they may be, mostly. */
	h->rate = 950000 + (chance(w, 80) ? 100000 * (int64_t)rnd(w, 2) : (int64_t)rnd(w, 100001));
	h->frozen_until = h->cut_until = 0;
	h->hold_until = 0;
	snprintf(h->boot, sizeof(h->boot), "n%u-boot-%u", h->index + 1, ++h->boots);
	for (unsigned int v = 0; v < w->n_volumes; v++)
		if (h->uses[v].doing != IDLE)
			become(h, v, RELEASING, 0);
	h->agent_up = false;
	h->agent_next = w->now + some_time(w, 500);
	note(w, "%s: boots as %s", h->name, h->boot);
}

/* --- renewal --------------------------------------------------------------------------------- */

static void keep_read(struct host *h)
{
	const struct registry *r = &h->world->registry[h->index];
	bool same_boot = r->exists && strcmp(r->record.boot, h->boot) == 0;

	h->seq = r->exists ? r->record.seq : 0;
	h->generation = !r->exists ? 1 : r->record.generation + !same_boot;
	h->keeping = KEEP_RESTING;
	h->keep_next = h->world->now;
}

/* Confirmed dead in this boot: nothing more is written, and all that holds leases stops. */
static void stop_guests(struct host *h, const char *why)
{
	struct world *w = h->world;

	for (unsigned int v = 0; v < w->n_volumes; v++) {
		if (!writes(h, v))
			continue;
		note(w, "%s: stops job %u on volume %u: %s", h->name, h->uses[v].job, v, why);
		become(h, v, h->uses[v].guest && chance(w, 50) ? TAKING : RELEASING,
		       some_time(w, w->hold_time));
	}
}

void put_record(struct world *w, unsigned int host, const struct vmj_lease_host *record)
{
	struct registry *r = &w->registry[host];

	if (r->exists && r->n_before < 4)
		r->before[r->n_before++] = r->record;
	r->exists = true;
	r->record = *record;
}

static void keep_write(struct host *h)
{
	struct world *w = h->world;
	struct vmj_lease_host r = next_record(h);

	if (w->registry[h->index].dead_boots & boot_bit(h->boot)) {
		stop_guests(h, "it is confirmed dead");
		h->hold_until = 0;
		h->keeping = KEEP_RESTING;
		h->keep_next = w->now + 10000;
		return;
	}
	put_record(w, h->index, &r);
	h->keeping = KEEP_ANSWER;
	h->keep_next = w->now + some_time(w, w->latency);
}

static void keep_answered(struct host *h)
{
	struct world *w = h->world;

	h->seq++;
	if (!h->registered || clock_of(h) >= h->hold_until)
		h->term = h->seq;
	h->hold_until = w->stop_after ? h->keep_begun + w->stop_after : NEVER;
	h->registered = true;
	h->keeping = KEEP_RESTING;
	h->keep_next = w->now + (w->stop_after ? w->stop_after / 6 : 3000);
}

void keep(struct host *h)
{
	switch (h->keeping) {
	case KEEP_READING:
		keep_read(h);
		break;
	case KEEP_RESTING:
		h->keeping = KEEP_WRITING;
		h->keep_begun = clock_of(h);
		h->keep_next = h->world->now + some_time(h->world, h->world->latency);
		break;
	case KEEP_WRITING:
		keep_write(h);
		break;
	case KEEP_ANSWER:
		keep_answered(h);
		break;
	}
}

/* --- use of volumes -------------------------------------------------------------------------- */

static void taken(struct host *h, unsigned int v)
{
	struct world *w = h->world;
	struct use *u = &h->uses[v];

	note(w, "%s: %s volume %u for job %u: state %d, epoch %u (of %s job %u)", h->name,
	     u->guest ? "takes" : "works on", v, u->job, u->op.state, u->op.epoch, u->op.other.host,
	     u->op.other.job);
	if (u->op.state == VMJ_LEASE_MINE) {
		w->takes++;
		w->takeovers += u->op.judged != VMJ_LEASE_MINE && u->op.judged != VMJ_LEASE_FREE;
		become(h, v, STARTING, some_time(w, w->latency));
	} else if (u->guest && chance(w, 50)) {
		become(h, v, RELEASING, some_time(w, w->latency));
	} else {
		become(h, v, IDLE, some_time(w, w->hold_time));
	}
}

static void operate(struct host *h, unsigned int v)
{
	struct world *w = h->world;
	struct use *u = &h->uses[v];
	int rc;

	if (!h->registered) {
		u->next = w->now + 200;
		return;
	}
	if (!u->op_begun) {
		struct vmj_lease_record r = me(h, u);

		u->op.mistakes = w->mistakes;
		vmj_lease_begin(&u->op, u->doing == TAKING ? VMJ_LEASE_TAKE : VMJ_LEASE_RELEASE,
				&r);
		u->op_begun = true;
		if (u->doing == RELEASING && chance(w, 10))
			storage_sweep(h, v);
	}
	rc = storage_step(h, v, &u->op);
	if (rc > 0)
		u->next = w->now + some_time(w, w->latency);
	else if (rc < 0) /* given up: as the end of any job */
		become(h, v, RELEASING, some_time(w, w->hold_time));
	else if (u->doing == TAKING)
		taken(h, v);
	else
		become(h, v, IDLE, some_time(w, w->hold_time));
}

static void start_writing(struct host *h, unsigned int v)
{
	struct world *w = h->world;
	bool late = clock_of(h) >= h->hold_until || h->uses[v].op.me.term != h->term;

	if (w->mistakes & (VMJ_MISTAKE_NO_DEADLINE | VMJ_MISTAKE_NO_TERM))
		late = false;
	if (late) {
		become(h, v, RELEASING, 0);
		return;
	}
	note(w, "%s: job %u writes volume %u", h->name, h->uses[v].job, v);
	become(h, v, WRITING, some_time(w, w->hold_time));
}

void use(struct host *h, unsigned int v)
{
	struct world *w = h->world;
	struct use *u = &h->uses[v];

	switch (u->doing) {
	case IDLE:
		u->guest = chance(w, 70);
		u->job = u->guest ? ++w->jobs : 0;
		become(h, v, TAKING, 0);
		break;
	case TAKING:
	case RELEASING:
		operate(h, v);
		break;
	case STARTING:
		start_writing(h, v);
		break;
	case WRITING:
		note(w, "%s: job %u ends on volume %u", h->name, u->job, v);
		become(h, v, RELEASING, some_time(w, w->latency));
		break;
	}
}

/* The promise has run out: guests are ended, and the agent if it works on something. */
void guard(struct host *h)
{
	bool works = false;

	for (unsigned int v = 0; v < h->world->n_volumes; v++)
		works = works || (writes(h, v) && !h->uses[v].guest);
	if (h->world->mistakes & VMJ_MISTAKE_NO_DEADLINE) {
		h->hold_until = NEVER;
		return;
	}
	if (works)
		agent_dies(h);
	stop_guests(h, "its promise runs out");
}
