/* SPDX-License-Identifier: GPL-2.0-or-later */
/* volume.json. */
#include <errno.h>
#include <string.h>

#include "vmjob/model/json.h"
#include "vmjob/model/request.h"
#include "vmjob/storage/volume.h"

#define FORMAT    "vmjob-volume"
#define VERSION   1
#define DEPTH_MAX 4 /* volume, pending, snapshot, and one to spare */
#define BYTES_MAX (VMJ_DISK_MIB_MAX << 20)

static const char *const op_names[VMJ_PENDING_COUNT_] = {
	[VMJ_PENDING_SNAPSHOT] = "snapshot",
	[VMJ_PENDING_MERGE] = "merge",
	[VMJ_PENDING_RESIZE] = "resize",
};

/* --- out -------------------------------------------------------------------------------------- */

static struct json_object *layers_to_json(const struct vmj_volume *v)
{
	struct json_object *array = json_object_new_array_ext((int)v->n_layers);

	for (unsigned int i = 0; i < v->n_layers; i++) {
		struct json_object *o = json_object_new_object();

		vmj_json_put_string(o, "file", v->layers[i].file);
		vmj_json_put_string(o, "parent", v->layers[i].parent);
		json_object_array_add(array, o);
	}
	return array;
}

static struct json_object *snapshot_to_json(const struct vmj_snapshot *s)
{
	struct json_object *o = json_object_new_object();

	vmj_json_put_string(o, "name", s->name);
	vmj_json_put_i64(o, "time", s->time);
	vmj_json_put_string(o, "layer", s->layer);
	vmj_json_put_u64(o, "virtual_bytes", s->virtual_bytes);
	vmj_json_put_bool(o, "quiesced", s->quiesced);
	vmj_json_put_string(o, "memory", s->memory);
	return o;
}

static struct json_object *snapshots_to_json(const struct vmj_volume *v)
{
	struct json_object *array = json_object_new_array_ext((int)v->n_snapshots);

	for (unsigned int i = 0; i < v->n_snapshots; i++)
		json_object_array_add(array, snapshot_to_json(&v->snapshots[i]));
	return array;
}

static struct json_object *pending_to_json(const struct vmj_pending *p)
{
	struct json_object *o = json_object_new_object();

	vmj_json_put_string(o, "op", op_names[p->op]);
	if (p->op != VMJ_PENDING_RESIZE)
		vmj_json_put_string(o, "file", p->file);
	if (p->op == VMJ_PENDING_SNAPSHOT)
		json_object_object_add(o, "snapshot", snapshot_to_json(&p->snapshot));
	if (p->op == VMJ_PENDING_MERGE)
		vmj_json_put_bool(o, "pull", p->pull);
	if (p->op == VMJ_PENDING_RESIZE)
		vmj_json_put_u64(o, "bytes", p->bytes);
	return o;
}

struct json_object *vmj_volume_to_json(const struct vmj_volume *v)
{
	struct json_object *o = json_object_new_object();

	vmj_json_put_string(o, "format", FORMAT);
	vmj_json_put_u64(o, "version", VERSION);
	vmj_json_put_string(o, "name", v->name);
	vmj_json_put_u64(o, "uid", v->uid);
	vmj_json_put_u64(o, "gid", v->gid);
	vmj_json_put_i64(o, "time", v->time);
	vmj_json_put_u64(o, "virtual_bytes", v->virtual_bytes);
	vmj_json_put_u64(o, "job", v->job);
	vmj_json_put_string(o, "image", v->image);
	json_object_object_add(o, "layers", layers_to_json(v));
	vmj_json_put_string(o, "top", v->top);
	vmj_json_put_u64(o, "next", v->next);
	json_object_object_add(o, "snapshots", snapshots_to_json(v));
	if (v->pending.op != VMJ_PENDING_NONE)
		json_object_object_add(o, "pending", pending_to_json(&v->pending));
	return o;
}

char *vmj_volume_format(const struct vmj_volume *v)
{
	vmj_autojson struct json_object *o = vmj_volume_to_json(v);
	const char *text = json_object_to_json_string_ext(
		o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);

	return text ? strdup(text) : NULL;
}

/* --- in --------------------------------------------------------------------------------------- */

static void format_from_json(struct vmj_json *in)
{
	char format[sizeof(FORMAT)] = "";
	uint32_t version = 0;

	vmj_json_string(in, "format", VMJ_NEEDED, format, sizeof(format));
	vmj_json_u32(in, "version", VMJ_NEEDED, 1, UINT32_MAX, &version);
	if (strcmp(format, FORMAT) != 0)
		vmj_json_refuse(in, "format", EINVAL, "this is not \"" FORMAT "\"");
	if (version != VERSION)
		vmj_json_refuse(in, "version", EINVAL,
				"this vmjob knows version %d: install the newer vmjob here",
				VERSION);
}

static void layers_from_json(struct vmj_json *volume, struct vmj_volume *v)
{
	struct json_object *array;
	size_t count;

	vmj_json_array(volume, "layers", VMJ_NEEDED, VMJ_LAYERS_MAX, &array, &count);
	v->n_layers = (unsigned int)count;
	for (size_t i = 0; i < count; i++) {
		struct vmj_layer *l = &v->layers[i];
		struct vmj_json in;

		vmj_json_open_element(&in, volume, "layers", array, i);
		vmj_json_string(&in, "file", VMJ_NEEDED, l->file, sizeof(l->file));
		vmj_json_string(&in, "parent", VMJ_NEEDED, l->parent, sizeof(l->parent));
		vmj_json_close_element(&in, volume);
	}
}

