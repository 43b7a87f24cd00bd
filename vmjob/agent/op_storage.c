/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * storage-show, storage-admit: what only root sees of a storage domain. volume-mend: for its check.
 *
 * Counting what is written walks all that is there, so the count is kept for a while, by path, as
 * it is shown; only the storage's own lane counts, one at a time.
 */
#include "vmjob/agent/ops.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "vmjob/agent/volume_task.h"
#include "vmjob/base/cleanup.h"
#include "vmjob/model/json.h"
#include "vmjob/storage/hosts.h"
#include "vmjob/storage/layout.h"
#include "vmjob/storage/usage.h"

#define WAITING_MAX    16 /* tasks of a storage's lane */
#define USAGE_FRESH_US (60 * 1000000ll)
#define USERS_MAX      500 /* shown: those who have written most */
#define HOSTS_MAX      500

struct storage_task {
	struct vmj_agent *agent;
	struct vmj_call *call;
	struct vmj_storage_config storage;
	uint64_t lane;
	bool trusted;
	uint64_t bytes;            /* storage-admit */
	struct json_object *usage; /* as counted before; NULL: to be counted */
	bool counted;
	struct json_object *hosts;
	int rc;
	struct vmj_error err;
};

/* Not those of the host's own reports, which must not wait for a count. */
static uint64_t lane_of(struct vmj_agent *a, const struct vmj_storage_config *s)
{
	return VMJ_LANE_STORAGE(2 * VMJ_CONFIG_ITEMS_MAX +
				(uint64_t)(s - a->settings->config->storages));
}

/* The count kept for this path, if it is not too old; the caller's. */
static struct json_object *kept(struct vmj_agent *a, const char *path)
{
	struct json_object *o = NULL;
	int64_t age;

	if (!a->usage || !json_object_object_get_ex(a->usage, path, &o))
		return NULL;
	age = vmj_now_us() - json_object_get_int64(json_object_object_get(o, "time_us"));
	return age >= 0 && age < USAGE_FRESH_US ? json_object_get(o) : NULL;
}

static void keep(struct vmj_agent *a, const char *path, struct json_object *usage)
{
	if (!a->usage)
		a->usage = json_object_new_object();
	json_object_object_add(a->usage, path, json_object_get(usage));
}

static void task_free(struct storage_task *t)
{
	if (!t)
		return;
	json_object_put(t->usage);
	json_object_put(t->hosts);
	free(t);
}

/* "storage" and, of storage-admit, "bytes". */
static int read_args(struct storage_task *t, bool admit, struct vmj_error *err)
{
	char name[VMJ_NAME_MAX + 1] = "";
	const struct vmj_storage_config *s;
	struct vmj_json in;
	int rc;

	vmj_op_args(&in, vmj_op_find(t->call->op), t->call, NULL, err);
	vmj_json_string(&in, "storage", VMJ_OPTIONAL, name, sizeof(name));
	if (admit)
		vmj_json_u64(&in, "bytes", VMJ_NEEDED, 0, INT64_MAX, &t->bytes);
	rc = vmj_json_close(&in);
	if (rc == 0)
		rc = vmj_config_storage(t->agent->settings->config, *name ? name : NULL, &s, err);
	if (rc < 0)
		return rc;
	t->storage = *s;
	t->lane = lane_of(t->agent, s);
	if (vmj_pool_load(t->agent->pool, t->lane) >= WAITING_MAX)
		return vmj_fail_user(err, EBUSY,
				     "too many ask about storage %s just now: try again", s->name);
	return 0;
}

