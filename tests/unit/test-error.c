/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>

static void fail_fills_all(void **state)
{
	struct vmj_error err = {0};

	assert_refused(vmj_fail(&err, ENOENT, "no image \"%s\"", "tiny"), err, ENOENT,
		       "no image \"tiny\"");
	assert_int_equal(err.fault, VMJ_FAULT_HOST);
	assert_user_refused(vmj_fail_user(&err, EPERM, "not yours"), err, EPERM, "not yours");
}

static void null_error_is_allowed(void **state)
{
	assert_int_equal(vmj_fail(NULL, ENOSPC, "x"), -ENOSPC);
	assert_int_equal(vmj_fail_user(NULL, ENOSPC, "x"), -ENOSPC);
	assert_int_equal(vmj_fail_prefix(NULL, "x"), -EIO);
}

static void a_code_that_is_none_becomes_eio(void **state)
{
	struct vmj_error err = {0};

	assert_refused(vmj_fail(&err, 0, "odd"), err, EIO, "odd");
	assert_refused(vmj_fail(&err, -ENOENT, "odd"), err, EIO, "odd");
}

static void controls_become_question_marks(void **state)
{
	struct vmj_error err = {0};

	vmj_fail(&err, EINVAL,
		 "a\nb\tc\x7f"
		 "d\x1b[31m");
	assert_string_equal(err.text, "a?b?c?d?[31m");
}

static void a_long_text_is_cut_at_a_characters_edge(void **state)
{
	static const char *const characters[] = {"\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x90\xa7"};

	for (size_t c = 0; c < 3; c++) {
		size_t step = strlen(characters[c]);

		for (size_t shift = 0; shift < step; shift++) {
			char text[2 * VMJ_ERROR_TEXT_MAX] = "";
			struct vmj_error err = {0};
			size_t len;

			memset(text, 'x', shift);
			while (strlen(text) < VMJ_ERROR_TEXT_MAX + 8)
				strcat(text, characters[c]);
			vmj_fail(&err, EINVAL, "%s", text);
			len = strlen(err.text);
			assert_true(len < VMJ_ERROR_TEXT_MAX);
			assert_true(len > VMJ_ERROR_TEXT_MAX - 1 - step);
			assert_int_equal((len - shift) % step, 0);
		}
	}
}

static void an_argument_may_be_the_text_itself(void **state)
{
	struct vmj_error err = {0};

	vmj_fail(&err, EINVAL, "inner");
	vmj_fail(&err, EIO, "outer: %s", err.text);
	assert_string_equal(err.text, "outer: inner");
}

static void prefix_keeps_code_and_fault(void **state)
{
	struct vmj_error err = {0};

	vmj_fail_user(&err, ERANGE, "too big");
	assert_user_refused(vmj_fail_prefix(&err, "line %d", 7), err, ERANGE, "line 7: too big");
}

static void strerror_knows_both_signs(void **state)
{
	assert_string_equal(vmj_strerror(ENOENT), "No such file or directory");
	assert_string_equal(vmj_strerror(-ENOENT), "No such file or directory");
	assert_string_equal(vmj_strerror(99999), "Unknown error");
}

static void steal_empties_the_variable(void **state)
{
	char *p = strdup("x");
	vmj_autofree char *q = vmj_steal(p);
	int fd = 3, got = vmj_steal_fd(fd);

	assert_null(p);
	assert_string_equal(q, "x");
	assert_int_equal(fd, -1);
	assert_int_equal(got, 3);
}

static void close_keeps_errno(void **state)
{
	errno = ENOSPC;
	assert_int_equal(vmj_close(-1), -1);
	assert_int_equal(vmj_close(1000000), -1);
	assert_int_equal(errno, ENOSPC);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(fail_fills_all),
		cmocka_unit_test(null_error_is_allowed),
		cmocka_unit_test(a_code_that_is_none_becomes_eio),
		cmocka_unit_test(controls_become_question_marks),
		cmocka_unit_test(a_long_text_is_cut_at_a_characters_edge),
		cmocka_unit_test(an_argument_may_be_the_text_itself),
		cmocka_unit_test(prefix_keeps_code_and_fault),
		cmocka_unit_test(strerror_knows_both_signs),
		cmocka_unit_test(steal_empties_the_variable),
		cmocka_unit_test(close_keeps_errno),
	};

	return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}
