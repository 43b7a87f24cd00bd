/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vmjob image: import, list and remove images in a storage domain. */
#include <inttypes.h>
#include <json-c/json.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/parse.h"
#include "vmjob/cli/domain.h"
#include "vmjob/cli/table.h"
#include "vmjob/cli/verb.h"
#include "vmjob/cli/view.h"
#include "vmjob/storage/image.h"
#include "vmjob/model/json.h"
#include "vmjob/model/request.h"

enum { KEY_PUBLIC = 0x100 };

struct options {
	bool json, public_;
	const char *storage, *name, *argument;
};

static const struct argp_option import_table[] = {
	{"name", 'n', "NAME", 0, "What to call it (default: the file's name without its ending)",
	 0},
	{"public", KEY_PUBLIC, NULL, 0, "For all users (root only)", 0},
	VMJ_OPTION_STORAGE,
	VMJ_OPTION_JSON,
	{0},
};
static const struct argp_option list_table[] = {
	VMJ_OPTION_STORAGE,
	VMJ_OPTION_JSON,
	{0},
};
static const struct argp_option rm_table[] = {
	{"public", KEY_PUBLIC, NULL, 0, "The public image, not your own (root only)", 0},
	VMJ_OPTION_STORAGE,
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case 'n':
		o->name = arg;
		return 0;
	case 's':
		o->storage = arg;
		return 0;
	case 'j':
		o->json = true;
		return 0;
	case KEY_PUBLIC:
		o->public_ = true;
		return 0;
	case ARGP_KEY_ARG:
		if (o->argument)
			argp_error(state, "one at a time; \"%s\" is one too many", arg);
		o->argument = arg;
		return 0;
	case ARGP_KEY_NO_ARGS:
		if (state->root_argp->args_doc)
			argp_error(state, "%s is missing", state->root_argp->args_doc);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static error_t parse_none(int key, char *arg, struct argp_state *state)
{
	if (key == ARGP_KEY_ARG)
		argp_error(state, "\"%s\" is one argument too many", arg);
	return parse(key, arg, state);
}

static const struct argp import_argp = {
	.options = import_table,
	.parser = parse,
	.args_doc = "FILE",
	.doc = "Imports a disk image (qcow2 or raw) for use as --vm-image.\v"
	       "Importing under a name that exists makes a new revision; guests that run keep "
	       "theirs. The file is copied and stays as it is.",
};
static const struct argp list_argp = {
	.options = list_table,
	.parser = parse_none,
	.doc = "Lists your images and the public ones.",
};
static const struct argp rm_argp = {
	.options = rm_table,
	.parser = parse,
	.args_doc = "NAME[@REV]",
	.doc = "Removes an image of yours, or one revision of it.\v"
	       "Guests that run from it are not ended, but could not be started again.",
};

static struct json_object *image_row(const struct vmj_image *image)
{
	struct json_object *row = json_object_new_object();
	struct passwd *owner = getpwuid(image->owner);

	vmj_view_add_text(row, "name", image->name);
	vmj_view_add_int(row, "revision", image->revision);
	vmj_view_add_text(row, "owner", image->public_ ? "public" : owner ? owner->pw_name : "");
	vmj_view_add_int(row, "uid", image->owner);
	json_object_object_add(row, "public", json_object_new_boolean(image->public_));
	vmj_view_add_int(row, "size_mib", (int64_t)image->virtual_mib);
	vmj_view_add_int(row, "used_mib", (int64_t)image->used_mib);
	vmj_view_add_int(row, "imported", image->time);
	vmj_view_add_text(row, "sha256", image->sha256);
	vmj_view_add_text(row, "path", image->path);
	return row;
}

static void show_progress(double fraction, void *arg)
{
	fprintf(stderr, "\r%s %3.0f %%", (const char *)arg, fraction * 100);
}

/* "dir/debian12.qcow2" → "debian12" */
static const char *name_of_file(const char *file, char buf[VMJ_NAME_MAX + 1])
{
	const char *base = strrchr(file, '/');

	base = base ? base + 1 : file;
	snprintf(buf, VMJ_NAME_MAX + 1, "%.*s", (int)strcspn(base, "."), base);
	return buf;
}

static int run_import(const struct vmj_verb *verb, int argc, char **argv)
{
	struct vmj_storage_config storage;
	char name[VMJ_NAME_MAX + 1], title[VMJ_NAME_MAX + 16];
	bool terminal = isatty(STDERR_FILENO);
	struct vmj_image image;
	struct options o = {0};
	struct vmj_error err;
	int rc;

	argp_parse(verb->argp, argc, argv, 0, NULL, &o);
	if (!o.name)
		o.name = name_of_file(o.argument, name);
	snprintf(title, sizeof(title), "Importing %s", o.name);
	rc = vmj_domain_find(o.storage, &storage, &err);
	if (rc == 0)
		rc = vmj_image_import(storage.path, o.name, o.argument, o.public_,
				      terminal ? show_progress : NULL, title, &image, &err);
	if (terminal)
		fputs("\r\033[K", stderr);
	if (rc < 0)
		return vmj_say_failed(&err);
	if (o.json) {
		vmj_autojson struct json_object *row = image_row(&image);
		vmj_json_print(row, stdout);
	} else {
		printf("%s@%" PRIu32 "\n", image.name, image.revision);
	}
	return VMJ_EXIT_DONE;
}

static const struct vmj_column columns[] = {
	{"NAME", "name", false, false, NULL},
	{"REV", "revision", true, false, NULL},
	{"OWNER", "owner", false, false, NULL},
	{"SIZE", "size_mib", true, false, vmj_cell_mib},
	{"USED", "used_mib", true, false, vmj_cell_mib},
	{"IMPORTED", "imported", false, false, vmj_cell_time},
	{0},
};

static int run_list(const struct vmj_verb *verb, int argc, char **argv)
{
	vmj_autojson struct json_object *o = json_object_new_object();
	struct json_object *rows = json_object_new_array();
	vmj_autofree struct vmj_image *images = NULL;
	struct vmj_storage_config storage;
	struct options options = {0};
	struct vmj_error err;
	size_t n = 0;

	json_object_object_add(o, "images", rows);
	argp_parse(verb->argp, argc, argv, 0, NULL, &options);
	if (vmj_domain_find(options.storage, &storage, &err) < 0 ||
	    vmj_image_list(storage.path, getuid(), &images, &n, &err) < 0)
		return vmj_say_failed(&err);
	for (size_t i = 0; i < n; i++)
		json_object_array_add(rows, image_row(&images[i]));
	if (options.json)
		vmj_json_print(o, stdout);
	else if (vmj_table_print(columns, rows, stdout, &err) < 0)
		return vmj_say_failed(&err);
	return VMJ_EXIT_DONE;
}

static int run_rm(const struct vmj_verb *verb, int argc, char **argv)
{
	struct vmj_request image = {0};
	struct vmj_storage_config storage;
	struct options o = {0};
	struct vmj_error err;

	argp_parse(verb->argp, argc, argv, 0, NULL, &o);
	if (vmj_request_set_image(&image, o.argument, &err) < 0 ||
	    vmj_domain_find(o.storage, &storage, &err) < 0 ||
	    vmj_image_remove(storage.path, image.image, image.revision, o.public_, &err) < 0)
		return vmj_say_failed(&err);
	return VMJ_EXIT_DONE;
}

static const struct vmj_verb verb_import = {
	.name = "import",
	.summary = "import a disk image",
	.argp = &import_argp,
	.words = VMJ_WORD_FILE,
	.run = run_import,
};
static const struct vmj_verb verb_list = {
	.name = "list",
	.summary = "list images",
	.argp = &list_argp,
	.run = run_list,
};
static const struct vmj_verb verb_rm = {
	.name = "rm",
	.summary = "remove an image",
	.argp = &rm_argp,
	.words = VMJ_WORD_IMAGE,
	.run = run_rm,
};
static const struct vmj_verb *const verbs[] = {&verb_import, &verb_list, &verb_rm, NULL};

const struct vmj_verb vmj_verb_image = {
	.name = "image",
	.summary = "import, list and remove images",
	.sub = verbs,
};
