/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vmjob storage show: all that is known of one storage domain. */
#include <json-c/json.h>
#include <pwd.h>
#include <stdio.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/cli/domain.h"
#include "vmjob/cli/storage.h"
#include "vmjob/cli/table.h"
#include "vmjob/cli/view.h"
#include "vmjob/model/json.h"

static const struct argp_option table[] = {
	VMJ_OPTION_JSON,
	{0},
};
static const struct argp argp = {
	.options = table,
	.parser = vmj_storage_parse,
	.args_doc = "[NAME]",
	.doc = "Shows a storage domain: its bounds, what is written in it, and its hosts.\v"
	       "NAME: as in vmjob.conf (default: its first storage). What each user has written is "
	       "shown to root and operators.",
};

static const char *cell_percent(struct json_object *value, char buf[VMJ_CELL_MAX])
{
	snprintf(buf, VMJ_CELL_MAX, "%d %% free", json_object_get_int(value));
	return buf;
}

static const char *cell_yes(struct json_object *value, char buf[VMJ_CELL_MAX])
{
	return json_object_get_boolean(value) ? "yes" : "no";
}

static const char *cell_age(struct json_object *value, char buf[VMJ_CELL_MAX])
{
	snprintf(buf, VMJ_CELL_MAX, "%.1f s", (double)json_object_get_int64(value) / 1000);
	return buf;
}

static const struct vmj_column lines[] = {
	{"Name", "name", false, false, NULL},
	{"Path", "path", false, false, NULL},
	{"Kind", "kind", false, false, NULL},
	{"Version", "version", false, false, NULL},
	{"UUID", "uuid", false, false, NULL},
	{"State", "state", false, false, NULL},
	{"Size", "size_bytes", false, false, vmj_cell_bytes},
	{"Free", "free_bytes", false, false, vmj_cell_bytes},
	{"Space", "space", false, false, NULL},
	{"Low", "low", false, false, cell_percent},
	{"Critical", "critical", false, false, cell_percent},
	{"Used", "used_bytes", false, false, vmj_cell_bytes},
	{"Promised", "promised_bytes", false, false, vmj_cell_bytes},
	{"Limit", "limit_bytes", false, false, vmj_cell_bytes},
	{"Quota", "quota_bytes", false, false, vmj_cell_bytes},
	{"Renewal", "renew_s", false, false, vmj_cell_seconds},
	{"Self-stop", "self_stop", false, false, cell_yes},
	{0},
};
static const struct vmj_column mine[] = {
	{"My images", "images_bytes", false, false, vmj_cell_bytes},
	{"My volumes", "volumes_bytes", false, false, vmj_cell_bytes},
	{0},
};
static const struct vmj_column host_columns[] = {
	{"HOST", "host", false, false, NULL},
	{"STATE", "state", false, false, NULL},
	{"RENEWED", "age_ms", true, false, cell_age},
	{"SIZE", "size_bytes", true, false, vmj_cell_bytes},
	{"FREE", "free_bytes", true, false, vmj_cell_bytes},
	{"VMJOB", "version", false, false, NULL},
	{0},
};
static const struct vmj_column user_columns[] = {
	{"USER", "user", false, false, NULL},
	{"IMAGES", "images_bytes", true, false, vmj_cell_bytes},
	{"VOLUMES", "volumes_bytes", true, false, vmj_cell_bytes},
	{"NUMBER", "volumes", true, false, NULL},
	{"PROMISED", "promised_bytes", true, false, vmj_cell_bytes},
	{0},
};

/* The agent knows uids. */
static void name_users(struct json_object *users)
{
	for (size_t i = 0; users && i < json_object_array_length(users); i++) {
		struct json_object *o = json_object_array_get_idx(users, i);
		uid_t uid = (uid_t)vmj_json_int(o, "uid", -1);
		struct passwd *who = getpwuid(uid);
		char number[16];

		snprintf(number, sizeof(number), "%u", (unsigned int)uid);
		vmj_view_add_text(o, "user", who ? who->pw_name : number);
	}
}

static int print_table(const struct vmj_column *columns, struct json_object *rows,
		       struct vmj_error *err)
{
	if (!rows || json_object_array_length(rows) == 0)
		return 0;
	putchar('\n');
	return vmj_table_print(columns, rows, stdout, err);
}

static int print(struct json_object *row, bool json, struct vmj_error *err)
{
	int rc;

	if (json) {
		vmj_json_print(row, stdout);
		return 0;
	}
	vmj_lines_print(lines, row, stdout);
	vmj_lines_print(mine, vmj_json_field(row, "mine"), stdout);
	rc = print_table(host_columns, vmj_json_field(row, "hosts"), err);
	return rc < 0 ? rc : print_table(user_columns, vmj_json_field(row, "users"), err);
}

static int run(const struct vmj_verb *verb, int argc, char **argv)
{
	vmj_autojson struct json_object *row = json_object_new_object();
	struct vmj_storage_config storage;
	struct vmj_storage_options o = {0};
	struct vmj_error err;
	bool ok;

	argp_parse(verb->argp, argc, argv, 0, NULL, &o);
	if (vmj_domain_find(o.name, &storage, &err) < 0)
		return vmj_say_failed(&err);
	ok = vmj_storage_row(&storage, row);
	if (ok && vmj_storage_ask(&storage, row, &err) < 0)
		vmj_say("without what only root sees: %s", err.text);
	name_users(vmj_json_field(row, "users"));
	if (print(row, o.json, &err) < 0)
		return vmj_say_failed(&err);
	return ok ? VMJ_EXIT_DONE : VMJ_EXIT_FAILED;
}

const struct vmj_verb vmj_storage_verb_show = {
	.name = "show",
	.summary = "show a storage domain",
	.argp = &argp,
	.words = VMJ_WORD_STORAGE,
	.run = run,
};
