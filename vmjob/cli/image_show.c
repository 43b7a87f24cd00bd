/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vmjob image show, set, share: what is said about an image, and who may use it. */
#include <errno.h>
#include <grp.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/parse.h"
#include "vmjob/cli/image.h"
#include "vmjob/cli/table.h"
#include "vmjob/cli/view.h"
#include "vmjob/model/json.h"
#include "vmjob/model/request.h"

static const struct argp_option show_table[] = {
	VMJ_OPTION_STORAGE,
	VMJ_OPTION_JSON,
	{0},
};
static const struct argp show_argp = {
	.options = show_table,
	.parser = vmj_image_parse,
	.args_doc = "[OWNER/]NAME[@REV]",
	.doc = "Shows all that is known of an image.",
};

static const struct argp_option set_table[] = {
	{"public", VMJ_IMAGE_KEY_PUBLIC, NULL, 0, "The public image, not your own (root only)", 0},
	VMJ_OPTION_STORAGE,
	{0},
};
static const struct argp set_argp = {
	.options = set_table,
	.parser = vmj_image_parse,
	.args_doc = "NAME[@REV] KEY=VALUE...",
	.doc = "Changes what is said about an image of yours.\v"
	       "KEY is os, min-memory, min-disk, firmware (bios or uefi), default-user or agent (yes "
	       "or no). An empty VALUE forgets it.",
};

static const struct argp_option share_table[] = {
	{"all", VMJ_IMAGE_KEY_ALL, NULL, 0, "With all users", 0},
	{"group", VMJ_IMAGE_KEY_GROUP, "GROUP", 0,
	 "With those whose primary group is GROUP, which is one of yours", 0},
	{"none", VMJ_IMAGE_KEY_NONE, NULL, 0, "With nobody any more", 0},
	VMJ_OPTION_STORAGE,
	{0},
};
static const struct argp share_argp = {
	.options = share_table,
	.parser = vmj_image_parse,
	.args_doc = "NAME",
	.doc = "Shares an image of yours, with all its revisions.\v"
	       "Others name it YOU/NAME. Guests that run from it go on when it is not shared any more.",
};

static const char *cell_shared(struct json_object *value, char buf[VMJ_CELL_MAX])
{
	const char *shared = json_object_get_string(value);

	if (!strcmp(shared, "all"))
		return "all users";
	return !strcmp(shared, "group") ? "a group" : "you alone";
}

static const struct vmj_column lines[] = {
	{"Image", "label", false, false, NULL},
	{"Revision", "revision", false, false, NULL},
	{"Revisions", "revisions", false, false, vmj_cell_list},
	{"Owner", "owner", false, false, NULL},
	{"Used by", "shared", false, false, cell_shared},
	{"Group", "group", false, false, NULL},
	{"System", "os", false, false, NULL},
	{"Firmware", "firmware", false, false, NULL},
	{"Memory", "min_memory_mib", false, false, vmj_cell_mib},
	{"Disk", "min_disk_mib", false, false, vmj_cell_mib},
	{"User", "default_user", false, false, NULL},
	{"Agent", "agent", false, false, NULL},
	{"Size", "size_mib", false, false, vmj_cell_mib},
	{"On storage", "used_mib", false, false, vmj_cell_mib},
	{"Same as", "same", false, false, vmj_cell_list},
	{"Volumes", "volumes", false, false, NULL},
	{"Imported", "imported", false, false, vmj_cell_time},
	{"From", "source", false, false, NULL},
	{"SHA-256", "sha256", false, false, NULL},
	{"File", "path", false, false, NULL},
	{0},
};

/* Other revisions of the name; other images on the same file; what else has a name for it is a
 * volume's. */
static void add_kin(struct json_object *row, const struct vmj_image *image,
		    const struct vmj_image *all, size_t n)
{
	struct json_object *revisions = json_object_new_array(), *same = json_object_new_array();
	int64_t volumes = image->links;
	char label[VMJ_NAME_MAX + 16];

	for (size_t i = 0; i < n; i++) {
		if (all[i].owner != image->owner || all[i].public_ != image->public_)
			continue;
		if (!strcmp(all[i].name, image->name))
			json_object_array_add(revisions, json_object_new_int64(all[i].revision));
		if (all[i].inode != image->inode)
			continue;
		volumes--;
		snprintf(label, sizeof(label), "%s@%u", all[i].name, all[i].revision);
		if (strcmp(all[i].name, image->name) || all[i].revision != image->revision)
			json_object_array_add(same, json_object_new_string(label));
	}
	json_object_object_add(row, "revisions", revisions);
	json_object_object_add(row, "same", same);
	vmj_view_add_int(row, "volumes", volumes > 0 ? volumes : 0);
}

