/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/agent/plug.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmjob/agent/disks.h"
#include "vmjob/agent/volumes.h"
#include "vmjob/base/cleanup.h"
#include "vmjob/host/domain_disk.h"

/* --- the guest's disks ----------------------------------------------------------------------- */

struct vmj_guest_disk *vmj_guest_disk_of(struct vmj_guest *g, const char *storage,
					 const char *volume)
{
	for (unsigned int i = 0; i < g->n_disks; i++)
		if (g->disks[i].volume[0] && strcmp(g->disks[i].volume, volume) == 0 &&
		    strcmp(g->disks[i].storage, storage) == 0)
			return &g->disks[i];
	return NULL;
}

void vmj_guest_disk_forget(struct vmj_guest *g, struct vmj_guest_disk *d)
{
	unsigned int i = (unsigned int)(d - g->disks);

	memmove(d, d + 1, (--g->n_disks - i) * sizeof(*d));
	memset(&g->disks[g->n_disks], 0, sizeof(*d));
}

static bool target_taken(const struct vmj_guest *g, const struct vmj_guest_disk *d)
{
	if (strcmp(d->target, VMJ_SEED_TARGET) == 0)
		return true;
	for (unsigned int i = 0; i < g->n_disks; i++)
		if (strcmp(g->disks[i].target, d->target) == 0)
			return true;
	return false;
}

static unsigned int count_attached(const struct vmj_guest *g)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < g->n_disks; i++)
		n += g->disks[i].attached;
	return n;
}

int vmj_plug_plan(struct vmj_guest *g, const char *storage, const char *volume, bool readonly,
		  struct vmj_error *err)
{
	struct vmj_guest_disk *d;

	if (!g->n_disks)
		return vmj_fail_user(
			err, ENOTSUP,
			"guest %u was started by an earlier version of vmjob: its disks "
			"can change after its next start",
			g->job);
	d = vmj_guest_disk_of(g, storage, volume);
	if (d)
		return vmj_fail_user(err, EEXIST, "guest %u has volume \"%s\" already, as %s",
				     g->job, volume, d->target);
	if (count_attached(g) >= VMJ_ATTACHED_MAX || g->n_disks >= VMJ_GUEST_DISKS_MAX)
		return vmj_fail_user(err, ENOSPC,
				     "guest %u has no place left: %d volumes can be attached while "
				     "it runs; detach another first",
				     g->job, VMJ_ATTACHED_MAX);
	d = &g->disks[g->n_disks];
	memset(d, 0, sizeof(*d));
	d->kind = VMJ_GUEST_DISK_VOLUME;
	d->attached = true;
	d->readonly = readonly;
	snprintf(d->storage, sizeof(d->storage), "%s", storage);
	snprintf(d->volume, sizeof(d->volume), "%s", volume);
	snprintf(d->serial, sizeof(d->serial), "%.*s", VMJ_DISK_SERIAL_MAX, volume);
	for (unsigned int i = 1; !d->target[0] || target_taken(g, d); i++)
		vmj_guest_disk_set_target(d, i);
	g->n_disks++;
	return 0;
}

/* --- what the domain has --------------------------------------------------------------------- */

struct present {
	struct vmj_virt_disk disks[VMJ_VIRT_DISKS_MAX];
	unsigned int n;
};

static bool has(const struct present *p, const struct vmj_guest_disk *d)
{
	for (unsigned int i = 0; i < p->n; i++)
		if (strcmp(p->disks[i].target, d->target) == 0)
			return true;
	return false;
}

static int look(struct vmj_work *w, struct present *ret, struct vmj_error *err)
{
	return w->adapters->virt_disks(w->virt, w->guest.job, ret->disks, &ret->n, err);
}

/* --- attach ---------------------------------------------------------------------------------- */

static struct vmj_guest_disk *last_disk(struct vmj_work *w)
{
	return &w->guest.disks[w->guest.n_disks - 1];
}

