/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>

#include "vmjob/model/json.h"

static struct json_object *object(const char *text)
{
	struct json_object *o = NULL;
	struct vmj_error err;

	assert_done(vmj_json_parse("text", text, strlen(text), 8, &o, &err), err);
	return o;
}

static void every_type_is_read(void **state)
{
	vmj_autojson struct json_object *o =
		object("{\"u\":18446744073709551614,\"i\":-5,\"b\":true,\"s\":\"hi\",\"e\":\"two\","
		       "\"o\":{},\"a\":[{\"x\":1},{\"x\":2}]}\n");
	static const char *const names[] = {"one", NULL, "two"};
	struct json_object *inner, *array;
	struct vmj_json in;
	struct vmj_error err;
	uint64_t u = 0;
	int64_t i = 0;
	bool b = false;
	char s[3];
	size_t n;
	int e = 0;

	vmj_json_open(&in, o, "", &err);
	vmj_json_u64(&in, "u", VMJ_NEEDED, 0, UINT64_MAX - 1, &u);
	vmj_json_i64(&in, "i", VMJ_NEEDED, -5, 0, &i);
	vmj_json_bool(&in, "b", VMJ_NEEDED, &b);
	vmj_json_string(&in, "s", VMJ_NEEDED, s, sizeof(s));
	vmj_json_enum(&in, "e", VMJ_NEEDED, names, 3, &e);
	vmj_json_object(&in, "o", VMJ_NEEDED, &inner);
	vmj_json_array(&in, "a", VMJ_NEEDED, 2, &array, &n);
	for (size_t k = 0; k < n; k++) {
		struct vmj_json element;
		uint16_t x = 0;

		vmj_json_open_element(&element, &in, "a", array, k);
		vmj_json_u16(&element, "x", VMJ_NEEDED, 1, 2, &x);
		vmj_json_close_element(&element, &in);
		assert_int_equal(x, k + 1);
	}
	assert_done(vmj_json_close(&in), err);
	assert_true(u == UINT64_MAX - 1 && i == -5 && b && e == 2 && inner && n == 2);
	assert_string_equal(s, "hi");
}

static void an_absent_member_changes_nothing(void **state)
{
	vmj_autojson struct json_object *o = object("{}");
	struct json_object *inner = o, *array = o;
	struct vmj_json in;
	uint32_t u = 7;
	size_t n = 7;

	vmj_json_open(&in, o, "", NULL);
	vmj_json_u32(&in, "u", VMJ_OPTIONAL, 0, 9, &u);
	vmj_json_object(&in, "o", VMJ_OPTIONAL, &inner);
	vmj_json_array(&in, "a", VMJ_OPTIONAL, 9, &array, &n);
	assert_int_equal(vmj_json_close(&in), 0);
	assert_int_equal(u, 7);
	assert_null(inner);
	assert_null(array);
	assert_int_equal(n, 0);
}

static void the_first_failure_stays(void **state)
{
	vmj_autojson struct json_object *o = object("{\"a\":1,\"b\":2,\"c\":3}");
	struct vmj_error err;
	struct vmj_json in;
	bool b = false;
	uint64_t u = 7;

	vmj_json_open(&in, o, "top", &err);
	vmj_json_bool(&in, "a", VMJ_NEEDED, &b);
	vmj_json_u64(&in, "b", VMJ_NEEDED, 0, 1, &u);
	vmj_json_refuse(&in, "c", ERANGE, "later");
	assert_user_refused(vmj_json_close(&in), err, EINVAL,
			    "top.a: this must be boolean, not int");
	assert_int_equal(u, 7);
}

static void a_failed_element_fails_the_whole(void **state)
{
	vmj_autojson struct json_object *o = object("{\"a\":[{\"x\":1},{\"y\":1},{\"z\":1}]}");
	struct json_object *array;
	struct vmj_error err;
	struct vmj_json in;
	size_t n;

	vmj_json_open(&in, o, "", &err);
	vmj_json_array(&in, "a", VMJ_NEEDED, 3, &array, &n);
	for (size_t i = 0; i < n; i++) {
		struct vmj_json element;
		uint64_t x;

		vmj_json_open_element(&element, &in, "a", array, i);
		vmj_json_u64(&element, "x", VMJ_NEEDED, 0, 9, &x);
		vmj_json_close_element(&element, &in);
	}
	assert_user_refused(vmj_json_close(&in), err, EINVAL, "a[1].x: this is missing");
}

