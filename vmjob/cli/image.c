/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vmjob image: list and remove images in a storage domain; what the other verbs of image share. */
#include "vmjob/cli/image.h"

#include <grp.h>
#include <json-c/json.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/parse.h"
#include "vmjob/cli/table.h"
#include "vmjob/cli/view.h"
#include "vmjob/model/json.h"
#include "vmjob/model/request.h"

static const struct argp_option list_table[] = {
	VMJ_OPTION_STORAGE,
	VMJ_OPTION_JSON,
	{0},
};
static const struct argp_option rm_table[] = {
	{"public", VMJ_IMAGE_KEY_PUBLIC, NULL, 0, "The public image, not your own (root only)", 0},
	VMJ_OPTION_STORAGE,
	{0},
};

static void take_meta(struct vmj_image_options *o, const char *key, const char *value,
		      struct argp_state *state)
{
	struct vmj_error err;

	if (vmj_image_meta_set(&o->meta, key, value, &err) < 0)
		argp_error(state, "%s", err.text);
}

static error_t parse_meta(int key, const char *arg, struct argp_state *state)
{
	static const struct {
		int key;
		const char *name;
	} keys[] = {
		{VMJ_IMAGE_KEY_OS, "os"},
		{VMJ_IMAGE_KEY_MIN_MEMORY, "min-memory"},
		{VMJ_IMAGE_KEY_MIN_DISK, "min-disk"},
		{VMJ_IMAGE_KEY_FIRMWARE, "firmware"},
		{VMJ_IMAGE_KEY_USER, "default-user"},
		{VMJ_IMAGE_KEY_AGENT, "agent"},
	};

	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		if (keys[i].key == key) {
			take_meta(state->input, keys[i].name, arg, state);
			return 0;
		}
	return ARGP_ERR_UNKNOWN;
}

static error_t take_argument(struct vmj_image_options *o, const char *arg, struct argp_state *state)
{
	if (o->n_arguments == o->max)
		argp_error(state, "\"%s\" is one argument too many", arg);
	else
		o->arguments[o->n_arguments++] = arg;
	return 0;
}

error_t vmj_image_parse(int key, char *arg, struct argp_state *state)
{
	struct vmj_image_options *o = state->input;
	struct {
		int key;
		const char **text;
		bool *flag;
	} keys[] = {
		{'n', &o->name, NULL},
		{'s', &o->storage, NULL},
		{'j', NULL, &o->json},
		{'f', NULL, &o->force},
		{VMJ_IMAGE_KEY_PUBLIC, NULL, &o->public_},
		{VMJ_IMAGE_KEY_PROGRESS, NULL, &o->progress},
		{VMJ_IMAGE_KEY_DISK, &o->disk, NULL},
		{VMJ_IMAGE_KEY_FORMAT, &o->format, NULL},
		{VMJ_IMAGE_KEY_ALL, NULL, &o->all},
		{VMJ_IMAGE_KEY_NONE, NULL, &o->none},
		{VMJ_IMAGE_KEY_GROUP, &o->group, NULL},
	};

	if (key == ARGP_KEY_ARG)
		return take_argument(o, arg, state);
	if (key == ARGP_KEY_END && o->n_arguments < o->min)
		argp_error(state, "arguments are missing: it takes %s", o->wants);
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		if (keys[i].key == key) {
			if (keys[i].text)
				*keys[i].text = arg;
			else
				*keys[i].flag = true;
			return 0;
		}
	return parse_meta(key, arg, state);
}

static const struct argp list_argp = {
	.options = list_table,
	.parser = vmj_image_parse,
	.doc = "Lists your images, the public ones, and those that others share with you.",
};
static const struct argp rm_argp = {
	.options = rm_table,
	.parser = vmj_image_parse,
	.args_doc = "NAME[@REV]",
	.doc = "Removes an image of yours, or one revision of it.\v"
	       "Guests that run from it are not ended, but could not be started again. Volumes made "
	       "from it keep what they have.",
};

int vmj_image_named(const struct vmj_image_options *o, const char *text,
		    struct vmj_storage_config *ret_storage, struct vmj_image *ret,
		    struct vmj_error *err)
{
	struct vmj_request r = {0};
	struct vmj_storage_config storage;
	const char *owner;
	int rc = vmj_request_set_image(&r, text, err);

	if (rc == 0)
		rc = vmj_domain_find(o->storage, &storage, err);
	if (rc < 0)
		return rc;
	owner = o->public_ ? "public" : r.image_owner;
	rc = vmj_image_find(storage.path, owner, r.image, r.revision, geteuid(), getegid(), ret,
			    err);
	if (rc == 0)
		*ret_storage = storage;
	return rc;
}

static const char *owner_name(const struct vmj_image *image, char buf[VMJ_CELL_MAX])
{
	struct passwd *owner = image->public_ ? NULL : getpwuid(image->owner);

	if (image->public_)
		return "public";
	if (!owner) {
		snprintf(buf, VMJ_CELL_MAX, "%u", (unsigned int)image->owner);
		return buf;
	}
	return owner->pw_name;
}

