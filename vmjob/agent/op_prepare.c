/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hello, prepare, release: what prolog and epilog ask. */
#include "vmj-autoconf.h"
#include "vmjob/agent/ops.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmjob/agent/turn.h"
#include "vmjob/base/cleanup.h"
#include "vmjob/model/user-data.h"

#define NODES_MAX 65536

VMJ_OP_HANDLER(hello)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "version", json_object_new_string(PACKAGE_VERSION));
	json_object_object_add(o, "host", json_object_new_string(a->host));
	json_object_object_add(o, "pid", json_object_new_int(getpid()));
	vmj_call_ok(call, o);
}

static int read_request(struct json_object *o, struct vmj_request *ret, struct vmj_error *err)
{
	return vmj_request_parse(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN), ret,
				 err);
}

/* text: the call's base64, "" for none. */
static int read_user_data(const struct vmj_request *request, const char *text, char **ret,
			  struct vmj_error *err)
{
	size_t len;

	if (!request->user_data[0] && !*text)
		return 0;
	if (!request->user_data[0] || !*text)
		return vmj_fail_user(err, EINVAL, "there is %s without %s",
				     *text ? "user data" : "the digest of user data",
				     *text ? "its digest in the request" : "user data");
	return vmj_user_data_decode(text, request->user_data, ret, &len, err);
}

/* *ret_user_data: the caller's, NULL: none. */
static int read_guest(const struct vmj_call *call, struct vmj_guest *g, unsigned int *node_index,
		      char **ret_user_data, struct vmj_error *err)
{
	vmj_autofree char *user_data = calloc(1, VMJ_USER_DATA_TEXT_MAX);
	struct json_object *request;
	struct vmj_json in;
	int r;

	if (!user_data)
		return vmj_fail(err, ENOMEM, "the agent has no memory left");
	vmj_op_args(&in, vmj_op_find(call->op), call, &g->job, err);
	vmj_json_u32(&in, "restart", VMJ_NEEDED, 0, UINT32_MAX, &g->restart);
	vmj_json_u32(&in, "uid", VMJ_NEEDED, 0, UINT32_MAX - 1, &g->uid);
	vmj_json_u32(&in, "gid", VMJ_NEEDED, 0, UINT32_MAX - 1, &g->gid);
	vmj_json_u32(&in, "node_index", VMJ_NEEDED, 0, NODES_MAX, node_index);
	vmj_json_string(&in, "user", VMJ_NEEDED, g->user, sizeof(g->user));
	vmj_json_string(&in, "cpus", VMJ_NEEDED, g->cpus, sizeof(g->cpus));
	vmj_json_object(&in, "request", VMJ_NEEDED, &request);
	vmj_json_string(&in, "user_data", VMJ_OPTIONAL, user_data, VMJ_USER_DATA_TEXT_MAX);
	r = vmj_json_close(&in);
	if (r == 0)
		r = read_request(request, &g->request, err);
	return r < 0 ? r : read_user_data(&g->request, user_data, ret_user_data, err);
}

VMJ_OP_HANDLER(prepare)
{
	struct vmj_guest g = {0};
	char *user_data = NULL;
	unsigned int node_index = 0;
	struct vmj_error err;
	int r = read_guest(call, &g, &node_index, &user_data, &err);

	snprintf(g.host, sizeof(g.host), "%.63s", a->host);
	snprintf(g.boot_id, sizeof(g.boot_id), "%s", a->boot_id);
	e = r < 0 ? NULL : vmj_guests_get(a->guests, job);
	if (r == 0 && !e)
		vmj_fail(&err, ENOMEM, "the agent has no memory left");
	if (e) {
		vmj_turn_prepare(e, call, &g, node_index, user_data);
		return;
	}
	free(user_data);
	vmj_call_fail(call, &err);
}

VMJ_OP_HANDLER(release)
{
	struct vmj_error err;

	e = vmj_guests_get(a->guests, job);
	if (e) {
		vmj_turn_release(e, call);
		return;
	}
	vmj_fail(&err, ENOMEM, "the agent has no memory left");
	vmj_call_fail(call, &err);
}
