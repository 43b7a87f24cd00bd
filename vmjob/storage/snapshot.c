/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/storage/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmjob/base/point.h"
#include "vmjob/storage/snapshot_private.h"

const char *const vmj_snapshot_points[] = {
	"snapshot.make",
	"snapshot.announce",
	"snapshot.freeze",
	"snapshot.commit",
	"revert.make",
	"revert.commit",
	"revert.drop",
	"forget.commit",
	"merge.announce",
	"merge.copy",
	"merge.move",
	"merge.commit",
	"pull.announce",
	"pull.copy",
	"pull.commit",
	"pull.drop",
	"live-merge.announce",
	"live-merge.allow",
	"live-merge.copy",
	"live-merge.tidy",
	"live-merge.commit",
	"live-merge.drop",
	"live-pull.announce",
	"live-pull.copy",
	"live-pull.commit",
	"live-pull.drop",
	"unused.commit",
	"unused.drop",
	NULL,
};

/* Of what all ways of merging have. */
static const struct {
	const char *announce, *commit, *drop;
} way_points[] = {
	[VMJ_MERGE_DROP] = {NULL, "unused.commit", "unused.drop"},
	[VMJ_MERGE_COMMIT] = {"merge.announce", "merge.commit", NULL},
	[VMJ_MERGE_PULL] = {"pull.announce", "pull.commit", "pull.drop"},
	[VMJ_MERGE_LIVE_COMMIT] = {"live-merge.announce", "live-merge.commit", "live-merge.drop"},
	[VMJ_MERGE_LIVE_PULL] = {"live-pull.announce", "live-pull.commit", "live-pull.drop"},
};

/* The commit point of a change: volume.json says w, then so does v. */
static int save(const struct vmj_layers_env *env, struct vmj_volume *v, const struct vmj_volume *w,
		const char *point, struct vmj_error *err)
{
	int rc = env->save(w, env->arg, err);

	if (rc < 0)
		return rc;
	*v = *w;
	vmj_point(point);
	return 0;
}

static int drop(const struct vmj_layers_env *env, const struct vmj_volume *v, const char *file,
		const char *point, struct vmj_error *err)
{
	int rc = env->drop(v, file, env->arg, err);

	if (rc == 0)
		vmj_point(point);
	return rc;
}

/* --- snapshots -------------------------------------------------------------------------------- */

int vmj_snapshot_prepare(const struct vmj_layers_env *env, struct vmj_volume *v, const char *name,
			 int64_t time, struct vmj_error *err)
{
	struct vmj_volume w = *v;
	int rc = vmj_snapshot_begin(&w, name, time, err);

	if (rc == 0)
		rc = env->make(v, w.pending.file, v->top, env->arg, err);
	if (rc < 0)
		return rc;
	vmj_point("snapshot.make");
	w.pending.snapshot.quiesced = !env->live_has;
	return save(env, v, &w, "snapshot.announce", err);
}

int vmj_snapshot_complete(const struct vmj_layers_env *env, struct vmj_volume *v, bool quiesced,
			  struct vmj_error *err)
{
	struct vmj_volume w = *v;
	int rc = env->set_writable(v, v->top, false, env->arg, err);

	if (rc < 0)
		return rc;
	vmj_point("snapshot.freeze");
	w.pending.snapshot.quiesced = quiesced;
	rc = vmj_snapshot_finish(&w, err);
	return rc < 0 ? rc : save(env, v, &w, "snapshot.commit", err);
}

int vmj_snapshot_cancel(const struct vmj_layers_env *env, struct vmj_volume *v,
			struct vmj_error *err)
{
	struct vmj_volume w = *v;
	int rc;

	w.pending = (struct vmj_pending){.op = VMJ_PENDING_NONE};
	rc = env->save(&w, env->arg, err);
	if (rc < 0)
		return rc;
	rc = env->drop(v, v->pending.file, env->arg, err);
	*v = w;
	return rc;
}

