/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>
#include <inttypes.h>

#include "vmjob/base/parse.h"

#define N_OF(a) (sizeof(a) / sizeof((a)[0]))

/* None of them is a number, a size, a time or a name to any reader here. */
static const char *const nonsense[] = {
	"",         " ",    "-1",   "+1",   "1 ",           " 1",  "0x10",    "1e3",  "1.5",
	"nan",      "inf",  "1\n",  "\x01", "\xff",         "1,5", "--",      "../x", "/etc",
	"a/b",      "a b",  "<a/>", "&lt;", "$(x)",         "`x`", "x;y",     "x|y",  "'",
	"\"",       "\\",   "*",    "%s%n", "\xe2\x82\xac", "..",  ".hidden", "-rf",  "a..b",
	"\x1b[31m", "1__!", "#",    "~",    "{\"a\":1}",
};

static void numbers(void **state)
{
	struct vmj_error err;
	uint64_t v = 7;

	assert_done(vmj_parse_u64("n", "0", 0, 10, &v, &err), err);
	assert_int_equal(v, 0);
	assert_done(vmj_parse_u64("n", "18446744073709551615", 0, UINT64_MAX, &v, &err), err);
	assert_true(v == UINT64_MAX);
	assert_done(vmj_parse_u64("n", "0010", 0, 10, &v, &err), err);
	assert_int_equal(v, 10);
}

static void numbers_out_of_bounds(void **state)
{
	static const char *const bad[] = {"4", "11", "18446744073709551616",
					  "99999999999999999999999999999999999999"};

	for (size_t i = 0; i < N_OF(bad); i++) {
		struct vmj_error err;
		uint64_t v = 7;
		int rc = vmj_parse_u64("--count", bad[i], 5, 10, &v, &err);

		assert_user_refused(rc, err, ERANGE, "from 5 to 10");
		assert_non_null(strstr(err.text, "--count"));
		assert_non_null(strstr(err.text, bad[i]));
		assert_int_equal(v, 7);
	}
}

static void nonsense_is_no_number(void **state)
{
	for (size_t i = 0; i < N_OF(nonsense); i++) {
		struct vmj_error err;
		uint64_t v = 7;
		int rc = vmj_parse_u64("n", nonsense[i], 0, UINT64_MAX, &v, &err);

		assert_user_refused(rc, err, EINVAL, "not a number");
		assert_int_equal(v, 7);
	}
}

static void sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t mib;
	} good[] = {
		{"0", 0},
		{"512", 512},
		{"512M", 512},
		{"512m", 512},
		{"8G", 8192},
		{"8g", 8192},
		{"1T", 1048576},
		{"2t", 2097152},
		{"1K", 1},
		{"1024k", 1},
		{"1025K", 2},
		{"0K", 0},
		{"16777216T", 17592186044416u},
		{"18446744073709551615K", 18014398509481984u},
	};

	for (size_t i = 0; i < N_OF(good); i++) {
		struct vmj_error err;
		uint64_t mib = 7;

		assert_done(vmj_parse_size_mib("s", good[i].text, 0, UINT64_MAX, &mib, &err), err);
		assert_true(mib == good[i].mib);
	}
}

static void sizes_out_of_bounds(void **state)
{
	static const char *const bad[] = {"15",
					  "15M",
					  "1K",
					  "2T",
					  "18446744073709551615T",
					  "18446744073709551616",
					  "17592186044416G",
					  "0"};

	for (size_t i = 0; i < N_OF(bad); i++) {
		struct vmj_error err;
		uint64_t mib = 7;
		int rc = vmj_parse_size_mib("--vm-memory", bad[i], 16, 1u << 20, &mib, &err);

		assert_user_refused(rc, err, ERANGE, "give 16M to 1T");
		assert_int_equal(mib, 7);
	}
}

