/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/model/guest-disk.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmjob/model/json.h"

static const char *const kind_names[] = {
	[VMJ_GUEST_DISK_OVERLAY] = "overlay",
	[VMJ_GUEST_DISK_EMPTY] = "empty",
	[VMJ_GUEST_DISK_VOLUME] = "volume",
	[VMJ_GUEST_DISK_IMAGE] = "image",
};
static_assert(sizeof(kind_names) / sizeof(kind_names[0]) == VMJ_GUEST_DISK_COUNT_, "every kind");

const char *vmj_guest_disk_kind_name(enum vmj_guest_disk_kind kind)
{
	return (unsigned int)kind < VMJ_GUEST_DISK_COUNT_ ? kind_names[kind] : "?";
}

unsigned int vmj_guest_disk_links(const struct vmj_guest_disk *d)
{
	return 1 + d->n_layers + (d->base[0] ? 1 : 0);
}

const char *vmj_guest_disk_link(const struct vmj_guest_disk *d, unsigned int i, char *buf)
{
	const char *slash = strrchr(d->path, '/');
	int dir = slash ? (int)(slash - d->path) + 1 : 0;

	if (i == 0)
		return d->path;
	if (i > d->n_layers)
		return d->base;
	snprintf(buf, VMJ_DISK_PATH_MAX, "%.*s%s", dir, d->path, d->layers[i - 1]);
	return buf;
}

void vmj_guest_disk_set_target(struct vmj_guest_disk *d, unsigned int index)
{
	snprintf(d->target, sizeof(d->target), "vd%c", 'a' + (char)(index % 26));
}

/* --- JSON ------------------------------------------------------------------------------------ */

static struct json_object *layers_to_json(const struct vmj_guest_disk *d)
{
	struct json_object *array = json_object_new_array_ext((int)d->n_layers);

	for (unsigned int i = 0; i < d->n_layers; i++)
		json_object_array_add(array, json_object_new_string(d->layers[i]));
	return array;
}

struct json_object *vmj_guest_disks_to_json(const struct vmj_guest_disk *d, unsigned int n)
{
	struct json_object *array = json_object_new_array_ext((int)n);

	for (; n > 0; n--, d++) {
		struct json_object *o = json_object_new_object();

		vmj_json_put_string(o, "kind", vmj_guest_disk_kind_name(d->kind));
		vmj_json_put_string(o, "storage", d->storage);
		vmj_json_put_string(o, "volume", d->volume);
		vmj_json_put_string(o, "path", d->path);
		json_object_object_add(o, "layers", layers_to_json(d));
		vmj_json_put_string(o, "base", d->base);
		vmj_json_put_bool(o, "readonly", d->readonly);
		vmj_json_put_bool(o, "attached", d->attached);
		vmj_json_put_string(o, "target", d->target);
		vmj_json_put_string(o, "serial", d->serial);
		vmj_json_put_u64(o, "epoch", d->epoch);
		json_object_array_add(array, o);
	}
	return array;
}

static void path_from_json(struct vmj_json *in, const char *key, char *buf)
{
	vmj_json_string(in, key, VMJ_NEEDED, buf, VMJ_DISK_PATH_MAX);
	if (*buf && *buf != '/')
		vmj_json_refuse(in, key, EINVAL, "this is not an absolute path");
}

static void name_from_json(struct vmj_json *in, const char *key, char *buf, size_t size)
{
	vmj_json_string(in, key, VMJ_NEEDED, buf, size);
	if (*buf && !vmj_name_valid(buf))
		vmj_json_refuse(in, key, EINVAL, "this is not a name");
}

/* As names are, but longer: the host is in some. */
static bool file_valid(struct json_object *o)
{
	static const char allowed[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	const char *name =
		json_object_is_type(o, json_type_string) ? json_object_get_string(o) : "";
	size_t len = strspn(name, allowed);

	return len && len < VMJ_DISK_FILE_MAX && *name != '.' &&
	       len == (size_t)json_object_get_string_len(o);
}

static void layers_from_json(struct vmj_json *in, struct vmj_guest_disk *d)
{
	struct json_object *array;
	size_t count;

	vmj_json_array(in, "layers", VMJ_NEEDED, VMJ_DISK_LAYERS_MAX, &array, &count);
	for (size_t i = 0; i < count; i++) {
		struct json_object *o = json_object_array_get_idx(array, i);

		if (!file_valid(o)) {
			vmj_json_refuse(in, "layers", EINVAL, "element %zu is not a file's name",
					i);
			return;
		}
		snprintf(d->layers[d->n_layers++], sizeof(d->layers[0]), "%s",
			 json_object_get_string(o));
	}
}

static void target_from_json(struct vmj_json *in, struct vmj_guest_disk *d)
{
	vmj_json_string(in, "target", VMJ_NEEDED, d->target, sizeof(d->target));
	if (strncmp(d->target, "vd", 2) != 0 || d->target[2] < 'a' || d->target[2] > 'z' ||
	    d->target[3])
		vmj_json_refuse(in, "target", EINVAL, "this is not a disk's place");
}

static void disk_from_json(struct vmj_json *in, struct vmj_guest_disk *d)
{
	int kind = 0;

	memset(d, 0, sizeof(*d));
	vmj_json_enum(in, "kind", VMJ_NEEDED, kind_names, VMJ_GUEST_DISK_COUNT_, &kind);
	d->kind = (enum vmj_guest_disk_kind)kind;
	name_from_json(in, "storage", d->storage, sizeof(d->storage));
	name_from_json(in, "volume", d->volume, sizeof(d->volume));
	if ((d->kind == VMJ_GUEST_DISK_VOLUME) != (d->volume[0] && d->storage[0]))
		vmj_json_refuse(in, "volume", EINVAL, "a volume has a name and a storage");
	path_from_json(in, "path", d->path);
	layers_from_json(in, d);
	path_from_json(in, "base", d->base);
	vmj_json_bool(in, "readonly", VMJ_NEEDED, &d->readonly);
	vmj_json_bool(in, "attached", VMJ_NEEDED, &d->attached);
	target_from_json(in, d);
	vmj_json_string(in, "serial", VMJ_NEEDED, d->serial, sizeof(d->serial));
	vmj_json_u32(in, "epoch", VMJ_NEEDED, 0, UINT32_MAX, &d->epoch);
}

void vmj_guest_disks_from_json(struct vmj_json *in, struct vmj_guest_disk *ret, unsigned int *ret_n)
{
	struct json_object *array;
	size_t count;

	vmj_json_array(in, "disks", VMJ_OPTIONAL, VMJ_GUEST_DISKS_MAX, &array, &count);
	for (size_t i = 0; i < count; i++) {
		struct vmj_json element;

		vmj_json_open_element(&element, in, "disks", array, i);
		disk_from_json(&element, &ret[i]);
		vmj_json_close_element(&element, in);
	}
	*ret_n = (unsigned int)count;
}
