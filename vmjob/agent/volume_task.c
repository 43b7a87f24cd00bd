/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/agent/volume_task.h"

#include <errno.h>
#include <json-c/json.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-event.h>
#include <time.h>

#include "vmjob/agent/ops.h"
#include "vmjob/agent/volume_lock.h"
#include "vmjob/base/cleanup.h"
#include "vmjob/base/log.h"
#include "vmjob/storage/hosts.h"
#include "vmjob/storage/layout.h"

#define PROGRESS_US (500 * 1000ull)
#define ANSWERED_US (10 * 1000000ll) /* for so long a storage is taken to answer */

/* --- on a worker ------------------------------------------------------------------------------ */

struct vmj_lease_who vmj_volume_task_who(const struct vmj_volume_task *t)
{
	const struct vmj_agent *a = t->agent;

	return (struct vmj_lease_who){.host = a->host, .boot = a->boot_id, .agent = a->id};
}

int vmj_volume_task_holds(const struct vmj_volume_task *t, struct vmj_error *err)
{
	if (vmj_boottime_ms() < vmj_host_hold_until_ms(t->storage->path))
		return 0;
	return vmj_fail(
		err, EOWNERDEAD,
		"volume \"%s\": this host could not renew its record in storage %s in time, "
		"so that another may have the volume by now: nothing is changed any more",
		t->name, t->storage->name);
}

void vmj_volume_task_progress(double fraction, void *task)
{
	struct vmj_volume_task *t = task;

	t->bytes = t->v.virtual_bytes;
	t->progress = (unsigned int)(fraction * 1000);
}

/* An operator names a user, not a group. Volumes that are there have one; their user may be gone.
 */
static int find_gid(struct vmj_volume_task *t, struct vmj_error *err)
{
	struct passwd pw, *found = NULL;
	char buf[16384];

	if (t->uid == t->caller || t->kind->need != VMJ_VOLUME_NEW || !t->call)
		return 0;
	if (getpwuid_r(t->uid, &pw, buf, sizeof(buf), &found) != 0 || !found)
		return vmj_fail_user(err, ENOENT, "there is no user %u on this host",
				     (unsigned int)t->uid);
	t->gid = pw.pw_gid;
	return 0;
}

int vmj_volume_task_find_guest(const struct vmj_volume_task *t,
			       const struct vmj_storage_config *storage, const char *volume,
			       uint32_t *ret, struct vmj_error *err)
{
	const struct vmj_agent *a = t->agent;
	struct vmj_lease l;
	int rc = vmj_lease_show(storage->path, t->uid, volume, &l, err);
	bool here;

	if (rc < 0)
		return rc;
	here = l.held && l.guest && strcmp(l.host, a->host) == 0 && strcmp(l.boot, a->boot_id) == 0;
	*ret = here ? l.job : 0;
	return 0;
}

/* What the guest's lease covers; it cannot be given back before we are done. */
static int work_on_guests(struct vmj_volume_task *t, const struct vmj_error *busy,
			  struct vmj_error *err)
{
	vmj_auto_volume_lock struct vmj_volume_lock *lock = NULL;
	int rc = vmj_volume_lock(t->storage->path, t->uid, t->name, &lock, err);

	if (rc == 0)
		rc = vmj_volume_task_find_guest(t, t->storage, t->name, &t->guest_job, err);
	if (rc < 0)
		return rc;
	if (!t->guest_job) {
		*err = *busy;
		return -err->code;
	}
	rc = vmj_volume_read(t->storage->path, t->uid, t->name, &t->v, err);
	return rc < 0 ? rc : t->kind->work(t, err);
}

static int work_under_lease(struct vmj_volume_task *t, uint32_t epoch, struct vmj_error *err)
{
	const char *path = t->storage->path;
	int rc = epoch > 1 ? vmj_volume_sweep(path, t->uid, t->name, err) : 0;

	if (rc == 0 && t->kind->need != VMJ_VOLUME_NEW) {
		rc = vmj_volume_read(path, t->uid, t->name, &t->v, err);
		if (rc == 0)
			rc = vmj_volume_recover(path, &t->v, err);
	}
	return rc < 0 ? rc : t->kind->work(t, err);
}

/* Before a lease is taken, which leaves a trace: names of nothing are refused without one. */
static int look_first(const struct vmj_volume_task *t, struct vmj_error *err)
{
	vmj_autoclose int dir = -1;

	if (t->kind->need == VMJ_VOLUME_NEW)
		return 0;
	dir = vmj_volume_open(t->storage->path, t->uid, t->name, err);
	return dir < 0 ? dir : 0;
}

