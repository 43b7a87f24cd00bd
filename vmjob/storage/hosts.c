/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/storage/hosts.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "vmj-autoconf.h"
#include "vmjob/base/cleanup.h"
#include "vmjob/base/clock.h"
#include "vmjob/base/file.h"
#include "vmjob/storage/hosts_private.h"
#include "vmjob/storage/lease_files.h"

#define SEEN_MAX  4096 /* hosts that are remembered, in all domains */
#define HOSTS_MAX 16384
#define SUFFIX    ".json"
#define DEAD      ".dead"

int64_t vmj_boottime_ms(void)
{
	return vmj_clock_ms(CLOCK_BOOTTIME);
}

/* "n1.json" → "n1"; false: it is no host's record. */
static bool host_of(const char *file, char host[VMJ_NAME_MAX + 1])
{
	size_t len = strlen(file), cut = strlen(SUFFIX);

	if (len <= cut || len - cut > VMJ_NAME_MAX || strcmp(file + len - cut, SUFFIX) != 0)
		return false;
	memcpy(host, file, len - cut);
	host[len - cut] = '\0';
	len = strlen(host);
	if (len > strlen(DEAD) && strcmp(host + len - strlen(DEAD), DEAD) == 0)
		return false;
	return vmj_name_valid(host);
}

/* --- what this process knows ----------------------------------------------------------------- */

/* One for each domain, for ever: there are few. */
struct standing {
	SLIST_ENTRY(standing) link;
	char *domain;
	pthread_mutex_t writing; /* one renewal at a time; never taken under `lock` */
	bool registered, dead;
	uint64_t generation, seq, term;
	int64_t hold_until;
};

struct seen {
	SLIST_ENTRY(seen) link;
	const struct standing *standing;
	char host[VMJ_NAME_MAX + 1];
	struct vmj_lease_seen seen;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static SLIST_HEAD(, standing) standings = SLIST_HEAD_INITIALIZER(standings);
static SLIST_HEAD(, seen) all_seen = SLIST_HEAD_INITIALIZER(all_seen);
static unsigned int n_seen;

/* `lock` held. NULL: no memory, or, without `make`, none. */
static struct standing *find_standing(const char *domain, bool make)
{
	struct standing *s;

	SLIST_FOREACH(s, &standings, link)
	if (strcmp(s->domain, domain) == 0)
		return s;
	s = make ? calloc(1, sizeof(*s)) : NULL;
	if (!s)
		return NULL;
	s->domain = strdup(domain);
	if (!s->domain) {
		free(s);
		return NULL;
	}
	pthread_mutex_init(&s->writing, NULL);
	SLIST_INSERT_HEAD(&standings, s, link);
	return s;
}

void vmj_host_standing(const char *domain, struct vmj_host_standing *ret)
{
	const struct standing *s;

	*ret = (struct vmj_host_standing){.term = 0};
	pthread_mutex_lock(&lock);
	s = find_standing(domain, false);
	if (s && s->registered && !s->dead)
		*ret = (struct vmj_host_standing){.generation = s->generation,
						  .term = s->term,
						  .hold_until_ms = s->hold_until};
	pthread_mutex_unlock(&lock);
}

int64_t vmj_host_hold_until_ms(const char *domain)
{
	struct vmj_host_standing s;

	vmj_host_standing(domain, &s);
	return s.hold_until_ms;
}

/* `lock` held. */
static struct seen *find_seen(const struct standing *standing, const char *host)
{
	struct seen *s;

