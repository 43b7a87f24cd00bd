/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The request as JSON. */
#include "vmjob/model/request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmjob/model/json.h"
#include "vmjob/model/ssh-keys.h"

#define DEPTH_MAX 6 /* object, nets, net, forwards, forward, and one to spare */

static void put_text(struct json_object *o, const char *key, const char *text)
{
	if (*text)
		vmj_json_put_string(o, key, text);
}

struct json_object *vmj_forwards_to_json(const struct vmj_forward *forwards, unsigned int n)
{
	struct json_object *array = json_object_new_array_ext((int)n);

	for (unsigned int i = 0; i < n; i++) {
		const struct vmj_forward *f = &forwards[i];
		struct json_object *o = json_object_new_object();

		if (f->udp)
			vmj_json_put_bool(o, "udp", true);
		if (f->host_port)
			vmj_json_put_u64(o, "host", f->host_port);
		vmj_json_put_u64(o, "guest", f->guest_port);
		json_object_array_add(array, o);
	}
	return array;
}

static struct json_object *nets_to_json(const struct vmj_request *r)
{
	struct json_object *array = json_object_new_array_ext((int)r->n_nets);

	for (unsigned int i = 0; i < r->n_nets; i++) {
		const struct vmj_net_request *n = &r->nets[i];
		struct json_object *o = json_object_new_object();

		vmj_json_put_string(o, "network", n->network);
		put_text(o, "mac", n->mac);
		if (n->n_forwards)
			json_object_object_add(o, "forwards",
					       vmj_forwards_to_json(n->forwards, n->n_forwards));
		json_object_array_add(array, o);
	}
	return array;
}

/* The key that holds the disk's main value says of which kind it is. */
static struct json_object *disk_to_json(const struct vmj_disk_request *d)
{
	struct json_object *o = json_object_new_object();

	if (d->kind == VMJ_DISK_SIZE)
		vmj_json_put_u64(o, "size", d->size_mib);
	else
		vmj_json_put_string(o, vmj_disk_kind_name(d->kind), d->name);
	put_text(o, "storage", d->storage);
	put_text(o, "owner", d->owner);
	if (d->revision)
		vmj_json_put_u64(o, "revision", d->revision);
	if (d->readonly)
		vmj_json_put_bool(o, "readonly", true);
	return o;
}

static struct json_object *disks_to_json(const struct vmj_request *r)
{
	struct json_object *array = json_object_new_array_ext((int)r->n_disks);

	for (unsigned int i = 0; i < r->n_disks; i++)
		json_object_array_add(array, disk_to_json(&r->disks[i]));
	return array;
}

static struct json_object *ssh_keys_to_json(const char *keys)
{
	struct json_object *array = json_object_new_array();

	for (const char *end; (end = strchr(keys, '\n')); keys = end + 1)
		json_object_array_add(array, json_object_new_string_len(keys, (int)(end - keys)));
	return array;
}

struct json_object *vmj_request_to_json(const struct vmj_request *r)
{
	struct json_object *o = json_object_new_object();

	vmj_json_put_string(o, "image", r->image);
	put_text(o, "image_owner", r->image_owner);
	if (r->revision)
		vmj_json_put_u64(o, "revision", r->revision);
	if (r->memory_mib)
		vmj_json_put_u64(o, "memory", r->memory_mib);
	if (r->vcpus)
		vmj_json_put_u64(o, "vcpus", r->vcpus);
	if (r->script)
		vmj_json_put_string(o, "script", vmj_script_name(r->script));
	put_text(o, "cpu", r->cpu);
	if (r->grace_s)
		vmj_json_put_u64(o, "grace", r->grace_s);
	if (r->protected_)
		vmj_json_put_bool(o, "ha", true);
	if (r->priority)
		vmj_json_put_u64(o, "priority", r->priority);
	if (r->watchdog)
		vmj_json_put_bool(o, "watchdog", true);
	if (r->no_net)
		vmj_json_put_bool(o, "no_net", true);
	if (r->n_nets)
		json_object_object_add(o, "nets", nets_to_json(r));
	if (r->n_disks)
		json_object_object_add(o, "disks", disks_to_json(r));
	put_text(o, "persistent", r->persistent);
	put_text(o, "persistent_storage", r->persistent_storage);
	put_text(o, "user_data", r->user_data);
	if (*r->ssh_keys)
		json_object_object_add(o, "ssh_keys", ssh_keys_to_json(r->ssh_keys));
	return o;
}

