/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/agent/volumes.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "vmjob/agent/volume_lock.h"
#include "vmjob/base/log.h"

/* --- storages -------------------------------------------------------------------------------- */

static int check_storage(struct vmj_work *w, const struct vmj_storage_config *s,
			 struct vmj_error *err)
{
	uint64_t bit = 1ull << ((s - w->config->storages) % VMJ_CONFIG_ITEMS_MAX);
	int r;

	if (w->reached & bit)
		return 0;
	r = w->adapters->storage_check(s->path, err);
	if (r == 0)
		w->reached |= bit;
	return r;
}

int vmj_work_storage(struct vmj_work *w, const char *name, const struct vmj_storage_config **ret,
		     struct vmj_error *err)
{
	const struct vmj_storage_config *s;
	int r;

	if (!w->config->n_storages)
		return vmj_fail(err, ENOENT,
				"vmjob.conf names no storage: add one, as in storage default { "
				"path = \"/srv/vmjob\" }");
	r = vmj_config_storage(w->config, name && name[0] ? name : NULL, &s, err);
	if (r == 0)
		r = check_storage(w, s, err);
	if (r == 0)
		*ret = s;
	return r;
}

int vmj_work_image(struct vmj_work *w, const char *owner, const char *name, uint32_t revision,
		   struct vmj_image *ret, const struct vmj_storage_config **ret_storage,
		   struct vmj_error *err)
{
	const struct vmj_storage_config *s;
	struct vmj_error first = {0}, why = {0};
	int r = vmj_work_storage(w, NULL, &s, &first);

	for (unsigned int i = 0; i < w->config->n_storages; i++) {
		s = &w->config->storages[i];
		r = check_storage(w, s, &why);
		if (r == 0)
			r = w->adapters->image_find(s->path, owner, name, revision, w->guest.uid,
						    w->guest.gid, ret, &why);
		if (r == 0) {
			*ret_storage = s;
			return 0;
		}
		if (i == 0 || r != -ENOENT || why.fault != VMJ_FAULT_USER)
			first = why;
		if (r != -ENOENT || why.fault != VMJ_FAULT_USER)
			break;
	}
	if (err)
		*err = first;
	return r;
}

/* --- leases and chains ----------------------------------------------------------------------- */

static struct vmj_lease_who who(const struct vmj_work *w)
{
	return (struct vmj_lease_who){.host = w->guest.host,
				      .boot = w->guest.boot_id,
				      .agent = w->agent_id,
				      .guest = true,
				      .job = w->guest.job};
}

int vmj_guest_volume_take(struct vmj_work *w, struct vmj_guest_disk *d, struct vmj_error *err)
{
	const struct vmj_lease_who me = who(w);
	const struct vmj_storage_config *s;
	int r = vmj_work_storage(w, d->storage, &s, err);

	return r < 0 ? r
		     : w->adapters->lease_take(s->path, w->guest.uid, d->volume, &me, &d->epoch,
					       err);
}

int vmj_guest_volumes_retake(struct vmj_work *w, struct vmj_error *err)
{
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < w->guest.n_disks; i++)
		if (w->guest.disks[i].volume[0])
			r = vmj_guest_volume_take(w, &w->guest.disks[i], err);
	return r;
}

int vmj_guest_disk_set_chain(struct vmj_guest_disk *d, const char *domain,
			     const struct vmj_volume *v, struct vmj_error *err)
{
	const char *files[VMJ_CHAIN_MAX];
	char path[VMJ_VOLUME_PATH_MAX];
	unsigned int n;
	int r = vmj_volume_chain(v, NULL, files, &n, err);

	if (r < 0)
		return r;
	vmj_volume_path(domain, v, files[0], path);
	if (strlen(path) >= sizeof(d->path))
		return vmj_fail(err, ENAMETOOLONG, "the path of a volume is too long: %s", path);
	snprintf(d->path, sizeof(d->path), "%.*s", (int)sizeof(d->path) - 1, path);
	d->n_layers = n - 1;
	for (unsigned int i = 1; i < n; i++)
		snprintf(d->layers[i - 1], sizeof(d->layers[0]), "%s", files[i]);
	return 0;
}

/* What is missing for other reasons than that there is no such volume must not look the same. */
int vmj_guest_volume_read(struct vmj_work *w, const struct vmj_guest_disk *d,
			  struct vmj_volume *ret, struct vmj_error *err)
{
	const struct vmj_storage_config *s;
	struct vmj_error why = {0};
	int r = vmj_work_storage(w, d->storage, &s, &why);