static void nonsense_is_no_size(void **state)
{
	static const char *const more[] = {
		"M", "1P", "1MB", "1MiB", "1 G", "1GG", "99999999999999999999Z"};

	for (size_t i = 0; i < N_OF(nonsense) + N_OF(more); i++) {
		const char *text = i < N_OF(nonsense) ? nonsense[i] : more[i - N_OF(nonsense)];
		struct vmj_error err;
		uint64_t mib = 7;
		int rc = vmj_parse_size_mib("s", text, 0, UINT64_MAX, &mib, &err);

		assert_user_refused(rc, err, EINVAL, "not a size");
		assert_int_equal(mib, 7);
	}
}

static void a_formatted_size_reads_back(void **state)
{
	uint64_t seed = 2;

	for (int i = 0; i < 10000; i++) {
		uint64_t mib = unit_random(&seed) >> (unit_random(&seed) % 64);
		uint64_t back = 0;
		struct vmj_error err;
		char buf[24];

		vmj_format_size_mib(mib, buf, sizeof(buf));
		assert_done(vmj_parse_size_mib("s", buf, 0, UINT64_MAX, &back, &err), err);
		assert_true(back == mib);
	}
}

static void sizes_are_shown_short(void **state)
{
	char buf[24];

	assert_string_equal(vmj_format_size_mib(0, buf, sizeof(buf)), "0M");
	assert_string_equal(vmj_format_size_mib(1536, buf, sizeof(buf)), "1536M");
	assert_string_equal(vmj_format_size_mib(8192, buf, sizeof(buf)), "8G");
	assert_string_equal(vmj_format_size_mib(3 << 20, buf, sizeof(buf)), "3T");
	assert_string_equal(vmj_format_size_mib(UINT64_MAX, buf, sizeof(buf)),
			    "18446744073709551615M");
}

static void times(void **state)
{
	static const struct {
		const char *text;
		uint64_t s;
	} good[] = {
		{"0", 0},        {"5", 300},        {"5:30", 330},       {"1:02:03", 3723},
		{"2-3", 183600}, {"2-3:4", 183840}, {"2-3:4:5", 183845}, {"30s", 30},
		{"5m", 300},     {"2h", 7200},      {"90:00", 5400},
	};

	for (size_t i = 0; i < N_OF(good); i++) {
		struct vmj_error err;
		uint64_t s = 7;

		assert_done(vmj_parse_time("t", good[i].text, 1u << 30, &s, &err), err);
		assert_int_equal(s, good[i].s);
	}
}

static void times_too_long(void **state)
{
	static const char *const bad[] = {"101s",
					  "2",
					  "1:41",
					  "0:0:101",
					  "1-0",
					  "1h",
					  "18446744073709551615",
					  "18446744073709551616s",
					  "307445734561825861",
					  "9999999999999999999-0:0:0",
					  "5124095576030431h"};

	for (size_t i = 0; i < N_OF(bad); i++) {
		struct vmj_error err;
		uint64_t s = 7;
		int rc = vmj_parse_time("--vm-grace", bad[i], 100, &s, &err);

		assert_user_refused(rc, err, ERANGE, "at most 100 seconds");
		assert_int_equal(s, 7);
	}
}

static void nonsense_is_no_time(void **state)
{
	static const char *const more[] = {"1:",     ":1", "1:2:3:4", "1-",  "-1:0", "1-2-3",
					   "1-2:3:", "s",  "1d",      "1ss", "1-2s", "1:2s"};

	for (size_t i = 0; i < N_OF(nonsense) + N_OF(more); i++) {
		const char *text = i < N_OF(nonsense) ? nonsense[i] : more[i - N_OF(nonsense)];
		struct vmj_error err;
		uint64_t s = 7;
		int rc = vmj_parse_time("t", text, UINT64_MAX, &s, &err);

		assert_user_refused(rc, err, EINVAL, "not a time");
		assert_int_equal(s, 7);
	}
}

static void names(void **state)
{
	static const char *const good[] = {"a", "0", "debian12", "my-image_1.2", "A.b.c", "9-"};

	for (size_t i = 0; i < N_OF(good); i++)
		assert_true(vmj_name_valid(good[i]));
}