static void add_share(struct json_object *row, const struct vmj_image *image)
{
	static const char *const names[] = {
		[VMJ_SHARE_NONE] = "none", [VMJ_SHARE_GROUP] = "group", [VMJ_SHARE_ALL] = "all"};
	struct group *group;

	vmj_view_add_text(row, "shared", names[image->share]);
	if (image->share != VMJ_SHARE_GROUP)
		return;
	group = getgrgid(image->share_gid);
	vmj_view_add_int(row, "gid", image->share_gid);
	vmj_view_add_text(row, "group", group ? group->gr_name : "");
}

static void add_meta(struct json_object *row, const struct vmj_image_meta *m)
{
	vmj_view_add_text(row, "os", m->os);
	vmj_view_add_text(row, "default_user", m->default_user);
	if (m->min_memory_mib)
		vmj_view_add_int(row, "min_memory_mib", (int64_t)m->min_memory_mib);
	if (m->min_disk_mib)
		vmj_view_add_int(row, "min_disk_mib", (int64_t)m->min_disk_mib);
	vmj_view_add_text(row, "firmware", vmj_firmware_name(m->firmware));
	vmj_view_add_text(row, "agent", vmj_has_agent_name(m->agent));
}

struct json_object *vmj_image_row(const struct vmj_image *image)
{
	struct json_object *row = json_object_new_object();
	char buf[VMJ_CELL_MAX], label[2 * VMJ_CELL_MAX];
	const char *owner = owner_name(image, buf);
	bool others = !image->public_ && image->owner != geteuid();

	snprintf(label, sizeof(label), "%s%s%s", others ? owner : "", others ? "/" : "",
		 image->name);
	vmj_view_add_text(row, "label", label);
	vmj_view_add_text(row, "name", image->name);
	vmj_view_add_int(row, "revision", image->revision);
	vmj_view_add_text(row, "owner", owner);
	vmj_view_add_int(row, "uid", image->owner);
	json_object_object_add(row, "public", json_object_new_boolean(image->public_));
	add_share(row, image);
	vmj_view_add_int(row, "size_mib", (int64_t)image->virtual_mib);
	vmj_view_add_int(row, "used_mib", (int64_t)image->used_mib);
	vmj_view_add_int(row, "imported", image->time);
	vmj_view_add_text(row, "source", image->source);
	vmj_view_add_text(row, "sha256", image->sha256);
	vmj_view_add_int(row, "links", image->links);
	add_meta(row, &image->meta);
	vmj_view_add_text(row, "path", image->path);
	return row;
}

static const struct vmj_column columns[] = {
	{"NAME", "label", false, false, NULL},
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
	struct vmj_image_options options = {0};
	struct vmj_error err;
	size_t n = 0;

	json_object_object_add(o, "images", rows);
	argp_parse(verb->argp, argc, argv, 0, NULL, &options);
	if (vmj_domain_find(options.storage, &storage, &err) < 0 ||
	    vmj_image_list(storage.path, getuid(), &images, &n, &err) < 0)
		return vmj_say_failed(&err);
	for (size_t i = 0; i < n; i++)
		json_object_array_add(rows, vmj_image_row(&images[i]));
	if (options.json)
		vmj_json_print(o, stdout);
	else if (vmj_table_print(columns, rows, stdout, &err) < 0)
		return vmj_say_failed(&err);
	return VMJ_EXIT_DONE;
}

static int run_rm(const struct vmj_verb *verb, int argc, char **argv)
{
	struct vmj_image_options o = {.min = 1, .max = 1, .wants = verb->argp->args_doc};
	struct vmj_request image = {0};
	struct vmj_storage_config storage;
	struct vmj_error err;

	argp_parse(verb->argp, argc, argv, 0, NULL, &o);
	if (vmj_request_set_image(&image, o.arguments[0], &err) < 0)
		return vmj_say_failed(&err);
	if (image.image_owner[0]) {
		vmj_say("image \"%s/%s\": only your own images can be removed, by their NAME, "
			"and public ones by root with --public",
			image.image_owner, image.image);
		return VMJ_EXIT_FAILED;
	}
	if (vmj_domain_find(o.storage, &storage, &err) < 0 ||
	    vmj_image_remove(storage.path, image.image, image.revision, o.public_, &err) < 0)
		return vmj_say_failed(&err);
	return VMJ_EXIT_DONE;
}

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
static const struct vmj_verb *const verbs[] = {&vmj_image_verb_import,
					       &verb_list,
					       &vmj_image_verb_show,
					       &vmj_image_verb_set,
					       &vmj_image_verb_share,
					       &vmj_image_verb_export,
					       &verb_rm,
					       NULL};

const struct vmj_verb vmj_verb_image = {
	.name = "image",
	.summary = "import, export, share and remove images",
	.sub = verbs,
};
