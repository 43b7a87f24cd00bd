/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tables for people and JSON for programs, from the same rows: a row is a JSON object, a table
 * shows some of its keys. So what --json prints is what is shown, under stable names.
 */
#ifndef VMJ_CLI_TABLE_H
#define VMJ_CLI_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "vmjob/base/error.h"

struct json_object;

#define VMJ_CELL_MAX 256

struct vmj_column {
	const char *title;
	const char *key;
	bool right; /* numbers */
	bool cut;   /* give way on a narrow terminal */
	/* value may be NULL (no such key: shown as "-"). Returns buf or a literal; NULL: as JSON
	 * has it */
	const char *(*text)(struct json_object *value, char buf[VMJ_CELL_MAX]);
};

/* columns end with title == NULL. No rows: prints the titles. */
int vmj_table_print(const struct vmj_column *columns, struct json_object *rows, FILE *out,
		    struct vmj_error *err);
/* The same columns of one object as lines, a title and a value each; what is not there is left out.
 */
void vmj_lines_print(const struct vmj_column *lines, struct json_object *o, FILE *out);
void vmj_json_print(struct json_object *o, FILE *out);

/* Fields of objects that came from elsewhere: a missing or wrongly typed one gives the default. */
struct json_object *vmj_json_field(struct json_object *o, const char *key);
const char *vmj_json_text(struct json_object *o, const char *key, const char *otherwise);
int64_t vmj_json_int(struct json_object *o, const char *key, int64_t otherwise);

/* "17B", "1.5G". buf of VMJ_CELL_MAX. */
const char *vmj_bytes_format(int64_t bytes, char buf[VMJ_CELL_MAX]);

/* Cells. */
const char *vmj_cell_mib(struct json_object *value, char buf[VMJ_CELL_MAX]);
const char *vmj_cell_bytes(struct json_object *value, char buf[VMJ_CELL_MAX]);
const char *vmj_cell_seconds(struct json_object *value, char buf[VMJ_CELL_MAX]); /* 1-02:03:04 */
const char *vmj_cell_list(struct json_object *value, char buf[VMJ_CELL_MAX]);    /* "a,b" */
const char *vmj_time_format(int64_t seconds, char buf[VMJ_CELL_MAX]);            /* local time */
const char *vmj_cell_time(struct json_object *value, char buf[VMJ_CELL_MAX]); /* local, seconds */

#endif
