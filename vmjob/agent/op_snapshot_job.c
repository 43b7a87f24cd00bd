/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Snapshots within a running guest: of one of its volumes, or of all at one moment. */
#include "vmjob/agent/op_snapshot.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "vmjob/agent/eventlog.h"
#include "vmjob/agent/ops.h"
#include "vmjob/agent/volume_lock.h"
#include "vmjob/base/log.h"
#include "vmjob/host/virt_snapshot.h"

/* --- taking one ------------------------------------------------------------------------------- */

static int prepare(const struct vmj_snapshot_part *parts, unsigned int n, const char *name,
		   unsigned int *ret_prepared, struct vmj_error *err)
{
	int64_t now = time(NULL);
	int rc = 0;

	for (*ret_prepared = 0; *ret_prepared < n; ++*ret_prepared) {
		const struct vmj_snapshot_part *p = &parts[*ret_prepared];

		rc = vmj_snapshot_prepare(&p->site->env, p->v, name, now, err);
		if (rc < 0)
			break;
	}
	return rc;
}

static int switch_over(struct vmj_volume_task *t, uint32_t job,
		       const struct vmj_snapshot_part *parts, unsigned int n, bool *ret_quiesced,
		       struct vmj_error *err)
{
	struct vmj_virt_overlay overlays[VMJ_GUEST_DISKS_MAX];
	char paths[VMJ_GUEST_DISKS_MAX][VMJ_VOLUME_PATH_MAX];

	for (unsigned int i = 0; i < n; i++)
		overlays[i] = (struct vmj_virt_overlay){
			.target = parts[i].site->target,
			.file = vmj_volume_path(parts[i].site->files.domain, parts[i].v,
						parts[i].v->pending.file, paths[i])};
	return vmj_virt_snapshot(t->agent->virt, job, overlays, n, ret_quiesced, err);
}

/* As QEMU says: those that it has switched are snapshots, the others are not. */
static void put_right(const struct vmj_snapshot_part *parts, unsigned int n)
{
	struct vmj_error err;

	for (unsigned int i = 0; i < n; i++)
		if (vmj_layers_recover(&parts[i].site->env, parts[i].v, &err) < 0)
			vmj_log_warning("volume %s: %s", parts[i].v->name, err.text);
}

int vmj_snapshot_take_live(struct vmj_volume_task *t, uint32_t job,
			   const struct vmj_snapshot_part *parts, unsigned int n, const char *name,
			   struct vmj_error *err)
{
	unsigned int prepared;
	bool quiesced = false;
	int rc = prepare(parts, n, name, &prepared, err);

	if (rc == 0)
		rc = switch_over(t, job, parts, n, &quiesced, err);
	if (rc < 0) {
		put_right(parts, prepared);
		return rc;
	}
	for (unsigned int i = 0; rc == 0 && i < n; i++)
		rc = vmj_snapshot_complete(&parts[i].site->env, parts[i].v, quiesced, err);
	return rc;
}

/* --- of all volumes of a guest ---------------------------------------------------------------- */

struct disk {
	char storage[VMJ_NAME_MAX + 1], volume[VMJ_NAME_MAX + 1];
	const struct vmj_storage_config *config;
	struct vmj_volume_lock *lock;
	struct vmj_volume_site site;
	struct vmj_volume v;
	bool open; /* v is what volume.json says */
};

struct job_args {
	struct vmj_snapshot_args snapshot;
	unsigned int n;
	struct disk disks[VMJ_GUEST_DISKS_MAX];
};

static int open_disk(struct vmj_volume_task *t, struct disk *d, struct vmj_error *err)
{
	int rc = vmj_volume_lock(d->config->path, t->uid, d->volume, &d->lock, err);

	if (rc == 0)
		rc = vmj_volume_task_find_guest(t, d->config, d->volume, &t->guest_job, err);
	if (rc < 0)
		return rc;
	if (t->guest_job != t->job)
		return vmj_fail_user(err, ENOENT,
				     "guest %" PRIu32 " does not have volume \"%s\" any more: try "
				     "again",
				     t->job, d->volume);
	rc = vmj_volume_read(d->config->path, t->uid, d->volume, &d->v, err);
	if (rc == 0)
		rc = vmj_volume_site_open(&d->site, t, d->config, &d->v, t->job, err);
	d->open = rc == 0;
	return rc;
}

