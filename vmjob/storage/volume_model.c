/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The model of a volume: what must be true of one, and how its tree of layers is read and changed.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "vmjob/model/request.h"
#include "vmjob/storage/volume.h"

#define SECTOR 512

/* --- names ------------------------------------------------------------------------------------ */

/* PREFIX<n>SUFFIX, n as printf writes it, from 1. */
static bool numbered(const char *file, const char *prefix, const char *suffix, uint32_t *ret_n)
{
	char canonical[VMJ_VOLUME_FILE_MAX];
	size_t skip = strlen(prefix);
	uint64_t n = 0;

	if (strncmp(file, prefix, skip) != 0)
		return false;
	for (const char *p = file + skip; *p >= '0' && *p <= '9' && n <= UINT32_MAX; p++)
		n = 10 * n + (uint64_t)(*p - '0');
	snprintf(canonical, sizeof(canonical), "%s%" PRIu64 "%s", prefix, n, suffix);
	if (n == 0 || n > UINT32_MAX || strcmp(canonical, file) != 0)
		return false;
	if (ret_n)
		*ret_n = (uint32_t)n;
	return true;
}

bool vmj_layer_name_valid(const char *file, uint32_t *ret_n)
{
	return numbered(file, "layer-", ".qcow2", ret_n);
}

bool vmj_memory_name_valid(const char *file, uint32_t *ret_n)
{
	return numbered(file, "memory-", ".save", ret_n);
}

static int take_name(struct vmj_volume *v, const char *format, char *ret, struct vmj_error *err)
{
	if (v->next == UINT32_MAX)
		return vmj_fail(err, EOVERFLOW,
				"volume \"%s\" has used up its numbers: make a full clone of it",
				v->name);
	snprintf(ret, VMJ_VOLUME_FILE_MAX, format, v->next++);
	return 0;
}

int vmj_volume_take_layer_name(struct vmj_volume *v, char ret[VMJ_VOLUME_FILE_MAX],
			       struct vmj_error *err)
{
	return take_name(v, "layer-%" PRIu32 ".qcow2", ret, err);
}

int vmj_volume_take_memory_name(struct vmj_volume *v, char ret[VMJ_VOLUME_FILE_MAX],
				struct vmj_error *err)
{
	return take_name(v, "memory-%" PRIu32 ".save", ret, err);
}

/* --- reading the tree ------------------------------------------------------------------------- */

static int layer_index(const struct vmj_volume *v, const char *file)
{
	for (unsigned int i = 0; i < v->n_layers; i++)
		if (strcmp(v->layers[i].file, file) == 0)
			return (int)i;
	return -1;
}

const struct vmj_layer *vmj_volume_layer(const struct vmj_volume *v, const char *file)
{
	int i = layer_index(v, file);

	return i < 0 ? NULL : &v->layers[i];
}

const struct vmj_snapshot *vmj_volume_snapshot(const struct vmj_volume *v, const char *name)
{
	for (unsigned int i = 0; i < v->n_snapshots; i++)
		if (strcmp(v->snapshots[i].name, name) == 0)
			return &v->snapshots[i];
	return NULL;
}

unsigned int vmj_volume_children(const struct vmj_volume *v, const char *file)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < v->n_layers; i++)
		n += strcmp(v->layers[i].parent, file) == 0;
	return n;
}

unsigned int vmj_volume_marks(const struct vmj_volume *v, const char *file)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < v->n_snapshots; i++)
		n += strcmp(v->snapshots[i].layer, file) == 0;
	return n;
}

int vmj_volume_chain(const struct vmj_volume *v, const char *from, const char *ret[VMJ_CHAIN_MAX],
		     unsigned int *ret_n, struct vmj_error *err)
{
	const struct vmj_layer *layer = vmj_volume_layer(v, from ? from : v->top);
	const char *chain[VMJ_CHAIN_MAX];
	unsigned int n = 0;

	if (!layer)
		return vmj_fail_user(err, ENOENT, "volume \"%s\" has no layer %s", v->name,
				     from ? from : v->top);
	for (; layer && n < VMJ_CHAIN_MAX; layer = vmj_volume_layer(v, layer->parent))
		chain[n++] = layer->file;
	memcpy(ret, chain, n * sizeof(*chain));
	*ret_n = n;
	return 0;
}

/* --- changing it ------------------------------------------------------------------------------ */

static unsigned int depth(const struct vmj_volume *v, const char *file)
{
	unsigned int n = 0;

	for (const struct vmj_layer *l = vmj_volume_layer(v, file); l && n <= VMJ_CHAIN_MAX;
	     l = vmj_volume_layer(v, l->parent))
		n++;
	return n;
}

int vmj_volume_add_layer(struct vmj_volume *v, const char *file, const char *parent,
			 struct vmj_error *err)
{
	struct vmj_layer *l = &v->layers[v->n_layers];

