/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Leases and hosts on real files. Each host is a process of its own: what a process knows of itself
 * goes with it. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "vmjob/storage/hosts_private.h"
#include "vmjob/storage/layout.h"
#include "vmjob/storage/lease.h"
#include "vmjob/storage/lease_files.h"

#define UID    1000
#define VOLUME "data"
#define RACERS 8
#define TAKES  1000
#define KILLS  60

/* *state: a domain. */
static int make_domain(void **state)
{
	struct vmj_error err = {.code = 0};

	if (unit_make_dir(state) < 0)
		return -1;
	assert_done(vmj_storage_format(*state, "test", &err), err);
	return 0;
}

/* --- hosts as processes ---------------------------------------------------------------------- */

struct actor {
	const char *domain, *host, *boot, *agent;
	bool guest, force;
	uint32_t job, stop_after_ms;
	const char *other; /* host to be confirmed dead */
};

struct result {
	int rc;
	uint32_t epoch;
	struct vmj_error err;
};

static struct vmj_lease_who who_of(const struct actor *a)
{
	return (struct vmj_lease_who){a->host, a->boot, a->agent, a->guest, a->job};
}

typedef void (*act_fn)(const struct actor *a, struct result *r);

/* fn in a process of its own, which has ended then. */
static struct result act(const struct actor *a, act_fn fn)
{
	struct result r = {.rc = -ECHILD};
	int pipefd[2], status;
	pid_t pid;