	SLIST_FOREACH(s, &all_seen, link)
	if (s->standing == standing && strcmp(s->host, host) == 0)
		return s;
	return NULL;
}

void vmj_host_seen_get(const char *domain, const char *host, struct vmj_lease_seen *ret)
{
	const struct seen *s;

	pthread_mutex_lock(&lock);
	s = find_seen(find_standing(domain, true), host);
	*ret = s ? s->seen : (struct vmj_lease_seen){.since_ms = 0};
	pthread_mutex_unlock(&lock);
}

void vmj_host_seen_put(const char *domain, const char *host, const struct vmj_lease_seen *seen)
{
	const struct standing *standing;
	struct seen *s;

	pthread_mutex_lock(&lock);
	standing = find_standing(domain, true);
	s = find_seen(standing, host);
	if (!s && n_seen < SEEN_MAX && (s = calloc(1, sizeof(*s)))) {
		s->standing = standing;
		snprintf(s->host, sizeof(s->host), "%s", host);
		SLIST_INSERT_HEAD(&all_seen, s, link);
		n_seen++;
	}
	if (s)
		s->seen = *seen;
	pthread_mutex_unlock(&lock);
}

/* --- renewal --------------------------------------------------------------------------------- */

/* A first renewal goes on where this host's last record ended: seq in any case, the generation if
 * it is the same boot. Where there is none, time makes it higher than any that was lost. */
static int continue_record(int hosts, const struct vmj_host_self *self, struct standing *s,
			   struct vmj_error *err)
{
	struct vmj_host_record r;
	int rc = s->registered ? 0 : vmj_host_load(hosts, self->host, &r, err);

	if (s->registered || (rc < 0 && rc != -ENOENT))
		return rc;
	if (rc == -ENOENT)
		r = (struct vmj_host_record){.lease.generation = (uint64_t)time(NULL)};
	else if (strcmp(r.lease.boot, self->boot) != 0)
		r.lease.generation++;
	s->generation = r.lease.generation;
	s->seq = r.lease.seq;
	return 0;
}

static int check_alive(int hosts, const struct vmj_host_self *self, const char *domain,
		       struct standing *s, struct vmj_error *err)
{
	struct vmj_death d;
	int rc = vmj_death_load(hosts, self->host, &d, err);

	if (rc == -ENOENT || (rc == 0 && !vmj_death_covers(&d, self->boot)))
		return 0;
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&lock);
	s->dead = true;
	pthread_mutex_unlock(&lock);
	return vmj_fail(err, EOWNERDEAD,
			"storage %s: host %s was confirmed dead by %s, and others may use its "
			"volumes: it must be started anew before it can",
			domain, self->host, d.by);
}

static int write_record(int hosts, const struct vmj_host_self *self, const char *domain,
			const struct standing *s, struct vmj_error *err)
{
	struct vmj_host_record r = {.lease = {.generation = s->generation,
					      .seq = s->seq + 1,
					      .stop_after_ms = self->stop_after_ms},
				    .time = time(NULL),
				    .interval_ms = self->interval_ms ? self->interval_ms
								     : VMJ_HOST_INTERVAL_MS};
	vmj_autojson struct json_object *o = NULL;
	char name[VMJ_NAME_MAX + 16];
	const char *text;
	struct statvfs fs;

	snprintf(r.host, sizeof(r.host), "%s", self->host);
	snprintf(r.lease.boot, sizeof(r.lease.boot), "%s", self->boot);
	snprintf(r.lease.agent, sizeof(r.lease.agent), "%s", self->agent);
	snprintf(r.version, sizeof(r.version), "%s", PACKAGE_VERSION);
	if (fstatvfs(hosts, &fs) == 0) {
		r.size_bytes = (uint64_t)fs.f_blocks * fs.f_frsize;
		r.free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	}
	o = vmj_host_to_json(&r);
	text = json_object_to_json_string(o);
	snprintf(name, sizeof(name), "%s" SUFFIX, self->host);
	if (vmj_file_write_atomic(hosts, name, text, strlen(text), 0600, err) < 0)
		return vmj_fail_prefix(err, "storage %s", domain);
	return 0;
}

/* A promise counts from before it is made: others may see it although no answer comes. */
static int64_t promise(struct standing *s, const struct vmj_host_self *self, int64_t begun)
{
	int64_t was, until = self->stop_after_ms ? begun + self->stop_after_ms : INT64_MAX;

	pthread_mutex_lock(&lock);
	was = s->hold_until;
	if (until < s->hold_until)
		s->hold_until = until;
	pthread_mutex_unlock(&lock);
	return was < until ? was : until;
}

