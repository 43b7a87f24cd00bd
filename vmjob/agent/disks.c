/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/agent/disks.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The host is in the name, since libvirt's leases are for paths, with one lockspace for all hosts:
 * guests of one job on several hosts would lock each other out. */
static int local_path(const struct vmj_work *w, unsigned int i, struct vmj_guest_disk *d,
		      struct vmj_error *err)
{
	char number[12] = "", name[VMJ_DISK_FILE_MAX], path[VMJ_GUEST_PATH_MAX];

	if (i)
		snprintf(number, sizeof(number), "%u", i);
	snprintf(name, sizeof(name), "disk%s.%s.qcow2", number, w->guest.host);
	vmj_record_path(w->dir, w->guest.job, name, path);
	if ((size_t)snprintf(d->path, sizeof(d->path), "%s", path) >= sizeof(d->path))
		return vmj_fail(err, ENAMETOOLONG, "the path of a disk is too long: %s", path);
	return 0;
}

static int plan_root(const struct vmj_work *w, struct vmj_guest_disk *d, struct vmj_error *err)
{
	d->kind = VMJ_GUEST_DISK_OVERLAY;
	snprintf(d->serial, sizeof(d->serial), "vmjob-root");
	if ((size_t)snprintf(d->base, sizeof(d->base), "%s", w->image.path) >= sizeof(d->base))
		return vmj_fail(err, ENAMETOOLONG, "the path of an image is too long: %s",
				w->image.path);
	return local_path(w, 0, d, err);
}

static int plan_extra(const struct vmj_work *w, unsigned int i, struct vmj_guest_disk *d,
		      struct vmj_error *err)
{
	d->kind = VMJ_GUEST_DISK_EMPTY;
	snprintf(d->serial, sizeof(d->serial), "vmjob-disk%u", i);
	return local_path(w, i, d, err);
}

int vmj_disks_plan(struct vmj_work *w, struct vmj_error *err)
{
	struct vmj_guest *g = &w->guest;
	int r = 0;

	g->n_disks = 0;
	for (unsigned int i = 0; r == 0 && i <= g->request.n_disks; i++) {
		struct vmj_guest_disk *d = &g->disks[i];

		memset(d, 0, sizeof(*d));
		vmj_guest_disk_set_target(d, i);
		r = i ? plan_extra(w, i, d, err) : plan_root(w, d, err);
		if (r == 0)
			g->n_disks++;
	}
	return r;
}

int vmj_disks_make(struct vmj_work *w, struct vmj_error *err)
{
	const struct vmj_guest *g = &w->guest;
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < g->n_disks; i++) {
		const struct vmj_guest_disk *d = &g->disks[i];

		if (d->kind == VMJ_GUEST_DISK_OVERLAY)
			r = w->adapters->disk_overlay(&w->image, d->path, g->uid, g->gid, err);
		else
			r = w->adapters->disk_empty(d->path, g->request.disks[i - 1].size_mib,
						    g->uid, g->gid, err);
	}
	return r;
}

bool vmj_disks_direct(const struct vmj_guest_disk *d)
{
	char path[VMJ_DISK_PATH_MAX];

	for (unsigned int i = 0; i < vmj_guest_disk_links(d); i++)
		if (!vmj_disk_can_direct(vmj_guest_disk_link(d, i, path)))
			return false;
	return true;
}
