/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whoever writes a domain's volumes when this host's time there is over ends, agent or not. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmjob/agent/guard.h"
#include "vmjob/storage/hosts.h"

static char path[256], domain[256];

/* *state: a directory with guard's page and a domain of which only what matters is there. */
static int make_dir(void **state)
{
	char sub[512];

	if (unit_make_dir(state) < 0)
		return -1;
	snprintf(path, sizeof(path), "%s/guard", (char *)*state);
	snprintf(domain, sizeof(domain), "%s/d", (char *)*state);
	snprintf(sub, sizeof(sub), "%s/volumes/1000/data", domain);
	return vmj_mkdir_p(sub, 0755, NULL);
}

/* A process that has a file open, and waits. */
static pid_t opener(const char *dir, int flags)
{
	char file[512];
	int ready[2];
	pid_t pid;
	char c;

	snprintf(file, sizeof(file), "%s/layer-1.qcow2", dir);
	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (open(file, flags | O_CREAT, 0600) < 0 || write(ready[1], "r", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

static pid_t volume_opener(int flags)
{
	char dir[512];

	snprintf(dir, sizeof(dir), "%s/volumes/1000/data", domain);
	return opener(dir, flags);
}

static void assert_killed(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void assert_lives(pid_t pid)
{
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	kill(pid, SIGTERM);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void only_writers_of_volumes_are_killed(void **state)
{
	pid_t writer = volume_opener(O_RDWR), reader = volume_opener(O_RDONLY);
	pid_t elsewhere = opener(*state, O_RDWR);

	assert_int_equal(vmj_guard_kill(domain), 1);
	assert_killed(writer);
	assert_lives(reader);
	assert_lives(elsewhere);
}

static void the_guard_outlives_the_agent(void **state)
{
	struct vmj_error err = {.code = 0};
	struct vmj_guard *g;
	pid_t writer = volume_opener(O_WRONLY), agent;
	int64_t begun = vmj_boottime_ms();

	agent = fork();
	if (agent == 0) {
		if (vmj_guard_new(path, "boot-1", &g, &err) < 0 ||
		    vmj_guard_promise(g, domain, 600, &err) < 0)
			_exit(1);
		kill(getpid(), SIGKILL);
	}
	assert_killed(agent);
	assert_killed(writer);
	assert_in_range(vmj_boottime_ms() - begun, 600, 5000);
	/* The next agent has the same guard, which ends with the promise. */
	assert_done(vmj_guard_new(path, "boot-1", &g, &err), err);
	vmj_guard_renew(g, domain, 0);
	vmj_guard_free(g);
}

static void a_promise_that_is_renewed_kills_nobody(void **state)
{
	struct vmj_error err = {.code = 0};
	struct vmj_guard *g;
	pid_t writer = volume_opener(O_WRONLY);

	assert_done(vmj_guard_new(path, "boot-1", &g, &err), err);
	assert_done(vmj_guard_promise(g, domain, 500, &err), err);
	for (unsigned int i = 0; i < 8; i++) {
		poll(NULL, 0, 200);
		assert_done(vmj_guard_promise(g, domain, 500, &err), err);
		vmj_guard_renew(g, domain, vmj_boottime_ms() + 500);
	}
	vmj_guard_renew(g, domain, 0);
	poll(NULL, 0, 600);
	assert_lives(writer);
	vmj_guard_free(g);
	/* Of another boot: nothing of it counts. */
	assert_done(vmj_guard_new(path, "boot-2", &g, &err), err);
	vmj_guard_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(only_writers_of_volumes_are_killed, make_dir,
						unit_remove_dir),
		cmocka_unit_test_setup_teardown(the_guard_outlives_the_agent, make_dir,
						unit_remove_dir),
		cmocka_unit_test_setup_teardown(a_promise_that_is_renewed_kills_nobody, make_dir,
						unit_remove_dir),
	};

	return cmocka_run_group_tests_name("guard", tests, NULL, NULL);
}
