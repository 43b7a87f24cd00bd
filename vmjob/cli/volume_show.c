/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vmjob volume list, vmjob volume show. */
#include <json-c/json.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/cli/agents.h"
#include "vmjob/cli/domain.h"
#include "vmjob/cli/table.h"
#include "vmjob/cli/view.h"
#include "vmjob/cli/volume.h"
#include "vmjob/cli/volume_ask.h"
#include "vmjob/model/json.h"

static void add_owner(struct json_object *row)
{
	uid_t uid = (uid_t)vmj_json_int(row, "uid", -1);
	struct passwd *who = getpwuid(uid);
	char number[16];

	snprintf(number, sizeof(number), "%u", (unsigned int)uid);
	vmj_view_add_text(row, "owner", who ? who->pw_name : number);
}

static const char *cell_text(struct json_object *value, char buf[VMJ_CELL_MAX])
{
	const char *text = json_object_get_string(value);

	snprintf(buf, VMJ_CELL_MAX, "%s", text && *text ? text : "-");
	return buf;
}

static const char *cell_job(struct json_object *value, char buf[VMJ_CELL_MAX])
{
	snprintf(buf, VMJ_CELL_MAX, "%lld", (long long)json_object_get_int64(value));
	return json_object_get_int64(value) ? buf : "-";
}

/* --- list ------------------------------------------------------------------------------------- */

static const struct argp_option list_table[] = {
	VMJ_OPTION_STORAGE,
	{"all", 'a', NULL, 0, "Volumes of all users (operators)", 0},
	VMJ_OPTION_JSON,
	{0},
};
static const struct argp list_argp = {
	.options = list_table,
	.parser = vmj_volume_options_parse,
	.doc = "Lists your volumes.\v"
	       "SIZE is what a guest sees; `vmjob volume show` tells what is written.",
};

/* Of all users; one's own: without the first. */
static const struct vmj_column columns[] = {
	{"OWNER", "owner", false, false, NULL},
	{"NAME", "name", false, false, NULL},
	{"SIZE", "virtual_bytes", true, false, vmj_cell_bytes},
	{"SNAPSHOTS", "snapshots", true, false, NULL},
	{"IMAGE", "image", false, false, cell_text},
	{"JOB", "job", true, false, cell_job},
	{"CREATED", "time", false, false, vmj_cell_time},
	{0},
};

static struct json_object *list_request(const struct vmj_volume_options *o, size_t skip)
{
	struct json_object *request = vmj_request_new("volume-list");

	if (o->storage)
		vmj_view_add_text(request, "storage", o->storage);
	if (o->all)
		vmj_json_put_bool(request, "all", true);
	if (skip)
		vmj_view_add_int(request, "skip", (int64_t)skip);
	return request;
}

/* The agent sends as many at once as a frame holds. */
static int collect(const struct vmj_volume_options *o, struct json_object *rows,
		   int64_t *ret_damaged, struct vmj_error *err)
{
	for (;;) {
		vmj_autojson struct json_object *request =
			list_request(o, json_object_array_length(rows));
		vmj_autojson struct json_object *answer = NULL;
		struct json_object *some;
		int rc = vmj_volume_ask(request, NULL, &answer, err);

		if (rc < 0)
			return rc;
		some = vmj_json_field(answer, "volumes");
		for (size_t i = 0; some && i < json_object_array_length(some); i++) {
			struct json_object *row = json_object_array_get_idx(some, i);

			add_owner(row);
			json_object_array_add(rows, json_object_get(row));
		}
		*ret_damaged = vmj_json_int(answer, "damaged", 0);
		if (!json_object_get_boolean(vmj_json_field(answer, "more")) || !some ||
		    json_object_array_length(some) == 0)
			return 0;
	}
}

static int run_list(const struct vmj_verb *verb, int argc, char **argv)
{
	vmj_autojson struct json_object *all = json_object_new_object();
	struct json_object *rows = json_object_new_array();
	struct vmj_volume_options o = {.wanted = 0};
	struct vmj_error err;
	int64_t damaged = 0;

	json_object_object_add(all, "volumes", rows);
	argp_parse(verb->argp, argc, argv, 0, NULL, &o);
	if (collect(&o, rows, &damaged, &err) < 0)
		return vmj_say_failed(&err);
	if (o.json)
		vmj_json_print(all, stdout);
	else if (vmj_table_print(columns + (o.all ? 0 : 1), rows, stdout, &err) < 0)
		return vmj_say_failed(&err);
	if (!damaged)
		return VMJ_EXIT_DONE;
	vmj_say("%lld volumes cannot be read: the operators' `vmjob storage check` names them",
		(long long)damaged);
	return VMJ_EXIT_FAILED;
}