static int job_work(struct vmj_volume_task *t, struct vmj_error *err)
{
	struct vmj_snapshot_part parts[VMJ_GUEST_DISKS_MAX];
	struct json_object *rows = json_object_new_array();
	struct job_args *args = t->args;
	int rc = 0;

	json_object_object_add(t->answer, "snapshots", rows);
	for (unsigned int i = 0; rc == 0 && i < args->n; i++) {
		rc = open_disk(t, &args->disks[i], err);
		parts[i] = (struct vmj_snapshot_part){.v = &args->disks[i].v,
						      .site = &args->disks[i].site};
	}
	if (rc == 0)
		rc = vmj_snapshot_take_live(t, t->job, parts, args->n, args->snapshot.name, err);
	for (unsigned int i = 0; i < args->n; i++) {
		struct disk *d = &args->disks[i];

		if (rc == 0)
			json_object_array_add(
				rows,
				vmj_snapshot_to_answer(
					&d->v, vmj_volume_snapshot(&d->v, args->snapshot.name)));
		vmj_volume_site_done(&d->site);
		vmj_volume_unlock(d->lock);
	}
	return rc;
}

static void job_done(struct vmj_volume_task *t, int rc)
{
	struct job_args *args = t->args;

	for (unsigned int i = 0; i < args->n; i++) {
		struct disk *d = &args->disks[i];

		if (!d->open)
			continue;
		vmj_guests_follow_volume(t->agent->guests, t->job, d->config, &d->v);
		if (rc == 0)
			vmj_snapshot_flatten_later(t->agent, d->config, &d->v);
	}
	if (rc == 0)
		vmj_eventlog_add(t->agent->events, t->job, t->uid, "snapshot", "%s",
				 args->snapshot.name);
}

static void add_disk(struct vmj_volume_task *t, const struct vmj_guest_disk *from)
{
	struct job_args *args = t->args;
	struct disk *d = &args->disks[args->n];

	if (!from->volume[0] || from->readonly ||
	    vmj_config_storage(t->settings->config, from->storage, &d->config, NULL) < 0)
		return;
	snprintf(d->volume, sizeof(d->volume), "%s", from->volume);
	d->site = (struct vmj_volume_site)VMJ_VOLUME_SITE_INIT;
	args->n++;
}

static void job_read(struct vmj_volume_task *t, struct vmj_json *in)
{
	const struct vmj_guest *g = &vmj_guests_find(t->agent->guests, t->job)->rec;
	struct job_args *args = t->args;

	vmj_snapshot_read_new(t, in);
	t->uid = g->uid;
	for (unsigned int i = 0; i < g->n_disks; i++)
		add_disk(t, &g->disks[i]);
	if (!args->n)
		vmj_json_refuse(in, "job", EINVAL,
				"guest %" PRIu32 " has no volumes, and its own disks go with the "
				"job: have its root disk as a volume (--vm-persistent=NAME)",
				t->job);
}

static const struct vmj_volume_kind job_kind = {
	.need = VMJ_VOLUME_NOTHING,
	.args_size = sizeof(struct job_args),
	.read = job_read,
	.work = job_work,
	.done = job_done,
};

void vmj_snapshot_job_start(struct vmj_agent *a, struct vmj_call *call, uint32_t job,
			    struct vmj_entry *e)
{
	struct vmj_error err;

	if (e) {
		vmj_volume_task_start(a, call, job, &job_kind);
		return;
	}
	vmj_fail_user(&err, ENOENT, "job %u has no guest on this host", job);
	vmj_call_fail(call, &err);
}
