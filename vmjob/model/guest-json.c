/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's record as JSON. */
#include "vmjob/model/guest.h"

#include <errno.h>
#include <string.h>

#include "vmjob/model/json.h"

static struct json_object *ports_to_json(const struct vmj_guest *g)
{
	struct json_object *array = json_object_new_array_ext((int)g->n_ports);

	for (unsigned int i = 0; i < g->n_ports; i++) {
		const struct vmj_port *p = &g->ports[i];
		struct json_object *o = json_object_new_object();

		vmj_json_put_string(o, "network", p->network);
		vmj_json_put_string(o, "device", p->device);
		vmj_json_put_string(o, "mac", p->mac);
		vmj_json_put_string(o, "address", p->address);
		json_object_object_add(o, "forwards",
				       vmj_forwards_to_json(p->forwards, p->n_forwards));
		json_object_array_add(array, o);
	}
	return array;
}

struct json_object *vmj_guest_to_json(const struct vmj_guest *g)
{
	struct json_object *o = json_object_new_object();

	vmj_json_put_u64(o, "job", g->job);
	vmj_json_put_u64(o, "restart", g->restart);
	vmj_json_put_u64(o, "uid", g->uid);
	vmj_json_put_u64(o, "gid", g->gid);
	vmj_json_put_string(o, "user", g->user);
	vmj_json_put_string(o, "host", g->host);
	vmj_json_put_string(o, "cpus", g->cpus);
	json_object_object_add(o, "request", vmj_request_to_json(&g->request));
	vmj_json_put_string(o, "phase", vmj_phase_name(g->phase));
	vmj_json_put_string(o, "end", vmj_end_name(g->end));
	vmj_json_put_string(o, "pause", vmj_pause_name(g->pause));
	vmj_json_put_string(o, "failure", g->failure);
	vmj_json_put_string(o, "boot_id", g->boot_id);
	vmj_json_put_string(o, "image_path", g->image_path);
	vmj_json_put_i64(o, "pid", g->pid);
	vmj_json_put_i64(o, "start_us", g->start_us);
	vmj_json_put_i64(o, "end_us", g->end_us);
	json_object_object_add(o, "ports", ports_to_json(g));
	json_object_object_add(o, "disks", vmj_guest_disks_to_json(g->disks, g->n_disks));
	return o;
}

/* Refuse a string with other than these characters. */
static void limit_to(struct vmj_json *in, const char *key, const char *text, const char *allowed)
{
	if (text[strspn(text, allowed)])
		vmj_json_refuse(in, key, EINVAL, "\"%s\" has other characters than \"%s\"", text,
				allowed);
}

static void ports_from_json(struct vmj_json *guest, struct vmj_guest *g)
{
	struct json_object *array;
	size_t count;

	vmj_json_array(guest, "ports", VMJ_NEEDED, VMJ_NETS_MAX, &array, &count);
	g->n_ports = (unsigned int)count;
	for (size_t i = 0; i < count; i++) {
		struct vmj_port *p = &g->ports[i];
		struct vmj_json in;

		vmj_json_open_element(&in, guest, "ports", array, i);
		vmj_json_string(&in, "network", VMJ_NEEDED, p->network, sizeof(p->network));
		vmj_json_string(&in, "device", VMJ_NEEDED, p->device, sizeof(p->device));
		vmj_json_string(&in, "mac", VMJ_NEEDED, p->mac, sizeof(p->mac));
		vmj_json_string(&in, "address", VMJ_NEEDED, p->address, sizeof(p->address));
		vmj_forwards_from_json(&in, p->forwards, &p->n_forwards);
		if (!vmj_name_valid(p->network))
			vmj_json_refuse(&in, "network", EINVAL, "this is not a name");
		if (*p->device && !vmj_name_valid(p->device))
			vmj_json_refuse(&in, "device", EINVAL, "this is not a device's name");
		if (*p->mac && !vmj_mac_valid(p->mac))
			vmj_json_refuse(&in, "mac", EINVAL, "this is not a guest's address");
		limit_to(&in, "address", p->address, "0123456789abcdef.:/");
		vmj_json_close_element(&in, guest);
	}
}