const struct vmj_verb vmj_volume_verb_list = {
	.name = "list",
	.summary = "list volumes",
	.argp = &list_argp,
	.run = run_list,
};

/* --- show ------------------------------------------------------------------------------------- */

static const struct argp_option show_table[] = {
	VMJ_OPTION_JSON,
	{0},
};
static const struct argp show_argp = {
	.options = show_table,
	.parser = vmj_volume_options_parse,
	.args_doc = "[STORAGE:]NAME",
	.doc = "Shows a volume: what is written, who uses it, its layers and snapshots.",
};

static const struct vmj_column lines[] = {
	{"Name", "name", false, false, NULL},
	{"Storage", "storage", false, false, NULL},
	{"Owner", "owner", false, false, NULL},
	{"Size", "virtual_bytes", false, false, vmj_cell_bytes},
	{"Written", "used_bytes", false, false, vmj_cell_bytes},
	{"Image", "image", false, false, cell_text},
	{"Created", "time", false, false, vmj_cell_time},
	{"Used by", "holder", false, false, NULL},
	{"Since", "since", false, false, vmj_cell_time},
	{"Layers", "chain", false, false, vmj_cell_list},
	{0},
};
static const struct vmj_column snapshot_columns[] = {
	{"SNAPSHOT", "name", false, false, NULL},
	{"TIME", "time", false, false, vmj_cell_time},
	{"SIZE", "virtual_bytes", true, false, vmj_cell_bytes},
	{"LAYER", "layer", false, false, NULL},
	{0},
};

/* One flat object of what the agent says. */
static struct json_object *show_row(struct json_object *answer)
{
	static const char *const keys[] = {"storage", "used_bytes", "chain"};
	struct json_object *volume = vmj_json_field(answer, "volume");
	struct json_object *lease = vmj_json_field(answer, "lease");
	struct json_object *row = json_object_new_object();

	if (json_object_is_type(volume, json_type_object)) {
		json_object_object_foreach (volume, key, value)
			json_object_object_add(row, key, json_object_get(value));
	}
	add_owner(row);
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		json_object_object_add(row, keys[i],
				       json_object_get(vmj_json_field(answer, keys[i])));
	if (json_object_get_boolean(vmj_json_field(lease, "held"))) {
		vmj_view_add_text(row, "holder", vmj_json_text(lease, "holder", ""));
		vmj_view_add_int(row, "since", vmj_json_int(lease, "since", 0));
	}
	json_object_object_add(row, "lease", json_object_get(lease));
	return row;
}

static int show(const struct vmj_volume_options *o, struct vmj_error *err)
{
	vmj_autojson struct json_object *request = NULL, *answer = NULL, *row = NULL;
	struct json_object *snapshots;
	struct vmj_volume_name v;
	int rc = vmj_volume_name_parse(o->arguments[0], &v, err);

	if (rc < 0)
		return rc;
	request = vmj_volume_request("volume-show", &v);
	rc = vmj_volume_ask(request, NULL, &answer, err);
	if (rc < 0)
		return rc;
	row = show_row(answer);
	if (o->json) {
		vmj_json_print(row, stdout);
		return 0;
	}
	vmj_lines_print(lines, row, stdout);
	snapshots = vmj_json_field(row, "snapshots");
	if (!snapshots || json_object_array_length(snapshots) == 0)
		return 0;
	putchar('\n');
	return vmj_table_print(snapshot_columns, snapshots, stdout, err);
}

static int run_show(const struct vmj_verb *verb, int argc, char **argv)
{
	struct vmj_volume_options o = {.wanted = 1, .wanted_what = show_argp.args_doc};
	struct vmj_error err;

	argp_parse(verb->argp, argc, argv, 0, NULL, &o);
	return show(&o, &err) < 0 ? vmj_say_failed(&err) : VMJ_EXIT_DONE;
}

const struct vmj_verb vmj_volume_verb_show = {
	.name = "show",
	.summary = "show a volume",
	.argp = &show_argp,
	.words = VMJ_WORD_VOLUME,
	.run = run_show,
};
