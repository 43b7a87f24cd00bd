/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/storage/snapshot_plan.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void copy_file(char ret[VMJ_VOLUME_FILE_MAX], const char *file)
{
	snprintf(ret, VMJ_VOLUME_FILE_MAX, "%s", file);
}

/* --- snapshots -------------------------------------------------------------------------------- */

static int fail_no_snapshot(const struct vmj_volume *v, const char *name, struct vmj_error *err)
{
	char quoted[80];

	return vmj_fail_user(err, ENOENT, "volume \"%s\" has no snapshot \"%s\"", v->name,
			     vmj_quote(name, quoted, sizeof(quoted)));
}

int vmj_snapshot_check_idle(const struct vmj_volume *v, struct vmj_error *err)
{
	if (v->pending.op == VMJ_PENDING_NONE)
		return 0;
	return vmj_fail_user(err, EBUSY,
			     "volume \"%s\": another change of it is under way: try again when it "
			     "is done",
			     v->name);
}

static int check_new_name(const struct vmj_volume *v, const char *name, struct vmj_error *err)
{
	int rc = vmj_parse_name("the snapshot's name", name, err);

	if (rc < 0)
		return rc;
	if (vmj_volume_snapshot(v, name))
		return vmj_fail_user(err, EEXIST, "volume \"%s\" has a snapshot \"%s\" already",
				     v->name, name);
	if (v->n_snapshots >= VMJ_SNAPSHOTS_MAX)
		return vmj_fail_user(err, E2BIG,
				     "volume \"%s\" has %u snapshots, the most it can have: remove "
				     "one first (vmjob snapshot rm)",
				     v->name, v->n_snapshots);
	return 0;
}

int vmj_snapshot_begin(struct vmj_volume *v, const char *name, int64_t time, struct vmj_error *err)
{
	struct vmj_volume w = *v, after;
	struct vmj_pending *p = &w.pending;
	int rc = vmj_snapshot_check_idle(v, err);

	if (rc == 0)
		rc = check_new_name(v, name, err);
	if (rc < 0)
		return rc;
	*p = (struct vmj_pending){.op = VMJ_PENDING_SNAPSHOT};
	rc = vmj_volume_take_layer_name(&w, p->file, err);
	if (rc < 0)
		return rc;
	snprintf(p->snapshot.name, sizeof(p->snapshot.name), "%s", name);
	p->snapshot.time = time;
	p->snapshot.virtual_bytes = w.virtual_bytes;
	copy_file(p->snapshot.layer, w.top);
	after = w;
	rc = vmj_snapshot_finish(&after, err); /* whatever would go wrong then is said now */
	if (rc < 0)
		return rc;
	*v = w;
	return 0;
}

int vmj_snapshot_finish(struct vmj_volume *v, struct vmj_error *err)
{
	struct vmj_pending p = v->pending;
	int rc = vmj_volume_add_layer(v, p.file, v->top, err);

	if (rc < 0)
		return rc;
	v->snapshots[v->n_snapshots++] = p.snapshot;
	copy_file(v->top, p.file);
	v->pending = (struct vmj_pending){.op = VMJ_PENDING_NONE};
	return 0;
}

int vmj_snapshot_revert(struct vmj_volume *v, const char *name, char ret_old[VMJ_VOLUME_FILE_MAX],
			struct vmj_error *err)
{
	const struct vmj_snapshot *s = vmj_volume_snapshot(v, name);
	char old[VMJ_VOLUME_FILE_MAX], file[VMJ_VOLUME_FILE_MAX];
	struct vmj_volume w = *v;
	int rc;

	if (!s)
		return fail_no_snapshot(v, name, err);
	copy_file(old, v->top);
	copy_file(w.top, s->layer); /* for a moment, so that the old one may go */
	rc = vmj_volume_drop_layer(&w, old, err);
	if (rc == 0)
		rc = vmj_volume_take_layer_name(&w, file, err);
	if (rc == 0)
		rc = vmj_volume_add_layer(&w, file, s->layer, err);
	if (rc < 0)
		return rc;
	copy_file(w.top, file);
	w.virtual_bytes = s->virtual_bytes;
	copy_file(ret_old, old);
	*v = w;
	return 0;
}

int vmj_snapshot_forget(struct vmj_volume *v, const char *name, struct vmj_error *err)
{
	const struct vmj_snapshot *s = vmj_volume_snapshot(v, name);
	size_t i;

	if (!s)
		return fail_no_snapshot(v, name, err);
	i = (size_t)(s - v->snapshots);
	memmove(&v->snapshots[i], &v->snapshots[i + 1],
		(v->n_snapshots - i - 1) * sizeof(v->snapshots[0]));
	memset(&v->snapshots[--v->n_snapshots], 0, sizeof(v->snapshots[0]));
	return 0;
}

/* --- merges ----------------------------------------------------------------------------------- */

/* What the choice is made from. */
struct look {
	const struct vmj_volume *v;
	const struct vmj_layer_facts *facts;
	enum vmj_merge_where where;
	unsigned int n_open; /* files that a guest has open, the top first */
	const char *open[VMJ_CHAIN_MAX];
};

static bool is_top(const struct look *k, const char *file)
{
	return strcmp(k->v->top, file) == 0;
}

/* Its place in the guest's chain, 0 the top; -1: not in it. */
static int place_of(const struct look *k, const char *file)
{
	for (unsigned int i = 0; i < k->n_open; i++)
		if (strcmp(k->open[i], file) == 0)
			return (int)i;
	return -1;
}

static const struct vmj_layer_facts *facts_of(const struct look *k, const struct vmj_layer *l)
{
	return &k->facts[l - k->v->layers];
}

