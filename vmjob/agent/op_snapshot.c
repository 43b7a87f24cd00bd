/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * snapshot-create, -list, -revert, -rm: of volumes, whether a guest of this host has them or none
 * has. One of a guest's all volumes at once is in op_snapshot_job.c.
 */
#include "vmjob/agent/op_snapshot.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <time.h>

#include "vmjob/agent/eventlog.h"
#include "vmjob/agent/ops.h"

/* --- members ---------------------------------------------------------------------------------- */

static void read_name(struct vmj_volume_task *t, struct vmj_json *in)
{
	struct vmj_snapshot_args *args = t->args;

	vmj_json_string(in, "name", VMJ_NEEDED, args->name, sizeof(args->name));
}

void vmj_snapshot_read_new(struct vmj_volume_task *t, struct vmj_json *in)
{
	bool memory = false;

	read_name(t, in);
	vmj_json_bool(in, "memory", VMJ_OPTIONAL, &memory);
	if (memory)
		vmj_json_refuse(in, "memory", EOPNOTSUPP,
				"snapshots cannot hold a guest's memory yet: take one of its disks "
				"only, without --memory");
}

struct json_object *vmj_snapshot_to_answer(const struct vmj_volume *v, const struct vmj_snapshot *s)
{
	struct json_object *o = json_object_new_object();

	vmj_json_put_string(o, "volume", v->name);
	vmj_json_put_string(o, "name", s->name);
	vmj_json_put_i64(o, "time", s->time);
	vmj_json_put_u64(o, "virtual_bytes", s->virtual_bytes);
	vmj_json_put_bool(o, "quiesced", s->quiesced);
	return o;
}

static void follow(struct vmj_volume_task *t, int rc)
{
	if (t->guest_job)
		vmj_guests_follow_volume(t->agent->guests, t->guest_job, t->storage, &t->v);
}

/* --- flatten ---------------------------------------------------------------------------------- */

/* QEMU may be unable to commit as long as the guest runs; what else can be done is done. */
static int merge_without_commit(struct vmj_volume_site *s, struct vmj_volume *v,
				struct vmj_error *err)
{
	int rc;

	s->env.live_commit = NULL;
	rc = vmj_layers_recover(&s->env, v, err);
	return rc < 0 ? rc : 1;
}

static int merge_all(struct vmj_volume_site *s, struct vmj_volume *v, struct vmj_error *err)
{
	int rc;

	do {
		vmj_volume_task_progress(0, s->task);
		rc = vmj_volume_merge(&s->env, v, err);
		if (rc == -EBUSY && s->env.live_commit)
			rc = merge_without_commit(s, v, err);
	} while (rc > 0);
	return rc;
}

static int flatten_work(struct vmj_volume_task *t, struct vmj_error *err)
{
	vmj_auto_volume_site struct vmj_volume_site site = VMJ_VOLUME_SITE_INIT;
	int rc = vmj_volume_site_open(&site, t, t->storage, &t->v, t->guest_job, err);

	return rc < 0 ? rc : merge_all(&site, &t->v, err);
}

static const struct vmj_volume_kind flatten_kind = {
	.need = VMJ_VOLUME_CHANGE_LIVE, .work = flatten_work, .done = follow};

void vmj_snapshot_flatten_later(struct vmj_agent *a, const struct vmj_storage_config *storage,
				const struct vmj_volume *v)
{
	if (vmj_volume_is_long(v))
		vmj_volume_task_own(a, storage->name, v->uid, v->name, &flatten_kind);
}

/* --- after our own restart -------------------------------------------------------------------- */

static int recover_work(struct vmj_volume_task *t, struct vmj_error *err)
{
	vmj_auto_volume_site struct vmj_volume_site site = VMJ_VOLUME_SITE_INIT;

	return vmj_volume_site_open(&site, t, t->storage, &t->v, t->guest_job, err);
}

static const struct vmj_volume_kind recover_kind = {
	.need = VMJ_VOLUME_CHANGE_LIVE, .work = recover_work, .done = follow};

void vmj_snapshots_recover(struct vmj_entry *e)
{
	for (unsigned int i = 0; i < e->rec.n_disks; i++) {
		const struct vmj_guest_disk *d = &e->rec.disks[i];

		if (d->volume[0] && !d->readonly)
			vmj_volume_task_own(e->agent, d->storage, e->rec.uid, d->volume,
					    &recover_kind);
	}
}

/* --- create ----------------------------------------------------------------------------------- */

static int take(struct vmj_volume_task *t, struct vmj_volume_site *site, struct vmj_error *err)
{
	struct vmj_snapshot_part part = {.v = &t->v, .site = site};
	struct vmj_snapshot_args *args = t->args;

	if (t->guest_job)
		return vmj_snapshot_take_live(t, t->guest_job, &part, 1, args->name, err);
	return vmj_snapshot_create(&site->env, &t->v, args->name, time(NULL), err);
}