int vmj_snapshot_create(const struct vmj_layers_env *env, struct vmj_volume *v, const char *name,
			int64_t time, struct vmj_error *err)
{
	int rc = vmj_snapshot_prepare(env, v, name, time, err);

	return rc < 0 ? rc : vmj_snapshot_complete(env, v, true, err);
}

int vmj_snapshot_go_back(const struct vmj_layers_env *env, struct vmj_volume *v, const char *name,
			 struct vmj_error *err)
{
	char old[VMJ_VOLUME_FILE_MAX];
	struct vmj_volume w = *v;
	int rc = vmj_snapshot_check_idle(v, err);

	if (rc == 0)
		rc = vmj_snapshot_revert(&w, name, old, err);
	if (rc == 0)
		rc = env->make(&w, w.top, vmj_volume_layer(&w, w.top)->parent, env->arg, err);
	if (rc < 0)
		return rc;
	vmj_point("revert.make");
	rc = save(env, v, &w, "revert.commit", err);
	return rc < 0 ? rc : drop(env, v, old, "revert.drop", err);
}

int vmj_snapshot_remove(const struct vmj_layers_env *env, struct vmj_volume *v, const char *name,
			struct vmj_error *err)
{
	struct vmj_volume w = *v;
	int rc = vmj_snapshot_forget(&w, name, err);

	return rc < 0 ? rc : save(env, v, &w, "forget.commit", err);
}

/* --- merges ----------------------------------------------------------------------------------- */

static int announce(const struct vmj_layers_env *env, struct vmj_volume *v,
		    const struct vmj_merge *m, struct vmj_error *err)
{
	struct vmj_volume w = *v;
	bool pull = m->way == VMJ_MERGE_PULL || m->way == VMJ_MERGE_LIVE_PULL;

	w.pending = (struct vmj_pending){.op = VMJ_PENDING_MERGE, .pull = pull};
	memcpy(w.pending.file, m->child, sizeof(w.pending.file));
	return save(env, v, &w, way_points[m->way].announce, err);
}

static int commit(const struct vmj_layers_env *env, const struct vmj_volume *v,
		  const struct vmj_merge *m, struct vmj_error *err)
{
	int rc = env->set_writable(v, m->layer, true, env->arg, err);

	if (rc == 0)
		rc = env->set_writable(v, m->child, true, env->arg, err);
	if (rc == 0)
		rc = env->commit(v, m->child, m->layer, env->arg, err);
	if (rc < 0)
		return rc;
	vmj_point("merge.copy");
	rc = env->set_writable(v, m->layer, strcmp(m->child, v->top) == 0, env->arg, err);
	if (rc == 0)
		rc = env->move(v, m->layer, m->child, env->arg, err);
	if (rc == 0)
		vmj_point("merge.move");
	return rc;
}

static int pull(const struct vmj_layers_env *env, const struct vmj_volume *v,
		const struct vmj_merge *m, struct vmj_error *err)
{
	const char *parent = vmj_volume_layer(v, m->layer)->parent;
	int rc = env->set_writable(v, m->child, true, env->arg, err);

	if (rc == 0)
		rc = env->pull(v, m->child, parent, env->arg, err);
	if (rc == 0)
		rc = env->set_writable(v, m->child, strcmp(m->child, v->top) == 0, env->arg, err);
	if (rc == 0)
		vmj_point("pull.copy");
	return rc;
}

/* The child is the top, which QEMU writes to anyway. */
static int live_pull(const struct vmj_layers_env *env, const struct vmj_volume *v,
		     const struct vmj_merge *m, struct vmj_error *err)
{
	int rc = env->live_pull(v, vmj_volume_layer(v, m->layer)->parent, env->arg, err);

	if (rc == 0)
		vmj_point("live-pull.copy");
	return rc;
}

