/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/agent/volume_site.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "vmjob/agent/volumes.h"
#include "vmjob/base/log.h"
#include "vmjob/host/virt_disk.h"
#include "vmjob/host/virt_snapshot.h"

static struct vmj_volume_site *site_of(void *arg)
{
	struct vmj_layer_files *f = arg;

	return f->guest;
}

static const char *path_of(struct vmj_volume_site *s, const struct vmj_volume *v, const char *file,
			   char buf[VMJ_VOLUME_PATH_MAX])
{
	return vmj_volume_path(s->files.domain, v, file, buf);
}

/* A merge may have taken hours: does this host still have the volume? */
static int site_save(const struct vmj_volume *v, void *arg, struct vmj_error *err)
{
	struct vmj_volume_site *s = site_of(arg);
	int rc = vmj_volume_task_holds(s->task, err);

	return rc < 0 ? rc : s->plain.save(v, arg, err);
}

/* --- by QEMU ---------------------------------------------------------------------------------- */

static struct vmj_virt_merge merge_of(struct vmj_volume_site *s, const char *gone,
				      const char *below)
{
	return (struct vmj_virt_merge){.job = s->job,
				       .target = s->target,
				       .gone = gone,
				       .below = below,
				       .progress = s->files.progress,
				       .arg = s->files.arg};
}

static int site_live_commit(const struct vmj_volume *v, const char *above, const char *child,
			    const char *layer, void *arg, struct vmj_error *err)
{
	char gone[VMJ_VOLUME_PATH_MAX], below[VMJ_VOLUME_PATH_MAX];
	struct vmj_volume_site *s = site_of(arg);
	struct vmj_virt_merge m =
		merge_of(s, path_of(s, v, child, gone), path_of(s, v, layer, below));

	return vmj_virt_commit(s->task->agent->virt, &m, err);
}

static int site_live_pull(const struct vmj_volume *v, const char *parent, void *arg,
			  struct vmj_error *err)
{
	char gone[VMJ_VOLUME_PATH_MAX], below[VMJ_VOLUME_PATH_MAX];
	const char *layer = vmj_volume_layer(v, v->top)->parent;
	struct vmj_volume_site *s = site_of(arg);
	struct vmj_virt_merge m = merge_of(s, path_of(s, v, layer, gone),
					   *parent ? path_of(s, v, parent, below) : NULL);

	return vmj_virt_pull(s->task->agent->virt, &m, err);
}

static int site_live_has(const struct vmj_volume *v, const char *file, void *arg,
			 struct vmj_error *err)
{
	struct vmj_volume_site *s = site_of(arg);
	char path[VMJ_VOLUME_PATH_MAX];
	struct vmj_virt_chain chain;
	int rc = vmj_virt_chain(s->task->agent->virt, s->job, s->target, &chain, err);

	return rc < 0 ? rc : vmj_virt_chain_has(&chain, path_of(s, v, file, path));
}

/* By the directory of its top: a target is the guest's, a path the volume's. */
static int find_target(struct vmj_volume_site *s, const struct vmj_volume *v, struct vmj_error *err)
{
	struct vmj_virt_disk disks[VMJ_VIRT_DISKS_MAX];
	char dir[VMJ_VOLUME_PATH_MAX];
	unsigned int n;
	int rc = vmj_virt_disks(s->task->agent->virt, s->job, disks, &n, err);
	size_t len;

	if (rc < 0)
		return rc;
	len = strlen(path_of(s, v, NULL, dir));
	for (unsigned int i = 0; i < n; i++) {
		if (strncmp(disks[i].path, dir, len) != 0 || disks[i].path[len] != '/')
			continue;
		snprintf(s->target, sizeof(s->target), "%s", disks[i].target);
		return 0;
	}
	return vmj_fail_user(err, ENOENT,
			     "guest %" PRIu32 " does not have volume \"%s\" any more: try again",
			     s->job, v->name);
}

/* What an earlier start of the agent began and did not see the end of is not waited for. */
static int recover_live(struct vmj_volume_site *s, struct vmj_volume *v, struct vmj_error *err)
{
	int rc = 0;

	if (v->pending.op == VMJ_PENDING_MERGE)
		rc = vmj_virt_abort_merge(s->task->agent->virt, s->job, s->target, err);
	if (rc == 0)
		rc = vmj_layers_recover(&s->env, v, err);
	return rc < 0 ? rc : vmj_volume_resize_settle(s->files.domain, v, err);
}

int vmj_volume_site_open(struct vmj_volume_site *s, struct vmj_volume_task *t,
			 const struct vmj_storage_config *storage, struct vmj_volume *v,
			 uint32_t job, struct vmj_error *err)
{
	int rc = vmj_layer_files_open(&s->files, storage->path, v, err);

	if (rc < 0)
		return rc;
	s->task = t;
	s->job = job;
	s->files.progress = vmj_volume_task_progress;
	s->files.arg = t;
	s->files.guest = s;
	s->plain = s->env = vmj_layer_files_env(&s->files);
	s->env.save = site_save;
	if (!job)
		return 0;
	s->env.live_commit = site_live_commit;
	s->env.live_pull = site_live_pull;
	s->env.live_has = site_live_has;
	rc = find_target(s, v, err);
	return rc < 0 ? rc : recover_live(s, v, err);
}

void vmj_volume_site_done(struct vmj_volume_site *s)
{
	vmj_layer_files_done(&s->files);
}

/* --- records ---------------------------------------------------------------------------------- */

void vmj_guests_follow_volume(struct vmj_guests *g, uint32_t job,
			      const struct vmj_storage_config *storage, const struct vmj_volume *v)
{
	struct vmj_entry *e = vmj_guests_find(g, job);
	struct vmj_error err;

	if (!e || e->busy || e->rec.uid != v->uid)
		return;
	for (unsigned int i = 0; i < e->rec.n_disks; i++) {
		struct vmj_guest_disk *d = &e->rec.disks[i];

		if (strcmp(d->volume, v->name) != 0 || strcmp(d->storage, storage->name) != 0)
			continue;
		if (vmj_guest_disk_set_chain(d, storage->path, v, &err) < 0)
			vmj_log_warning("guest %u: %s", job, err.text);
		vmj_entry_save(e);
	}
}
