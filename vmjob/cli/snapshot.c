/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vmjob snapshot: of a volume, or of all volumes of a job's guest. */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/cli/agents.h"
#include "vmjob/cli/table.h"
#include "vmjob/cli/target.h"
#include "vmjob/cli/verb.h"
#include "vmjob/cli/view.h"
#include "vmjob/cli/volume_ask.h"
#include "vmjob/model/json.h"

enum { KEY_MEMORY = 0x100 };

struct options {
	bool json, memory;
	const char *name, *hosts;
	unsigned int least, most, n;
	const char *arguments[2]; /* TARGET, NAME */
};

#define OPTION_NAME                                                                           \
	{                                                                                     \
		"name", 'n', "NAME", 0, "What to call it (default: the date and the time)", 0 \
	}
#define OPTION_MEMORY                                                                           \
	{                                                                                       \
		"memory", KEY_MEMORY, NULL, 0, "The guest's memory, too (not available yet)", 0 \
	}

static const struct argp_option create_table[] = {
	OPTION_NAME, OPTION_MEMORY, VMJ_OPTION_HOST, VMJ_OPTION_JSON, {0},
};
static const struct argp_option list_table[] = {
	VMJ_OPTION_HOST,
	VMJ_OPTION_JSON,
	{0},
};
static const struct argp_option rm_table[] = {
	VMJ_OPTION_HOST,
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case 'n':
		o->name = arg;
		return 0;
	case KEY_MEMORY:
		o->memory = true;
		return 0;
	case 'j':
		o->json = true;
		return 0;
	case 'H':
		o->hosts = arg;
		return 0;
	case ARGP_KEY_ARG:
		if (o->n >= o->most)
			argp_error(state, "\"%s\" is one argument too many", arg);
		else
			o->arguments[o->n++] = arg;
		return 0;
	case ARGP_KEY_END:
		if (o->n < o->least)
			argp_error(state, "%s",
				   o->n ? "which snapshot?" : "of what? a volume or a job");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp create_argp = {
	.options = create_table,
	.parser = parse,
	.args_doc = "TARGET [NAME]",
	.doc = "Keeps what a volume holds now, under a name.\v"
	       "TARGET is a volume ([STORAGE:]NAME), or a job: then all volumes of its guest at the "
	       "same moment. A guest may run meanwhile; its file systems are frozen for that moment if "
	       "its agent answers.",
};
static const struct argp list_argp = {
	.options = list_table,
	.parser = parse,
	.args_doc = "TARGET",
	.doc = "Lists the snapshots of a volume, or of the volumes of a job's guest.",
};
static const struct argp revert_argp = {
	.parser = parse,
	.args_doc = "VOLUME NAME",
	.doc = "Makes a volume what it was at a snapshot.\v"
	       "What was written since and is in no snapshot is lost. No guest may have the volume. "
	       "All snapshots stay.",
};
static const struct argp rm_argp = {
	.options = rm_table,
	.parser = parse,
	.args_doc = "TARGET NAME",
	.doc = "Removes a snapshot, and frees the space that only it needed.\v"
	       "The volume and its other snapshots keep what they hold. A guest may run meanwhile; "
	       "what cannot be freed under it is freed later.",
};

/* --- targets ---------------------------------------------------------------------------------- */

static bool is_job(const char *target)
{
	return *target && strspn(target, "0123456789") == strlen(target);
}

static int copy_name(struct json_object *disk, const char *key, char ret[VMJ_NAME_MAX + 1])
{
	const char *text = vmj_json_text(disk, key, "");

	return snprintf(ret, VMJ_NAME_MAX + 1, "%s", text) <= VMJ_NAME_MAX && *text;
}

#define VOLUMES_MAX 32

struct volumes {
	unsigned int n;
	struct vmj_volume_name list[VOLUMES_MAX];
};

/* Those that a guest may write to, as its agent says. */
static int volumes_of_guest(const struct options *o, struct volumes *ret, struct vmj_error *err)
{
	VMJ_CLEANUP(vmj_target_done) struct vmj_target target = {.job = 0};
	vmj_autojson struct json_object *request = NULL, *answer = NULL;
	struct json_object *disks;
	int rc = vmj_target_find_one(o->arguments[0], o->hosts, &target, err);

	if (rc < 0)
		return rc;
	request = vmj_request_for_job("show", target.job);
	rc = vmj_agent_call(target.hosts.names[0], request, VMJ_AGENT_TIMEOUT_MS, &answer, err);
	if (rc < 0)
		return rc;
	disks = vmj_json_field(vmj_json_field(answer, "guest"), "disks");
	ret->n = 0;
	for (size_t i = 0; json_object_is_type(disks, json_type_array) &&
			   i < json_object_array_length(disks) && ret->n < VOLUMES_MAX;
	     i++) {
		struct json_object *disk = json_object_array_get_idx(disks, i);

		if (copy_name(disk, "volume", ret->list[ret->n].name) &&
		    copy_name(disk, "storage", ret->list[ret->n].storage) &&
		    !json_object_get_boolean(vmj_json_field(disk, "readonly")))
			ret->n++;
	}
	return ret->n ? 0
		      : vmj_fail_user(
				err, ENOENT,
				"the guest of job %u has no volumes, and its own disks go with the "
				"job: have its root disk as a volume (--vm-persistent=NAME)",
				target.job);
}

static int find_volumes(const struct options *o, struct volumes *ret, struct vmj_error *err)
{
	if (is_job(o->arguments[0]))
		return volumes_of_guest(o, ret, err);
	ret->n = 1;
	return vmj_volume_name_parse(o->arguments[0], &ret->list[0], err);
}

static void begin(const struct vmj_verb *verb, int argc, char **argv, unsigned int least,
		  unsigned int most, struct options *o)
{
	*o = (struct options){.least = least, .most = most};
	argp_parse(verb->argp, argc, argv, 0, NULL, o);
}

/* --- create ----------------------------------------------------------------------------------- */

static const char *name_now(char buf[32])
{
	time_t now = time(NULL);
	struct tm tm;

	localtime_r(&now, &tm);
	strftime(buf, 32, "%Y%m%d-%H%M%S", &tm);
	return buf;
}

static void add_members(struct json_object *request, const struct options *o, const char *name)
{
	json_object_object_add(request, "name", json_object_new_string(name));
	if (o->memory)
		json_object_object_add(request, "memory", json_object_new_boolean(true));
}

static int create_of_job(const struct options *o, const char *name, struct json_object **ret,
			 struct vmj_error *err)
{
	VMJ_CLEANUP(vmj_target_done) struct vmj_target target = {.job = 0};
	vmj_autojson struct json_object *request = NULL;
	int rc = vmj_target_find_one(o->arguments[0], o->hosts, &target, err);

	if (rc < 0)
		return rc;
	request = vmj_request_for_job("snapshot-create", target.job);
	add_members(request, o, name);
	return vmj_volume_ask_at(target.hosts.names[0], request, NULL, ret, err);
}

static int create_of_volume(const struct options *o, const char *name, struct json_object **ret,
			    struct vmj_error *err)
{
	vmj_autojson struct json_object *request = NULL, *answer = NULL;
	struct json_object *rows;
	struct vmj_volume_name v;
	int rc = vmj_volume_name_parse(o->arguments[0], &v, err);

	if (rc < 0)
		return rc;
	request = vmj_volume_request("snapshot-create", &v);
	add_members(request, o, name);
	rc = vmj_volume_ask_holder(&v, request, NULL, &answer, err);
	if (rc < 0)
		return rc;
	*ret = json_object_new_object();
	rows = json_object_new_array();
	json_object_object_add(*ret, "snapshots", rows);
	json_object_array_add(rows, json_object_get(vmj_json_field(answer, "snapshot")));
	return 0;
}

/* The rows of an answer, apart from what else it has. */
static struct json_object *rows_of(struct json_object *answer)
{
	struct json_object *o = json_object_new_object();
	struct json_object *rows = vmj_json_field(answer, "snapshots");

	json_object_object_add(o, "snapshots",
			       rows ? json_object_get(rows) : json_object_new_array());
	return o;
}

static void warn_unquiesced(struct json_object *rows)
{
	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);

		if (!json_object_get_boolean(vmj_json_field(row, "quiesced")))
			vmj_say("volume %s: the guest's agent did not answer, so its file systems were "
				"not frozen: the snapshot is as after a power cut",
				vmj_json_text(row, "volume", "?"));
	}
}

