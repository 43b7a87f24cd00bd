/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The end of a growing log: what is appended, and what comes after it was rotated. */
#include "unit.h"

#include <systemd/sd-event.h>

#include "vmjob/agent/tail.h"

static sd_event *loop;
static char path[128], seen[256];

static int setup(void **state)
{
	if (unit_make_dir(state) < 0 || sd_event_new(&loop) < 0)
		return -1;
	snprintf(path, sizeof(path), "%s/console.log", (char *)*state);
	memset(seen, 0, sizeof(seen));
	return 0;
}

static int teardown(void **state)
{
	loop = sd_event_unref(loop);
	return unit_remove_dir(state);
}

static void grew(const uint8_t *data, size_t len, void *arg)
{
	memcpy(seen + strlen(seen), data, len);
}

static void append(const char *text)
{
	FILE *f = fopen(path, "a");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void await(const char *expected)
{
	while (strcmp(seen, expected) != 0)
		if (sd_event_run(loop, 10 * 1000000ull) <= 0)
			fail_msg("seen within 10 s: \"%s\", not \"%s\"", seen, expected);
}

static struct vmj_tail *start(size_t backlog)
{
	struct vmj_tail *t = NULL;
	struct vmj_error err;

	assert_done(vmj_tail_new(loop, path, backlog, grew, NULL, &t, &err), err);
	return t;
}

static void the_end_comes_first_and_then_what_is_appended(void **state)
{
	struct vmj_tail *t;

	append("0123456789");
	t = start(4);
	assert_string_equal(seen, "6789");
	append("ab");
	await("6789ab");
	append("c");
	await("6789abc");
	vmj_tail_free(t);
}

static void a_file_that_is_not_there_yet(void **state)
{
	struct vmj_tail *t = start(100);

	append("late");
	await("late");
	vmj_tail_free(t);
}

static void a_rotated_file_is_followed(void **state)
{
	struct vmj_tail *t;
	char old[160];

	append("one ");
	t = start(100);
	append("two ");
	snprintf(old, sizeof(old), "%s.0", path);
	assert_int_equal(rename(path, old), 0);
	append("three ");
	await("one two three ");
	append("four");
	await("one two three four");
	vmj_tail_free(t);
}

static void what_is_no_file_is_refused(void **state)
{
	struct vmj_tail *t = NULL;
	struct vmj_error err;

	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_true(vmj_tail_new(loop, path, 100, grew, NULL, &t, &err) < 0);
	assert_null(t);
	assert_string_equal(seen, "");
}

#define IN_DIR(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_DIR(the_end_comes_first_and_then_what_is_appended),
		IN_DIR(a_file_that_is_not_there_yet),
		IN_DIR(a_rotated_file_is_followed),
		IN_DIR(what_is_no_file_is_refused),
	};

	return cmocka_run_group_tests_name("tail", tests, NULL, NULL);
}
