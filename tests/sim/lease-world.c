/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lease-world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIFE_MS     (240 * 1000) /* of a cluster with faults */
#define EVENTS_MAX  1000         /* in it */
#define QUIET_STEPS 20000        /* within which a take must end, once all is quiet */

/* --- chance and time ------------------------------------------------------------------------- */

/* xorshift64* */
uint64_t rnd(struct world *w, uint64_t below)
{
	w->random ^= w->random >> 12;
	w->random ^= w->random << 25;
	w->random ^= w->random >> 27;
	return (w->random * 2685821657736338717u >> 16) % below;
}

bool chance(struct world *w, unsigned int percent)
{
	return rnd(w, 100) < percent;
}

/* Around `mean`, now and then much more. */
int64_t some_time(struct world *w, int64_t mean)
{
	int64_t t = 1 + (int64_t)rnd(w, (uint64_t)(2 * mean));

	return !chance(w, 3) ? t : chance(w, 80) ? t * 20 : t * 500;
}

int64_t clock_of(const struct host *h)
{
	return 1000 + (h->world->now - h->boot_time) * h->rate / 1000000;
}

/* When its clock shows `local`, or after. */
int64_t when_clock(const struct host *h, int64_t local)
{
	return h->boot_time + (local - 1000) * 1000000 / h->rate + 1;
}