static int run_show(const struct vmj_verb *verb, int argc, char **argv)
{
	struct vmj_image_options o = {.min = 1, .max = 1, .wants = verb->argp->args_doc};
	vmj_autojson struct json_object *row = NULL;
	vmj_autofree struct vmj_image *all = NULL;
	struct vmj_storage_config storage;
	struct vmj_image image;
	struct vmj_error err;
	size_t n = 0;

	argp_parse(verb->argp, argc, argv, 0, NULL, &o);
	if (vmj_image_named(&o, o.arguments[0], &storage, &image, &err) < 0 ||
	    vmj_image_list(storage.path, geteuid(), &all, &n, &err) < 0)
		return vmj_say_failed(&err);
	row = vmj_image_row(&image);
	add_kin(row, &image, all, n);
	if (o.json)
		vmj_json_print(row, stdout);
	else
		vmj_lines_print(lines, row, stdout);
	return VMJ_EXIT_DONE;
}

static int take_values(const struct vmj_image_options *o, struct vmj_image_meta *meta,
		       struct vmj_error *err)
{
	for (unsigned int i = 1; i < o->n_arguments; i++) {
		vmj_autofree char *key = strdup(o->arguments[i]);
		char *value = key ? strchr(key, '=') : NULL;
		char quoted[100];
		int rc;

		if (!value)
			return vmj_fail_user(err, EINVAL, "\"%s\" is no KEY=VALUE",
					     vmj_quote(o->arguments[i], quoted, sizeof(quoted)));
		*value++ = '\0';
		rc = vmj_image_meta_set(meta, key, value, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int run_set(const struct vmj_verb *verb, int argc, char **argv)
{
	struct vmj_image_options o = {
		.min = 2, .max = VMJ_IMAGE_ARGUMENTS_MAX, .wants = verb->argp->args_doc};
	struct vmj_storage_config storage;
	struct vmj_image image;
	struct vmj_error err;

	argp_parse(verb->argp, argc, argv, 0, NULL, &o);
	if (vmj_image_named(&o, o.arguments[0], &storage, &image, &err) < 0 ||
	    take_values(&o, &image.meta, &err) < 0 ||
	    vmj_image_describe(&image, &image.meta, &err) < 0)
		return vmj_say_failed(&err);
	return VMJ_EXIT_DONE;
}

static int find_group(const char *name, gid_t *ret, struct vmj_error *err)
{
	struct group *group = getgrnam(name);
	char quoted[64];

	if (!group)
		return vmj_fail_user(err, ENOENT, "there is no group \"%s\"",
				     vmj_quote(name, quoted, sizeof(quoted)));
	*ret = group->gr_gid;
	return 0;
}

static int run_share(const struct vmj_verb *verb, int argc, char **argv)
{
	struct vmj_image_options o = {.min = 1, .max = 1, .wants = verb->argp->args_doc};
	enum vmj_share with = VMJ_SHARE_NONE;
	struct vmj_storage_config storage;
	struct vmj_error err;
	gid_t gid = 0;

	argp_parse(verb->argp, argc, argv, 0, NULL, &o);
	if (o.all + o.none + !!o.group != 1) {
		vmj_say("with whom? Give one of --all, --group=GROUP and --none");
		return VMJ_EXIT_USAGE;
	}
	if (o.all)
		with = VMJ_SHARE_ALL;
	else if (o.group)
		with = VMJ_SHARE_GROUP;
	if ((o.group && find_group(o.group, &gid, &err) < 0) ||
	    vmj_domain_find(o.storage, &storage, &err) < 0 ||
	    vmj_image_share(storage.path, o.arguments[0], with, gid, &err) < 0)
		return vmj_say_failed(&err);
	return VMJ_EXIT_DONE;
}

const struct vmj_verb vmj_image_verb_show = {
	.name = "show",
	.summary = "show all about an image",
	.argp = &show_argp,
	.words = VMJ_WORD_IMAGE,
	.run = run_show,
};
const struct vmj_verb vmj_image_verb_set = {
	.name = "set",
	.summary = "change what is said about an image",
	.argp = &set_argp,
	.words = VMJ_WORD_IMAGE,
	.run = run_set,
};
const struct vmj_verb vmj_image_verb_share = {
	.name = "share",
	.summary = "let others use an image",
	.argp = &share_argp,
	.words = VMJ_WORD_IMAGE,
	.run = run_share,
};
