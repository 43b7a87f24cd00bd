/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a signal to vmjob-step means, and its exit codes. */
#include <signal.h>

#include "tests/unit/unit.h"
#include "vmjob/step/outcome.h"

#define STOP VMJ_DEED_STOP
#define FWD  VMJ_DEED_FORWARD

static void test_signals(void **state)
{
	static const struct {
		int signo;
		unsigned int with_script, without;
	} cases[] = {
		{SIGTERM, STOP | FWD, STOP},
		{SIGTSTP, VMJ_DEED_SUSPEND, VMJ_DEED_SUSPEND},
		{SIGCONT, VMJ_DEED_RESUME, VMJ_DEED_RESUME},
		{SIGUSR1, FWD, STOP},
		{SIGINT, FWD, STOP},
		{SIGQUIT, FWD, STOP},
		{SIGHUP, FWD, VMJ_DEED_NONE},
		{SIGUSR2, FWD, VMJ_DEED_NONE},
		{SIGWINCH, VMJ_DEED_NONE, VMJ_DEED_NONE},
		{SIGKILL, VMJ_DEED_NONE, VMJ_DEED_NONE},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(vmj_signal_deeds(cases[i].signo, true), cases[i].with_script);
		assert_int_equal(vmj_signal_deeds(cases[i].signo, false), cases[i].without);
	}
}

/* Every signal that means something is watched, and the other way round. */
static void test_watched_signals(void **state)
{
	for (int signo = 1; signo < SIGRTMIN; signo++) {
		bool watched = false;

		for (const int *p = vmj_step_signals; *p; p++)
			watched |= *p == signo;
		assert_int_equal(watched, vmj_signal_deeds(signo, true) != VMJ_DEED_NONE);
	}
}

static int exited(int code)
{
	return code << 8;
}

static void test_status(void **state)
{
	assert_int_equal(vmj_status_exit_code(exited(0)), 0);
	assert_int_equal(vmj_status_exit_code(exited(3)), 3);
	assert_int_equal(vmj_status_exit_code(exited(255)), 255);
	assert_int_equal(vmj_status_exit_code(SIGKILL), 137);
	assert_int_equal(vmj_status_exit_code(SIGTERM), 143);
	assert_int_equal(vmj_status_exit_code(SIGSEGV | 0x80), 139); /* with a core */
}

static void test_exit_code(void **state)
{
	static const struct {
		struct vmj_outcome o;
		int code;
	} cases[] = {
		{{.end = VMJ_END_POWEROFF}, 0},
		{{.end = VMJ_END_PANIC}, 70},
		{{.end = VMJ_END_KILLED}, 71},
		{{.end = VMJ_END_DESTROYED}, 72},
		{{.end = VMJ_END_RELEASED}, 73},
		{{.end = VMJ_END_LOST}, 74},
		{{.refused = true, .end = VMJ_END_LOST}, 1},
		/* the script decides, if it ended first */
		{{.script_ended = true, .script_status = 0, .end = VMJ_END_PANIC}, 0},
		{{.script_ended = true, .script_status = 5 << 8, .end = VMJ_END_POWEROFF}, 5},
		{{.script_ended = true, .script_status = SIGTERM, .end = VMJ_END_DESTROYED}, 143},
		/* told to end because its guest had */
		{{.script_status = SIGTERM, .end = VMJ_END_POWEROFF}, 0},
		{{.script_status = SIGTERM, .end = VMJ_END_PANIC}, 70},
		/* other nodes' guests, where this one ended well */
		{{.end = VMJ_END_POWEROFF, .others_status = 70 << 8}, 70},
		{{.end = VMJ_END_KILLED, .others_status = 70 << 8}, 71},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(vmj_outcome_exit_code(&cases[i].o), cases[i].code);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_signals),
		cmocka_unit_test(test_watched_signals),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_exit_code),
	};

	return cmocka_run_group_tests_name("outcome", tests, NULL, NULL);
}
