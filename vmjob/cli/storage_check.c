/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vmjob storage check: names each inconsistency of a storage domain, and mends what can be. */
#include "vmjob/storage/check.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/cli/agents.h"
#include "vmjob/cli/domain.h"
#include "vmjob/cli/storage.h"
#include "vmjob/cli/table.h"
#include "vmjob/cli/view.h"
#include "vmjob/cli/volume_ask.h"
#include "vmjob/model/json.h"

enum { KEY_REPAIR = 0x100, KEY_DEEP };

static const struct argp_option table[] = {
	{"repair", KEY_REPAIR, NULL, 0, "Mend what can be mended safely", 0},
	{"deep", KEY_DEEP, NULL, 0, "Read all images and volumes too: checksums, qemu-img check",
	 0},
	VMJ_OPTION_JSON,
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct vmj_storage_options *o = state->input;

	switch (key) {
	case KEY_REPAIR:
		o->repair = true;
		return 0;
	case KEY_DEEP:
		o->deep = true;
		return 0;
	default:
		return vmj_storage_parse(key, arg, state);
	}
}

static const struct argp argp = {
	.options = table,
	.parser = parse,
	.args_doc = "[NAME]",
	.doc = "Looks through a storage domain and names each inconsistency, one a line, with what "
	       "to do; by root.\v"
	       "NAME: as in vmjob.conf (default: its first storage). Guests and users may go on "
	       "meanwhile. Volumes are mended by an agent. The exit code is 1 where a warning "
	       "or an error is left.",
};

struct checking {
	const char *storage;
	struct json_object *rows; /* of --json: all findings; else printed as they come */
};

static void show(const struct vmj_finding *f, void *arg)
{
	struct checking *c = arg;
	struct json_object *row;

	if (!c->rows) {
		printf("%s: %s%s%s: %s\n", f->mended ? "mended" : vmj_severity_name(f->severity),
		       f->where, *f->where ? ": " : "", f->what, f->todo);
		return;
	}
	row = json_object_new_object();
	vmj_view_add_text(row, "severity", vmj_severity_name(f->severity));
	json_object_object_add(row, "mended", json_object_new_boolean(f->mended));
	vmj_view_add_text(row, "where", f->where);
	vmj_view_add_text(row, "what", f->what);
	vmj_view_add_text(row, f->mended ? "done" : "todo", f->todo);
	json_object_array_add(c->rows, row);
}

/* Only agents may take leases. */
static int mend_volume(const char *domain, uid_t uid, const char *name, void *arg,
		       struct vmj_error *err)
{
	vmj_autojson struct json_object *request = vmj_request_new("volume-mend");
	vmj_autojson struct json_object *reply = NULL;
	const struct checking *c = arg;

	vmj_view_add_text(request, "storage", c->storage);
	vmj_view_add_int(request, "uid", uid);
	vmj_view_add_text(request, "volume", name);
	return vmj_volume_ask(request, NULL, &reply, err);
}

static void print_sum(const struct vmj_check_sum *sum, struct json_object *rows)
{
	vmj_autojson struct json_object *o = NULL;

	if (!rows) {
		printf("%u errors, %u warnings, %u notes, %u mended\n", sum->left[VMJ_ERROR],
		       sum->left[VMJ_WARNING], sum->left[VMJ_NOTE], sum->mended);
		return;
	}
	o = json_object_new_object();
	json_object_object_add(o, "findings", json_object_get(rows));
	vmj_json_print(o, stdout);
}

static int run(const struct vmj_verb *verb, int argc, char **argv)
{
	vmj_autojson struct json_object *rows = NULL;
	struct vmj_storage_config storage;
	struct vmj_storage_options o = {0};
	struct checking c = {.storage = NULL};
	struct vmj_check_sum sum;
	struct vmj_error err;

	argp_parse(verb->argp, argc, argv, 0, NULL, &o);
	if (geteuid() != 0) {
		vmj_say("only root can look through a storage domain");
		return VMJ_EXIT_FAILED;
	}
	if (o.json)
		rows = json_object_new_array();
	c.rows = rows;
	c.storage = storage.name;
	if (vmj_domain_find(o.name, &storage, &err) < 0 ||
	    vmj_storage_check_all(&(struct vmj_check){.storage = &storage,
						      .repair = o.repair,
						      .deep = o.deep,
						      .found = show,
						      .mend_volume = mend_volume,
						      .arg = &c},
				  &sum, &err) < 0)
		return vmj_say_failed(&err);
	print_sum(&sum, rows);
	return sum.left[VMJ_ERROR] || sum.left[VMJ_WARNING] ? VMJ_EXIT_FAILED : VMJ_EXIT_DONE;
}

const struct vmj_verb vmj_storage_verb_check = {
	.name = "check",
	.summary = "find and mend what is wrong in one (root)",
	.argp = &argp,
	.words = VMJ_WORD_STORAGE,
	.run = run,
};