/* Late: what was held is lost, and a new term begins. */
static void renewed(struct standing *s, const struct vmj_host_self *self, int64_t begun,
		    int64_t promised)
{
	pthread_mutex_lock(&lock);
	s->seq++;
	if (!s->registered || vmj_boottime_ms() >= promised)
		s->term = s->seq;
	s->registered = true;
	s->hold_until = self->stop_after_ms ? begun + self->stop_after_ms : INT64_MAX;
	pthread_mutex_unlock(&lock);
}

static int renew(const char *domain, const struct vmj_host_self *self, struct standing *s,
		 struct vmj_error *err)
{
	vmj_autoclose int hosts = -1;
	int64_t begun = vmj_boottime_ms(), promised;
	int rc;

	hosts = vmj_leases_open(domain, "hosts", err);
	if (hosts < 0)
		return hosts;
	rc = check_alive(hosts, self, domain, s, err);
	if (rc == 0)
		rc = continue_record(hosts, self, s, err);
	if (rc < 0)
		return rc;
	promised = promise(s, self, begun);
	rc = write_record(hosts, self, domain, s, err);
	if (rc < 0)
		return rc;
	renewed(s, self, begun, promised);
	/* Again: the directory is seen as it is only after it was changed. */
	return check_alive(hosts, self, domain, s, err);
}

int vmj_host_renew(const char *domain, const struct vmj_host_self *self, struct vmj_error *err)
{
	struct standing *s;
	char host[VMJ_NAME_MAX + 1], file[VMJ_NAME_MAX + 16];
	int rc;

	snprintf(file, sizeof(file), "%s" SUFFIX, self->host);
	if (!vmj_name_valid(self->host) || !host_of(file, host))
		return vmj_fail(
			err, EINVAL,
			"storage %s: this host's name is \"%s\", under which it cannot be "
			"registered: use letters, digits, '.', '_' and '-', at most %d, and "
			"no " DEAD " at the end",
			domain, vmj_quote(self->host, host, sizeof(host)), VMJ_NAME_MAX);
	pthread_mutex_lock(&lock);
	s = find_standing(domain, true);
	pthread_mutex_unlock(&lock);
	if (!s)
		return vmj_fail(err, ENOMEM, "storage %s: out of memory", domain);
	pthread_mutex_lock(&s->writing);
	rc = renew(domain, self, s, err);
	pthread_mutex_unlock(&s->writing);
	return rc;
}

/* --- reading --------------------------------------------------------------------------------- */