char *vmj_request_format(const struct vmj_request *r)
{
	vmj_autojson struct json_object *o = vmj_request_to_json(r);
	const char *text = json_object_to_json_string_ext(
		o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);

	return text ? strdup(text) : NULL;
}

void vmj_forwards_from_json(struct vmj_json *in, struct vmj_forward *ret, unsigned int *ret_n)
{
	struct json_object *array;
	size_t count;

	vmj_json_array(in, "forwards", VMJ_OPTIONAL, VMJ_FORWARDS_MAX, &array, &count);
	for (size_t i = 0; i < count; i++) {
		struct vmj_json element;

		ret[i] = (struct vmj_forward){0};
		vmj_json_open_element(&element, in, "forwards", array, i);
		vmj_json_bool(&element, "udp", VMJ_OPTIONAL, &ret[i].udp);
		vmj_json_u16(&element, "host", VMJ_OPTIONAL, 1, UINT16_MAX, &ret[i].host_port);
		vmj_json_u16(&element, "guest", VMJ_NEEDED, 1, UINT16_MAX, &ret[i].guest_port);
		vmj_json_close_element(&element, in);
	}
	*ret_n = (unsigned int)count;
}

static void nets_from_json(struct vmj_json *request, struct vmj_request *r)
{
	struct json_object *array;
	size_t count;

	vmj_json_array(request, "nets", VMJ_OPTIONAL, VMJ_NETS_MAX, &array, &count);
	r->n_nets = (unsigned int)count;
	for (size_t i = 0; i < count; i++) {
		struct vmj_net_request *n = &r->nets[i];
		struct vmj_json in;

		vmj_json_open_element(&in, request, "nets", array, i);
		vmj_json_string(&in, "network", VMJ_NEEDED, n->network, sizeof(n->network));
		vmj_json_string(&in, "mac", VMJ_OPTIONAL, n->mac, sizeof(n->mac));
		vmj_forwards_from_json(&in, n->forwards, &n->n_forwards);
		vmj_json_close_element(&in, request);
	}
}

static bool has(const struct vmj_json *in, const char *key)
{
	return json_object_object_get_ex(in->object, key, NULL);
}

static void disk_from_json(struct vmj_json *in, struct vmj_disk_request *d)
{
	if (has(in, "volume") || has(in, "image")) {
		d->kind = has(in, "volume") ? VMJ_DISK_VOLUME : VMJ_DISK_IMAGE;
		vmj_json_string(in, vmj_disk_kind_name(d->kind), VMJ_NEEDED, d->name,
				sizeof(d->name));
	} else {
		vmj_json_u64(in, "size", VMJ_NEEDED, 1, VMJ_DISK_MIB_MAX, &d->size_mib);
	}
	vmj_json_string(in, "storage", VMJ_OPTIONAL, d->storage, sizeof(d->storage));
	vmj_json_string(in, "owner", VMJ_OPTIONAL, d->owner, sizeof(d->owner));
	vmj_json_u32(in, "revision", VMJ_OPTIONAL, 1, UINT32_MAX, &d->revision);
	vmj_json_bool(in, "readonly", VMJ_OPTIONAL, &d->readonly);
}

static void disks_from_json(struct vmj_json *request, struct vmj_request *r)
{
	struct json_object *array;
	size_t count;

	vmj_json_array(request, "disks", VMJ_OPTIONAL, VMJ_DISKS_MAX, &array, &count);
	r->n_disks = (unsigned int)count;
	for (size_t i = 0; i < count; i++) {
		struct vmj_json in;

		vmj_json_open_element(&in, request, "disks", array, i);
		disk_from_json(&in, &r->disks[i]);
		vmj_json_close_element(&in, request);
	}
}