/* A chain that is too long is made shorter if it can be. */
static int create_work(struct vmj_volume_task *t, struct vmj_error *err)
{
	vmj_auto_volume_site struct vmj_volume_site site = VMJ_VOLUME_SITE_INIT;
	struct vmj_snapshot_args *args = t->args;
	int rc = vmj_volume_site_open(&site, t, t->storage, &t->v, t->guest_job, err);

	if (rc == 0)
		rc = take(t, &site, err);
	if (rc == -E2BIG && t->v.n_snapshots < VMJ_SNAPSHOTS_MAX &&
	    merge_all(&site, &t->v, NULL) == 0)
		rc = take(t, &site, err);
	if (rc < 0)
		return rc;
	json_object_object_add(
		t->answer, "snapshot",
		vmj_snapshot_to_answer(&t->v, vmj_volume_snapshot(&t->v, args->name)));
	return 0;
}

static void create_done(struct vmj_volume_task *t, int rc)
{
	struct vmj_snapshot_args *args = t->args;

	follow(t, rc);
	if (rc < 0)
		return;
	if (t->guest_job)
		vmj_eventlog_add(t->agent->events, t->guest_job, t->uid, "snapshot",
				 "of volume %s: %s", t->name, args->name);
	vmj_snapshot_flatten_later(t->agent, t->storage, &t->v);
}

static const struct vmj_volume_kind create_kind = {
	.need = VMJ_VOLUME_CHANGE_LIVE,
	.args_size = sizeof(struct vmj_snapshot_args),
	.read = vmj_snapshot_read_new,
	.work = create_work,
	.done = create_done,
};

VMJ_OP_HANDLER(snapshot_create)
{
	if (job)
		vmj_snapshot_job_start(a, call, job, e);
	else
		vmj_volume_task_start(a, call, 0, &create_kind);
}

/* --- list ------------------------------------------------------------------------------------- */

static int list_work(struct vmj_volume_task *t, struct vmj_error *err)
{
	struct json_object *rows = json_object_new_array();

	json_object_object_add(t->answer, "snapshots", rows);
	for (unsigned int i = 0; i < t->v.n_snapshots; i++)
		json_object_array_add(rows, vmj_snapshot_to_answer(&t->v, &t->v.snapshots[i]));
	return 0;
}

static const struct vmj_volume_kind list_kind = {.need = VMJ_VOLUME_LOOK, .work = list_work};

VMJ_OP_HANDLER(snapshot_list)
{
	vmj_volume_task_start(a, call, 0, &list_kind);
}

/* --- revert ----------------------------------------------------------------------------------- */

static int revert_work(struct vmj_volume_task *t, struct vmj_error *err)
{
	vmj_auto_volume_site struct vmj_volume_site site = VMJ_VOLUME_SITE_INIT;
	struct vmj_snapshot_args *args = t->args;
	int rc;

	if (t->guest_job)
		return vmj_fail_user(err, EBUSY,
				     "volume \"%s\" is in use by job %" PRIu32
				     ": stop its guest first (vmjob stop %" PRIu32
				     "), then revert the volume",
				     t->name, t->guest_job, t->guest_job);
	rc = vmj_volume_site_open(&site, t, t->storage, &t->v, 0, err);
	return rc < 0 ? rc : vmj_snapshot_go_back(&site.env, &t->v, args->name, err);
}

static const struct vmj_volume_kind revert_kind = {
	.need = VMJ_VOLUME_CHANGE_LIVE,
	.args_size = sizeof(struct vmj_snapshot_args),
	.read = read_name,
	.work = revert_work,
};

VMJ_OP_HANDLER(snapshot_revert)
{
	vmj_volume_task_start(a, call, 0, &revert_kind);
}

/* --- rm --------------------------------------------------------------------------------------- */

/* What an earlier removal did not come to merge is merged now, too, even where the name is gone. */
static int rm_work(struct vmj_volume_task *t, struct vmj_error *err)
{
	vmj_auto_volume_site struct vmj_volume_site site = VMJ_VOLUME_SITE_INIT;
	struct vmj_error why = {.code = 0};
	struct vmj_snapshot_args *args = t->args;
	int merged, rc = vmj_volume_site_open(&site, t, t->storage, &t->v, t->guest_job, err);

	if (rc < 0)
		return rc;
	rc = vmj_snapshot_remove(&site.env, &t->v, args->name, err);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	merged = merge_all(&site, &t->v, &why);
	if (rc < 0 || merged == 0)
		return rc;
	*err = why;
	return vmj_fail_prefix(
		err, "the snapshot is removed, but its space is not free yet (the next removal "
		     "of one of this volume tries again)");
}

static const struct vmj_volume_kind rm_kind = {
	.need = VMJ_VOLUME_CHANGE_LIVE,
	.args_size = sizeof(struct vmj_snapshot_args),
	.read = read_name,
	.work = rm_work,
	.done = follow,
};

VMJ_OP_HANDLER(snapshot_rm)
{
	vmj_volume_task_start(a, call, 0, &rm_kind);
}
