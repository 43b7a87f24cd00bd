/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/agent/keeper.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "vmjob/agent/eventlog.h"
#include "vmjob/agent/guard.h"
#include "vmjob/agent/guests.h"
#include "vmjob/agent/phase.h"
#include "vmjob/base/log.h"
#include "vmjob/storage/hosts.h"
#include "vmjob/storage/layout.h"
#include "vmjob/storage/lease.h"

#define AGAIN_US 1000000ull /* while guests that must end have not */

/* One domain; kept while a worker has it, though vmjob.conf may not name it any more. */
struct kept {
	LIST_ENTRY(kept) link;
	struct vmj_keeper *keeper;
	struct vmj_storage_config storage; /* as it is now */
	sd_event_source *timer;            /* the next renewal */
	sd_event_source *deadline;         /* our promise runs out; while there is one */
	bool named;                        /* in vmjob.conf */
	bool asked;                        /* the following are a worker's */
	struct vmj_storage_config asking;
	bool reached; /* by the last renewal */
	int r;
	struct vmj_error err;
	char said[VMJ_ERROR_TEXT_MAX]; /* what was last said of it */
};

struct vmj_keeper {
	struct vmj_agent *agent;
	struct vmj_guard *guard;
	LIST_HEAD(, kept) list;
};

/* --- what must not run any more -------------------------------------------------------------- */

static bool writes_there(const struct vmj_guest *g, const char *storage)
{
	for (unsigned int i = 0; i < g->n_disks; i++)
		if (*g->disks[i].volume && !g->disks[i].readonly &&
		    strcmp(g->disks[i].storage, storage) == 0)
			return true;
	return false;
}

/* QEMU at once: libvirt may be stuck on the very same storage. It hears of it by itself. */
static void stop_guest(struct vmj_entry *e, const struct kept *k, const char *why)
{
	vmj_log_warning("guest %u is killed: storage %s: %s", e->rec.job, k->storage.name, why);
	vmj_eventlog_add(e->agent->events, e->rec.job, e->rec.uid, "self-stop",
			 "killed by its host, since it has a volume in storage %s, where %s",
			 k->storage.name, why);
	if (e->rec.pid > 0)
		kill(e->rec.pid, SIGKILL);
	vmj_entry_destroy(e);
}

/* true: there were some. */
static bool stop_all(const struct kept *k, const char *why)
{
	struct vmj_agent *a = k->keeper->agent;
	struct vmj_entry *e;
	bool any = false;

	for (e = vmj_guests_first(a->guests); e; e = LIST_NEXT(e, link)) {
		if (!e->known || !vmj_phase_alive(e->rec.phase) ||
		    !writes_there(&e->rec, k->storage.name))
			continue;
		stop_guest(e, k, why);
		any = true;
	}
	if (vmj_lease_works(k->storage.path)) {
		vmj_log_err("storage %s: %s, and volumes are being worked on: the agent ends, so "
			    "that nothing is written any more",
			    k->storage.name, why);
		_exit(EXIT_FAILURE);
	}
	return any;
}

static int on_deadline(sd_event_source *s, uint64_t usec, void *arg)
{
	struct kept *k = arg;
	uint64_t until = (uint64_t)vmj_host_hold_until_ms(k->storage.path) * 1000;

	if (usec < until) { /* renewed meanwhile */
		sd_event_source_set_time(s, until);
		return 0;
	}
	/* Again and again: guests that were being made are seen later. */
	stop_all(k, "this host could not renew its record in time");
	sd_event_source_set_time(s, usec + AGAIN_US);
	return 0;
}

static void watch_deadline(struct kept *k)
{
	int64_t until = vmj_host_hold_until_ms(k->storage.path);
	int r;

	if (until == INT64_MAX || until == 0) {
		k->deadline = sd_event_source_disable_unref(k->deadline);
		return;
	}
	if (k->deadline) {
		sd_event_source_set_time(k->deadline, (uint64_t)until * 1000);
		return;
	}
	r = sd_event_add_time(k->keeper->agent->loop, &k->deadline, CLOCK_BOOTTIME,
			      (uint64_t)until * 1000, 1000, on_deadline, k);
	if (r >= 0)
		r = sd_event_source_set_enabled(k->deadline, SD_EVENT_ON);
	if (r >= 0)
		sd_event_source_set_priority(k->deadline, SD_EVENT_PRIORITY_IMPORTANT);
	else
		vmj_log_err("storage %s: cannot set a timer: %s", k->storage.name, vmj_strerror(r));
}

/* --- renewal --------------------------------------------------------------------------------- */

/* The promise is the guard's before it is made, and renewed there when it is renewed. */
static int renew_with_guard(struct kept *k, const struct vmj_host_self *self)
{
	struct vmj_guard *guard = k->keeper->guard;
	const char *path = k->asking.path;
	int rc = 0;

	if (self->stop_after_ms)
		rc = vmj_guard_promise(guard, path, self->stop_after_ms, &k->err);
	if (rc == 0)
		rc = vmj_host_renew(path, self, &k->err);
	if (rc == 0)
		vmj_guard_renew(guard, path,
				self->stop_after_ms ? vmj_host_hold_until_ms(path) : 0);
	return rc;
}