	assert_int_equal(pipe(pipefd), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		fn(a, &r);
		_exit(write(pipefd[1], &r, sizeof(r)) != sizeof(r));
	}
	close(pipefd[1]);
	assert_int_equal(vmj_read_full(pipefd[0], &r, sizeof(r)), sizeof(r));
	close(pipefd[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	return r;
}

static void renew(const struct actor *a, struct result *r)
{
	const struct vmj_host_self self = {.host = a->host,
					   .boot = a->boot,
					   .agent = a->agent,
					   .interval_ms = 1000,
					   .stop_after_ms = a->stop_after_ms};

	r->rc = vmj_host_renew(a->domain, &self, &r->err);
}

static void take(const struct actor *a, struct result *r)
{
	struct vmj_lease_who who = who_of(a);

	if (a->stop_after_ms)
		renew(a, r);
	r->rc = vmj_lease_take(a->domain, UID, VOLUME, &who, &r->epoch, &r->err);
}

static void release(const struct actor *a, struct result *r)
{
	struct vmj_lease_who who = who_of(a);

	r->rc = vmj_lease_release(a->domain, UID, VOLUME, &who, &r->err);
}

static void take_and_drop(const struct actor *a, struct result *r)
{
	struct vmj_lease_who who = who_of(a);

	take(a, r);
	if (r->rc == 0)
		r->rc = vmj_lease_drop(a->domain, UID, VOLUME, &who, &r->err);
}

static void confirm(const struct actor *a, struct result *r)
{
	r->rc = vmj_host_confirm_dead(a->domain, a->other, "", "anna", a->force, &r->err);
}

static const struct actor n1 = {
	.host = "n1", .boot = "boot-1", .agent = "agent-1", .guest = true, .job = 41};
static const struct actor n2 = {
	.host = "n2", .boot = "boot-2", .agent = "agent-2", .guest = true, .job = 42};

/* A copy in the domain of this test. */
static struct actor in(void **state, const struct actor *a)
{
	struct actor copy = *a;

	copy.domain = *state;
	return copy;
}

static struct vmj_lease shown(void **state)
{
	struct vmj_error err = {.code = 0};
	struct vmj_lease l;

	assert_done(vmj_lease_show(*state, UID, VOLUME, &l, &err), err);
	return l;
}

/* --- one lease ------------------------------------------------------------------------------- */

static void test_take(void **state)
{
	struct actor a = in(state, &n1), b = in(state, &n2);
	struct vmj_lease l = shown(state);
	struct result r;

	assert_int_equal(l.epoch, 0);
	assert_false(l.held);
	r = act(&a, take);
	assert_done(r.rc, r.err);
	assert_int_equal(r.epoch, 1);
	l = shown(state);
	assert_true(l.held && l.guest && !l.over);
	assert_string_equal(l.host, "n1");
	assert_int_equal(l.job, 41);
	r = act(&b, take);
	assert_user_refused(r.rc, r.err, EBUSY, "volume \"data\" is in use by job 41 on n1 since ");
	assert_non_null(strstr(r.err.text, ": end that job first"));
	/* Another's release changes nothing. */
	r = act(&b, release);
	assert_done(r.rc, r.err);
	assert_true(shown(state).held);
	r = act(&a, release);
	assert_done(r.rc, r.err);
	assert_false(shown(state).held);
	r = act(&b, take);
	assert_done(r.rc, r.err);
	assert_int_equal(r.epoch, 2);
}

/* The guest goes on under the agent's next start; another job of the same host is refused. */
static void test_same_host(void **state)
{
	struct actor a = in(state, &n1);
	struct result r = act(&a, take);

	assert_done(r.rc, r.err);
	a.agent = "agent-1b";
	r = act(&a, take);
	assert_done(r.rc, r.err);
	a.job = 43;
	r = act(&a, take);
	assert_user_refused(r.rc, r.err, EBUSY, "in use by job 41 on n1");
	a.guest = false;
	r = act(&a, take);
	assert_user_refused(r.rc, r.err, EBUSY, "in use by job 41 on n1");
	a = in(state, &n1);
	a.boot = "boot-1b";
	a.job = 44;
	r = act(&a, take);
	assert_done(r.rc, r.err);
}

static void take_twice(const struct actor *a, struct result *r)
{
	struct vmj_lease_who who = who_of(a);
	uint32_t first;

	r->rc = vmj_lease_take(a->domain, UID, VOLUME, &who, &first, &r->err);
	if (r->rc == 0)
		r->rc = vmj_lease_take(a->domain, UID, VOLUME, &who, &r->epoch, &r->err);
	if (r->rc == 0 && r->epoch != first)
		r->rc = -EINVAL;
}

static void test_same_holder(void **state)
{
	struct actor a = in(state, &n1);
	struct result r = act(&a, take_twice);

	assert_done(r.rc, r.err);
	r = act(&a, release);
	a.guest = false;
	r = act(&a, take_twice);
	assert_user_refused(r.rc, r.err, EBUSY, "is being worked on by this host");
}

static void test_left_work(void **state)
{
	struct actor a = in(state, &n1), b = in(state, &n2);
	struct result r;

	a.guest = false;
	a.job = 0;
	r = act(&a, take);
	assert_done(r.rc, r.err);
	r = act(&b, take);
	assert_user_refused(r.rc, r.err, EBUSY, "in use by work on n1 since");
	a.agent = "agent-1b";
	r = act(&a, take);
	assert_done(r.rc, r.err);
	assert_int_equal(r.epoch, 2);
}

/* --- holders that are gone ------------------------------------------------------------------- */

static void test_restarted(void **state)
{
	struct actor a = in(state, &n1), b = in(state, &n2);
	struct result r = act(&a, take);

	assert_done(r.rc, r.err);
	a.boot = "boot-1b";
	r = act(&a, renew);
	assert_done(r.rc, r.err);
	assert_true(shown(state).over);
	r = act(&b, take);
	assert_done(r.rc, r.err);
	assert_int_equal(r.epoch, 2);
}

/* The record seems to have been renewed long ago. */
static void make_old(void **state, const char *host)
{
	struct timespec times[2] = {{.tv_sec = time(NULL) - 600}, {.tv_sec = time(NULL) - 600}};
	char path[256];

	snprintf(path, sizeof(path), "%s/hosts/%s.json", (char *)*state, host);
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void test_confirmed_dead(void **state)
{
	struct actor a = in(state, &n1), b = in(state, &n2);
	struct result r = act(&a, take);

	b.other = "n1";
	assert_done(r.rc, r.err);
	r = act(&b, confirm);
	assert_user_refused(r.rc, r.err, EBUSY, "so it lives");
	make_old(state, "n1");
	r = act(&b, take);
	assert_user_refused(r.rc, r.err, EBUSY, "`vmjob host confirm-dead n1`");
	r = act(&b, confirm);
	assert_done(r.rc, r.err);
	r = act(&b, take);
	assert_done(r.rc, r.err);
	/* It was not dead: it must not go on. */
	r = act(&a, take);
	assert_refused(r.rc, r.err, EOWNERDEAD, "was confirmed dead by anna");
	r = act(&a, renew);
	assert_refused(r.rc, r.err, EOWNERDEAD, "must be started anew");
	/* But another boot of it may. */
	r = act(&b, release);
	a.boot = "boot-1b";
	r = act(&a, take);
	assert_done(r.rc, r.err);
}

static void test_confirm_by_force(void **state)
{
	struct actor a = in(state, &n1), b = in(state, &n2);
	struct result r = act(&a, take);

	assert_done(r.rc, r.err);
	b.other = "n1";
	b.force = true;
	r = act(&b, confirm);
	assert_done(r.rc, r.err);
	r = act(&b, take);
	assert_done(r.rc, r.err);
	b.other = "n9";
	r = act(&b, confirm);
	assert_user_refused(r.rc, r.err, ENOENT, "\"n9\" has never registered");
}

/* As if it had been watched since so long. */
static void take_after_watching(const struct actor *a, struct result *r)
{
	struct vmj_lease_seen seen;

	take(a, r);
	if (r->rc != -EBUSY || !strstr(r->err.text, "s if it stays so"))
		return;
	vmj_host_seen_get(a->domain, a->other, &seen);
	seen.since_ms -= 60000 + VMJ_STOP_MARGIN_MS(60000) - 500;
	vmj_host_seen_put(a->domain, a->other, &seen);
	take(a, r);
	if (r->rc != -EBUSY)
		return;
	seen.since_ms -= 500;
	vmj_host_seen_put(a->domain, a->other, &seen);
	take(a, r);
}

static void test_promise(void **state)
{
	struct actor a = in(state, &n1), b = in(state, &n2);
	struct result r;

	a.stop_after_ms = 60000;
	r = act(&a, take);
	assert_done(r.rc, r.err);
	make_old(state, "n1");
	b.other = "n1";
	r = act(&b, take_after_watching);
	assert_done(r.rc, r.err);
	assert_int_equal(r.epoch, 2);
}

static void take_late(const struct actor *a, struct result *r)
{
	struct vmj_lease_who who = who_of(a);

	renew(a, r);
	while (vmj_boottime_ms() < vmj_host_hold_until_ms(a->domain))
		usleep(1000);
	r->rc = vmj_lease_take(a->domain, UID, VOLUME, &who, &r->epoch, &r->err);
}

static void test_own_promise(void **state)
{
	struct actor a = in(state, &n1), b = in(state, &n2);
	struct result r;

	a.stop_after_ms = 20;
	r = act(&a, take_late);
	assert_refused(r.rc, r.err, EOWNERDEAD, "it could not renew its record in time");
	r = act(&b, take);
	assert_done(r.rc, r.err);
}

/* --- the rest -------------------------------------------------------------------------------- */

static void test_drop(void **state)
{
	struct actor a = in(state, &n1), b = in(state, &n2);
	struct result r;
	char path[256];

	a.guest = false;
	for (unsigned int i = 1; i < 12; i++) {
		r = act(&a, take);
		assert_done(r.rc, r.err);
		assert_int_equal(r.epoch, i);
		a.agent = i % 2 ? "agent-1b" : "agent-1";
	}
	snprintf(path, sizeof(path), "%s/leases/%d." VOLUME "/0000000003.json", (char *)*state,
		 UID);
	assert_int_equal(access(path, F_OK), -1); /* the last eight are kept: 4 to 11 */
	path[strlen(path) - 6] = '4';
	assert_int_equal(access(path, F_OK), 0);
	r = act(&a, take_and_drop);
	assert_done(r.rc, r.err);
	assert_int_equal(access(path, F_OK), -1);
	assert_false(shown(state).held);
	r = act(&b, take);
	assert_done(r.rc, r.err);
	assert_int_equal(r.epoch, 13);
}

static void test_mine(void **state)
{
	struct actor a = in(state, &n1);
	struct vmj_lease_who who = who_of(&a);
	struct vmj_error err = {.code = 0};
	vmj_autofree struct vmj_lease_own *own = NULL;
	struct result r = act(&a, take);
	size_t n;

	assert_done(r.rc, r.err);
	assert_done(vmj_lease_mine(*state, &who, &own, &n, &err), err);
	assert_int_equal(n, 1);
	assert_int_equal(own[0].uid, UID);
	assert_string_equal(own[0].volume, VOLUME);
	assert_int_equal(own[0].lease.job, 41);
	assert_int_equal(own[0].lease.state, VMJ_LEASE_MINE);
	free(vmj_steal(own));
	who.boot = "boot-1b";
	assert_done(vmj_lease_mine(*state, &who, &own, &n, &err), err);
	assert_int_equal(n, 1);
	assert_int_equal(own[0].lease.state, VMJ_LEASE_LEFT);
	free(vmj_steal(own));
	who.host = "n2";
	assert_done(vmj_lease_mine(*state, &who, &own, &n, &err), err);
	assert_int_equal(n, 0);
}

static void test_hosts(void **state)
{
	struct actor a = in(state, &n1), b = in(state, &n2);
	struct vmj_host_record h;
	vmj_autofree struct vmj_host_record *list = NULL;
	struct vmj_error err = {.code = 0};
	uint64_t generation;
	unsigned int bad;
	size_t n;

	assert_int_equal(act(&b, renew).rc, 0);
	assert_int_equal(act(&a, renew).rc, 0);
	assert_done(vmj_host_read(*state, "n1", &h, &err), err);
	assert_int_equal(h.lease.seq, 1);
	assert_true(h.fresh && !h.dead && h.size_bytes > 0 && h.free_bytes <= h.size_bytes);
	generation = h.lease.generation;
	a.agent = "agent-1b";
	assert_int_equal(act(&a, renew).rc, 0);
	assert_done(vmj_host_read(*state, "n1", &h, &err), err);
	assert_int_equal(h.lease.seq, 2);
	assert_int_equal(h.lease.generation, generation);
	a.boot = "boot-1b";
	assert_int_equal(act(&a, renew).rc, 0);
	assert_done(vmj_host_read(*state, "n1", &h, &err), err);
	assert_int_equal(h.lease.seq, 3);
	assert_int_equal(h.lease.generation, generation + 1);
	make_old(state, "n1");
	assert_done(vmj_host_list(*state, &list, &n, &bad, &err), err);
	assert_int_equal(n, 2);
	assert_int_equal(bad, 0);
	assert_string_equal(list[0].host, "n1");
	assert_false(list[0].fresh);
	assert_in_range(list[0].age_ms, 599000, 700000);
	assert_true(list[1].fresh);
	a.host = "n1.dead";
	assert_int_equal(act(&a, renew).rc, -EINVAL);
	assert_user_refused(vmj_host_read(*state, "../n1", &h, &err), err, EINVAL, "host");
}

static void test_damage(void **state)
{
	static const char *const texts[] = {"", "{}", "{\"format\": \"vmjob-lease\"}",
					    "{\"format\": \"other\", \"version\": 1}"};
	struct actor a = in(state, &n1);
	struct vmj_error err = {.code = 0};
	struct vmj_lease l;
	struct result r = act(&a, take);
	char path[256];

	assert_done(r.rc, r.err);
	snprintf(path, sizeof(path), "%s/leases/%d." VOLUME "/0000000001.json", (char *)*state,
		 UID);
	for (unsigned int i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		assert_done(vmj_file_write_atomic(-1, path, texts[i], strlen(texts[i]), 0600, &err),
			    err);
		assert_refused(vmj_lease_show(*state, UID, VOLUME, &l, &err), err, EINVAL,
			       "lease 1000.data/0000000001.json is damaged");
		r = act(&a, take);
		assert_int_equal(r.rc, -EINVAL);
	}
	assert_user_refused(vmj_lease_show(*state, UID, "../x", &l, &err), err, EINVAL, "volume");
	snprintf(path, sizeof(path), "%s/leases", (char *)*state);
	assert_int_equal(vmj_remove_tree(-1, path, NULL), 0);
	assert_refused(vmj_lease_show(*state, UID, VOLUME, &l, &err), err, ENOENT,
		       "has no leases directory");
}

/* --- races ----------------------------------------------------------------------------------- */

/* While it is held: a file that nobody else may have made. -EEXIST: somebody has. */
static int hold(int dir)
{
	vmj_autoclose int fd = openat(dir, "held", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	return unlinkat(dir, "held", 0) < 0 ? -errno : 0;
}

/* Returns how often it got it; -1: two had it. */
static int race(const char *domain, const struct vmj_lease_who *who, unsigned int takes)
{
	vmj_autoclose int dir = open(domain, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct vmj_error err;
	int got = 0;

	for (unsigned int i = 0; i < takes; i++) {
		uint32_t epoch;
		int rc = vmj_lease_take(domain, UID, VOLUME, who, &epoch, &err);

		if (rc == -EBUSY)
			continue;
		if (rc < 0 || hold(dir) < 0 ||
		    vmj_lease_release(domain, UID, VOLUME, who, &err) < 0)
			return -1;
		got++;
	}
	return got;
}

static void racer(const struct actor *a, struct result *r)
{
	struct vmj_lease_who who = who_of(a);

	r->rc = race(a->domain, &who, TAKES);
}

static void test_race(void **state)
{
	pid_t pids[RACERS];
	int got = 0;

	for (unsigned int i = 0; i < RACERS; i++) {
		char host[8];
		struct actor a = in(state, &n1);
		struct result r;

		snprintf(host, sizeof(host), "n%u", i);
		a.host = host;
		a.guest = i % 2;
		pids[i] = fork();
		if (pids[i] == 0) {
			racer(&a, &r);
			_exit(r.rc < 0 ? 255 : r.rc > 0);
		}
	}
	for (unsigned int i = 0; i < RACERS; i++) {
		int status;

		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 255);
		got += WEXITSTATUS(status);
	}
	assert_true(got > 0);
	assert_true(shown(state).epoch > 100);
}

/* One host's agent is killed again and again amid its work; each next one goes on, and another host
 * never gets in while it has it. */
static void test_kill(void **state)
{
	uint64_t seed = 7;

	for (unsigned int i = 0; i < KILLS; i++) {
		char agent[16], held[256];
		struct actor a = in(state, &n1), b = in(state, &n2);
		struct result r;
		int status;
		pid_t pid;

		snprintf(agent, sizeof(agent), "agent-%u", i);
		a.agent = agent;
		a.guest = false;
		pid = fork();
		if (pid == 0) {
			racer(&a, &r);
			_exit(r.rc < 0);
		}
		usleep((useconds_t)(unit_random(&seed) % 8000));
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
		b.guest = false;
		r = act(&b, take);
		assert_true(r.rc == 0 || r.rc == -EBUSY);
		if (r.rc == 0)
			r = act(&b, release);
		/* Killed in between, it may have left the mark of a holder. */
		snprintf(held, sizeof(held), "%s/held", (char *)*state);
		unlink(held);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, make_domain, unit_remove_dir)
		TEST(take),
		TEST(same_host),
		TEST(same_holder),
		TEST(left_work),
		TEST(restarted),
		TEST(confirmed_dead),
		TEST(confirm_by_force),
		TEST(promise),
		TEST(own_promise),
		TEST(drop),
		TEST(mine),
		TEST(hosts),
		TEST(damage),
		TEST(race),
		TEST(kill),
	};

	return cmocka_run_group_tests_name("lease", tests, NULL, NULL);
}
