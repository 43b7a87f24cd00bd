/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vmjob storage: the storage domains of vmjob.conf. */
#include "vmjob/cli/storage.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/cli/agents.h"
#include "vmjob/cli/domain.h"
#include "vmjob/cli/table.h"
#include "vmjob/cli/view.h"
#include "vmjob/cli/volume_ask.h"
#include "vmjob/model/json.h"
#include "vmjob/storage/layout.h"
#include "vmjob/storage/usage.h"

VMJ_DEFINE_CLEANUP(struct vmj_config *, vmj_config_free);

error_t vmj_storage_parse(int key, char *arg, struct argp_state *state)
{
	struct vmj_storage_options *o = state->input;

	switch (key) {
	case 'j':
		o->json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (o->name)
			argp_error(state, "one at a time; \"%s\" is one too many", arg);
		o->name = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* --- list ------------------------------------------------------------------------------------ */

static const struct argp_option list_table[] = {
	VMJ_OPTION_JSON,
	{0},
};
static const struct argp list_argp = {
	.options = list_table,
	.parser = vmj_storage_parse,
	.args_doc = "[NAME]",
	.doc = "Lists the storage domains of vmjob.conf, as this host sees them.\v"
	       "STATE says what is wrong with one; the exit code is 1 then. USED is what images "
	       "and volumes take, as an agent counts it at most once a minute.",
};

static const struct vmj_column columns[] = {
	{"NAME", "name", false, false, NULL},
	{"PATH", "path", false, false, NULL},
	{"KIND", "kind", false, false, NULL},
	{"VERSION", "version", true, false, NULL},
	{"SIZE", "size_bytes", true, false, vmj_cell_bytes},
	{"FREE", "free_bytes", true, false, vmj_cell_bytes},
	{"USED", "used_bytes", true, false, vmj_cell_bytes},
	{"SPACE", "space", false, false, NULL},
	{"STATE", "state", false, true, NULL},
	{0},
};

/* "ok", "images only", or what is wrong. */
static bool add_state(struct json_object *row, const struct vmj_storage_config *s)
{
	struct vmj_domain_mark mark;
	struct vmj_error err;

	if (vmj_storage_check(s->path, &err) < 0 || vmj_domain_read(s->path, &mark, &err) < 0) {
		vmj_view_add_text(row, "state", err.text);
		return false;
	}
	vmj_view_add_int(row, "version", mark.version);
	vmj_view_add_text(row, "uuid", mark.uuid);
	if (strcmp(mark.name, s->name) != 0) {
		vmj_fail(&err, EINVAL, "it is the domain \"%s\"", mark.name);
		vmj_view_add_text(row, "state", err.text);
		return false;
	}
	if (mark.version < VMJ_DOMAIN_VERSION) {
		vmj_view_add_text(row, "state", "images only");
		return true;
	}
	if (geteuid() == 0 && vmj_storage_check_volumes(s->path, &err) < 0) {
		vmj_view_add_text(row, "state", err.text);
		return false;
	}
	vmj_view_add_text(row, "state", "ok");
	return true;
}

static void add_bound(struct json_object *row, const char *key, uint64_t mib)
{
	if (mib)
		vmj_view_add_int(row, key, (int64_t)(mib << 20));
}

bool vmj_storage_row(const struct vmj_storage_config *s, struct json_object *row)
{
	struct vmj_capacity room;
	bool ok;

	vmj_view_add_text(row, "name", s->name);
	vmj_view_add_text(row, "path", s->path);
	vmj_view_add_text(row, "kind", vmj_storage_kind_name(s->kind));
	ok = add_state(row, s);
	if (ok && vmj_capacity_read(s->path, &room, NULL) == 0) {
		vmj_view_add_int(row, "size_bytes", (int64_t)room.total_bytes);
		vmj_view_add_int(row, "free_bytes", (int64_t)room.free_bytes);
		vmj_view_add_text(
			row, "space",
			vmj_watermark_name(vmj_watermark_of(s, room.total_bytes, room.free_bytes)));
	}
	add_bound(row, "quota_bytes", s->quota_mib);
	add_bound(row, "limit_bytes", s->limit_mib);
	vmj_view_add_int(row, "low", s->low);
	vmj_view_add_int(row, "critical", s->critical);
	vmj_view_add_int(row, "renew_s", s->renew_s);
	json_object_object_add(row, "self_stop", json_object_new_boolean(s->self_stop));
	return ok;
}

int vmj_storage_ask(const struct vmj_storage_config *s, struct json_object *row,
		    struct vmj_error *err)
{
	vmj_autojson struct json_object *request = vmj_request_new("storage-show");
	vmj_autojson struct json_object *reply = NULL;
	int rc;

	vmj_view_add_text(request, "storage", s->name);
	rc = vmj_volume_ask(request, NULL, &reply, err);
	if (rc < 0)
		return rc;
	json_object_object_foreach (vmj_json_field(reply, "storage"), key, value)
		json_object_object_add(row, key, json_object_get(value));
	return 0;
}

static int print_list(struct json_object *rows, bool json, struct vmj_error *err)
{
	vmj_autojson struct json_object *o = NULL;

	if (!json)
		return vmj_table_print(columns, rows, stdout, err);
	o = json_object_new_object();
	json_object_object_add(o, "storages", json_object_get(rows));
	vmj_json_print(o, stdout);
	return 0;
}

static int run_list(const struct vmj_verb *verb, int argc, char **argv)
{
	VMJ_CLEANUP(vmj_config_freep) struct vmj_config *config = NULL;
	vmj_autojson struct json_object *rows = json_object_new_array();
	const struct vmj_storage_config *one = NULL;
	struct vmj_storage_options o = {0};
	struct vmj_error err;
	bool ok = true;

	argp_parse(verb->argp, argc, argv, 0, NULL, &o);
	if (vmj_config_load(NULL, &config, &err) < 0 ||
	    (o.name && vmj_config_storage(config, o.name, &one, &err) < 0))
		return vmj_say_failed(&err);
	for (unsigned int i = 0; i < config->n_storages; i++) {
		struct json_object *row;

		if (one && one != &config->storages[i])
			continue;
		row = json_object_new_object();
		if (vmj_storage_row(&config->storages[i], row))
			vmj_storage_ask(&config->storages[i], row, NULL);
		else
			ok = false;
		json_object_array_add(rows, row);
	}
	if (print_list(rows, o.json, &err) < 0)
		return vmj_say_failed(&err);
	return ok ? VMJ_EXIT_DONE : VMJ_EXIT_FAILED;
}

/* --- format ---------------------------------------------------------------------------------- */

static const struct argp format_argp = {
	.parser = vmj_storage_parse,
	.args_doc = "[NAME]",
	.doc = "Makes the directory of a storage domain ready, or brings one of an earlier version "
	       "up to this one; once, by root.\v"
	       "NAME: as in vmjob.conf (default: its first storage). The directory must be there, and "
	       "mounted. What it holds stays; what is missing is added; a domain that is ready stays "
	       "as it is.",
};

static int run_format(const struct vmj_verb *verb, int argc, char **argv)
{
	struct vmj_storage_config storage;
	struct vmj_storage_options o = {0};
	struct vmj_error err;

	argp_parse(verb->argp, argc, argv, 0, NULL, &o);
	if (vmj_domain_find(o.name, &storage, &err) < 0)
		return vmj_say_failed(&err);
	if (access(storage.path, F_OK) < 0) {
		vmj_say("storage %s: %s: %s: make the directory, or mount what belongs there",
			storage.name, storage.path, strerror(errno));
		return VMJ_EXIT_FAILED;
	}
	if (vmj_storage_format(storage.path, storage.name, &err) < 0)
		return vmj_say_failed(&err);
	return VMJ_EXIT_DONE;
}

static const struct vmj_verb verb_list = {
	.name = "list",
	.summary = "list storage domains",
	.argp = &list_argp,
	.words = VMJ_WORD_STORAGE,
	.run = run_list,
};
static const struct vmj_verb verb_format = {
	.name = "format",
	.summary = "make a storage domain ready (root, once)",
	.argp = &format_argp,
	.words = VMJ_WORD_STORAGE,
	.run = run_format,
};
static const struct vmj_verb *const verbs[] = {&verb_list, &vmj_storage_verb_show, &verb_format,
					       &vmj_storage_verb_check, NULL};

const struct vmj_verb vmj_verb_storage = {
	.name = "storage",
	.summary = "list, show, format and check storage domains",
	.sub = verbs,
};