/* QEMU writes into the layer, and into the header of the one above the child. */
static int live_commit(const struct vmj_layers_env *env, const struct vmj_volume *v,
		       const struct vmj_merge *m, struct vmj_error *err)
{
	int rc = env->set_writable(v, m->layer, true, env->arg, err);

	if (rc == 0)
		rc = env->set_writable(v, m->above, true, env->arg, err);
	if (rc < 0)
		return rc;
	vmj_point("live-merge.allow");
	rc = env->live_commit(v, m->above, m->child, m->layer, env->arg, err);
	if (rc == 0)
		vmj_point("live-merge.copy");
	return rc;
}

/* After a live commit: the headers of other branches of the tree, which QEMU does not know, and who
 * may write what. */
static int tidy_live_commit(const struct vmj_layers_env *env, const struct vmj_volume *v,
			    const struct vmj_merge *m, struct vmj_error *err)
{
	int rc = env->set_writable(v, m->layer, false, env->arg, err);

	if (rc == 0 && strcmp(m->above, v->top) != 0)
		rc = env->set_writable(v, m->above, false, env->arg, err);
	for (unsigned int i = 0; rc == 0 && i < v->n_layers; i++)
		if (strcmp(v->layers[i].parent, m->child) == 0 &&
		    strcmp(v->layers[i].file, m->above) != 0)
			rc = env->set_parent(v, v->layers[i].file, m->layer, env->arg, err);
	if (rc == 0)
		vmj_point("live-merge.tidy");
	return rc;
}

int vmj_merge_conclude(const struct vmj_layers_env *env, struct vmj_volume *v,
		       const struct vmj_merge *m, struct vmj_error *err)
{
	struct vmj_volume w = *v;
	int rc = 0;

	if (m->way == VMJ_MERGE_LIVE_COMMIT)
		rc = tidy_live_commit(env, v, m, err);
	w.pending = (struct vmj_pending){.op = VMJ_PENDING_NONE};
	if (rc == 0)
		rc = vmj_merge_apply(&w, m, err);
	if (rc == 0)
		rc = save(env, v, &w, way_points[m->way].commit, err);
	if (rc < 0 || m->way == VMJ_MERGE_COMMIT) /* its file was renamed */
		return rc;
	return drop(env, v, m->way == VMJ_MERGE_LIVE_COMMIT ? m->child : m->layer,
		    way_points[m->way].drop, err);
}

static int merge(const struct vmj_layers_env *env, struct vmj_volume *v, const struct vmj_merge *m,
		 struct vmj_error *err)
{
	int rc = 0;

	if (m->way != VMJ_MERGE_DROP)
		rc = announce(env, v, m, err);
	if (rc < 0)
		return rc;
	switch (m->way) {
	case VMJ_MERGE_COMMIT:
		rc = commit(env, v, m, err);
		break;
	case VMJ_MERGE_LIVE_COMMIT:
		rc = live_commit(env, v, m, err);
		break;
	case VMJ_MERGE_PULL:
		rc = pull(env, v, m, err);
		break;
	case VMJ_MERGE_LIVE_PULL:
		rc = live_pull(env, v, m, err);
		break;
	default:
		break;
	}
	return rc < 0 ? rc : vmj_merge_conclude(env, v, m, err);
}

static enum vmj_merge_where where_of(const struct vmj_layers_env *env)
{
	if (!env->live_has)
		return VMJ_MERGE_OFFLINE;
	return env->live_commit ? VMJ_MERGE_LIVE : VMJ_MERGE_LIVE_NO_COMMIT;
}

int vmj_volume_merge(const struct vmj_layers_env *env, struct vmj_volume *v, struct vmj_error *err)
{
	struct vmj_layer_facts facts[VMJ_LAYERS_MAX];
	struct vmj_merge m;
	int rc = vmj_snapshot_check_idle(v, err);

	if (rc == 0)
		rc = env->look(v, facts, env->arg, err);
	if (rc < 0)
		return rc;
	m = vmj_merge_next(v, facts, where_of(env));
	if (m.way == VMJ_MERGE_NOTHING)
		return 0;
	rc = merge(env, v, &m, err);
	return rc < 0 ? rc : 1;
}
