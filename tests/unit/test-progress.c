/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include "vmjob/cli/progress.h"

static void assert_shown(const struct vmj_progress_state *s, int width, const char *expected)
{
	char buf[300];

	assert_string_equal(vmj_progress_format(s, width, buf, sizeof(buf)), expected);
}

static void test_rate_and_time_left(void **state)
{
	struct vmj_progress_state s = {"Importing a", "converting", 512 << 20, 2048ull << 20, 4};

	assert_shown(
		&s, 0,
		"Importing a: converting [=====               ]  25 % 512.0M of 2.0G, 128.0M/s, 0:12 left");
	s.seconds = 4000;
	assert_shown(
		&s, 0,
		"Importing a: converting [=====               ]  25 % 512.0M of 2.0G, 131.1K/s, 3:20:00 left");
}

/* Nothing is known yet, or never will be. */
static void test_unknown(void **state)
{
	struct vmj_progress_state s = {"Importing a", "reading", 3 << 20, 0, 0.5};

	assert_shown(&s, 0, "Importing a: reading 3.0M");
	s.seconds = 3;
	assert_shown(&s, 0, "Importing a: reading 3.0M, 1.0M/s");
	s.total = 1 << 20; /* more than was expected */
	assert_shown(&s, 0, "Importing a: reading [====================] 100 % 3.0M of 1.0M");
}

static void test_narrow_terminal(void **state)
{
	struct vmj_progress_state s = {"Importing a", "reading", 3 << 20, 0, 0};

	assert_shown(&s, 12, "Importing a");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rate_and_time_left),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_narrow_terminal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
