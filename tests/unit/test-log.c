/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>

#include "vmjob/base/log.h"

/* Standard error goes into a file while `body` runs; returns what was written (caller's). */
static char *captured(void (*body)(void))
{
	char path[] = "/tmp/vmjob-log-XXXXXX";
	vmj_autoclose int file = mkstemp(path), saved = dup(2);
	char *text = NULL;

	assert_true(file >= 0 && saved >= 0);
	dup2(file, 2);
	body();
	dup2(saved, 2);
	assert_int_equal(vmj_file_read(-1, path, 65536, &text, NULL, NULL), 0);
	unlink(path);
	return text;
}

static void three_levels(void)
{
	vmj_log_err("e %d", 1);
	vmj_log_info("i");
	vmj_debug("d");
}

static void plain_prefix_and_level(void **state)
{
	vmj_autofree char *text = NULL;
	char want[128];

	unsetenv("JOURNAL_STREAM");
	vmj_log_init("unit", LOG_INFO);
	text = captured(three_levels);
	snprintf(want, sizeof(want), "unit[%d]: e 1\nunit[%d]: i\n", (int)getpid(), (int)getpid());
	assert_string_equal(text, want);
}

static void journal_prefix(void **state)
{
	vmj_autofree char *text = NULL;

	setenv("JOURNAL_STREAM", "8:1", 1);
	vmj_log_init("unit", LOG_DEBUG);
	text = captured(three_levels);
	assert_string_equal(text, "<3>e 1\n<6>i\n<7>d\n");
	unsetenv("JOURNAL_STREAM");
}

static void hostile(void)
{
	vmj_log_err("a\nunit[1]: forged\r\x1b[2J");
}

static void a_message_stays_one_line(void **state)
{
	vmj_autofree char *text = NULL;

	vmj_log_init("unit", LOG_INFO);
	text = captured(hostile);
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
	assert_null(strchr(text, '\x1b'));
}

static void huge(void)
{
	char text[10000];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	vmj_log_err("%s", text);
}

static void a_long_message_is_cut(void **state)
{
	vmj_autofree char *text = captured(huge);

	assert_true(strlen(text) > 1000 && strlen(text) <= 2048);
	assert_int_equal(text[strlen(text) - 1], '\n');
}

static void with_errno(void)
{
	errno = ENOENT;
	vmj_log_err("%m");
	assert_int_equal(errno, ENOENT);
}

static void errno_is_kept_and_shown(void **state)
{
	vmj_autofree char *text = captured(with_errno);

	assert_non_null(strstr(text, "No such file"));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_prefix_and_level),   cmocka_unit_test(journal_prefix),
		cmocka_unit_test(a_message_stays_one_line), cmocka_unit_test(a_long_message_is_cut),
		cmocka_unit_test(errno_is_kept_and_shown),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