static void an_unknown_key_is_named(void **state)
{
	vmj_autojson struct json_object *o = object("{\"known\":true,\"\\nodd\":1}");
	struct vmj_error err;
	struct vmj_json in;
	bool b;

	vmj_json_open(&in, o, "", &err);
	vmj_json_bool(&in, "known", VMJ_NEEDED, &b);
	assert_user_refused(vmj_json_close(&in), err, EINVAL, "\\x0aodd: this version");
}

static void a_word_with_a_nul_is_not_the_word(void **state)
{
	vmj_autojson struct json_object *o = object("{\"e\":\"one\\u0000\"}");
	static const char *const names[] = {"one"};
	struct vmj_error err;
	struct vmj_json in;
	int e = 7;

	vmj_json_open(&in, o, "", &err);
	vmj_json_enum(&in, "e", VMJ_NEEDED, names, 1, &e);
	assert_user_refused(vmj_json_close(&in), err, EINVAL, "none of the known words");
	assert_int_equal(e, 7);
}

static void what_is_no_object_is_refused(void **state)
{
	struct vmj_error err;
	struct vmj_json in;
	bool b = true;

	vmj_json_open(&in, NULL, "request", &err);
	vmj_json_bool(&in, "a", VMJ_NEEDED, &b);
	assert_user_refused(vmj_json_close(&in), err, EINVAL,
			    "request: this must be an object, not null");
}

static void bytes_after_the_end(void **state)
{
	struct json_object *o = NULL;
	struct vmj_error err;

	assert_user_refused(vmj_json_parse("text", "{}\0", 3, 8, &o, &err), err, EINVAL, "text");
	assert_user_refused(vmj_json_parse("text", "{}\0{}", 5, 8, &o, &err), err, EINVAL, "text");
	assert_user_refused(vmj_json_parse("text", "{} {}", 5, 8, &o, &err), err, EINVAL, "text");
	assert_user_refused(vmj_json_parse("text", "", 0, 8, &o, &err), err, EINVAL, "too early");
	assert_null(o);
}

static void only_len_bytes_are_read(void **state)
{
	vmj_autojson struct json_object *o = NULL;

	assert_int_equal(vmj_json_parse("text", "{}garbage", 2, 8, &o, NULL), 0);
}

static void depth_is_bounded(void **state)
{
	vmj_autojson struct json_object *o = NULL;
	const char *text = "{\"a\":{\"b\":[1]}}";
	struct vmj_error err;

	assert_done(vmj_json_parse("text", text, strlen(text), 5, &o, &err), err);
	json_object_put(vmj_steal(o));
	assert_user_refused(vmj_json_parse("text", text, strlen(text), 3, &o, &err), err, EINVAL,
			    "nesting");
}

static void the_same_key_in_two_objects_is_fine(void **state)
{
	vmj_autojson struct json_object *o =
		object("{\"a:\\\"b\\\\\":{\"x\":\":::\"},\"b\":[{\"x\":1},{\"x\":2}]}");

	assert_non_null(o);
}

static void writers_write(void **state)
{
	vmj_autojson struct json_object *o = json_object_new_object();

	vmj_json_put_u64(o, "u", UINT64_MAX);
	vmj_json_put_i64(o, "i", INT64_MIN);
	vmj_json_put_bool(o, "b", false);
	vmj_json_put_string(o, "s", "a\"b\n");
	assert_string_equal(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN),
			    "{\"u\":18446744073709551615,\"i\":-9223372036854775808,\"b\":false,"
			    "\"s\":\"a\\\"b\\n\"}");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_type_is_read),
		cmocka_unit_test(an_absent_member_changes_nothing),
		cmocka_unit_test(the_first_failure_stays),
		cmocka_unit_test(a_failed_element_fails_the_whole),
		cmocka_unit_test(an_unknown_key_is_named),
		cmocka_unit_test(a_word_with_a_nul_is_not_the_word),
		cmocka_unit_test(what_is_no_object_is_refused),
		cmocka_unit_test(bytes_after_the_end),
		cmocka_unit_test(only_len_bytes_are_read),
		cmocka_unit_test(depth_is_bounded),
		cmocka_unit_test(the_same_key_in_two_objects_is_fine),
		cmocka_unit_test(writers_write),
	};

	return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