	if (r == 0)
		r = w->adapters->volume_read(s->path, w->guest.uid, d->volume, ret, &why);
	if (r < 0 && err)
		*err = why;
	return r == -ENOENT && why.fault == VMJ_FAULT_HOST ? -EIO : r;
}

int vmj_guest_volume_open(struct vmj_work *w, struct vmj_guest_disk *d, struct vmj_volume *v,
			  struct vmj_error *err)
{
	vmj_auto_volume_lock struct vmj_volume_lock *lock = NULL;
	const struct vmj_storage_config *s;
	int r = vmj_work_storage(w, d->storage, &s, err);

	if (r == 0)
		r = vmj_volume_lock(s->path, w->guest.uid, d->volume, &lock, err);
	if (r == 0)
		r = w->adapters->volume_recover(s->path, v, err);
	if (r == 0)
		r = w->adapters->volume_verify(s->path, v, NULL, err);
	if (r == 0)
		r = w->adapters->volume_lend(s->path, v, w->guest.gid, err);
	return r < 0 ? r : vmj_guest_disk_set_chain(d, s->path, v, err);
}

int vmj_guest_volume_adopt(struct vmj_work *w, struct vmj_guest_disk *d, struct vmj_error *err)
{
	const struct vmj_storage_config *s;
	struct vmj_volume v;
	int r = vmj_guest_volume_take(w, d, err);

	if (r == 0)
		r = vmj_guest_volume_read(w, d, &v, err);
	if (r == 0)
		r = vmj_work_storage(w, d->storage, &s, err);
	return r < 0 ? r : vmj_guest_disk_set_chain(d, s->path, &v, err);
}

/* --- giving back ----------------------------------------------------------------------------- */

/* What QEMU left: after a merge in the running guest, a header that names its parent by the whole
 * path. Only while the lease is ours for certain; it can be done as well by whoever is next. */
static void put_right(struct vmj_work *w, const struct vmj_guest_disk *d,
		      const struct vmj_storage_config *s, const struct vmj_lease_who *me)
{
	struct vmj_error why;
	struct vmj_volume v;
	uint32_t epoch;
	int r;

	if (!d->epoch || d->readonly)
		return;
	r = w->adapters->lease_take(s->path, w->guest.uid, d->volume, me, &epoch, &why);
	if (r == 0)
		r = w->adapters->volume_read(s->path, w->guest.uid, d->volume, &v, &why);
	if (r == 0)
		r = w->adapters->volume_recover(s->path, &v, &why);
	if (r < 0)
		vmj_debug("volume %s: %s", d->volume, why.text);
}

/* What is done to the volume for the guest (a snapshot, for one) ends first. */
int vmj_guest_volume_return(struct vmj_work *w, const struct vmj_guest_disk *d,
			    struct vmj_error *err)
{
	vmj_auto_volume_lock struct vmj_volume_lock *lock = NULL;
	const struct vmj_lease_who me = who(w);
	const struct vmj_storage_config *s;
	int r = vmj_work_storage(w, d->storage, &s, err);

	if (r == 0)
		r = vmj_volume_lock(s->path, w->guest.uid, d->volume, &lock, err);
	if (r == 0)
		put_right(w, d, s, &me);
	if (r == 0)
		r = w->adapters->lease_release(s->path, w->guest.uid, d->volume, &me, err);
	if (r < 0 && err)
		err->fault = VMJ_FAULT_HOST; /* the user has done nothing */
	return r;
}

int vmj_guest_volumes_return(struct vmj_work *w, struct vmj_error *err)
{
	const struct vmj_guest *g = &w->guest;
	bool any = false;
	int r = 0;

	for (unsigned int i = 0; i < g->n_disks; i++)
		any |= g->disks[i].volume[0] != '\0';
	if (any && w->adapters->virt_process_lives(g->pid, g->job))
		return vmj_fail(err, EBUSY,
				"guest %" PRIu32 " still has process %d, though libvirt has none: "
				"its volumes are not given back",
				g->job, g->pid);
	for (unsigned int i = 0; r == 0 && i < g->n_disks; i++)
		if (g->disks[i].volume[0])
			r = vmj_guest_volume_return(w, &g->disks[i], err);
	return r;
}