static void begin(struct vmj_agent *a, struct vmj_call *call, bool admit, void (*work)(void *arg),
		  void (*done)(void *arg))
{
	struct storage_task *t = calloc(1, sizeof(*t));
	struct vmj_error err;
	int rc;

	if (!t) {
		vmj_fail(&err, ENOMEM, "the agent has no memory left");
		vmj_call_fail(call, &err);
		return;
	}
	t->agent = a;
	t->call = call;
	t->trusted = vmj_settings_trusts(a->settings, call->peer.uid);
	rc = read_args(t, admit, &err);
	if (rc == 0 && !admit)
		t->usage = kept(a, t->storage.path);
	if (rc == 0) {
		rc = vmj_pool_submit(a->pool, t->lane, work, done, t);
		if (rc < 0)
			vmj_fail(&err, -rc, "the agent cannot start a thread");
	}
	if (rc < 0) {
		vmj_call_fail(call, &err);
		task_free(t);
	}
}

/* --- show ------------------------------------------------------------------------------------ */

static struct json_object *user_json(const struct vmj_usage_of *u)
{
	struct json_object *o = json_object_new_object();

	vmj_json_put_u64(o, "uid", u->uid);
	vmj_json_put_u64(o, "images_bytes", u->usage.images_bytes);
	vmj_json_put_u64(o, "volumes_bytes", u->usage.volumes_bytes);
	vmj_json_put_u64(o, "promised_bytes", u->usage.promised_bytes);
	vmj_json_put_u64(o, "volumes", u->usage.n_volumes);
	if (u->usage.cut)
		vmj_json_put_bool(o, "cut", true);
	return o;
}

static int by_bytes(const void *a, const void *b)
{
	const struct vmj_usage_of *x = a, *y = b;
	uint64_t bx = x->usage.images_bytes + x->usage.volumes_bytes;
	uint64_t by = y->usage.images_bytes + y->usage.volumes_bytes;

	if (bx != by)
		return bx > by ? -1 : 1;
	return x->uid < y->uid ? -1 : x->uid > y->uid;
}

/* {"time_us", "used_bytes", "promised_bytes", "users": all} */
static int count(const char *path, struct json_object **ret, struct vmj_error *err)
{
	vmj_autofree struct vmj_usage_of *users = NULL;
	struct json_object *o, *array;
	struct vmj_usage total;
	size_t n = 0;
	int rc = vmj_usage_all(path, &users, &n, &total, err);

	if (rc == 0)
		rc = vmj_usage_promised(path, users, n, &total, err);
	if (rc < 0)
		return rc;
	if (n)
		qsort(users, n, sizeof(*users), by_bytes);
	o = json_object_new_object();
	array = json_object_new_array();
	for (size_t i = 0; i < n; i++)
		if (users[i].usage.images_bytes || users[i].usage.volumes_bytes ||
		    users[i].usage.n_volumes)
			json_object_array_add(array, user_json(&users[i]));
	vmj_json_put_i64(o, "time_us", vmj_now_us());
	vmj_json_put_u64(o, "used_bytes", total.images_bytes + total.volumes_bytes);
	vmj_json_put_u64(o, "promised_bytes", total.promised_bytes);
	json_object_object_add(o, "users", array);
	*ret = o;
	return 0;
}

static struct json_object *host_json(const struct vmj_host_record *h)
{
	struct json_object *o = json_object_new_object();

	vmj_json_put_string(o, "host", h->host);
	vmj_json_put_string(o, "state", h->dead ? "dead" : h->fresh ? "alive" : "silent");
	vmj_json_put_i64(o, "age_ms", h->age_ms);
	vmj_json_put_u64(o, "size_bytes", h->size_bytes);
	vmj_json_put_u64(o, "free_bytes", h->free_bytes);
	vmj_json_put_string(o, "version", h->version);
	vmj_json_put_string(o, "boot", h->lease.boot);
	return o;
}

/* Of version 1: none. */
static struct json_object *list_hosts(const char *path)
{
	struct json_object *array = json_object_new_array();
	vmj_autofree struct vmj_host_record *hosts = NULL;
	size_t n = 0;

	vmj_host_list(path, &hosts, &n, NULL, NULL);
	for (size_t i = 0; i < n && i < HOSTS_MAX; i++)
		json_object_array_add(array, host_json(&hosts[i]));
	return array;
}

