/* SPDX-License-Identifier: GPL-2.0-or-later */
/* confirm-dead: an operator says that another host is off, so that others may use its volumes. */
#include "vmjob/agent/ops.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "vmjob/agent/eventlog.h"
#include "vmjob/base/log.h"
#include "vmjob/model/json.h"
#include "vmjob/storage/hosts.h"
#include "vmjob/storage/layout.h"

#define WAITING_MAX 8

struct death {
	struct vmj_agent *agent;
	struct vmj_call *call;
	struct vmj_storage_config storage;
	char host[VMJ_NAME_MAX + 1];
	bool force;
	uid_t uid;
	char by[64];
	uint64_t lane;
	int rc;
	struct vmj_error err;
};

static void confirm_work(void *arg)
{
	struct death *d = arg;
	char buf[4096];
	struct passwd pw, *found = NULL;

	snprintf(d->by, sizeof(d->by), "user %u", (unsigned int)d->uid);
	if (getpwuid_r(d->uid, &pw, buf, sizeof(buf), &found) == 0 && found)
		snprintf(d->by, sizeof(d->by), "%.60s", found->pw_name);
	d->rc = vmj_storage_check_volumes(d->storage.path, &d->err);
	if (d->rc == 0)
		d->rc = vmj_host_confirm_dead(d->storage.path, d->host, "", d->by, d->force,
					      &d->err);
}

static void confirm_done(void *arg)
{
	struct death *d = arg;
	struct json_object *answer;

	if (d->rc < 0) {
		vmj_call_fail(d->call, &d->err);
	} else {
		vmj_log_warning("host %s is confirmed dead in storage %s by %s", d->host,
				d->storage.name, d->by);
		vmj_eventlog_add(d->agent->events, 0, 0, "storage",
				 "host %s is confirmed dead in storage %s by %s", d->host,
				 d->storage.name, d->by);
		answer = json_object_new_object();
		vmj_json_put_string(answer, "storage", d->storage.name);
		vmj_call_ok(d->call, answer);
	}
	free(d);
}

static int read_args(struct death *d, struct vmj_error *err)
{
	const struct vmj_config *c = d->agent->settings->config;
	const struct vmj_storage_config *s;
	char name[VMJ_NAME_MAX + 1] = "";
	struct vmj_json in;
	int rc;

	vmj_op_args(&in, vmj_op_find(d->call->op), d->call, NULL, err);
	vmj_json_string(&in, "host", VMJ_NEEDED, d->host, sizeof(d->host));
	vmj_json_string(&in, "storage", VMJ_OPTIONAL, name, sizeof(name));
	vmj_json_bool(&in, "force", VMJ_OPTIONAL, &d->force);
	rc = vmj_json_close(&in);
	if (rc == 0)
		rc = vmj_parse_name("host", d->host, err);
	if (rc == 0)
		rc = vmj_config_storage(c, *name ? name : NULL, &s, err);
	if (rc < 0)
		return rc;
	if (strcmp(d->host, d->agent->host) == 0)
		return vmj_fail_user(err, EINVAL, "host %s is the one that is asked: it lives",
				     d->host);
	d->storage = *s;
	d->lane = VMJ_LANE_STORAGE(4 * VMJ_CONFIG_ITEMS_MAX + (uint64_t)(s - c->storages));
	if (vmj_pool_load(d->agent->pool, d->lane) >= WAITING_MAX)
		return vmj_fail_user(err, EBUSY,
				     "others are being confirmed dead just now in storage %s, or "
				     "it does not answer: try again",
				     s->name);
	return 0;
}

VMJ_OP_HANDLER(confirm_dead)
{
	struct death *d = calloc(1, sizeof(*d));
	struct vmj_error err;
	int rc;

	if (!d) {
		vmj_fail(&err, ENOMEM, "the agent has no memory left");
		vmj_call_fail(call, &err);
		return;
	}
	d->agent = a;
	d->call = call;
	d->uid = call->peer.uid;
	rc = read_args(d, &err);
	if (rc == 0) {
		rc = vmj_pool_submit(a->pool, d->lane, confirm_work, confirm_done, d);
		if (rc < 0)
			vmj_fail(&err, -rc, "the agent cannot start a thread");
	}
	if (rc < 0) {
		vmj_call_fail(call, &err);
		free(d);
	}
}