static void snapshot_from_json(struct vmj_json *in, struct vmj_snapshot *s)
{
	vmj_json_string(in, "name", VMJ_NEEDED, s->name, sizeof(s->name));
	vmj_json_i64(in, "time", VMJ_NEEDED, 0, INT64_MAX, &s->time);
	vmj_json_string(in, "layer", VMJ_NEEDED, s->layer, sizeof(s->layer));
	vmj_json_u64(in, "virtual_bytes", VMJ_NEEDED, 1, BYTES_MAX, &s->virtual_bytes);
	vmj_json_bool(in, "quiesced", VMJ_NEEDED, &s->quiesced);
	vmj_json_string(in, "memory", VMJ_NEEDED, s->memory, sizeof(s->memory));
}

static void snapshots_from_json(struct vmj_json *volume, struct vmj_volume *v)
{
	struct json_object *array;
	size_t count;

	vmj_json_array(volume, "snapshots", VMJ_NEEDED, VMJ_SNAPSHOTS_MAX, &array, &count);
	v->n_snapshots = (unsigned int)count;
	for (size_t i = 0; i < count; i++) {
		struct vmj_json in;

		vmj_json_open_element(&in, volume, "snapshots", array, i);
		snapshot_from_json(&in, &v->snapshots[i]);
		vmj_json_close_element(&in, volume);
	}
}

static void pending_from_json(struct vmj_json *volume, struct vmj_pending *p)
{
	struct json_object *o, *s = NULL;
	struct vmj_json in, snapshot;
	int op = VMJ_PENDING_NONE;

	vmj_json_object(volume, "pending", VMJ_OPTIONAL, &o);
	if (!o)
		return;
	vmj_json_open(&in, o, "volume.pending", volume->err);
	vmj_json_enum(&in, "op", VMJ_NEEDED, op_names, VMJ_PENDING_COUNT_, &op);
	p->op = (enum vmj_pending_op)op;
	if (op == VMJ_PENDING_SNAPSHOT || op == VMJ_PENDING_MERGE)
		vmj_json_string(&in, "file", VMJ_NEEDED, p->file, sizeof(p->file));
	if (op == VMJ_PENDING_SNAPSHOT)
		vmj_json_object(&in, "snapshot", VMJ_NEEDED, &s);
	if (op == VMJ_PENDING_MERGE)
		vmj_json_bool(&in, "pull", VMJ_NEEDED, &p->pull);
	if (op == VMJ_PENDING_RESIZE)
		vmj_json_u64(&in, "bytes", VMJ_NEEDED, 1, BYTES_MAX, &p->bytes);
	if (s) {
		vmj_json_open(&snapshot, s, "volume.pending.snapshot", volume->err);
		snapshot_from_json(&snapshot, &p->snapshot);
		vmj_json_close_element(&snapshot, &in);
	}
	vmj_json_close_element(&in, volume);
}

int vmj_volume_from_json(struct json_object *o, const char *path, struct vmj_volume *ret,
			 struct vmj_error *err)
{
	struct vmj_volume v = {0};
	struct vmj_json in;
	int rc;

	vmj_json_open(&in, o, path, err);
	format_from_json(&in);
	vmj_json_string(&in, "name", VMJ_NEEDED, v.name, sizeof(v.name));
	vmj_json_u32(&in, "uid", VMJ_NEEDED, 0, UINT32_MAX - 1, &v.uid);
	vmj_json_u32(&in, "gid", VMJ_NEEDED, 0, UINT32_MAX - 1, &v.gid);
	vmj_json_i64(&in, "time", VMJ_NEEDED, 0, INT64_MAX, &v.time);
	vmj_json_u64(&in, "virtual_bytes", VMJ_NEEDED, 1, BYTES_MAX, &v.virtual_bytes);
	vmj_json_u32(&in, "job", VMJ_NEEDED, 0, UINT32_MAX, &v.job);
	vmj_json_string(&in, "image", VMJ_NEEDED, v.image, sizeof(v.image));
	layers_from_json(&in, &v);
	vmj_json_string(&in, "top", VMJ_NEEDED, v.top, sizeof(v.top));
	vmj_json_u32(&in, "next", VMJ_NEEDED, 1, UINT32_MAX, &v.next);
	snapshots_from_json(&in, &v);
	pending_from_json(&in, &v.pending);
	rc = vmj_json_close(&in);
	if (rc == 0)
		rc = vmj_volume_check(&v, err);
	if (rc == 0)
		*ret = v;
	return rc;
}

int vmj_volume_parse(const char *text, size_t len, struct vmj_volume *ret, struct vmj_error *err)
{
	vmj_autojson struct json_object *o = NULL;
	int rc;

	if (len > VMJ_VOLUME_JSON_MAX)
		return vmj_fail_user(err, ERANGE, "volume: it is longer than %u bytes",
				     VMJ_VOLUME_JSON_MAX);
	rc = vmj_json_parse("volume", text, len, DEPTH_MAX, &o, err);
	return rc < 0 ? rc : vmj_volume_from_json(o, "volume", ret, err);
}
