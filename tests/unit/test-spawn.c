/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

#include "vmjob/base/spawn.h"

#define shell(script) ((const char *const[]){"sh", "-c", script, NULL})

static void output_is_returned(void **state)
{
	vmj_autofree char *out = NULL;
	struct vmj_error err;
	struct vmj_spawn s = {.argv = shell("echo one; echo two"), .ret_output = &out};

	assert_done(vmj_spawn(&s, &err), err);
	assert_string_equal(out, "one\ntwo\n");
}

static void silence_is_an_empty_string(void **state)
{
	vmj_autofree char *out = NULL;
	struct vmj_error err;
	struct vmj_spawn s = {.argv = shell(":"), .ret_output = &out};

	assert_done(vmj_spawn(&s, &err), err);
	assert_string_equal(out, "");
}

static void input_arrives(void **state)
{
	vmj_autofree char *out = NULL;
	vmj_autofree char *big = calloc(1, 1000001);
	struct vmj_error err;
	struct vmj_spawn s = {.argv = shell("wc -c"), .input = big, .ret_output = &out};

	memset(big, 'x', 1000000);
	assert_done(vmj_spawn(&s, &err), err);
	assert_int_equal(atoi(out), 1000000);
}

static void unread_input_is_no_error(void **state)
{
	vmj_autofree char *big = calloc(1, 1000001);
	struct vmj_error err;
	struct vmj_spawn s = {.argv = shell(":"), .input = big};

	memset(big, 'x', 1000000);
	assert_done(vmj_spawn(&s, &err), err);
}

static void without_input_there_is_none(void **state)
{
	vmj_autofree char *out = NULL;
	struct vmj_error err;
	struct vmj_spawn s = {.argv = shell("wc -c"), .ret_output = &out};

	assert_done(vmj_spawn(&s, &err), err);
	assert_int_equal(atoi(out), 0);
}

static void arguments_go_through_no_shell(void **state)
{
	vmj_autofree char *out = NULL;
	struct vmj_error err;
	const char *argv[] = {"printf", "%s", "$(id); `x` 'y' \"z\" *", NULL};
	struct vmj_spawn s = {.argv = argv, .ret_output = &out};

	assert_done(vmj_spawn(&s, &err), err);
	assert_string_equal(out, argv[2]);
}

static void failure_quotes_the_last_line(void **state)
{
	struct vmj_error err;
	struct vmj_spawn s = {.argv = shell("echo first >&2; echo the last >&2; echo >&2; exit 3")};
	int rc = vmj_spawn(&s, &err);

	assert_refused(rc, err, EIO, "sh exited with 3: the last");
	assert_int_equal(err.fault, VMJ_FAULT_HOST);
}

static void failure_after_much_noise_quotes_the_last_line(void **state)
{
	struct vmj_error err;
	struct vmj_spawn s = {
		.argv = shell("i=0; while [ $i -lt 3000 ]; do echo noise $i; i=$((i+1)); done >&2; "
			      "echo the end >&2; exit 1")};

	assert_refused(vmj_spawn(&s, &err), err, EIO, "exited with 1: the end");
}

static void a_signal_is_named(void **state)
{
	struct vmj_error err;
	struct vmj_spawn s = {.argv = shell("kill -9 $$")};

	assert_refused(vmj_spawn(&s, &err), err, EIO, "signal 9");
}

static void a_missing_program_is_named(void **state)
{
	struct vmj_error err;
	const char *argv[] = {"vmjob-no-such-program", NULL};
	struct vmj_spawn s = {.argv = argv};

	assert_refused(vmj_spawn(&s, &err), err, ENOENT, "vmjob-no-such-program");
}

static void it_is_killed_when_late(void **state)
{
	struct vmj_error err;
	struct vmj_spawn s = {.argv = shell("sleep 600 & sleep 600"), .timeout_ms = 200};
	struct timespec a, b;

	clock_gettime(CLOCK_MONOTONIC, &a);
	assert_refused(vmj_spawn(&s, &err), err, ETIMEDOUT, "200 ms");
	clock_gettime(CLOCK_MONOTONIC, &b);
	assert_true(b.tv_sec - a.tv_sec < 10);
}