static void ssh_keys_from_json(struct vmj_json *in, struct vmj_request *r)
{
	struct json_object *array;
	size_t count;

	vmj_json_array(in, "ssh_keys", VMJ_OPTIONAL, VMJ_SSH_KEYS_MAX, &array, &count);
	for (size_t i = 0; i < count; i++) {
		struct json_object *key = json_object_array_get_idx(array, i);

		if (!json_object_is_type(key, json_type_string) ||
		    !vmj_ssh_keys_add(r->ssh_keys, sizeof(r->ssh_keys),
				      json_object_get_string(key))) {
			vmj_json_refuse(in, "ssh_keys", EINVAL,
					"element %zu is not a public key as TYPE and BASE64, is "
					"there twice, or one too many",
					i);
			return;
		}
	}
}

static void script_from_json(struct vmj_json *in, struct vmj_request *r)
{
	char text[16] = "";
	int rc;

	vmj_json_string(in, "script", VMJ_OPTIONAL, text, sizeof(text));
	if (in->rc < 0 || !has(in, "script"))
		return;
	rc = vmj_script_parse("script", text, &r->script, NULL);
	if (rc < 0)
		vmj_json_refuse(in, "script", EINVAL, "this is none of guest, host and none");
}

int vmj_request_from_json(struct json_object *o, const char *path, struct vmj_request *ret,
			  struct vmj_error *err)
{
	struct vmj_request r = {0};
	struct vmj_json in;
	int rc;

	vmj_json_open(&in, o, path, err);
	vmj_json_string(&in, "image", VMJ_NEEDED, r.image, sizeof(r.image));
	vmj_json_string(&in, "image_owner", VMJ_OPTIONAL, r.image_owner, sizeof(r.image_owner));
	vmj_json_u32(&in, "revision", VMJ_OPTIONAL, 1, UINT32_MAX, &r.revision);
	vmj_json_u64(&in, "memory", VMJ_OPTIONAL, VMJ_MEMORY_MIB_MIN, VMJ_MEMORY_MIB_MAX,
		     &r.memory_mib);
	vmj_json_u32(&in, "vcpus", VMJ_OPTIONAL, 1, VMJ_VCPUS_MAX, &r.vcpus);
	script_from_json(&in, &r);
	vmj_json_string(&in, "cpu", VMJ_OPTIONAL, r.cpu, sizeof(r.cpu));
	vmj_json_u32(&in, "grace", VMJ_OPTIONAL, 1, VMJ_GRACE_MAX, &r.grace_s);
	vmj_json_bool(&in, "ha", VMJ_OPTIONAL, &r.protected_);
	vmj_json_u32(&in, "priority", VMJ_OPTIONAL, 1, VMJ_PRIORITY_MAX, &r.priority);
	vmj_json_bool(&in, "watchdog", VMJ_OPTIONAL, &r.watchdog);
	vmj_json_bool(&in, "no_net", VMJ_OPTIONAL, &r.no_net);
	nets_from_json(&in, &r);
	disks_from_json(&in, &r);
	vmj_json_string(&in, "persistent", VMJ_OPTIONAL, r.persistent, sizeof(r.persistent));
	vmj_json_string(&in, "persistent_storage", VMJ_OPTIONAL, r.persistent_storage,
			sizeof(r.persistent_storage));
	vmj_json_string(&in, "user_data", VMJ_OPTIONAL, r.user_data, sizeof(r.user_data));
	ssh_keys_from_json(&in, &r);
	rc = vmj_json_close(&in);
	if (rc == 0)
		rc = vmj_request_check(&r, err);
	if (rc == 0)
		*ret = r;
	return rc;
}

int vmj_request_parse(const char *json, struct vmj_request *ret, struct vmj_error *err)
{
	vmj_autojson struct json_object *o = NULL;
	size_t len = strnlen(json, VMJ_REQUEST_JSON_MAX + 1);
	int rc;

	if (len > VMJ_REQUEST_JSON_MAX)
		return vmj_fail_user(err, ERANGE, "request: it is longer than %d bytes",
				     VMJ_REQUEST_JSON_MAX);
	rc = vmj_json_parse("request", json, len, DEPTH_MAX, &o, err);
	return rc < 0 ? rc : vmj_request_from_json(o, "request", ret, err);
}
