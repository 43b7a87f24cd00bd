/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/storage/lease.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/storage/hosts_private.h"
#include "vmjob/storage/lease_files.h"

#define vmj_autolease VMJ_CLEANUP(vmj_lease_files_close)

/* --- work in this process -------------------------------------------------------------------- */

/* Volumes that this process holds as work: the record alone cannot tell one thread's from
 * another's. */
struct work {
	LIST_ENTRY(work) link;
	uid_t uid;
	char *domain;
	char volume[VMJ_NAME_MAX + 1];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static LIST_HEAD(, work) works = LIST_HEAD_INITIALIZER(works);

/* `lock` held. */
static struct work *find_work(const char *domain, uid_t uid, const char *volume)
{
	struct work *w;

	LIST_FOREACH (w, &works, link)
		if (w->uid == uid && strcmp(w->volume, volume) == 0 &&
		    strcmp(w->domain, domain) == 0)
			return w;
	return NULL;
}

static struct work *make_work(const char *domain, uid_t uid, const char *volume)
{
	struct work *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->uid = uid;
	w->domain = strdup(domain);
	snprintf(w->volume, sizeof(w->volume), "%s", volume);
	if (w->domain)
		return w;
	free(w);
	return NULL;
}

/* For a guest it is only looked. */
static int begin_work(const char *domain, uid_t uid, const char *volume, bool guest,
		      struct vmj_error *err)
{
	struct work *w = guest ? NULL : make_work(domain, uid, volume);
	bool busy;

	if (!w && !guest)
		return vmj_fail(err, ENOMEM, "out of memory");
	pthread_mutex_lock(&lock);
	busy = find_work(domain, uid, volume);
	if (!busy && w) {
		LIST_INSERT_HEAD(&works, w, link);
		w = NULL;
	}
	pthread_mutex_unlock(&lock);
	if (w) {
		free(w->domain);
		free(w);
	}
	if (busy)
		return vmj_fail_user(err, EBUSY,
				     "volume \"%s\" is being worked on by this host: try again "
				     "when that is done",
				     volume);
	return 0;
}

static void end_work(const char *domain, uid_t uid, const char *volume)
{
	struct work *w;

	pthread_mutex_lock(&lock);
	w = find_work(domain, uid, volume);
	if (w)
		LIST_REMOVE(w, link);
	pthread_mutex_unlock(&lock);
	if (w)
		free(w->domain);
	free(w);
}

bool vmj_lease_works(const char *domain)
{
	struct work *w;
	bool any = false;

	pthread_mutex_lock(&lock);
	LIST_FOREACH (w, &works, link)
		any = any || strcmp(w->domain, domain) == 0;
	pthread_mutex_unlock(&lock);
	return any;
}

/* --- words ----------------------------------------------------------------------------------- */

static const char *holder(bool guest, uint32_t job, const char *host,
			  char buf[VMJ_LEASE_HOLDER_MAX])
{
	if (guest)
		snprintf(buf, VMJ_LEASE_HOLDER_MAX, "job %" PRIu32 " on %s", job, host);
	else
		snprintf(buf, VMJ_LEASE_HOLDER_MAX, "work on %s", host);
	return buf;
}

const char *vmj_lease_holder(const struct vmj_lease *l, char buf[VMJ_LEASE_HOLDER_MAX])
{
	return holder(l->guest, l->job, l->host, buf);
}

/* The time of day, with the date if that was another one. */
static const char *since_text(int64_t since, char *buf, size_t size)
{
	time_t then = (time_t)since, now = time(NULL);
	struct tm t, today;

	localtime_r(&then, &t);
	localtime_r(&now, &today);
	strftime(buf, size,
		 t.tm_year == today.tm_year && t.tm_yday == today.tm_yday ? "%H:%M:%S"
									  : "%Y-%m-%d %H:%M:%S",
		 &t);
	return buf;
}

/* What to do about a holder; the host's own record tells whether it lives. */
static void advice(const char *domain, const struct vmj_lease_op *op, char *buf, size_t size)
{
	const struct vmj_lease_record *r = &op->other;
	struct vmj_host_record h;

	if (strcmp(r->host, op->me.host) == 0 || vmj_host_read(domain, r->host, &h, NULL) < 0 ||
	    h.fresh) {
		snprintf(buf, size, "%s",
			 r->guest ? "end that job first" : "try again when that is done");
		return;
	}
	if (op->wait_ms > 0)
		snprintf(buf, size,
			 "%s has been silent for %" PRId64 " s; the volume is free in %" PRId64
			 " s if it stays so",
			 r->host, h.age_ms / 1000, (op->wait_ms + 999) / 1000);
	else
		snprintf(buf, size,
			 "%s has been silent for %" PRId64
			 " s; if the machine is off for certain, an operator frees the volume by "
			 "`vmjob host confirm-dead %s`",
			 r->host, h.age_ms / 1000, r->host);
}

static int fail_busy(const char *domain, const char *volume, const struct vmj_lease_op *op,
		     struct vmj_error *err)
{
	const struct vmj_lease_record *r = &op->other;
	char who[VMJ_LEASE_HOLDER_MAX], since[32], what_to_do[320];

