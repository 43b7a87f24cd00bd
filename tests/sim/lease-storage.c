/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The storage as a host of the simulation sees it: the protocol's environment. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lease-world.h"

static struct volume *volume_of(struct world *w)
{
	return &w->volumes[w->volume];
}

static struct use *use_of(struct world *w)
{
	return &w->actor->uses[w->volume];
}

/* Since when this look is true: now, or some time back, but not before the host's own last change.
 */
static int64_t view_time(struct world *w, bool fresh)
{
	int64_t view = w->now;

	if (!fresh && w->stale_max && chance(w, 70))
		view -= (int64_t)rnd(w, (uint64_t)w->stale_max + 1);
	return view > use_of(w)->modified ? view : use_of(w)->modified;
}

static void changed(struct world *w, uint32_t epoch, bool added)
{
	struct volume *v = volume_of(w);

	if (v->n_changes == CHANGES_MAX)
		abort(); /* the world is shorter than that */
	v->changes[v->n_changes++] =
		(struct change){.time = w->now, .epoch = epoch, .added = added};
	use_of(w)->modified = w->now;
	if (epoch > v->highest)
		v->highest = epoch;
}

static int64_t env_now(void *arg)
{
	struct world *w = arg;

	return clock_of(w->actor);
}

/* From the highest down, as the real one keeps them when there are too many. */
static int env_list(void *arg, bool fresh, uint32_t *epochs, unsigned int *ret_n)
{
	struct world *w = arg;
	const struct volume *v = volume_of(w);
	int64_t view = view_time(w, fresh);
	uint8_t there[EPOCHS_MAX] = {0};
	unsigned int n = 0;

	for (unsigned int i = 0; i < v->n_changes && v->changes[i].time <= view; i++)
		there[v->changes[i].epoch] = v->changes[i].added;
	for (uint32_t e = v->highest; e > 0 && n < VMJ_LEASE_EPOCHS_MAX; e--)
		if (there[e])
			epochs[n++] = e;
	*ret_n = n;
	return 0;
}

static int env_create(void *arg, uint32_t epoch, const struct vmj_lease_record *r)
{
	struct world *w = arg;
	struct file *f;

	if (epoch >= EPOCHS_MAX)
		return -ENOSPC;
	f = &volume_of(w)->files[epoch];
	use_of(w)->modified = w->now; /* the temporary file did that */
	if (f->exists)
		return -EEXIST;
	*f = (struct file){.exists = true, .record = *r, .created = w->now, .released = NEVER};
	changed(w, epoch, true);
	return 0;
}

static int env_read(void *arg, uint32_t epoch, struct vmj_lease_record *ret)
{
	struct world *w = arg;
	const struct file *f = &volume_of(w)->files[epoch];
	int64_t view = view_time(w, false);

	if (!f->exists || f->created > view)
		return -ENOENT;
	*ret = f->record;
	ret->released = f->released <= view;
	return 0;
}

/* A rename: it also brings back what was cleaned away. */
static int env_release(void *arg, uint32_t epoch, const struct vmj_lease_record *r)
{
	struct world *w = arg;
	struct file *f = &volume_of(w)->files[epoch];

	if (!f->exists)
		f->created = w->now;
	f->exists = true;
	f->record = *r;
	f->released = w->now;
	changed(w, epoch, true);
	return 0;
}

static int env_remove(void *arg, uint32_t epoch)
{
	struct world *w = arg;
	struct file *f = &volume_of(w)->files[epoch];

	if (!f->exists)
		return -ENOENT;
	f->exists = false;
	changed(w, epoch, false);
	return 0;
}

static struct registry *registry_of(struct world *w, const char *host)
{
	for (unsigned int i = 0; i < w->n_hosts; i++)
		if (strcmp(w->hosts[i].name, host) == 0)
			return &w->registry[i];
	abort();
}

static int env_host(void *arg, const char *host, struct vmj_lease_host *ret)
{
	struct world *w = arg;
	const struct registry *r = registry_of(w, host);

	if (!r->exists)
		return -ENOENT;
	*ret = r->record;
	if ((w->mistakes & VMJ_MISTAKE_OLD_HOST) && r->n_before && chance(w, 50))
		*ret = r->before[rnd(w, r->n_before)];
	return 0;
}

static int env_is_dead(void *arg, const char *host, const char *boot, bool *ret)
{
	struct world *w = arg;
	const struct registry *r = registry_of(w, host);

	*ret = r->dead_boots & boot_bit(boot);
	if ((w->mistakes & VMJ_MISTAKE_NO_BOOT) && strcmp(host, w->actor->name) != 0)
		*ret = r->dead_boots != 0;
	return 0;
}

static struct vmj_lease_seen *env_seen(void *arg, const char *host)
{
	struct world *w = arg;

	return &w->actor->seen[registry_of(w, host) - w->registry];
}

static int64_t env_hold_until(void *arg, uint64_t *ret_term)
{
	const struct world *w = arg;

	*ret_term = w->actor->term;
	return w->actor->registered ? w->actor->hold_until : 0;
}

/* With the same eyes as a list. */
void storage_sweep(struct host *h, unsigned int volume)
{
	uint32_t epochs[VMJ_LEASE_EPOCHS_MAX];
	unsigned int n;

	h->world->actor = h;
	h->world->volume = volume;
	env_list(h->world, false, epochs, &n);
	for (unsigned int i = 1; i < n; i++)
		env_remove(h->world, epochs[i]);
}

int storage_step(struct host *h, unsigned int volume, struct vmj_lease_op *op)
{
	struct world *w = h->world;
	struct vmj_lease_env env = {.arg = w,
				    .now_ms = env_now,
				    .list = env_list,
				    .create = env_create,
				    .read = env_read,
				    .release = env_release,
				    .remove = env_remove,
				    .host = env_host,
				    .is_dead = env_is_dead,
				    .seen = env_seen,
				    .hold_until_ms = env_hold_until};

	w->actor = h;
	w->volume = volume;
	return vmj_lease_step(op, &env);
}