	if (v->n_layers == VMJ_LAYERS_MAX)
		return vmj_fail_user(err, E2BIG,
				     "volume \"%s\" has %d layers already, the most there can be: "
				     "remove snapshots, or make a full clone of it",
				     v->name, VMJ_LAYERS_MAX);
	if (*parent && depth(v, parent) >= VMJ_CHAIN_MAX)
		return vmj_fail_user(err, E2BIG,
				     "volume \"%s\" would have more than %d layers one over the "
				     "other: remove snapshots, or make a full clone of it",
				     v->name, VMJ_CHAIN_MAX);
	*l = (struct vmj_layer){0};
	snprintf(l->file, sizeof(l->file), "%s", file);
	snprintf(l->parent, sizeof(l->parent), "%s", parent);
	v->n_layers++;
	return 0;
}

int vmj_volume_drop_layer(struct vmj_volume *v, const char *file, struct vmj_error *err)
{
	int at = layer_index(v, file);
	struct vmj_layer gone;

	if (at < 0)
		return vmj_fail_user(err, ENOENT, "volume \"%s\" has no layer %s", v->name, file);
	if (strcmp(v->top, file) == 0 || vmj_volume_marks(v, file))
		return vmj_fail(err, EBUSY, "layer %s of volume \"%s\" is in use", file, v->name);
	gone = v->layers[at];
	for (unsigned int i = (unsigned int)at; i + 1 < v->n_layers; i++)
		v->layers[i] = v->layers[i + 1];
	v->layers[--v->n_layers] = (struct vmj_layer){0};
	for (unsigned int i = 0; i < v->n_layers; i++)
		if (strcmp(v->layers[i].parent, gone.file) == 0)
			memcpy(v->layers[i].parent, gone.parent, sizeof(gone.parent));
	return 0;
}

/* --- what must be true ------------------------------------------------------------------------ */

/* A refusal: "volume: WHAT, VALUE". */
#define REFUSE(...) vmj_fail_user(err, EINVAL, "volume: " __VA_ARGS__)

static int check_numbered(const struct vmj_volume *v, const char *what, const char *file,
			  bool memory, struct vmj_error *err)
{
	uint32_t n;

	if (!(memory ? vmj_memory_name_valid(file, &n) : vmj_layer_name_valid(file, &n)))
		return REFUSE("%s: \"%s\" is no name of such a file", what, file);
	if (n >= v->next)
		return REFUSE("%s: the number of %s is not below \"next\", %" PRIu32, what, file,
			      v->next);
	return 0;
}

static int check_size(const char *what, uint64_t bytes, struct vmj_error *err)
{
	if (bytes == 0 || bytes > VMJ_DISK_MIB_MAX << 20 || bytes % SECTOR)
		return vmj_fail_user(err, ERANGE,
				     "volume: %s: %" PRIu64 " is no size: from %d to %llu bytes, a "
				     "multiple of %d",
				     what, bytes, SECTOR, VMJ_DISK_MIB_MAX << 20, SECTOR);
	return 0;
}

