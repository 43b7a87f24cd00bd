/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/agent/disks.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "vmjob/agent/volumes.h"

/* --- planning -------------------------------------------------------------------------------- */

static int copy_path(char buf[VMJ_DISK_PATH_MAX], const char *path, struct vmj_error *err)
{
	if (strlen(path) >= VMJ_DISK_PATH_MAX)
		return vmj_fail(err, ENAMETOOLONG, "the path of a disk is too long: %s", path);
	strcpy(buf, path);
	return 0;
}

/* The host is in the name, since libvirt's leases are for paths, with one lockspace for all hosts:
 * guests of one job on several hosts would lock each other out. */
static int plan_local(const struct vmj_work *w, unsigned int i, struct vmj_guest_disk *d,
		      struct vmj_error *err)
{
	char number[12] = "", name[VMJ_DISK_FILE_MAX], path[VMJ_GUEST_PATH_MAX];

	if (i)
		snprintf(number, sizeof(number), "%u", i);
	snprintf(name, sizeof(name), "disk%s.%s.qcow2", number, w->guest.host);
	d->kind = i ? VMJ_GUEST_DISK_EMPTY : VMJ_GUEST_DISK_OVERLAY;
	return copy_path(d->path, vmj_record_path(w->dir, w->guest.job, name, path), err);
}

static int plan_volume(struct vmj_work *w, struct vmj_guest_disk *d, const char *storage,
		       const char *name, struct vmj_error *err)
{
	const struct vmj_storage_config *s;
	int r = vmj_work_storage(w, storage, &s, err);

	if (r < 0)
		return r;
	d->kind = VMJ_GUEST_DISK_VOLUME;
	snprintf(d->storage, sizeof(d->storage), "%s", s->name);
	snprintf(d->volume, sizeof(d->volume), "%s", name);
	return 0;
}

/* The node's place in the job rather than its name: a requeued job may be elsewhere. */
static int plan_of_job(struct vmj_work *w, unsigned int i, struct vmj_guest_disk *d,
		       struct vmj_error *err)
{
	char name[VMJ_NAME_MAX + 1];

	snprintf(name, sizeof(name), "job-%" PRIu32 ".%u.%u", w->guest.job, w->node_index, i);
	return plan_volume(w, d, NULL, name, err);
}

static int plan_root(struct vmj_work *w, struct vmj_guest_disk *d, struct vmj_error *err)
{
	const struct vmj_request *q = &w->guest.request;
	const struct vmj_storage_config *s;
	int r;

	snprintf(d->serial, sizeof(d->serial), "vmjob-root");
	if (q->persistent[0])
		return plan_volume(w, d, q->persistent_storage, q->persistent, err);
	if (q->protected_)
		return plan_of_job(w, 0, d, err);
	r = vmj_work_image(w, q->image_owner, q->image, q->revision, &w->image, &s, err);
	if (r == 0)
		r = copy_path(d->base, w->image.path, err);
	return r < 0 ? r : plan_local(w, 0, d, err);
}

static int plan_image(struct vmj_work *w, const struct vmj_disk_request *q,
		      struct vmj_guest_disk *d, struct vmj_error *err)
{
	const struct vmj_storage_config *s;
	struct vmj_image image;
	int r = vmj_work_image(w, q->owner, q->name, q->revision, &image, &s, err);

	if (r < 0)
		return r;
	d->kind = VMJ_GUEST_DISK_IMAGE;
	d->readonly = true;
	snprintf(d->serial, sizeof(d->serial), "%.*s", VMJ_DISK_SERIAL_MAX, q->name);
	snprintf(d->storage, sizeof(d->storage), "%s", s->name);
	return copy_path(d->path, image.path, err);
}

static int plan_extra(struct vmj_work *w, unsigned int i, struct vmj_guest_disk *d,
		      struct vmj_error *err)
{
	const struct vmj_disk_request *q = &w->guest.request.disks[i - 1];

	if (q->kind == VMJ_DISK_IMAGE)
		return plan_image(w, q, d, err);
	if (q->kind == VMJ_DISK_VOLUME) {
		d->readonly = q->readonly;
		snprintf(d->serial, sizeof(d->serial), "%.*s", VMJ_DISK_SERIAL_MAX, q->name);
		return plan_volume(w, d, q->storage, q->name, err);
	}
	snprintf(d->serial, sizeof(d->serial), "vmjob-disk%u", i);
	return w->guest.request.protected_ ? plan_of_job(w, i, d, err) : plan_local(w, i, d, err);
}

/* A guest's second take of a lease succeeds: it has it already. */
static int check_twice(const struct vmj_guest *g, const struct vmj_guest_disk *d,
		       struct vmj_error *err)
{
	for (unsigned int i = 0; i < g->n_disks; i++)
		if (d->volume[0] && strcmp(g->disks[i].volume, d->volume) == 0 &&
		    strcmp(g->disks[i].storage, d->storage) == 0)
			return vmj_fail_user(err, EINVAL,
					     "volume \"%s\" is asked for twice: a guest can have "
					     "it once",
					     d->volume);
	return 0;
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
			r = check_twice(g, d, err);
		if (r == 0)
			g->n_disks++;
	}
	if (r < 0)
		g->n_disks = 0; /* none is taken */
	return r;
}