static void a_grandchild_does_not_hold_us_up(void **state)
{
	vmj_autofree char *out = NULL;
	struct vmj_error err;
	struct vmj_spawn s = {.argv = shell("sleep 600 & echo done"), .ret_output = &out};

	assert_done(vmj_spawn(&s, &err), err);
	assert_string_equal(out, "done\n");
}

static void endless_output_is_refused(void **state)
{
	char *out = NULL;
	struct vmj_error err;
	struct vmj_spawn s = {.argv = shell("yes"), .ret_output = &out};

	assert_refused(vmj_spawn(&s, &err), err, EFBIG, "bytes");
	assert_null(out);
}

static void large_output_fits(void **state)
{
	vmj_autofree char *out = NULL;
	struct vmj_error err;
	struct vmj_spawn s = {.argv = shell("head -c 4194304 /dev/zero | tr '\\0' x"),
			      .ret_output = &out};

	assert_done(vmj_spawn(&s, &err), err);
	assert_int_equal(strlen(out), VMJ_SPAWN_OUTPUT_MAX);
}

/* Signals 32 and 33 are the C library's own: its posix_spawn(), which make uses, leaves them
 * ignored.
 */
static void only_three_descriptors_and_a_clean_mask(void **state)
{
	vmj_autofree char *out = NULL;
	struct vmj_error err;
	struct vmj_spawn s = {
		.argv = shell("ls /proc/self/fd | wc -l; "
			      "grep -c -E 'Sig(Blk|Ign):.0{7}[01][08]0{7}$' /proc/self/status"),
		.ret_output = &out};
	sigset_t set, before;
	int leak = dup(1); /* not close-on-exec */

	sigfillset(&set);
	sigprocmask(SIG_BLOCK, &set, &before);
	signal(SIGPIPE, SIG_IGN);
	assert_done(vmj_spawn(&s, &err), err);
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, &before, NULL);
	vmj_close(leak);
	assert_string_equal(out, "4\n2\n"); /* ls has its directory open */
}

static void the_path_is_fixed(void **state)
{
	vmj_autofree char *out = NULL;
	struct vmj_error err;
	struct vmj_spawn s = {.argv = shell("echo $PATH $VMJ_KEPT"), .ret_output = &out};
	vmj_autofree char *before = strdup(getenv("PATH"));

	setenv("PATH", "/evil", 1);
	setenv("VMJ_KEPT", "kept", 1);
	assert_done(vmj_spawn(&s, &err), err);
	setenv("PATH", before, 1);
	assert_string_equal(out, "/usr/sbin:/usr/bin:/sbin:/bin kept\n");
}

static void it_runs_as_the_user(void **state)
{
	vmj_autofree char *out = NULL;
	struct vmj_error err;
	struct vmj_spawn s = {.argv = shell("id -u; id -g; id -G"),
			      .ret_output = &out,
			      .uid = 65534,
			      .gid = 65533};

	if (geteuid() != 0)
		skip();
	assert_done(vmj_spawn(&s, &err), err);
	assert_string_equal(out, "65534\n65533\n65533\n");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(output_is_returned),
		cmocka_unit_test(silence_is_an_empty_string),
		cmocka_unit_test(input_arrives),
		cmocka_unit_test(unread_input_is_no_error),
		cmocka_unit_test(without_input_there_is_none),
		cmocka_unit_test(arguments_go_through_no_shell),
		cmocka_unit_test(failure_quotes_the_last_line),
		cmocka_unit_test(failure_after_much_noise_quotes_the_last_line),
		cmocka_unit_test(a_signal_is_named),
		cmocka_unit_test(a_missing_program_is_named),
		cmocka_unit_test(it_is_killed_when_late),
		cmocka_unit_test(a_grandchild_does_not_hold_us_up),
		cmocka_unit_test(endless_output_is_refused),
		cmocka_unit_test(large_output_fits),
		cmocka_unit_test(only_three_descriptors_and_a_clean_mask),
		cmocka_unit_test(the_path_is_fixed),
		cmocka_unit_test(it_runs_as_the_user),
	};

	return cmocka_run_group_tests_name("spawn", tests, NULL, NULL);
}