	advice(domain, op, what_to_do, sizeof(what_to_do));
	return vmj_fail_user(err, EBUSY, "volume \"%s\" is in use by %s since %s: %s", volume,
			     holder(r->guest, r->job, r->host, who),
			     since_text(r->since, since, sizeof(since)), what_to_do);
}

/* --- operations ------------------------------------------------------------------------------ */

static int check_who(const struct vmj_lease_who *who, struct vmj_error *err)
{
	if (!vmj_name_valid(who->host) || strlen(who->boot) > VMJ_BOOT_ID_MAX ||
	    strlen(who->agent) > VMJ_AGENT_ID_MAX)
		return vmj_fail(err, EINVAL,
				"this host, \"%.64s\", cannot hold leases: its name must be of "
				"letters, digits, '.', '_' and '-', at most %d",
				who->host, VMJ_NAME_MAX);
	return 0;
}

static struct vmj_lease_record record_of(const char *domain, const struct vmj_lease_who *who)
{
	struct vmj_lease_record r = {.guest = who->guest, .job = who->job, .since = time(NULL)};
	struct vmj_host_standing s;

	vmj_host_standing(domain, &s);
	r.generation = s.generation;
	r.term = s.term;
	snprintf(r.host, sizeof(r.host), "%s", who->host);
	snprintf(r.boot, sizeof(r.boot), "%s", who->boot);
	snprintf(r.agent, sizeof(r.agent), "%s", who->agent);
	return r;
}

/* All steps of op. */
static int operate(struct vmj_lease_files *f, const char *volume, struct vmj_lease_op *op,
		   struct vmj_error *err)
{
	struct vmj_lease_env env = vmj_lease_files_env;
	int rc;

	env.arg = f;
	do
		rc = vmj_lease_step(op, &env);
	while (rc > 0);
	if (rc == -EAGAIN)
		return vmj_fail_user(err, EBUSY,
				     "volume \"%s\" is being taken by others at this very moment: "
				     "try again",
				     volume);
	if (rc == -EOVERFLOW)
		return vmj_fail(err, EOVERFLOW, "storage %s: lease %s has no epochs left",
				f->domain, f->dir);
	if (rc < 0)
		return vmj_fail(err, -rc, "volume \"%s\": %s", volume,
				f->err.code ? f->err.text : vmj_strerror(rc));
	return 0;
}

/* The agent's keeper does it, unless this comes before its first time. */
static int ensure_registered(const char *domain, const struct vmj_lease_who *who,
			     struct vmj_error *err)
{
	struct vmj_host_standing s;

	vmj_host_standing(domain, &s);
	if (s.hold_until_ms > 0)
		return 0;
	return vmj_host_renew(
		domain,
		&(struct vmj_host_self){.host = who->host, .boot = who->boot, .agent = who->agent},
		err);
}

static int take(const char *domain, uid_t uid, const char *volume, const struct vmj_lease_who *who,
		uint32_t *ret_epoch, struct vmj_error *err)
{
	vmj_autolease struct vmj_lease_files f;
	struct vmj_lease_op op = {.mistakes = 0};
	struct vmj_lease_record me;
	int rc = vmj_lease_files_open(&f, domain, uid, volume, true, err);

	if (rc == 0)
		rc = ensure_registered(domain, who, err);
	if (rc < 0)
		return rc;
	me = record_of(domain, who);
	vmj_lease_begin(&op, VMJ_LEASE_TAKE, &me);
	rc = operate(&f, volume, &op, err);
	if (rc < 0)
		return rc;
	if (op.state == VMJ_LEASE_BUSY)
		return fail_busy(domain, volume, &op, err);
	if (op.state != VMJ_LEASE_MINE)
		return vmj_fail(err, EOWNERDEAD,
				"storage %s: host %s must not use volume \"%s\": %s", domain,
				who->host, volume, op.self);
	*ret_epoch = op.epoch;
	return 0;
}

int vmj_lease_take(const char *domain, uid_t uid, const char *volume,
		   const struct vmj_lease_who *who, uint32_t *ret_epoch, struct vmj_error *err)
{
	int rc = check_who(who, err);

	if (rc == 0)
		rc = vmj_parse_name("volume", volume, err);
	if (rc == 0)
		rc = begin_work(domain, uid, volume, who->guest, err);
	if (rc < 0)
		return rc;
	rc = take(domain, uid, volume, who, ret_epoch, err);
	if (rc < 0 && !who->guest)
		end_work(domain, uid, volume);
	return rc;
}

static int release(const char *domain, uid_t uid, const char *volume,
		   const struct vmj_lease_who *who, bool drop, struct vmj_error *err)
{
	vmj_autolease struct vmj_lease_files f;
	struct vmj_lease_op op = {.mistakes = 0};
	struct vmj_lease_record me = record_of(domain, who);
	int rc = vmj_lease_files_open(&f, domain, uid, volume, false, err);

	if (rc < 0 || f.fd < 0)
		return rc;
	/* Before it is released: afterwards, another's next epoch may be there. */
	if (drop)
		vmj_lease_sweep(f.fd);
	vmj_lease_begin(&op, VMJ_LEASE_RELEASE, &me);
	return operate(&f, volume, &op, err);
}

int vmj_lease_release(const char *domain, uid_t uid, const char *volume,
		      const struct vmj_lease_who *who, struct vmj_error *err)
{
	int rc = check_who(who, err);

	if (rc == 0)
		rc = release(domain, uid, volume, who, false, err);
	if (!who->guest)
		end_work(domain, uid, volume);
	return rc;
}

int vmj_lease_drop(const char *domain, uid_t uid, const char *volume,
		   const struct vmj_lease_who *who, struct vmj_error *err)
{
	int rc = check_who(who, err);

	if (rc == 0)
		rc = release(domain, uid, volume, who, true, err);
	if (!who->guest)
		end_work(domain, uid, volume);
	return rc;
}

static struct vmj_lease lease_of(const struct vmj_lease_record *r, uint32_t epoch,
				 enum vmj_lease_state state)
{
	struct vmj_lease l = {.epoch = epoch, .state = state};