static void owner_from_json(struct vmj_json *in, struct vmj_guest *g)
{
	vmj_json_u32(in, "uid", VMJ_NEEDED, 0, UINT32_MAX - 1, &g->uid);
	vmj_json_u32(in, "gid", VMJ_NEEDED, 0, UINT32_MAX - 1, &g->gid);
	vmj_json_string(in, "user", VMJ_NEEDED, g->user, sizeof(g->user));
}

static void place_from_json(struct vmj_json *in, struct vmj_guest *g)
{
	vmj_json_string(in, "host", VMJ_NEEDED, g->host, sizeof(g->host));
	vmj_json_string(in, "cpus", VMJ_NEEDED, g->cpus, sizeof(g->cpus));
	limit_to(in, "cpus", g->cpus, "0123456789,-");
	vmj_json_string(in, "boot_id", VMJ_NEEDED, g->boot_id, sizeof(g->boot_id));
	limit_to(in, "boot_id", g->boot_id, "0123456789abcdef-");
	vmj_json_string(in, "image_path", VMJ_NEEDED, g->image_path, sizeof(g->image_path));
	if (*g->image_path && *g->image_path != '/')
		vmj_json_refuse(in, "image_path", EINVAL, "this is not an absolute path");
}

static void life_from_json(struct vmj_json *in, struct vmj_guest *g)
{
	char phase[16] = "", end[16] = "", pause[16] = "none";
	int64_t pid = 0;

	vmj_json_string(in, "phase", VMJ_NEEDED, phase, sizeof(phase));
	if (vmj_phase_parse(phase, &g->phase) < 0)
		vmj_json_refuse(in, "phase", EINVAL, "\"%s\" is no phase of a guest", phase);
	vmj_json_string(in, "end", VMJ_NEEDED, end, sizeof(end));
	if (vmj_end_parse(end, &g->end) < 0)
		vmj_json_refuse(in, "end", EINVAL, "\"%s\" is no ending of a guest", end);
	vmj_json_string(in, "pause", VMJ_OPTIONAL, pause, sizeof(pause));
	if (vmj_pause_parse(pause, &g->pause) < 0)
		vmj_json_refuse(in, "pause", EINVAL, "\"%s\" is no pause of a guest", pause);
	vmj_json_string(in, "failure", VMJ_NEEDED, g->failure, sizeof(g->failure));
	vmj_json_i64(in, "pid", VMJ_NEEDED, 0, INT32_MAX, &pid);
	g->pid = (pid_t)pid;
	vmj_json_i64(in, "start_us", VMJ_NEEDED, 0, INT64_MAX - 1, &g->start_us);
	vmj_json_i64(in, "end_us", VMJ_NEEDED, 0, INT64_MAX - 1, &g->end_us);
}

static void request_from_json(struct vmj_json *in, struct vmj_guest *g)
{
	struct json_object *o;

	vmj_json_object(in, "request", VMJ_NEEDED, &o);
	if (o)
		in->rc = vmj_request_from_json(o, "guest.request", &g->request, in->err);
}

int vmj_guest_from_json(struct json_object *o, struct vmj_guest *ret, struct vmj_error *err)
{
	struct vmj_guest g = {0};
	struct vmj_json in;
	int rc;

	vmj_json_open(&in, o, "guest", err);
	vmj_json_u32(&in, "job", VMJ_NEEDED, 1, UINT32_MAX, &g.job);
	vmj_json_u32(&in, "restart", VMJ_NEEDED, 0, UINT32_MAX, &g.restart);
	owner_from_json(&in, &g);
	place_from_json(&in, &g);
	life_from_json(&in, &g);
	request_from_json(&in, &g);
	ports_from_json(&in, &g);
	vmj_guest_disks_from_json(&in, g.disks, &g.n_disks);
	rc = vmj_json_close(&in);
	if (rc == 0)
		*ret = g;
	else if (err)
		err->fault = VMJ_FAULT_HOST; /* the agent's own record */
	return rc;
}