static int take_and_work(struct vmj_volume_task *t, struct vmj_error *err)
{
	struct vmj_lease_who who = vmj_volume_task_who(t);
	struct vmj_error busy = {.code = 0};
	uint32_t epoch;
	int released, rc = look_first(t, err);

	if (rc < 0)
		return rc;
	rc = vmj_lease_take(t->storage->path, t->uid, t->name, &who, &epoch, &busy);
	if (rc == -EBUSY && t->kind->need == VMJ_VOLUME_CHANGE_LIVE)
		return work_on_guests(t, &busy, err);
	if (rc < 0) {
		*err = busy;
		return rc;
	}
	rc = work_under_lease(t, epoch, err);
	released = vmj_lease_release(t->storage->path, t->uid, t->name, &who, rc < 0 ? NULL : err);
	return rc < 0 ? rc : released;
}

static void task_work(void *arg)
{
	struct vmj_volume_task *t = arg;

	t->rc = t->fresh ? 0 : vmj_storage_check(t->storage->path, &t->err);
	t->answered = t->rc == 0;
	if (t->rc == 0)
		t->rc = find_gid(t, &t->err);
	if (t->rc < 0)
		return;
	switch (t->kind->need) {
	case VMJ_VOLUME_LOOK:
		t->rc = vmj_volume_read(t->storage->path, t->uid, t->name, &t->v, &t->err);
		if (t->rc < 0)
			break;
		/* fall through */
	case VMJ_VOLUME_NOTHING:
		t->rc = t->kind->work(t, &t->err);
		break;
	default:
		t->rc = take_and_work(t, &t->err);
	}
}

/* --- on the loop ------------------------------------------------------------------------------ */

static void task_free(struct vmj_volume_task *t)
{
	if (t->timer)
		sd_event_source_disable_unref(t->timer);
	json_object_put(t->answer);
	vmj_settings_unref(t->settings);
	free(t->args);
	free(t);
}

/* Asking a storage whether it answers takes a process (layout.c): not for each of many tasks. */
static int64_t *answered_us(const struct vmj_volume_task *t)
{
	return &t->agent->answered_us[t->storage - t->settings->config->storages];
}

static void task_done(void *arg)
{
	struct vmj_volume_task *t = arg;

	LIST_REMOVE(t, link);
	if (t->answered && !t->fresh)
		*answered_us(t) = vmj_now_us();
	if (t->kind->done)
		t->kind->done(t, t->rc);
	if (t->call && t->rc < 0)
		vmj_call_fail(t->call, &t->err);
	else if (t->call)
		vmj_call_ok(t->call, vmj_steal(t->answer));
	else if (t->rc < 0)
		vmj_log_info("volume %s of user %u: %s", t->name, (unsigned int)t->uid,
			     t->err.text);
	task_free(t);
}

static int on_progress(sd_event_source *s, uint64_t usec, void *arg)
{
	struct vmj_volume_task *t = arg;
	unsigned int now = t->progress;

	if (t->call->conn && now != t->sent) {
		struct json_object *o = json_object_new_object();

		json_object_object_add(o, "event", json_object_new_string("progress"));
		json_object_object_add(o, "fraction", json_object_new_double(now / 1000.0));
		json_object_object_add(o, "bytes", json_object_new_uint64(t->bytes));
		if (t->call->has_id)
			json_object_object_add(o, "id", json_object_new_int64(t->call->id));
		vmj_conn_send(t->call->conn, o);
		t->sent = now;
	}
	sd_event_source_set_time_relative(s, PROGRESS_US);
	return sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
}

/* FNV-1a. Two volumes on one lane wait for each other, which is rare and harms nothing. */
static uint64_t lane_of(const struct vmj_volume_task *t)
{
	uint32_t h = 2166136261u;

	if (!t->name[0])
		return 0;
	for (const char *p = t->storage->path; *p; p++)
		h = (h ^ (unsigned char)*p) * 16777619u;
	for (const char *p = t->name; *p; p++)
		h = (h ^ (unsigned char)*p) * 16777619u;
	return VMJ_LANE_STORAGE((1ull << 32) + (h ^ t->uid * 2654435761u));
}

static int count_tasks(const struct vmj_volume_task *t, struct vmj_error *err)
{
	unsigned int n = 0, own = 0;
	struct vmj_volume_task *other;

	LIST_FOREACH (other, &t->agent->volume_tasks, link) {
		n++;
		own += other->caller == t->caller;
	}
	if (own >= VMJ_VOLUME_TASKS_UID)
		return vmj_fail_user(
			err, EBUSY,
			"you have %u operations on volumes under way on this host: wait "
			"for one to end",
			own);
	if (n >= VMJ_VOLUME_TASKS_MAX)
		return vmj_fail_user(err, EBUSY,
				     "%u operations on volumes are under way on this host: try "
				     "again, or ask another host's agent",
				     n);
	return 0;
}