	if (!epoch)
		return l;
	l.held = state == VMJ_LEASE_BUSY || state == VMJ_LEASE_MINE;
	l.over = !l.held && !r->released;
	l.guest = r->guest;
	l.job = r->job;
	l.since = r->since;
	memcpy(l.host, r->host, sizeof(l.host));
	memcpy(l.boot, r->boot, sizeof(l.boot));
	memcpy(l.agent, r->agent, sizeof(l.agent));
	return l;
}

int vmj_lease_show(const char *domain, uid_t uid, const char *volume, struct vmj_lease *ret,
		   struct vmj_error *err)
{
	vmj_autolease struct vmj_lease_files f;
	const struct vmj_lease_record nobody = {.host = ""};
	struct vmj_lease_op op = {.mistakes = 0};
	int rc = vmj_lease_files_open(&f, domain, uid, volume, false, err);

	if (rc < 0)
		return rc;
	f.old_views = true;
	vmj_lease_begin(&op, VMJ_LEASE_SHOW, &nobody);
	rc = operate(&f, volume, &op, err);
	if (rc == 0)
		*ret = lease_of(&op.other, op.epoch, op.state);
	return rc;
}

/* --- all of a host's ------------------------------------------------------------------------- */

/* 1: it is ours. */
static int look_at(int leases, const char *dir, const struct vmj_lease_record *me,
		   struct vmj_lease_own *ret, struct vmj_error *err)
{
	vmj_autoclose int fd = openat(leases, dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct vmj_lease_record r;
	enum vmj_lease_state state;
	uint32_t epoch = 0;
	int rc = fd < 0 ? -errno : vmj_lease_latest(fd, dir, &epoch, &r, err);

	if (rc == -ENOENT || (rc == 0 && !epoch))
		return 0;
	if (rc < 0)
		return fd < 0 ? vmj_fail(err, -rc, "cannot open lease %s: %s", dir,
					 vmj_strerror(rc))
			      : rc;
	if (r.released || strcmp(r.host, me->host) != 0)
		return 0;
	state = strcmp(r.boot, me->boot) == 0 && (r.guest || strcmp(r.agent, me->agent) == 0)
			? VMJ_LEASE_MINE
			: VMJ_LEASE_LEFT;
	ret->lease = lease_of(&r, epoch, state);
	return 1;
}

int vmj_lease_mine(const char *domain, const struct vmj_lease_who *who, struct vmj_lease_own **ret,
		   size_t *ret_n, struct vmj_error *err)
{
	const struct vmj_lease_record me = record_of(domain, who);
	vmj_autofree struct vmj_lease_own *list = NULL;
	vmj_autofree char *names = NULL;
	vmj_autoclose int leases = -1;
	size_t n = 0, len = 0;
	int rc;

	leases = vmj_leases_open(domain, "leases", err);
	if (leases < 0)
		return leases;
	rc = vmj_dir_names(leases, &names, &len);
	if (rc < 0)
		return vmj_fail(err, -rc, "storage %s: cannot list its leases: %s", domain,
				vmj_strerror(rc));
	for (const char *name = names; name < names + len; name += strlen(name) + 1) {
		struct vmj_lease_own own = {.uid = 0}, *more;

		if (!vmj_lease_dir_parse(name, &own.uid, own.volume))
			continue;
		rc = look_at(leases, name, &me, &own, err);
		if (rc < 0)
			return rc;
		if (rc == 0)
			continue;
		more = realloc(list, (n + 1) * sizeof(*list));
		if (!more)
			return vmj_fail(err, ENOMEM, "storage %s: out of memory", domain);
		list = more;
		list[n++] = own;
	}
	*ret = vmj_steal(list);
	*ret_n = n;
	return 0;
}