static void show_work(void *arg)
{
	struct storage_task *t = arg;

	t->rc = vmj_storage_check(t->storage.path, &t->err);
	if (t->rc < 0)
		return;
	t->hosts = list_hosts(t->storage.path);
	if (t->usage)
		return;
	t->rc = count(t->storage.path, &t->usage, &t->err);
	t->counted = t->rc == 0;
}

static void copy(struct json_object *to, struct json_object *from, const char *key)
{
	json_object_object_add(to, key, json_object_get(json_object_object_get(from, key)));
}

/* All users' rows for those who are trusted; one's own for everybody. */
static void add_users(struct json_object *o, struct json_object *users,
		      const struct storage_task *t)
{
	struct json_object *shown = json_object_new_array(), *mine = NULL;
	size_t n = json_object_array_length(users);

	for (size_t i = 0; i < n; i++) {
		struct json_object *user = json_object_array_get_idx(users, i);
		int64_t uid = json_object_get_int64(json_object_object_get(user, "uid"));

		if (uid == (int64_t)t->call->peer.uid)
			mine = user;
		if (i < USERS_MAX)
			json_object_array_add(shown, json_object_get(user));
	}
	if (mine)
		json_object_object_add(o, "mine", json_object_get(mine));
	if (!t->trusted) {
		json_object_put(shown);
		return;
	}
	json_object_object_add(o, "users", shown);
	if (n > USERS_MAX)
		vmj_json_put_u64(o, "users_left_out", n - USERS_MAX);
}

static struct json_object *answer(const struct storage_task *t)
{
	struct json_object *o = json_object_new_object(), *all = json_object_new_object();

	vmj_json_put_string(o, "name", t->storage.name);
	copy(o, t->usage, "used_bytes");
	copy(o, t->usage, "promised_bytes");
	add_users(o, json_object_object_get(t->usage, "users"), t);
	json_object_object_add(o, "hosts", json_object_get(t->hosts));
	json_object_object_add(all, "storage", o);
	return all;
}

static void show_done(void *arg)
{
	struct storage_task *t = arg;

	if (t->counted)
		keep(t->agent, t->storage.path, t->usage);
	if (t->rc < 0)
		vmj_call_fail(t->call, &t->err);
	else
		vmj_call_ok(t->call, answer(t));
	task_free(t);
}

VMJ_OP_HANDLER(storage_show)
{
	begin(a, call, false, show_work, show_done);
}

/* --- admit ----------------------------------------------------------------------------------- */

static void admit_work(void *arg)
{
	struct storage_task *t = arg;

	t->rc = vmj_storage_check(t->storage.path, &t->err);
	if (t->rc == 0)
		t->rc = vmj_quota_admit(&t->storage, t->call->peer.uid, t->bytes, &t->err);
}

static void admit_done(void *arg)
{
	struct storage_task *t = arg;

	if (t->rc < 0)
		vmj_call_fail(t->call, &t->err);
	else
		vmj_call_ok(t->call, NULL);
	task_free(t);
}

VMJ_OP_HANDLER(storage_admit)
{
	begin(a, call, true, admit_work, admit_done);
}

/* --- volume-mend ----------------------------------------------------------------------------- */

/* Also of a name of which there are leavings only. Under the name's lease. */
static int mend(struct vmj_volume_task *t, struct vmj_error *err)
{
	const char *path = t->storage->path;
	struct vmj_error e = {.code = 0};
	int rc = vmj_volume_sweep(path, t->uid, t->name, err);

	if (rc < 0)
		return rc;
	rc = vmj_volume_read(path, t->uid, t->name, &t->v, &e);
	if (rc == -ENOENT)
		return 0;
	if (rc == 0)
		rc = vmj_volume_recover(path, &t->v, &e);
	if (rc < 0 && err)
		*err = e;
	return rc;
}

VMJ_OP_HANDLER(volume_mend)
{
	static const struct vmj_volume_kind kind = {.need = VMJ_VOLUME_NEW, .work = mend};

	vmj_volume_task_start(a, call, job, &kind);
}
