/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/cli/volume_ask.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/cli/agents.h"
#include "vmjob/cli/progress.h"
#include "vmjob/cli/table.h"
#include "vmjob/cli/view.h"
#include "vmjob/model/json.h"

#define LOCAL_MS  100    /* an agent that listens is connected at once */
#define SILENT_MS 120000 /* without progress and without an answer */
#define HOSTS_MAX 8      /* that are tried */

VMJ_DEFINE_CLEANUP(struct vmj_client *, vmj_client_close);

int vmj_volume_name_parse(const char *text, struct vmj_volume_name *ret, struct vmj_error *err)
{
	struct vmj_volume_name v = {.storage = ""};
	const char *colon = strchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : 0;
	int rc = vmj_parse_name("the volume's name", colon ? colon + 1 : text, err);

	if (rc < 0)
		return rc;
	snprintf(v.name, sizeof(v.name), "%s", colon ? colon + 1 : text);
	if (colon) {
		snprintf(v.storage, sizeof(v.storage), "%.*s", (int)len, text);
		if (len >= sizeof(v.storage) || !vmj_name_valid(v.storage))
			return vmj_fail_user(err, EINVAL,
					     "what stands before the : must be a storage of "
					     "vmjob.conf: vmjob storage list shows them");
	}
	*ret = v;
	return 0;
}

struct json_object *vmj_volume_request(const char *op, const struct vmj_volume_name *v)
{
	struct json_object *o = vmj_request_new(op);

	vmj_view_add_text(o, "volume", v->name);
	vmj_view_add_text(o, "storage", v->storage);
	return o;
}

/* --- one agent -------------------------------------------------------------------------------- */

static void on_event(struct json_object *o, void *arg)
{
	struct json_object *fraction = vmj_json_field(o, "fraction");
	double total = (double)vmj_json_int(o, "bytes", 0);

	if (!strcmp(vmj_json_text(o, "event", ""), "progress") && fraction)
		vmj_progress_on("copying", (uint64_t)(json_object_get_double(fraction) * total),
				(uint64_t)total, arg);
}

static int work(struct vmj_client *client, struct json_object *request, const char *title,
		struct json_object **ret, struct vmj_error *err)
{
	struct vmj_progress progress;
	int rc;

	vmj_progress_start(&progress, title ? title : "", false);
	progress.terminal &= title != NULL;
	rc = vmj_client_work(client, request, SILENT_MS, on_event, &progress, ret, err);
	vmj_progress_end(&progress);
	return rc;
}

int vmj_volume_ask_at(const char *host, struct json_object *request, const char *title,
		      struct json_object **ret, struct vmj_error *err)
{
	VMJ_CLEANUP(vmj_client_closep) struct vmj_client *client = NULL;
	int rc = vmj_agent_open(host, VMJ_AGENT_TIMEOUT_MS, &client, err);

	return rc < 0 ? rc : work(client, request, title, ret, err);
}

/* --- any agent -------------------------------------------------------------------------------- */

/* This host does not reach the storage, or its agent is too old: another one may do better. */
static bool may_ask_another(const struct vmj_error *err)
{
	return err->fault == VMJ_FAULT_HOST &&
	       (err->code == ENOENT || err->code == ETIMEDOUT || err->code == ESTALE ||
		err->code == ENOTCONN || err->code == EPROTO || err->code == ENOSYS);
}

/* 1: try the next. */
static int try_host(const char *host, struct json_object *request, const char *title,
		    struct json_object **ret, struct vmj_error *err)
{
	VMJ_CLEANUP(vmj_client_closep) struct vmj_client *client = NULL;
	bool here = !strcmp(host, "localhost");

	if (vmj_agent_open(host, here ? LOCAL_MS : VMJ_AGENT_TIMEOUT_MS, &client, err) < 0)
		return 1;
	if (work(client, request, title, ret, err) == 0)
		return 0;
	return may_ask_another(err) ? 1 : -err->code;
}

static bool may_have_agent(const struct vmj_node *n)
{
	return strncmp(n->state, "down", 4) != 0 && !strchr(n->state, '*');
}

int vmj_volume_ask(struct json_object *request, const char *title, struct json_object **ret,
		   struct vmj_error *err)
{
	vmj_autofree struct vmj_node *nodes = NULL;
	struct vmj_error first, later;
	size_t n = 0, tried = 0;
	int rc = try_host("localhost", request, title, ret, &first);

	if (rc == 1 && vmj_nodes_list(NULL, &nodes, &n, &later) < 0)
		n = 0;
	for (size_t i = 0; rc == 1 && i < n && tried < HOSTS_MAX; i++) {
		if (!may_have_agent(&nodes[i]))
			continue;
		tried++;
		rc = try_host(nodes[i].name, request, title, ret, &later);
	}
	if (rc == 0)
		return 0;
	if (err)
		*err = tried ? later : first;
	return tried ? -later.code : -first.code;
}

/* The host of the guest that has it; false: none has. */
static bool holder_of(struct json_object *shown, char host[256])
{
	struct json_object *lease = vmj_json_field(shown, "lease");

	snprintf(host, 256, "%s", vmj_json_text(lease, "host", ""));
	return *host && json_object_get_boolean(vmj_json_field(lease, "held")) &&
	       !strcmp(vmj_json_text(lease, "what", ""), "guest");
}

int vmj_volume_ask_holder(const struct vmj_volume_name *v, struct json_object *request,
			  const char *title, struct json_object **ret, struct vmj_error *err)
{
	vmj_autojson struct json_object *question = vmj_volume_request("volume-show", v);
	vmj_autojson struct json_object *shown = NULL;
	char host[256];
	int rc = vmj_volume_ask(question, NULL, &shown, err);

	if (rc < 0)
		return rc;
	return holder_of(shown, host) ? vmj_volume_ask_at(host, request, title, ret, err)
				      : vmj_volume_ask(request, title, ret, err);
}
