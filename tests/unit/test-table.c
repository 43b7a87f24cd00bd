/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tables for people from rows of JSON, and what they show of odd rows. */
#include "tests/unit/unit.h"

#include <json-c/json.h>

#include "vmjob/cli/table.h"
#include "vmjob/cli/view.h"

static const struct vmj_column columns[] = {
	{"NAME", "name", false, false, NULL},
	{"MEMORY", "memory_mib", true, false, vmj_cell_mib},
	{"UP", "elapsed", true, false, vmj_cell_seconds},
	{"ADDRESS", "addresses", false, false, vmj_cell_list},
	{0},
};

static char *printed(const char *json)
{
	struct json_object *rows = json_tokener_parse(json);
	struct vmj_error err;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(rows);
	assert_done(vmj_table_print(columns, rows, out, &err), err);
	fclose(out);
	json_object_put(rows);
	return text;
}

static void assert_has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("\"%s\" is not in:\n%s", part, text);
}

static void rows_become_lines(void **state)
{
	vmj_autofree char *text =
		printed("[{\"name\": \"web\", \"memory_mib\": 2048, \"elapsed\": 93784, "
			"\"addresses\": [\"10.0.0.1\", \"10.0.0.2\"]}, {\"name\": \"db\"}]");

	assert_has(text, "NAME");
	assert_has(text, "2G");
	assert_has(text, "1-02:03:04");
	assert_has(text, "10.0.0.1,10.0.0.2");
	assert_has(text, "db        -");
}

static void no_rows_print_titles(void **state)
{
	vmj_autofree char *text = printed("[]");

	assert_string_equal(text, "NAME MEMORY UP ADDRESS\n");
}

/* Other versions of the agent may send other types. */
static void fields_of_wrong_types_are_absent(void **state)
{
	struct json_object *o = json_tokener_parse("{\"n\": \"42\", \"s\": 7, \"list\": []}");

	assert_int_equal(vmj_json_int(o, "n", -1), -1);
	assert_string_equal(vmj_json_text(o, "s", "none"), "none");
	assert_null(vmj_json_field(vmj_json_field(o, "list"), "x"));
	assert_null(vmj_json_field(NULL, "x"));
	json_object_put(o);
}

static void long_lists_are_cut(void **state)
{
	struct json_object *list = json_object_new_array();
	char buf[VMJ_CELL_MAX];

	for (int i = 0; i < 100; i++)
		json_object_array_add(list, json_object_new_string("10.20.30.40"));
	assert_int_equal(strlen(vmj_cell_list(list, buf)), VMJ_CELL_MAX - 1);
	json_object_put(list);
}

static void bytes_have_units(void **state)
{
	char buf[VMJ_CELL_MAX];

	assert_string_equal(vmj_bytes_format(0, buf), "0B");
	assert_string_equal(vmj_bytes_format(1023, buf), "1023B");
	assert_string_equal(vmj_bytes_format(1536, buf), "1.5K");
	assert_string_equal(vmj_bytes_format((int64_t)3 << 40, buf), "3.0T");
	assert_string_equal(vmj_bytes_format(INT64_MAX, buf), "8.0E");
}

static void guests_become_rows(void **state)
{
	struct json_object *guest = json_tokener_parse(
		"{\"job\": 42, \"user\": \"alice\", \"phase\": \"running\", "
		"\"start_us\": 1000000, \"end_us\": 61000000, \"request\": {\"image\": \"tiny\", "
		"\"revision\": 3, \"memory\": 512, \"vcpus\": 2}, \"ports\": [{\"address\": "
		"\"10.77.128.5/16\"}, {\"address\": \"\"}], \"stats\": {\"cpu_ns\": 5}}");
	struct json_object *row = vmj_view_guest("n1", guest);

	assert_string_equal(vmj_json_text(row, "image", ""), "tiny@3");
	assert_string_equal(vmj_json_text(row, "host", ""), "n1");
	assert_int_equal(vmj_json_int(row, "elapsed", -1), 60);
	assert_int_equal(vmj_json_int(row, "memory_mib", -1), 512);
	assert_int_equal(json_object_array_length(vmj_json_field(row, "addresses")), 1);
	assert_null(vmj_json_field(row, "failure"));
	json_object_put(row);
	json_object_put(guest);
}

/* Nobody but job_submit should write it, but an operator can. */
static void waiting_jobs_become_rows(void **state)
{
	struct vmj_job job = {.id = 42,
			      .state = "PENDING",
			      .reason = "Resources",
			      .comment = "vm image=tiny@2 vcpus=2 memory=1G net=lan odd vcpus=-1"};
	struct json_object *row = vmj_view_job(&job, "waiting");

	assert_string_equal(vmj_json_text(row, "image", ""), "tiny@2");
	assert_int_equal(vmj_json_int(row, "vcpus", -1), 2);
	assert_int_equal(vmj_json_int(row, "memory_mib", -1), 1024);
	assert_string_equal(vmj_json_text(row, "reason", ""), "Resources");
	assert_null(vmj_json_field(row, "host"));
	json_object_put(row);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_become_lines),
		cmocka_unit_test(no_rows_print_titles),
		cmocka_unit_test(fields_of_wrong_types_are_absent),
		cmocka_unit_test(long_lists_are_cut),
		cmocka_unit_test(bytes_have_units),
		cmocka_unit_test(guests_become_rows),
		cmocka_unit_test(waiting_jobs_become_rows),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