/* --- volumes --------------------------------------------------------------------------------- */

static const char *image_label(const struct vmj_image *image, const char *owner, char *buf,
			       size_t size)
{
	snprintf(buf, size, "%s%s%s@%" PRIu32, owner, owner[0] ? "/" : "", image->name,
		 image->revision);
	return buf;
}

/* Root disks are made from the image, the others empty. */
static int make_volume(struct vmj_work *w, unsigned int i, const struct vmj_guest_disk *d,
		       struct vmj_volume *ret, struct vmj_error *err)
{
	const struct vmj_request *q = &w->guest.request;
	const struct vmj_storage_config *s, *of_image;
	char label[VMJ_IMAGE_LABEL_MAX];
	struct vmj_volume_spec spec = {.name = d->volume,
				       .uid = w->guest.uid,
				       .gid = w->guest.gid,
				       .job = i || !q->persistent[0] ? w->guest.job : 0};
	int r = vmj_work_storage(w, d->storage, &s, err);

	if (r == 0)
		r = w->adapters->volume_sweep(s->path, w->guest.uid, d->volume, err);
	if (r == 0)
		r = w->adapters->quota_admit(s, w->guest.uid, 0, err);
	if (r == 0 && i == 0)
		r = vmj_work_image(w, q->image_owner, q->image, q->revision, &w->image, &of_image,
				   err);
	if (r < 0)
		return r;
	spec.domain = s->path;
	if (i == 0) {
		spec.image = &w->image;
		spec.label = image_label(&w->image, q->image_owner, label, sizeof(label));
	} else {
		spec.bytes = q->disks[i - 1].size_mib << 20;
	}
	return w->adapters->volume_create(&spec, ret, err);
}

/* A volume of the user's is never made by a disk that names it, but as a root disk. */
static bool is_makeable(const struct vmj_guest *g, unsigned int i)
{
	return i == 0 || g->request.disks[i - 1].kind == VMJ_DISK_SIZE;
}

/* "tiny", "tiny@2" or "anna/tiny" of the request against the volume's "tiny@2". */
static bool is_of_image(const struct vmj_request *q, const struct vmj_volume *v)
{
	char wanted[VMJ_IMAGE_LABEL_MAX];
	int len = snprintf(wanted, sizeof(wanted), "%s%s%s@", q->image_owner,
			   q->image_owner[0] ? "/" : "", q->image);

	if (q->revision)
		snprintf(wanted + len, sizeof(wanted) - (size_t)len, "%" PRIu32, q->revision);
	return q->revision ? strcmp(v->image, wanted) == 0
			   : strncmp(v->image, wanted, (size_t)len) == 0;
}

static void note_difference(struct vmj_work *w, const struct vmj_guest_disk *d,
			    const struct vmj_volume *v)
{
	const struct vmj_request *q = &w->guest.request;
	char revision[12] = "";

	if (!q->persistent[0] || is_of_image(q, v))
		return;
	if (q->revision)
		snprintf(revision, sizeof(revision), "%" PRIu32, q->revision);
	snprintf(
		w->note, sizeof(w->note),
		"the root disk is volume \"%s\" as it is, made from %s%s, not from image %s%s%s: a "
		"volume is made at the first start only",
		d->volume, v->image[0] ? "image " : "nothing", v->image, q->image,
		q->revision ? "@" : "", revision);
}

static int take_volume(struct vmj_work *w, unsigned int i, struct vmj_error *err)
{
	struct vmj_guest_disk *d = &w->guest.disks[i];
	struct vmj_volume v;
	int r = vmj_guest_volume_take(w, d, err);

	if (r < 0)
		return r;
	r = vmj_guest_volume_read(w, d, &v, err);
	if (r == -ENOENT && is_makeable(&w->guest, i))
		r = make_volume(w, i, d, &v, err);
	else if (r == 0 && i == 0)
		note_difference(w, d, &v);
	return r < 0 ? r : vmj_guest_volume_open(w, d, &v, err);
}

int vmj_disks_take(struct vmj_work *w, struct vmj_error *err)
{
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < w->guest.n_disks; i++)
		if (w->guest.disks[i].kind == VMJ_GUEST_DISK_VOLUME)
			r = take_volume(w, i, err);
	return r;
}

/* --- node-local disks ------------------------------------------------------------------------ */

int vmj_disks_make(struct vmj_work *w, struct vmj_error *err)
{
	const struct vmj_guest *g = &w->guest;
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < g->n_disks; i++) {
		const struct vmj_guest_disk *d = &g->disks[i];

		if (d->kind == VMJ_GUEST_DISK_OVERLAY)
			r = w->adapters->disk_overlay(&w->image, d->path, g->uid, g->gid, err);
		else if (d->kind == VMJ_GUEST_DISK_EMPTY)
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