/* Now, by the storage's clock, in ms. */
static int storage_now(int hosts, int64_t *ret)
{
	char name[] = ".now-0000000000";
	vmj_autoclose int fd = -1;
	struct stat st;

	snprintf(name, sizeof(name), ".now-%d", (int)gettid());
	fd = openat(hosts, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	/* Written, since the times of an empty file may be the client's own. */
	if (vmj_write_full(fd, "now", 3) < 0 || fsync(fd) < 0 || fstat(fd, &st) < 0) {
		int rc = -errno;

		unlinkat(hosts, name, 0);
		return rc;
	}
	unlinkat(hosts, name, 0);
	*ret = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
	return 0;
}

/* The record with its age and death. -ENOENT: err untouched. */
static int load_whole(int hosts, const char *host, int64_t now, struct vmj_host_record *ret,
		      struct vmj_error *err)
{
	char name[VMJ_NAME_MAX + 16];
	struct vmj_host_record r;
	struct vmj_death d;
	struct stat st;
	int rc = vmj_host_load(hosts, host, &r, err);

	if (rc < 0)
		return rc;
	snprintf(name, sizeof(name), "%s" SUFFIX, host);
	if (fstatat(hosts, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		r.age_ms = now - (int64_t)st.st_mtim.tv_sec * 1000 - st.st_mtim.tv_nsec / 1000000;
	r.age_ms = r.age_ms > 0 ? r.age_ms : 0;
	r.fresh = r.age_ms < (int64_t)VMJ_HOST_FRESH_TIMES * r.interval_ms;
	rc = vmj_death_load(hosts, host, &d, err);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	if (rc == 0 && vmj_death_covers(&d, r.lease.boot)) {
		r.dead = true;
		r.dead_time = d.time;
		memcpy(r.dead_by, d.by, sizeof(r.dead_by));
	}
	*ret = r;
	return 0;
}

static int open_hosts(const char *domain, int64_t *ret_now, struct vmj_error *err)
{
	vmj_autoclose int hosts = vmj_leases_open(domain, "hosts", err);
	int rc = hosts < 0 ? hosts : storage_now(hosts, ret_now);

	if (hosts >= 0 && rc < 0)
		return vmj_fail(err, -rc, "storage %s: cannot write to its hosts directory: %s",
				domain, vmj_strerror(rc));
	return rc < 0 ? rc : vmj_steal_fd(hosts);
}

static int fail_unknown(const char *domain, const char *host, struct vmj_error *err)
{
	char q[80];

	return vmj_fail_user(err, ENOENT,
			     "host \"%s\" has never registered in storage %s: `vmjob storage "
			     "show` lists those that have",
			     vmj_quote(host, q, sizeof(q)), domain);
}

int vmj_host_read(const char *domain, const char *host, struct vmj_host_record *ret,
		  struct vmj_error *err)
{
	vmj_autoclose int hosts = -1;
	int64_t now;
	int rc = vmj_parse_name("host", host, err);

	if (rc < 0)
		return rc;
	hosts = open_hosts(domain, &now, err);
	if (hosts < 0)
		return hosts;
	rc = load_whole(hosts, host, now, ret, err);
	return rc == -ENOENT ? fail_unknown(domain, host, err) : rc;
}

static int by_name(const void *a, const void *b)
{
	const struct vmj_host_record *l = a, *r = b;

	return strverscmp(l->host, r->host);
}

/* One more record; one that cannot be read is counted in *bad, one that is gone is not. */
static int add_host(int hosts, const char *host, int64_t now, struct vmj_host_record **list,
		    size_t *n, unsigned int *bad)
{
	struct vmj_host_record r, *more;
	int rc = load_whole(hosts, host, now, &r, NULL);

	*bad += rc < 0 && rc != -ENOENT;
	if (rc < 0)
		return 0;
	more = realloc(*list, (*n + 1) * sizeof(**list));
	if (!more)
		return -ENOMEM;
	*list = more;
	more[(*n)++] = r;
	return 0;
}

int vmj_host_list(const char *domain, struct vmj_host_record **ret, size_t *ret_n,
		  unsigned int *ret_bad, struct vmj_error *err)
{
	vmj_autofree struct vmj_host_record *list = NULL;
	vmj_autofree char *names = NULL;
	vmj_autoclose int hosts = -1;
	unsigned int bad = 0;
	size_t n = 0, len = 0;
	int64_t now;
	int rc;

	hosts = open_hosts(domain, &now, err);
	if (hosts < 0)
		return hosts;
	rc = vmj_dir_names(hosts, &names, &len);
	for (const char *name = names; rc == 0 && n < HOSTS_MAX && name < names + len;
	     name += strlen(name) + 1) {
		char host[VMJ_NAME_MAX + 1];

		if (host_of(name, host))
			rc = add_host(hosts, host, now, &list, &n, &bad);
	}
	if (rc < 0)
		return vmj_fail(err, -rc, "storage %s: cannot list its hosts: %s", domain,
				vmj_strerror(rc));
	if (n)
		qsort(list, n, sizeof(*list), by_name);
	*ret = vmj_steal(list);
	*ret_n = n;
	if (ret_bad)
		*ret_bad = bad;
	return 0;
}