static void names_have_a_longest(void **state)
{
	char text[VMJ_NAME_MAX + 2];

	memset(text, 'a', sizeof(text));
	text[VMJ_NAME_MAX] = '\0';
	assert_true(vmj_name_valid(text));
	text[VMJ_NAME_MAX] = 'a';
	text[VMJ_NAME_MAX + 1] = '\0';
	assert_false(vmj_name_valid(text));
}

static void nonsense_is_no_name(void **state)
{
	for (size_t i = 0; i < N_OF(nonsense); i++) {
		struct vmj_error err;

		if (strcmp(nonsense[i], "0x10") == 0 || strcmp(nonsense[i], "1e3") == 0 ||
		    strcmp(nonsense[i], "1.5") == 0 || strcmp(nonsense[i], "nan") == 0 ||
		    strcmp(nonsense[i], "inf") == 0)
			continue; /* no numbers, but names */
		assert_user_refused(vmj_parse_name("--vm-image", nonsense[i], &err), err, EINVAL,
				    "not a name");
	}
}

static void every_byte_in_a_name(void **state)
{
	for (int c = 1; c < 256; c++) {
		char text[] = {'a', (char)c, 'b', '\0'};
		bool want = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
			    (c >= 'a' && c <= 'z') || c == '.' || c == '_' || c == '-';

		assert_int_equal(vmj_name_valid(text), want);
	}
}

static void a_megabyte_is_refused_in_short(void **state)
{
	size_t len = 1u << 20;
	vmj_autofree char *text = malloc(len + 1);
	struct vmj_error err;
	uint64_t v;

	memset(text, '1', len);
	text[len] = '\0';
	assert_user_refused(vmj_parse_u64("n", text, 0, 5, &v, &err), err, ERANGE, "...");
	assert_user_refused(vmj_parse_size_mib("n", text, 0, 5, &v, &err), err, ERANGE, "...");
	assert_user_refused(vmj_parse_time("n", text, 5, &v, &err), err, ERANGE, "...");
	assert_user_refused(vmj_parse_name("n", text, &err), err, EINVAL, "...");
}

static void quotes_are_harmless(void **state)
{
	char buf[64];

	assert_string_equal(vmj_quote("plain text", buf, sizeof(buf)), "plain text");
	assert_string_equal(vmj_quote("a\"b'c\\d", buf, sizeof(buf)), "a\\x22b\\x27c\\x5cd");
	assert_string_equal(vmj_quote("\n\x1b\x7f\xe9", buf, sizeof(buf)), "\\x0a\\x1b\\x7f\\xe9");
	assert_string_equal(vmj_quote("", buf, sizeof(buf)), "");
}

static void quotes_are_cut(void **state)
{
	char buf[8];

	assert_string_equal(vmj_quote("1234567", buf, sizeof(buf)), "1234567");
	assert_string_equal(vmj_quote("12345678", buf, sizeof(buf)), "1234...");
	assert_string_equal(vmj_quote("123\n\n", buf, sizeof(buf)), "123...");
	assert_string_equal(vmj_quote("\n\n\n", buf, sizeof(buf)), "\\x0a...");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers),
		cmocka_unit_test(numbers_out_of_bounds),
		cmocka_unit_test(nonsense_is_no_number),
		cmocka_unit_test(sizes),
		cmocka_unit_test(sizes_out_of_bounds),
		cmocka_unit_test(nonsense_is_no_size),
		cmocka_unit_test(a_formatted_size_reads_back),
		cmocka_unit_test(sizes_are_shown_short),
		cmocka_unit_test(times),
		cmocka_unit_test(times_too_long),
		cmocka_unit_test(nonsense_is_no_time),
		cmocka_unit_test(names),
		cmocka_unit_test(names_have_a_longest),
		cmocka_unit_test(nonsense_is_no_name),
		cmocka_unit_test(every_byte_in_a_name),
		cmocka_unit_test(a_megabyte_is_refused_in_short),
		cmocka_unit_test(quotes_are_harmless),
		cmocka_unit_test(quotes_are_cut),
	};

	return cmocka_run_group_tests_name("parse", tests, NULL, NULL);
}
