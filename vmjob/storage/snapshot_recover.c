/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a crash broke off. A snapshot that was announced is completed: the new top holds nothing or,
 * if QEMU had switched to it, all that was written since. A merge is taken for done if the world
 * says so, else forgotten: the child's content was right all the time, and a later merge finds the
 * work again.
 */
#include <stdio.h>
#include <string.h>

#include "vmjob/storage/snapshot.h"
#include "vmjob/storage/snapshot_private.h"

static int forget(const struct vmj_layers_env *env, struct vmj_volume *v, struct vmj_error *err)
{
	struct vmj_volume w = *v;
	int rc;

	w.pending = (struct vmj_pending){.op = VMJ_PENDING_NONE};
	rc = env->save(&w, env->arg, err);
	if (rc == 0)
		*v = w;
	return rc;
}

/* Of a guest that runs, QEMU says whether it has switched. */
static int recover_snapshot(const struct vmj_layers_env *env, struct vmj_volume *v,
			    struct vmj_error *err)
{
	const struct vmj_snapshot *s = &v->pending.snapshot;
	int switched;

	switched = env->live_has ? env->live_has(v, v->pending.file, env->arg, err)
				 : env->exists(v, v->pending.file, env->arg, err);
	if (switched < 0)
		return switched;
	return switched ? vmj_snapshot_complete(env, v, s->quiesced, err)
			: vmj_snapshot_cancel(env, v, err);
}

/* What pending says, as a merge; `live` if QEMU had the files. */
static struct vmj_merge merge_of(const struct vmj_volume *v, bool live)
{
	const struct vmj_pending *p = &v->pending;
	struct vmj_merge m = {.way = p->pull ? VMJ_MERGE_PULL : VMJ_MERGE_COMMIT};
	const char *chain[VMJ_CHAIN_MAX];
	unsigned int n = 0;

	memcpy(m.child, p->file, sizeof(m.child));
	memcpy(m.layer, vmj_volume_layer(v, p->file)->parent, sizeof(m.layer));
	if (!live || vmj_volume_chain(v, NULL, chain, &n, NULL) < 0)
		return m;
	for (unsigned int i = 0; i < n; i++) {
		if (strcmp(chain[i], m.child) != 0)
			continue;
		m.way = p->pull ? VMJ_MERGE_LIVE_PULL : VMJ_MERGE_LIVE_COMMIT;
		if (i > 0)
			snprintf(m.above, sizeof(m.above), "%s", chain[i - 1]);
	}
	return m;
}

/* 1: the merge was done, 0: not, or not all. */
static int was_done(const struct vmj_layers_env *env, const struct vmj_volume *v,
		    const struct vmj_merge *m, struct vmj_error *err)
{
	int there;

	switch (m->way) {
	case VMJ_MERGE_COMMIT: /* its file has been renamed */
		there = env->exists(v, m->layer, env->arg, err);
		break;
	case VMJ_MERGE_LIVE_COMMIT:
		there = env->live_has(v, m->child, env->arg, err);
		break;
	case VMJ_MERGE_LIVE_PULL:
		there = env->live_has(v, m->layer, env->arg, err);
		break;
	default:
		return 0;
	}
	return there < 0 ? there : !there;
}

static int recover_merge(const struct vmj_layers_env *env, struct vmj_volume *v,
			 struct vmj_error *err)
{
	struct vmj_merge m = merge_of(v, env->live_has != NULL);
	int done = was_done(env, v, &m, err);

	if (done < 0)
		return done;
	return done ? vmj_merge_conclude(env, v, &m, err) : forget(env, v, err);
}

/* Headers as volume.json has the tree, and who may write what. Files that QEMU has open are left
 * alone, but for their modes. */
static int put_right(const struct vmj_layers_env *env, const struct vmj_volume *v,
		     struct vmj_error *err)
{
	struct vmj_layer_facts facts[VMJ_LAYERS_MAX];
	const char *chain[VMJ_CHAIN_MAX];
	unsigned int n = 0;
	int rc = env->look(v, facts, env->arg, err);

	if (rc == 0 && env->live_has)
		rc = vmj_volume_chain(v, NULL, chain, &n, err);
	for (unsigned int i = 0; rc == 0 && i < v->n_layers; i++) {
		const struct vmj_layer *l = &v->layers[i];
		bool open = false;

		if (!facts[i].own)
			continue;
		for (unsigned int k = 0; k < n; k++)
			open |= strcmp(chain[k], l->file) == 0;
		if (!open)
			rc = env->set_parent(v, l->file, l->parent, env->arg, err);
		if (rc == 0)
			rc = env->set_writable(v, l->file, strcmp(l->file, v->top) == 0, env->arg,
					       err);
	}
	return rc;
}

int vmj_layers_recover(const struct vmj_layers_env *env, struct vmj_volume *v,
		       struct vmj_error *err)
{
	int rc = 0;

	if (v->pending.op == VMJ_PENDING_SNAPSHOT)
		rc = recover_snapshot(env, v, err);
	else if (v->pending.op == VMJ_PENDING_MERGE)
		rc = recover_merge(env, v, err);
	return rc < 0 ? rc : put_right(env, v, err);
}
