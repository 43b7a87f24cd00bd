/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of `vmjob start` becomes sbatch's; keys as people write them. */
#include "tests/unit/unit.h"

#include <errno.h>

#include "vmjob/cli/start.h"
#include "vmjob/cli/terminal.h"

static int forget_environment(void **state)
{
	unsetenv("VMJOB_IMAGE");
	unsetenv("SBATCH_JOB_NAME");
	return 0;
}

static void assert_command(const struct vmj_start *s, const char *const *expected)
{
	size_t i;

	for (i = 0; expected[i]; i++)
		assert_string_equal(s->argv[i], expected[i]);
	assert_memory_equal(s->argv[i], "--wrap=", strlen("--wrap="));
	assert_null(s->argv[i + 1]);
}

static void image_comes_first(void **state)
{
	char *args[] = {"debian12@3", "-c", "4", "--wait", "--vm-memory=8G", "--json", NULL};
	struct vmj_start s;
	struct vmj_error err;

	assert_done(vmj_start_parse(args, &s, &err), err);
	assert_command(&s, (const char *[]){"sbatch", "--parsable", "--vm-script=none",
					    "--vm-image=debian12@3", "--job-name=debian12", "-c",
					    "4", "--vm-memory=8G", NULL});
	assert_true(s.wait);
	assert_true(s.json);
	vmj_start_done(&s);
}

static void image_may_be_of_another_user(void **state)
{
	char longest[] =
		"oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo0/"
		"iiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiii0@4294967295";
	char *args[] = {"bob/debian12@3", NULL}, *long_args[] = {longest, NULL};
	struct vmj_start s;
	struct vmj_error err;

	assert_done(vmj_start_parse(args, &s, &err), err);
	assert_command(&s,
		       (const char *[]){"sbatch", "--parsable", "--vm-script=none",
					"--vm-image=bob/debian12@3", "--job-name=debian12", NULL});
	vmj_start_done(&s);
	assert_done(vmj_start_parse(long_args, &s, &err), err);
	assert_string_equal(s.argv[3] + strlen("--vm-image="), longest);
	vmj_start_done(&s);
}

static void image_may_be_an_option(void **state)
{
	char *args[] = {"-N1", "--vm-image=tiny", NULL};
	struct vmj_start s;
	struct vmj_error err;

	assert_done(vmj_start_parse(args, &s, &err), err);
	assert_command(&s, (const char *[]){"sbatch", "--parsable", "--vm-script=none", "-N1",
					    "--vm-image=tiny", NULL});
	assert_false(s.wait);
	vmj_start_done(&s);
}

static void image_may_be_in_the_environment(void **state)
{
	char *args[] = {NULL};
	struct vmj_start s;
	struct vmj_error err;

	assert_user_refused(vmj_start_parse(args, &s, &err), err, EINVAL, "which image?");
	setenv("VMJOB_IMAGE", "tiny", 1);
	assert_done(vmj_start_parse(args, &s, &err), err);
	vmj_start_done(&s);
}

static void name_in_the_environment_stays(void **state)
{
	char *args[] = {"tiny", NULL};
	struct vmj_start s;
	struct vmj_error err;

	setenv("SBATCH_JOB_NAME", "mine", 1);
	assert_done(vmj_start_parse(args, &s, &err), err);
	assert_command(&s, (const char *[]){"sbatch", "--parsable", "--vm-script=none",
					    "--vm-image=tiny", NULL});
	vmj_start_done(&s);
}

static void after_two_dashes_all_is_sbatch_s(void **state)
{
	char *args[] = {"tiny", "--", "--wait", "--", NULL};
	struct vmj_start s;
	struct vmj_error err;

	assert_done(vmj_start_parse(args, &s, &err), err);
	assert_command(&s, (const char *[]){"sbatch", "--parsable", "--vm-script=none",
					    "--vm-image=tiny", "--job-name=tiny", "--wait", "--",
					    NULL});
	assert_false(s.wait);
	vmj_start_done(&s);
}

static void wrong_images_are_refused(void **state)
{
	static char *wrong[] = {"../etc/passwd", "a b", "tiny@x", "a;reboot", ""};
	struct vmj_start s;
	struct vmj_error err;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_true(vmj_start_parse((char *[]){wrong[i], NULL}, &s, &err) < 0);
}

static void sbatch_s_answer_is_read(void **state)
{
	struct vmj_error err;
	uint32_t job = 0;

	assert_done(vmj_start_job("42\n", &job, &err), err);
	assert_int_equal(job, 42);
	assert_done(vmj_start_job("43;cluster\n", &job, &err), err);
	assert_int_equal(job, 43);
	assert_refused(vmj_start_job("", &job, &err), err, EPROTO, "instead of a job's number");
	assert_refused(vmj_start_job("Submitted 1", &job, &err), err, EPROTO, "Submitted 1");
	assert_refused(vmj_start_job("99999999999\n", &job, &err), err, EPROTO, "99999999999");
	assert_int_equal(job, 43);
}

static void keys_are_read(void **state)
{
	static const struct {
		const char *text;
		int key;
	} good[] = {{"^]", 0x1d}, {"^a", 1},  {"^A", 1},
		    {"^@", 0},    {"~", '~'}, {"none", VMJ_ESCAPE_NONE}};
	static const char *const wrong[] = {"", "^1", "ab", "\x01", "\xc3\xa4", "^]x"};
	struct vmj_error err;
	int key;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_done(vmj_escape_parse(good[i].text, &key, &err), err);
		assert_int_equal(key, good[i].key);
	}
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_user_refused(vmj_escape_parse(wrong[i], &key, &err), err, EINVAL,
				    "is no key");
}

static void keys_are_named(void **state)
{
	char buf[16];

	assert_string_equal(vmj_escape_format(0x1d, buf), "Ctrl-]");
	assert_string_equal(vmj_escape_format(1, buf), "Ctrl-a");
	assert_string_equal(vmj_escape_format('~', buf), "~");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(image_comes_first, forget_environment),
		cmocka_unit_test_setup(image_may_be_of_another_user, forget_environment),
		cmocka_unit_test_setup(image_may_be_an_option, forget_environment),
		cmocka_unit_test_setup(image_may_be_in_the_environment, forget_environment),
		cmocka_unit_test_setup(name_in_the_environment_stays, forget_environment),
		cmocka_unit_test_setup(after_two_dashes_all_is_sbatch_s, forget_environment),
		cmocka_unit_test_setup(wrong_images_are_refused, forget_environment),
		cmocka_unit_test(sbatch_s_answer_is_read),
		cmocka_unit_test(keys_are_read),
		cmocka_unit_test(keys_are_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