void note(struct world *w, const char *fmt, ...)
{
	va_list ap;

	if (!w->trace)
		return;
	printf("# %8.3f ", (double)w->now / 1000);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

/* Boots are called HOST-boot-NUMBER. */
uint64_t boot_bit(const char *boot)
{
	const char *number = strrchr(boot, '-');

	return number ? 1ull << (strtoul(number + 1, NULL, 10) & 63) : 0;
}

/* --- one writer a volume --------------------------------------------------------------------- */

static void check(struct world *w)
{
	for (unsigned int v = 0; v < w->n_volumes; v++) {
		const struct host *first = NULL;

		for (unsigned int i = 0; i < w->n_hosts; i++) {
			if (!writes(&w->hosts[i], v))
				continue;
			w->overlap = w->overlap || first;
			if (first)
				snprintf(w->violation, sizeof(w->violation),
					 "volume %u is written by %s and by %s at %.3f s", v,
					 first->name, w->hosts[i].name, (double)w->now / 1000);
			first = &w->hosts[i];
		}
	}
}

/* --- faults ---------------------------------------------------------------------------------- */

/* A machine with a promise has a watchdog in hardware, which resets it before the others' margin is
 * over; without one it may sleep as long as it likes. */
static void freeze(struct host *h)
{
	struct world *w = h->world;
	int64_t length = some_time(w, w->stop_after ? 4000 : 30000);

	if (w->stop_after && length > 8000) {
		power_off(h);
		return;
	}
	h->frozen_until = w->now + length;
	note(w, "%s: frozen for %lld ms", h->name, (long long)length);
}

/* Only what is off for certain is confirmed; the confirmation takes its time, and is of the boot
 * that the record showed. */
static void confirm(struct host *h)
{
	struct world *w = h->world;
	const struct registry *r = &w->registry[h->index];

	if (h->up || !r->exists || w->confirmation.at != NEVER)
		return;
	w->confirmation.at = w->now + some_time(w, 3000);
	w->confirmation.host = h->index;
	memcpy(w->confirmation.boot, r->record.boot, sizeof(w->confirmation.boot));
}

/* Or what runs nothing, but is in the middle of taking something. */
static void confirm_idle(struct host *h)
{
	struct world *w = h->world;

	for (unsigned int v = 0; v < w->n_volumes; v++)
		if (h->uses[v].doing == WRITING || h->uses[v].doing == STARTING)
			return;
	if (!h->up || !h->registered)
		return;
	w->registry[h->index].dead_boots |= boot_bit(h->boot);
	note(w, "%s: confirmed dead as %s, while it runs nothing", h->name, h->boot);
}

static void fault(struct world *w)
{
	struct host *h = &w->hosts[rnd(w, w->n_hosts)];

	w->fault_next = w->now + some_time(w, w->fault_mean);
	switch (rnd(w, 8)) {
	case 0:
	case 1:
		if (h->agent_up)
			agent_dies(h);
		break;
	case 2:
		if (h->up)
			power_off(h);
		confirm(h);
		break;
	case 3:
		confirm(h);
		break;
	case 4:
		if (h->up)
			freeze(h);
		break;
	case 5:
	case 6:
		h->cut_until = w->now + some_time(w, w->stop_after ? w->stop_after : 10000);
		note(w, "%s: cut from the storage for %lld ms", h->name,
		     (long long)(h->cut_until - w->now));
		break;
	case 7:
		if (chance(w, 20))
			confirm_idle(h);
		break;
	}
}

static void haunt(struct world *w, unsigned int i)
{
	struct ghost g = w->ghosts[i];
	int64_t modified = g.host->uses[g.volume].modified;

	w->ghosts[i] = w->ghosts[--w->n_ghosts];
	note(w, "%s: something that it had asked for is done now", g.host->name);
	if (g.renewal)
		put_record(w, g.host->index, &g.record);
	else
		storage_step(g.host, g.volume, &g.op);
	g.host->uses[g.volume].modified = modified;
}

/* --- what comes next ------------------------------------------------------------------------- */

enum what { NOTHING, POWER, AGENT, GUARD, KEEP, USE, FAULT, GHOST, CONFIRMATION };

struct next {
	int64_t at;
	enum what what;
	unsigned int host, index;
};

static void offer(struct next *n, int64_t at, enum what what, unsigned int host, unsigned int index)
{
	if (at < n->at)
		*n = (struct next){at, what, host, index};
}

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static void offer_host(struct next *n, const struct host *h)
{
	unsigned int i = h->index;

	if (!h->up) {
		offer(n, h->power_next, POWER, i, 0);
		return;
	}
	if (h->hold_until != NEVER && writes_any(h))
		offer(n, later(h->frozen_until, when_clock(h, h->hold_until)), GUARD, i, 0);
	if (!h->agent_up) {
		offer(n, later(h->frozen_until, h->agent_next), AGENT, i, 0);
		return;
	}
	offer(n,
	      later(later(h->keep_next, h->frozen_until),
		    h->keeping == KEEP_RESTING ? 0 : h->cut_until),
	      KEEP, i, 0);
	for (unsigned int v = 0; v < h->world->n_volumes; v++) {
		const struct use *u = &h->uses[v];
		bool stores = u->doing == TAKING || u->doing == RELEASING;

		offer(n, later(later(u->next, h->frozen_until), stores ? h->cut_until : 0), USE, i,
		      v);
	}
}

static struct next next_of(const struct world *w)
{
	struct next n = {.at = NEVER};

	for (unsigned int i = 0; i < w->n_hosts; i++)
		offer_host(&n, &w->hosts[i]);
	for (unsigned int i = 0; i < w->n_ghosts; i++)
		offer(&n, w->ghosts[i].at, GHOST, 0, i);
	offer(&n, w->fault_next, FAULT, 0, 0);
	offer(&n, w->confirmation.at, CONFIRMATION, 0, 0);
	return n;
}

static void happen(struct world *w, const struct next *n)
{
	struct host *h = &w->hosts[n->host];

	w->now = later(w->now, n->at);
	switch (n->what) {
	case POWER:
		power_on(h);
		break;
	case AGENT:
		agent_starts(h);
		break;
	case GUARD:
		guard(h);
		break;
	case KEEP:
		keep(h);
		break;
	case USE:
		use(h, n->index);
		break;
	case FAULT:
		fault(w);
		break;
	case GHOST:
		haunt(w, n->index);
		break;
	case CONFIRMATION:
		w->registry[w->confirmation.host].dead_boots |= boot_bit(w->confirmation.boot);
		note(w, "%s is confirmed dead", w->confirmation.boot);
		w->confirmation.at = NEVER;
		break;
	case NOTHING:
		break;
	}
	check(w);
}

/* --- a life ---------------------------------------------------------------------------------- */

static void shape(struct world *w)
{
	static const int64_t latencies[] = {2, 10, 100, 1000};
	static const int64_t stale[] = {0, 1000, 20000, 60000};
	static const uint32_t stops[] = {0, 0, 12000, 30000};
	bool busy = chance(w, 40); /* many short uses, so that epochs race along */

	w->n_hosts = 2 + (unsigned int)rnd(w, HOSTS_MAX - 1);
	w->n_volumes = busy ? 1 : 1 + (unsigned int)rnd(w, VOLUMES_MAX);
	w->latency = latencies[rnd(w, busy ? 2 : 4)];
	w->stale_max = stale[rnd(w, 4)];
	w->hold_time = busy ? 5 : 200 + (int64_t)rnd(w, 20000);
	w->stop_after = stops[rnd(w, 4)];
	w->fault_mean = busy ? 500 : 1000 + (int64_t)rnd(w, 15000);
	w->fault_next = some_time(w, w->fault_mean);
	w->confirmation.at = NEVER;
	for (unsigned int i = 0; i < w->n_hosts; i++) {
		struct host *h = &w->hosts[i];

		h->world = w;
		h->index = i;
		snprintf(h->name, sizeof(h->name), "n%u", i + 1);
		h->power_next = (int64_t)rnd(w, 2000);
	}
	note(w,
	     "%u hosts, %u volumes, latency %lld, views up to %lld old, promise %u, faults every "
	     "%lld",
	     w->n_hosts, w->n_volumes, (long long)w->latency, (long long)w->stale_max,
	     w->stop_after, (long long)w->fault_mean);
}

/* In the boots that the hosts' records show, and in those that their leases show: a record may have
 * fallen back. */
static void confirm_all(struct world *w)
{
	for (unsigned int i = 0; i < w->n_hosts; i++) {
		struct registry *r = &w->registry[i];

		if (r->exists)
			r->dead_boots |= boot_bit(r->record.boot);
		for (unsigned int v = 0; v < w->n_volumes; v++) {
			const struct volume *volume = &w->volumes[v];
			const struct file *f = &volume->files[volume->highest];

			if (f->exists && strcmp(f->record.host, w->hosts[i].name) == 0)
				r->dead_boots |= boot_bit(f->record.boot);
		}
	}
}

/* All is quiet, and every host but one is off and confirmed dead: that one must get every volume.
 */
static void last_host(struct world *w)
{
	struct host *h = &w->hosts[rnd(w, w->n_hosts)];

	w->fault_next = w->confirmation.at = NEVER;
	w->latency = 2;
	w->hold_time = 100;
	for (unsigned int i = 0; i < w->n_hosts; i++) {
		if (w->hosts[i].up)
			power_off(&w->hosts[i]);
		w->hosts[i].power_next = NEVER;
	}
	w->now += 60000; /* after the last words of all */
	while (w->n_ghosts)
		haunt(w, 0);
	confirm_all(w);
	h->power_next = w->now;
	for (unsigned int v = 0; v < w->n_volumes; v++)
		become(h, v, IDLE, 1000);
}

static bool has_all(const struct world *w, unsigned int got)
{
	return got == (1u << w->n_volumes) - 1;
}

static bool world_ends_well(struct world *w)
{
	unsigned int got = 0;

	last_host(w);
	for (unsigned int i = 0; i < QUIET_STEPS && !has_all(w, got); i++) {
		struct next n = next_of(w);

		happen(w, &n);
		if (*w->violation)
			return false;
		for (unsigned int v = 0; v < w->n_volumes; v++)
			got |= (unsigned int)writes(&w->hosts[n.host], v) << v;
	}
	if (!has_all(w, got))
		snprintf(w->violation, sizeof(w->violation),
			 "nobody gets a volume, although all others are confirmed dead");
	return !*w->violation;
}

bool world_run(struct world *w, uint64_t seed, unsigned int mistakes, bool trace)
{
	memset(w, 0, sizeof(*w));
	w->random = (seed + 1) * 0x9e3779b97f4a7c15u;
	w->mistakes = mistakes;
	w->trace = trace;
	shape(w);
	for (unsigned int i = 0; i < EVENTS_MAX && w->now < LIFE_MS; i++) {
		struct next n = next_of(w);

		happen(w, &n);
		if (*w->violation)
			return false;
	}
	return world_ends_well(w);
}