static int check_owner(const struct vmj_volume *v, struct vmj_error *err)
{
	char prefix[24];

	if (!vmj_name_valid(v->name))
		return REFUSE("name: \"%.64s\" is no name", v->name);
	if (v->uid == (uid_t)-1 || v->gid == (gid_t)-1)
		return REFUSE("uid and gid: they must be below %" PRIu32, UINT32_MAX);
	if (v->time < 0)
		return REFUSE("time: it must not be negative");
	if (v->image[strspn(v->image, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789._-@/")])
		return REFUSE("image: \"%s\" is no image's name", v->image);
	snprintf(prefix, sizeof(prefix), VMJ_JOB_VOLUME "%" PRIu32 ".", v->job);
	if (v->job && strncmp(v->name, prefix, strlen(prefix)) != 0)
		return REFUSE("name: a volume of job %" PRIu32 " is called %s…, not %s", v->job,
			      prefix, v->name);
	if (!v->job && strncmp(v->name, VMJ_JOB_VOLUME, strlen(VMJ_JOB_VOLUME)) == 0)
		return REFUSE("name: names that begin with \"" VMJ_JOB_VOLUME
			      "\" are for volumes of jobs: \"%s\"",
			      v->name);
	return check_size("virtual_bytes", v->virtual_bytes, err);
}

static int check_layer(const struct vmj_volume *v, unsigned int i, unsigned int depths[],
		       struct vmj_error *err)
{
	const struct vmj_layer *l = &v->layers[i];
	bool base = strcmp(l->file, VMJ_BASE_FILE) == 0;
	int at, rc;

	rc = base ? 0 : check_numbered(v, "layers", l->file, false, err);
	if (rc < 0)
		return rc;
	if (layer_index(v, l->file) != (int)i)
		return REFUSE("layers: %s is there twice", l->file);
	if (base && *l->parent)
		return REFUSE("layers: %s has a parent, %s", l->file, l->parent);
	at = *l->parent ? layer_index(v, l->parent) : -1;
	if (*l->parent && (at < 0 || at >= (int)i))
		return REFUSE("layers: the parent of %s, \"%s\", is not before it", l->file,
			      l->parent);
	depths[i] = at < 0 ? 1 : depths[at] + 1;
	if (depths[i] > VMJ_CHAIN_MAX)
		return REFUSE("layers: %s has more than %d below it", l->file, VMJ_CHAIN_MAX - 1);
	return 0;
}

static int check_layers(const struct vmj_volume *v, struct vmj_error *err)
{
	unsigned int depths[VMJ_LAYERS_MAX];
	int rc;

	if (v->n_layers == 0 || v->n_layers > VMJ_LAYERS_MAX)
		return vmj_fail_user(err, ERANGE, "volume: layers: there must be 1 to %d",
				     VMJ_LAYERS_MAX);
	if (v->next == 0)
		return REFUSE("next: it must be at least 1");
	for (unsigned int i = 0; i < v->n_layers; i++) {
		rc = check_layer(v, i, depths, err);
		if (rc < 0)
			return rc;
	}
	if (!vmj_volume_layer(v, v->top) || strcmp(v->top, VMJ_BASE_FILE) == 0)
		return REFUSE("top: \"%s\" is none of the layers that can be written", v->top);
	if (vmj_volume_children(v, v->top))
		return REFUSE("top: %s is the parent of another layer", v->top);
	return 0;
}

/* Of a snapshot that is there, or that `pending` is to make. */
static int check_snapshot(const struct vmj_volume *v, const struct vmj_snapshot *s,
			  struct vmj_error *err)
{
	if (!vmj_name_valid(s->name))
		return REFUSE("snapshots: \"%.64s\" is no name", s->name);
	if (s->time < 0)
		return REFUSE("snapshots: the time of \"%s\" must not be negative", s->name);
	if (!vmj_volume_layer(v, s->layer))
		return REFUSE("snapshots: the layer of \"%s\", \"%s\", does not exist", s->name,
			      s->layer);
	if (*s->memory && check_numbered(v, "snapshots", s->memory, true, err) < 0)
		return -EINVAL;
	return check_size("snapshots", s->virtual_bytes, err);
}

static int check_snapshots(const struct vmj_volume *v, struct vmj_error *err)
{
	int rc;

	if (v->n_snapshots > VMJ_SNAPSHOTS_MAX)
		return vmj_fail_user(err, ERANGE, "volume: snapshots: there may be %d at most",
				     VMJ_SNAPSHOTS_MAX);
	for (unsigned int i = 0; i < v->n_snapshots; i++) {
		const struct vmj_snapshot *s = &v->snapshots[i];

		rc = check_snapshot(v, s, err);
		if (rc < 0)
			return rc;
		if (strcmp(s->layer, v->top) == 0)
			return REFUSE("snapshots: the layer of \"%s\" is the top, %s", s->name,
				      s->layer);
		for (unsigned int k = 0; k < i; k++) {
			if (strcmp(v->snapshots[k].name, s->name) == 0)
				return REFUSE("snapshots: \"%s\" is there twice", s->name);
			if (*s->memory && strcmp(v->snapshots[k].memory, s->memory) == 0)
				return REFUSE("snapshots: two have the memory %s", s->memory);
		}
	}
	return 0;
}

static int check_pending_snapshot(const struct vmj_volume *v, struct vmj_error *err)
{
	const struct vmj_pending *p = &v->pending;
	int rc;

	rc = check_numbered(v, "pending", p->file, false, err);
	if (rc == 0)
		rc = check_snapshot(v, &p->snapshot, err);
	if (rc < 0)
		return rc;
	if (vmj_volume_layer(v, p->file))
		return REFUSE("pending: %s is a layer already", p->file);
	if (strcmp(p->snapshot.layer, v->top) != 0)
		return REFUSE("pending: the layer of \"%s\" is not the top, %s", p->snapshot.name,
			      v->top);
	if (vmj_volume_snapshot(v, p->snapshot.name))
		return REFUSE("pending: a snapshot \"%s\" is there already", p->snapshot.name);
	for (unsigned int i = 0; *p->snapshot.memory && i < v->n_snapshots; i++)
		if (strcmp(v->snapshots[i].memory, p->snapshot.memory) == 0)
			return REFUSE("pending: %s is another snapshot's", p->snapshot.memory);
	return 0;
}

static int check_pending(const struct vmj_volume *v, struct vmj_error *err)
{
	const struct vmj_pending *p = &v->pending;
	const struct vmj_layer *l;

	switch (p->op) {
	case VMJ_PENDING_NONE:
		return 0;
	case VMJ_PENDING_SNAPSHOT:
		return check_pending_snapshot(v, err);
	case VMJ_PENDING_MERGE:
		l = vmj_volume_layer(v, p->file);
		if (!l || !*l->parent)
			return REFUSE("pending: \"%s\" is no layer that has a parent", p->file);
		return 0;
	case VMJ_PENDING_RESIZE:
		return check_size("pending", p->bytes, err);
	case VMJ_PENDING_COUNT_:
		break;
	}
	return REFUSE("pending: %d is no operation", (int)p->op);
}

int vmj_volume_check(const struct vmj_volume *v, struct vmj_error *err)
{
	int rc = check_owner(v, err);

	if (rc == 0)
		rc = check_layers(v, err);
	if (rc == 0)
		rc = check_snapshots(v, err);
	return rc == 0 ? check_pending(v, err) : rc;
}