static int run_create(const struct vmj_verb *verb, int argc, char **argv)
{
	vmj_autojson struct json_object *answer = NULL, *shown = NULL;
	struct options o;
	struct vmj_error err;
	char now[32];
	int rc;

	begin(verb, argc, argv, 1, 2, &o);
	if (!o.name)
		o.name = o.n > 1 ? o.arguments[1] : name_now(now);
	if (is_job(o.arguments[0]))
		rc = create_of_job(&o, o.name, &answer, &err);
	else
		rc = create_of_volume(&o, o.name, &answer, &err);
	if (rc < 0)
		return vmj_say_failed(&err);
	shown = rows_of(answer);
	warn_unquiesced(vmj_json_field(shown, "snapshots"));
	if (o.json)
		vmj_json_print(shown, stdout);
	else
		puts(o.name);
	return VMJ_EXIT_DONE;
}

/* --- list ------------------------------------------------------------------------------------- */

static const char *cell_bytes(struct json_object *value, char buf[VMJ_CELL_MAX])
{
	return value ? vmj_bytes_format(json_object_get_int64(value), buf) : "-";
}

static const char *cell_yes_no(struct json_object *value, char buf[VMJ_CELL_MAX])
{
	return json_object_get_boolean(value) ? "yes" : "no";
}

