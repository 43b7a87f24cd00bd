/* SPDX-License-Identifier: GPL-2.0-or-later */
/* events: what happened to the guests of this host, and, followed, what happens. */
#include "vmjob/agent/ops.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>

#include "vmjob/agent/eventlog.h"

#define WAITING_MAX 16 /* readers and writers of the log */

struct vmj_follower {
	LIST_ENTRY(vmj_follower) link;
	struct vmj_attachment attachment;
	uint32_t job; /* 0: any */
	uid_t uid;    /* -1: anybody's */
	bool follow;
	/* While the log is read the follower belongs to that task, and what happens is kept here.
	 */
	struct json_object *meanwhile;
	bool gone;
};

static void follower_free(struct vmj_follower *f)
{
	vmj_conn_detach(&f->attachment);
	LIST_REMOVE(f, link);
	json_object_put(f->meanwhile);
	free(f);
}

static void follower_closed(struct vmj_attachment *a)
{
	struct vmj_follower *f = a->arg;

	if (f->meanwhile)
		f->gone = true;
	else
		follower_free(f);
}

static void send_event(struct vmj_follower *f, struct json_object *o)
{
	struct json_object *event = json_object_new_object();

	json_object_object_add(event, "event", json_object_new_string("log"));
	json_object_object_foreach (o, key, value)
		json_object_object_add(event, key, json_object_get(value));
	vmj_conn_send(f->attachment.conn, event);
}

static int64_t number(struct json_object *o, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(o, key, &v) ? json_object_get_int64(v) : -1;
}

static bool wants(const struct vmj_follower *f, struct json_object *o)
{
	return (!f->job || f->job == number(o, "job")) &&
	       (f->uid == (uid_t)-1 || (int64_t)f->uid == number(o, "uid"));
}

void vmj_ops_event_logged(struct json_object *o, void *arg)
{
	struct vmj_agent *a = arg;
	struct vmj_follower *f, *next;

	for (f = LIST_FIRST(&a->followers); f; f = next) {
		next = LIST_NEXT(f, link);
		if (!f->follow || !wants(f, o))
			continue;
		if (f->meanwhile)
			json_object_array_add(f->meanwhile, json_object_get(o));
		else
			send_event(f, o);
	}
}

static void send_end(struct vmj_follower *f)
{
	struct json_object *event = json_object_new_object();

	json_object_object_add(event, "event", json_object_new_string("log-end"));
	vmj_conn_send(f->attachment.conn, event);
}

static void send_events(struct vmj_follower *f, struct json_object *array)
{
	size_t n = array ? json_object_array_length(array) : 0;

	for (size_t i = 0; i < n && !f->gone; i++)
		send_event(f, json_object_array_get_idx(array, i));
}

static void got_log(struct json_object *array, void *arg)
{
	struct vmj_follower *f = arg;

	send_events(f, array);
	send_events(f, f->meanwhile);
	json_object_put(array);
	if (!f->gone && !f->follow)
		send_end(f);
	if (f->gone || !f->follow) {
		follower_free(f);
		return;
	}
	json_object_put(f->meanwhile);
	f->meanwhile = NULL;
}

/* One reader of events a connection. */
static int check(struct vmj_agent *a, struct vmj_call *call, bool *follow, struct vmj_error *err)
{
	struct vmj_follower *f;
	struct vmj_json in;
	uint32_t job;

	LIST_FOREACH (f, &a->followers, link)
		if (f->attachment.conn == call->conn)
			return vmj_fail_user(err, EBUSY, "this connection is shown events already");
	if (vmj_pool_load(a->pool, VMJ_LANE_LOG) >= WAITING_MAX)
		return vmj_fail_user(err, EBUSY, "too many read events just now: try again");
	vmj_op_args(&in, vmj_op_find(call->op), call, &job, err);
	vmj_json_bool(&in, "follow", VMJ_OPTIONAL, follow);
	return vmj_json_close(&in);
}

VMJ_OP_HANDLER(events)
{
	struct vmj_follower *f = calloc(1, sizeof(*f));
	bool trusted = vmj_settings_trusts(a->settings, call->peer.uid), follow = false;
	struct vmj_error err;
	int r = f ? check(a, call, &follow, &err)
		  : vmj_fail(&err, ENOMEM, "the agent has no memory left");

	if (r < 0) {
		vmj_call_fail(call, &err);
		free(f);
		return;
	}
	f->job = job;
	f->uid = trusted ? (uid_t)-1 : call->peer.uid;
	f->follow = follow;
	f->meanwhile = json_object_new_array();
	f->attachment.closed = follower_closed;
	f->attachment.arg = f;
	LIST_INSERT_HEAD(&a->followers, f, link);
	vmj_conn_attach(call->conn, &f->attachment);
	vmj_call_ok(call, NULL);
	vmj_eventlog_read(a->events, job, f->uid, got_log, f);
}