static int read_request(struct vmj_volume_task *t, struct vmj_error *err)
{
	const char *storage = NULL;
	char name[VMJ_NAME_MAX + 1] = "";
	struct vmj_json in;
	uint32_t job;
	int rc;

	vmj_op_args(&in, vmj_op_find(t->call->op), t->call, &job, err);
	vmj_json_string(&in, "storage", VMJ_OPTIONAL, name, sizeof(name));
	vmj_json_u32(&in, "uid", VMJ_OPTIONAL, 0, UINT32_MAX - 1, &t->uid);
	if (t->kind->need != VMJ_VOLUME_NOTHING)
		vmj_json_string(&in, "volume", VMJ_NEEDED, t->name, sizeof(t->name));
	if (t->kind->read)
		t->kind->read(t, &in);
	rc = vmj_json_close(&in);
	if (rc < 0)
		return rc;
	if (t->uid != t->caller && !t->trusted)
		return vmj_fail_user(err, EPERM,
				     "only root and operators may ask for volumes of others");
	storage = name[0] ? name : NULL;
	if (t->kind->need != VMJ_VOLUME_NOTHING)
		rc = vmj_parse_name("the volume's name", t->name, err);
	return rc < 0 ? rc : vmj_config_storage(t->settings->config, storage, &t->storage, err);
}

static int submit(struct vmj_volume_task *t, struct vmj_error *err)
{
	struct vmj_agent *a = t->agent;
	int64_t age;
	int rc;

	if (t->call) {
		rc = sd_event_add_time_relative(a->loop, &t->timer, CLOCK_MONOTONIC, PROGRESS_US, 0,
						on_progress, t);
		if (rc < 0)
			return vmj_fail(err, -rc, "the agent has no memory left");
	}
	age = vmj_now_us() - *answered_us(t);
	t->fresh = age >= 0 && age < ANSWERED_US;
	rc = vmj_pool_submit(a->pool, lane_of(t), task_work, task_done, t);
	if (rc < 0)
		return vmj_fail(err, -rc, "the agent cannot start a thread");
	LIST_INSERT_HEAD(&a->volume_tasks, t, link);
	return 0;
}

static struct vmj_volume_task *task_new(struct vmj_agent *a, const struct vmj_volume_kind *kind)
{
	struct vmj_volume_task *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->args = calloc(1, kind->args_size + 1);
	t->answer = json_object_new_object();
	t->kind = kind;
	t->agent = a;
	t->settings = vmj_settings_ref(a->settings);
	if (t->args && t->answer)
		return t;
	task_free(t);
	return NULL;
}

void vmj_volume_task_start(struct vmj_agent *a, struct vmj_call *call, uint32_t job,
			   const struct vmj_volume_kind *kind)
{
	struct vmj_volume_task *t = task_new(a, kind);
	struct vmj_error err;
	int rc;

	if (!t) {
		vmj_fail(&err, ENOMEM, "the agent has no memory left");
		vmj_call_fail(call, &err);
		return;
	}
	t->call = call;
	t->job = job;
	t->caller = t->uid = call->peer.uid;
	t->gid = call->peer.gid;
	t->trusted = vmj_settings_trusts(a->settings, t->caller);
	rc = read_request(t, &err);
	if (rc == 0)
		rc = count_tasks(t, &err);
	if (rc == 0)
		rc = submit(t, &err);
	if (rc < 0) {
		vmj_call_fail(call, &err);
		task_free(t);
	}
}

void vmj_volume_task_own(struct vmj_agent *a, const char *storage, uid_t uid, const char *name,
			 const struct vmj_volume_kind *kind)
{
	struct vmj_volume_task *t = task_new(a, kind);
	struct vmj_error err = {.code = ENOMEM, .text = "the agent has no memory left"};
	int rc = -ENOMEM;

	if (t) {
		t->uid = uid;
		t->caller = 0;
		snprintf(t->name, sizeof(t->name), "%s", name);
		rc = vmj_config_storage(t->settings->config, storage, &t->storage, &err);
		if (rc == 0)
			rc = submit(t, &err);
		if (rc < 0)
			task_free(t);
	}
	if (rc < 0)
		vmj_log_info("volume %s of user %u: %s", name, (unsigned int)uid, err.text);
}
