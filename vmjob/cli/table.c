/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/cli/table.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <libsmartcols.h>
#include <string.h>
#include <time.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/parse.h"

VMJ_DEFINE_CLEANUP(struct libscols_table *, scols_unref_table);

static const char *cell(const struct vmj_column *c, struct json_object *row, char buf[VMJ_CELL_MAX])
{
	struct json_object *value = vmj_json_field(row, c->key);
	const char *text = NULL;

	if (!value)
		return "-";
	text = c->text ? c->text(value, buf) : json_object_get_string(value);
	return text && *text ? text : "-";
}

static int add_row(struct libscols_table *table, const struct vmj_column *columns,
		   struct json_object *row)
{
	char buf[VMJ_CELL_MAX];
	struct libscols_line *line = scols_table_new_line(table, NULL);

	if (!line)
		return -ENOMEM;
	for (size_t i = 0; columns[i].title; i++)
		if (scols_line_set_data(line, i, cell(&columns[i], row, buf)) < 0)
			return -ENOMEM;
	return 0;
}

/* libsmartcols prints nothing for a table without lines. */
static void print_titles(const struct vmj_column *columns, FILE *out)
{
	for (size_t i = 0; columns[i].title; i++)
		fprintf(out, "%s%s", i ? " " : "", columns[i].title);
	fputc('\n', out);
}

int vmj_table_print(const struct vmj_column *columns, struct json_object *rows, FILE *out,
		    struct vmj_error *err)
{
	VMJ_CLEANUP(scols_unref_tablep) struct libscols_table *table = scols_new_table();

	if (!table)
		return vmj_fail(err, ENOMEM, "out of memory");
	if (!json_object_array_length(rows)) {
		print_titles(columns, out);
		return 0;
	}
	scols_table_set_stream(table, out);
	for (size_t i = 0; columns[i].title; i++) {
		int flags = (columns[i].right ? SCOLS_FL_RIGHT : 0) |
			    (columns[i].cut ? SCOLS_FL_TRUNC : 0);
		if (!scols_table_new_column(table, columns[i].title, 0, flags))
			return vmj_fail(err, ENOMEM, "out of memory");
	}
	for (size_t i = 0; i < json_object_array_length(rows); i++)
		if (add_row(table, columns, json_object_array_get_idx(rows, i)) < 0)
			return vmj_fail(err, ENOMEM, "out of memory");
	if (scols_print_table(table) < 0)
		return vmj_fail(err, EIO, "cannot print the table");
	return 0;
}

void vmj_lines_print(const struct vmj_column *lines, struct json_object *o, FILE *out)
{
	char buf[VMJ_CELL_MAX];

	for (const struct vmj_column *l = lines; l->title; l++) {
		struct json_object *value = vmj_json_field(o, l->key);
		const char *text = !value    ? NULL
				   : l->text ? l->text(value, buf)
					     : json_object_get_string(value);
		if (text && *text)
			fprintf(out, "%-12s %s\n", l->title, text);
	}
}

void vmj_json_print(struct json_object *o, FILE *out)
{
	fputs(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
							JSON_C_TO_STRING_NOSLASHESCAPE),
	      out);
	fputc('\n', out);
}

struct json_object *vmj_json_field(struct json_object *o, const char *key)
{
	struct json_object *value = NULL;

	if (!json_object_is_type(o, json_type_object))
		return NULL;
	return json_object_object_get_ex(o, key, &value) ? value : NULL;
}

const char *vmj_json_text(struct json_object *o, const char *key, const char *otherwise)
{
	struct json_object *value = vmj_json_field(o, key);

	return json_object_is_type(value, json_type_string) ? json_object_get_string(value)
							    : otherwise;
}

int64_t vmj_json_int(struct json_object *o, const char *key, int64_t otherwise)
{
	struct json_object *value = vmj_json_field(o, key);

	return json_object_is_type(value, json_type_int) ? json_object_get_int64(value) : otherwise;
}

const char *vmj_bytes_format(int64_t bytes, char buf[VMJ_CELL_MAX])
{
	return vmj_format_bytes((uint64_t)bytes, buf, VMJ_CELL_MAX);
}

const char *vmj_cell_mib(struct json_object *value, char buf[VMJ_CELL_MAX])
{
	return vmj_format_size_mib((uint64_t)json_object_get_int64(value), buf, VMJ_CELL_MAX);
}

const char *vmj_cell_bytes(struct json_object *value, char buf[VMJ_CELL_MAX])
{
	return vmj_bytes_format(json_object_get_int64(value), buf);
}

const char *vmj_cell_seconds(struct json_object *value, char buf[VMJ_CELL_MAX])
{
	int64_t s = json_object_get_int64(value);
	int n = 0;

	if (s >= 86400)
		n = snprintf(buf, VMJ_CELL_MAX, "%" PRId64 "-", s / 86400);
	snprintf(buf + n, VMJ_CELL_MAX - (size_t)n, "%02d:%02d:%02d", (int)(s / 3600 % 24),
		 (int)(s / 60 % 60), (int)(s % 60));
	return buf;
}

const char *vmj_cell_list(struct json_object *value, char buf[VMJ_CELL_MAX])
{
	size_t used = 0;

	if (!json_object_is_type(value, json_type_array))
		return json_object_get_string(value);
	buf[0] = '\0';
	for (size_t i = 0; i < json_object_array_length(value) && used < VMJ_CELL_MAX; i++)
		used += (size_t)snprintf(
			buf + used, VMJ_CELL_MAX - used, "%s%s", i ? "," : "",
			json_object_get_string(json_object_array_get_idx(value, i)));
	return buf;
}

const char *vmj_time_format(int64_t seconds, char buf[VMJ_CELL_MAX])
{
	time_t t = (time_t)seconds;
	struct tm tm;

	if (t <= 0 || !localtime_r(&t, &tm))
		return "-";
	strftime(buf, VMJ_CELL_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
	return buf;
}

const char *vmj_cell_time(struct json_object *value, char buf[VMJ_CELL_MAX])
{
	return vmj_time_format(json_object_get_int64(value), buf);
}