static const struct vmj_column columns[] = {
	{"VOLUME", "volume", false, false, NULL},
	{"NAME", "name", false, false, NULL},
	{"TIME", "time", false, false, vmj_cell_time},
	{"SIZE", "virtual_bytes", true, false, cell_bytes},
	{"QUIESCED", "quiesced", false, false, cell_yes_no},
	{0},
};

static int list_volume(const struct vmj_volume_name *v, struct json_object *rows,
		       struct vmj_error *err)
{
	vmj_autojson struct json_object *request = vmj_volume_request("snapshot-list", v);
	vmj_autojson struct json_object *answer = NULL;
	struct json_object *found;
	int rc = vmj_volume_ask(request, NULL, &answer, err);

	if (rc < 0)
		return rc;
	found = vmj_json_field(answer, "snapshots");
	for (size_t i = 0; found && i < json_object_array_length(found); i++)
		json_object_array_add(rows, json_object_get(json_object_array_get_idx(found, i)));
	return 0;
}

static int run_list(const struct vmj_verb *verb, int argc, char **argv)
{
	vmj_autojson struct json_object *shown = json_object_new_object();
	struct json_object *rows = json_object_new_array();
	struct volumes volumes;
	struct options o;
	struct vmj_error err;
	int rc;

	json_object_object_add(shown, "snapshots", rows);
	begin(verb, argc, argv, 1, 1, &o);
	rc = find_volumes(&o, &volumes, &err);
	for (unsigned int i = 0; rc == 0 && i < volumes.n; i++)
		rc = list_volume(&volumes.list[i], rows, &err);
	if (rc < 0)
		return vmj_say_failed(&err);
	if (o.json)
		vmj_json_print(shown, stdout);
	else if (vmj_table_print(columns, rows, stdout, &err) < 0)
		return vmj_say_failed(&err);
	return VMJ_EXIT_DONE;
}

/* --- revert, rm ------------------------------------------------------------------------------- */

static int change(const char *op, const struct options *o, const struct vmj_volume_name *v,
		  const char *title, struct vmj_error *err)
{
	vmj_autojson struct json_object *request = vmj_volume_request(op, v);

	json_object_object_add(request, "name", json_object_new_string(o->arguments[1]));
	return vmj_volume_ask_holder(v, request, title, NULL, err);
}

static int run_revert(const struct vmj_verb *verb, int argc, char **argv)
{
	struct vmj_volume_name v;
	struct options o;
	struct vmj_error err;

	begin(verb, argc, argv, 2, 2, &o);
	if (is_job(o.arguments[0])) {
		vmj_say("a guest cannot be reverted while it runs: stop job %s, then name the volume "
			"(`vmjob snapshot revert VOLUME %s`)",
			o.arguments[0], o.arguments[1]);
		return VMJ_EXIT_FAILED;
	}
	if (vmj_volume_name_parse(o.arguments[0], &v, &err) < 0 ||
	    change("snapshot-revert", &o, &v, NULL, &err) < 0)
		return vmj_say_failed(&err);
	return VMJ_EXIT_DONE;
}

/* Of all volumes of a guest that have it; at least one must. */
static int run_rm(const struct vmj_verb *verb, int argc, char **argv)
{
	struct volumes volumes;
	struct options o;
	struct vmj_error err;
	bool done = false;

	begin(verb, argc, argv, 2, 2, &o);
	if (find_volumes(&o, &volumes, &err) < 0)
		return vmj_say_failed(&err);
	for (unsigned int i = 0; i < volumes.n; i++) {
		int rc = change("snapshot-rm", &o, &volumes.list[i], "Freeing space", &err);

		if (rc < 0 && rc != -ENOENT)
			return vmj_say_failed(&err);
		done |= rc == 0;
	}
	return done ? VMJ_EXIT_DONE : vmj_say_failed(&err);
}

/* --- the verbs -------------------------------------------------------------------------------- */

static const struct vmj_verb verb_create = {
	.name = "create",
	.summary = "keep what a volume holds now",
	.argp = &create_argp,
	.words = VMJ_WORD_VOLUME,
	.run = run_create,
};
static const struct vmj_verb verb_list = {
	.name = "list",
	.summary = "list snapshots",
	.argp = &list_argp,
	.words = VMJ_WORD_VOLUME,
	.run = run_list,
};
static const struct vmj_verb verb_revert = {
	.name = "revert",
	.summary = "make a volume what it was",
	.argp = &revert_argp,
	.words = VMJ_WORD_VOLUME,
	.run = run_revert,
};
static const struct vmj_verb verb_rm = {
	.name = "rm",
	.summary = "remove a snapshot",
	.argp = &rm_argp,
	.words = VMJ_WORD_VOLUME,
	.run = run_rm,
};
static const struct vmj_verb *const verbs[] = {&verb_create, &verb_list, &verb_revert, &verb_rm,
					       NULL};

const struct vmj_verb vmj_verb_snapshot = {
	.name = "snapshot",
	.summary = "keep what volumes hold, and go back to it",
	.sub = verbs,
};