static bool is_own(const struct look *k, const char *file)
{
	const struct vmj_layer *l = vmj_volume_layer(k->v, file);

	return l && facts_of(k, l)->own && strcmp(file, VMJ_BASE_FILE) != 0;
}

static bool children_are_own(const struct look *k, const char *file)
{
	const struct vmj_volume *v = k->v;

	for (unsigned int i = 0; i < v->n_layers; i++)
		if (strcmp(v->layers[i].parent, file) == 0 && !is_own(k, v->layers[i].file))
			return false;
	return true;
}

static unsigned int chain_length(const struct vmj_volume *v, const char *file)
{
	const char *chain[VMJ_CHAIN_MAX];
	unsigned int n = 0;

	return vmj_volume_chain(v, file, chain, &n, NULL) < 0 ? VMJ_CHAIN_MAX : n;
}

bool vmj_volume_is_long(const struct vmj_volume *v)
{
	return chain_length(v, v->top) > VMJ_CHAIN_SOFT;
}

/* Is the layer in a chain that is longer than it should be? */
static bool in_long_chain(const struct vmj_volume *v, const char *file)
{
	const char *chain[VMJ_CHAIN_MAX];
	unsigned int n;

	for (unsigned int i = 0; i < v->n_layers; i++) {
		const char *leaf = v->layers[i].file;

		if (vmj_volume_children(v, leaf) ||
		    vmj_volume_chain(v, leaf, chain, &n, NULL) < 0 || n <= VMJ_CHAIN_SOFT)
			continue;
		for (unsigned int k = 0; k < n; k++)
			if (strcmp(chain[k], file) == 0)
				return true;
	}
	return false;
}

static const struct vmj_layer *child_of(const struct vmj_volume *v, const char *file)
{
	for (unsigned int i = 0; i < v->n_layers; i++)
		if (strcmp(v->layers[i].parent, file) == 0)
			return &v->layers[i];
	return NULL;
}

static bool may_commit(const struct look *k, const struct vmj_layer *layer,
		       const struct vmj_layer *child)
{
	if (!is_own(k, layer->file) || !is_own(k, child->file))
		return false; /* the program wants to write to both */
	if (place_of(k, child->file) < 0)
		return true;
	return k->where == VMJ_MERGE_LIVE && !is_top(k, child->file) &&
	       children_are_own(k, child->file);
}

/* A shared layer does not go away by being copied: only where the chain is too long. */
static bool may_pull(const struct look *k, const struct vmj_layer *layer,
		     const struct vmj_layer *child)
{
	if (!is_own(k, child->file) || strcmp(layer->file, VMJ_BASE_FILE) == 0)
		return false;
	if (place_of(k, child->file) >= 0 && !is_top(k, child->file))
		return false;
	return is_own(k, layer->file) || in_long_chain(k->v, layer->file);
}

static void choose_way(const struct look *k, const struct vmj_layer *layer,
		       const struct vmj_layer *child, struct vmj_merge *m)
{
	uint64_t down = facts_of(k, child)->bytes, up = facts_of(k, layer)->bytes;
	bool commit = may_commit(k, layer, child), pull = may_pull(k, layer, child);
	int place = place_of(k, child->file);

	if (!commit && !pull)
		return;
	if (commit && pull)
		commit = down <= up;
	m->way = commit ? VMJ_MERGE_COMMIT : VMJ_MERGE_PULL;
	m->bytes = commit ? down : up;
	if (place < 0)
		return;
	m->way = commit ? VMJ_MERGE_LIVE_COMMIT : VMJ_MERGE_LIVE_PULL;
	if (commit)
		copy_file(m->above, k->open[place - 1]);
}

static void look_at(const struct look *k, const struct vmj_layer *layer, struct vmj_merge *m)
{
	unsigned int children = vmj_volume_children(k->v, layer->file);
	const struct vmj_layer *child = child_of(k->v, layer->file);

	if (is_top(k, layer->file) || vmj_volume_marks(k->v, layer->file) || children > 1)
		return;
	if (!children)
		m->way = VMJ_MERGE_DROP;
	else
		choose_way(k, layer, child, m);
	if (m->way == VMJ_MERGE_NOTHING)
		return;
	copy_file(m->layer, layer->file);
	if (child)
		copy_file(m->child, child->file);
}

struct vmj_merge vmj_merge_next(const struct vmj_volume *v, const struct vmj_layer_facts *facts,
				enum vmj_merge_where where)
{
	struct look k = {.v = v, .facts = facts, .where = where};
	struct vmj_merge m = {.way = VMJ_MERGE_NOTHING};

	if (where != VMJ_MERGE_OFFLINE && vmj_volume_chain(v, NULL, k.open, &k.n_open, NULL) < 0)
		return m;
	for (unsigned int i = 0; i < v->n_layers && m.way == VMJ_MERGE_NOTHING; i++)
		look_at(&k, &v->layers[i], &m);
	return m;
}

/* The layer takes the child's place in the tree, and the child goes. */
static int take_place(struct vmj_volume *v, const struct vmj_merge *m, struct vmj_error *err)
{
	int rc;

	for (unsigned int i = 0; i < v->n_snapshots; i++)
		if (strcmp(v->snapshots[i].layer, m->child) == 0)
			copy_file(v->snapshots[i].layer, m->layer);
	rc = vmj_volume_drop_layer(v, m->child, err);
	return rc;
}

int vmj_merge_apply(struct vmj_volume *v, const struct vmj_merge *m, struct vmj_error *err)
{
	struct vmj_volume w = *v;
	int rc;

	if (m->way == VMJ_MERGE_NOTHING)
		return 0;
	if (m->way == VMJ_MERGE_LIVE_COMMIT)
		rc = take_place(&w, m, err);
	else
		rc = vmj_volume_drop_layer(&w, m->layer, err);
	if (rc == 0)
		*v = w;
	return rc;
}