/* The whole check only where something was wrong: it starts a process. */
static void renew_work(void *arg)
{
	struct kept *k = arg;
	const struct vmj_agent *a = k->keeper->agent;
	const struct vmj_host_self self = {
		.host = a->host,
		.boot = a->boot_id,
		.agent = a->id,
		.interval_ms = k->asking.renew_s * 1000,
		.stop_after_ms =
			k->asking.self_stop ? k->asking.renew_s * 1000 * VMJ_KEEPER_STOP_TIMES : 0};

	k->r = k->reached ? 0 : vmj_storage_check_volumes(k->asking.path, &k->err);
	if (k->r == 0)
		k->r = renew_with_guard(k, &self);
	k->reached = k->r == 0;
}

/* Once for each thing that is wrong, and once when it is right again. */
static void say(struct kept *k)
{
	struct vmj_agent *a = k->keeper->agent;
	const char *text = k->r < 0 ? k->err.text : "registered";

	if (strcmp(k->said, text) == 0)
		return;
	if (k->r < 0)
		vmj_log_warning("this host cannot hold volumes in storage %s: %s", k->storage.name,
				text);
	else
		vmj_log_info("this host is registered in storage %s", k->storage.name);
	if (*k->said)
		vmj_eventlog_add(a->events, 0, 0, "storage", "host %s in storage %s: %s", a->host,
				 k->storage.name, text);
	snprintf(k->said, sizeof(k->said), "%s", text);
}

static void free_kept(struct kept *k)
{
	LIST_REMOVE(k, link);
	sd_event_source_disable_unref(k->timer);
	sd_event_source_disable_unref(k->deadline);
	free(k);
}

static void renew_done(void *arg)
{
	struct kept *k = arg;

	k->asked = false;
	if (!k->named) {
		free_kept(k);
		return;
	}
	say(k);
	if (k->r == -EOWNERDEAD)
		stop_all(k, "the host was confirmed dead");
	else
		watch_deadline(k);
}

static uint64_t lane_of(const struct kept *k)
{
	const struct vmj_config *c = k->keeper->agent->settings->config;
	uint64_t i = 0;

	while (i < c->n_storages && strcmp(c->storages[i].path, k->storage.path) != 0)
		i++;
	return VMJ_LANE_KEEPER(i);
}

static int on_time(sd_event_source *s, uint64_t usec, void *arg)
{
	struct kept *k = arg;

	if (!k->asked) {
		k->asking = k->storage;
		k->asked = vmj_pool_submit(k->keeper->agent->pool, lane_of(k), renew_work,
					   renew_done, k) == 0;
	}
	sd_event_source_set_time(s, usec + k->storage.renew_s * 1000000ull);
	return sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
}

/* --- the list -------------------------------------------------------------------------------- */

static struct kept *find(struct vmj_keeper *keeper, const char *path)
{
	struct kept *k;

	LIST_FOREACH (k, &keeper->list, link)
		if (strcmp(k->storage.path, path) == 0)
			return k;
	return NULL;
}

static void add(struct vmj_keeper *keeper, const struct vmj_storage_config *storage)
{
	struct kept *k = find(keeper, storage->path);

	if (k) {
		k->storage = *storage;
		k->named = true;
		return;
	}
	k = calloc(1, sizeof(*k));
	if (!k)
		return;
	k->keeper = keeper;
	k->storage = *storage;
	k->named = true;
	LIST_INSERT_HEAD(&keeper->list, k, link);
	if (sd_event_add_time_relative(keeper->agent->loop, &k->timer, CLOCK_BOOTTIME, 0, 100000,
				       on_time, k) < 0)
		vmj_log_err("storage %s: cannot set a timer: this host will not be registered",
			    storage->name);
}

void vmj_keeper_reload(struct vmj_keeper *keeper)
{
	const struct vmj_config *c = keeper->agent->settings->config;
	struct kept *k, *next;

	LIST_FOREACH (k, &keeper->list, link)
		k->named = false;
	for (unsigned int i = 0; i < c->n_storages; i++)
		add(keeper, &c->storages[i]);
	for (k = LIST_FIRST(&keeper->list); k; k = next) {
		next = LIST_NEXT(k, link);
		if (!k->named && !k->asked)
			free_kept(k);
	}
}

int vmj_keeper_new(struct vmj_agent *a, const char *guard, struct vmj_keeper **ret,
		   struct vmj_error *err)
{
	struct vmj_keeper *keeper = calloc(1, sizeof(*keeper));
	int rc;

	if (!keeper)
		return vmj_fail(err, ENOMEM, "the agent has no memory left");
	keeper->agent = a;
	LIST_INIT(&keeper->list);
	rc = vmj_guard_new(guard, a->boot_id, &keeper->guard, err);
	if (rc < 0) {
		free(keeper);
		return rc;
	}
	vmj_keeper_reload(keeper);
	*ret = keeper;
	return 0;
}

void vmj_keeper_free(struct vmj_keeper *keeper)
{
	struct kept *k;

	if (!keeper)
		return;
	while ((k = LIST_FIRST(&keeper->list)))
		free_kept(k);
	vmj_guard_free(keeper->guard);
	free(keeper);
}