static int give_back(struct vmj_work *w, const struct vmj_guest_disk *d, struct vmj_error *err)
{
	struct vmj_disk_name *gone = &w->returned[w->n_returned];
	int r = vmj_guest_volume_return(w, d, err);

	if (r < 0)
		return r;
	memcpy(gone->storage, d->storage, sizeof(gone->storage));
	memcpy(gone->volume, d->volume, sizeof(gone->volume));
	w->n_returned++;
	return 0;
}

static int write_record(void *ctx, struct vmj_error *err)
{
	struct vmj_work *w = ctx;

	return vmj_record_write(w->dir, &w->guest, err);
}

/* The last to be undone: nothing of the disk is left. */
static int forget(void *ctx, struct vmj_error *err)
{
	struct vmj_work *w = ctx;
	struct present p;
	int r = look(w, &p, err);

	if (r < 0 && r != -ENOENT)
		return r;
	if (r == 0 && has(&p, last_disk(w)))
		return vmj_fail(err, EBUSY, "guest %u still has volume \"%s\"", w->guest.job,
				last_disk(w)->volume);
	return give_back(w, last_disk(w), err);
}

static int take_step(void *ctx, struct vmj_error *err)
{
	struct vmj_work *w = ctx;

	return vmj_guest_volume_take(w, last_disk(w), err);
}

static int open_step(void *ctx, struct vmj_error *err)
{
	struct vmj_work *w = ctx;
	struct vmj_volume v;
	int r = vmj_guest_volume_read(w, last_disk(w), &v, err);

	return r < 0 ? r : vmj_guest_volume_open(w, last_disk(w), &v, err);
}

static int plug_step(void *ctx, struct vmj_error *err)
{
	struct vmj_work *w = ctx;
	struct vmj_guest_disk *d = last_disk(w);
	vmj_autofree char *xml = NULL;
	int r = vmj_domain_disk_xml(d, vmj_disks_direct(d), &xml, err);

	return r < 0 ? r : w->adapters->virt_attach_disk(w->virt, w->guest.job, xml, err);
}

/* The first step's undo undoes all: what the domain has decides what may be given back. */
const struct vmj_step vmj_attach_steps[] = {
	{"attach.record", write_record, forget}, {"attach.lease", take_step, NULL},
	{"attach.open", open_step, NULL},        {"attach.plug", plug_step, NULL},
	{"attach.attached", write_record, NULL}, {.name = NULL},
};

int vmj_work_attach(struct vmj_work *w, struct vmj_error *err)
{
	return vmj_steps_run(vmj_attach_steps, w, &w->leftovers, err);
}

/* --- detach ---------------------------------------------------------------------------------- */

static int settle_disk(struct vmj_work *w, const struct present *p, struct vmj_guest_disk *d,
		       struct vmj_error *err)
{
	if (!has(p, d))
		return give_back(w, d, err);
	return d->path[0] ? 0 : vmj_guest_volume_adopt(w, d, err);
}

/* The root stays. */
static int settle_step(void *ctx, struct vmj_error *err)
{
	struct vmj_work *w = ctx;
	struct present p;
	int r = look(w, &p, err);

	if (r == -ENOENT)
		return 0; /* the release sees to all */
	for (unsigned int i = 1; r == 0 && i < w->guest.n_disks; i++)
		if (w->guest.disks[i].volume[0])
			r = settle_disk(w, &p, &w->guest.disks[i], err);
	return r;
}

static int ask_step(void *ctx, struct vmj_error *err)
{
	struct vmj_work *w = ctx;

	return w->adapters->virt_detach_disk(w->virt, w->guest.job, w->guest.disks[w->asked].target,
					     err);
}

const struct vmj_step vmj_detach_steps[] = {
	{"detach.ask", ask_step, NULL},
	{"detach.settle", settle_step, NULL},
	{.name = NULL},
};

int vmj_work_detach(struct vmj_work *w, unsigned int index, struct vmj_error *err)
{
	w->asked = index;
	return vmj_steps_run(vmj_detach_steps, w, NULL, err);
}

int vmj_work_settle(struct vmj_work *w, struct vmj_error *err)
{
	return settle_step(w, err);
}
