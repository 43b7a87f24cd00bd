/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vmjob volume: disks that live on after a job. */
#include "vmjob/cli/volume.h"

#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/cli/target.h"
#include "vmjob/cli/view.h"
#include "vmjob/cli/volume_ask.h"
#include "vmjob/model/json.h"
#include "vmjob/model/request.h"

enum { KEY_FULL = 0x100, KEY_READONLY };

error_t vmj_volume_options_parse(int key, char *arg, struct argp_state *state)
{
	struct vmj_volume_options *o = state->input;

	switch (key) {
	case 'j':
		o->json = true;
		return 0;
	case 'a':
		o->all = true;
		return 0;
	case KEY_FULL:
		o->full = true;
		return 0;
	case KEY_READONLY:
		o->readonly = true;
		return 0;
	case 'S':
		o->size = arg;
		return 0;
	case 'i':
		o->image = arg;
		return 0;
	case 'n':
		o->snapshot = arg;
		return 0;
	case 's':
		o->storage = arg;
		return 0;
	case ARGP_KEY_ARG:
		if (o->n == o->wanted)
			argp_error(state, "\"%s\" is one argument too many", arg);
		o->arguments[o->n++] = arg;
		return 0;
	case ARGP_KEY_END:
		if (o->n < o->wanted)
			argp_error(state, "it takes %s", o->wanted_what);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* --- command lines ---------------------------------------------------------------------------- */

static const struct argp_option create_table[] = {
	{"size", 'S', "SIZE", 0, "How large the disk is, such as 20G", 0},
	{"image", 'i', "[OWNER/]NAME[@REV]", 0, "Begin with what this image holds", 0},
	{0},
};
static const struct argp create_argp = {
	.options = create_table,
	.parser = vmj_volume_options_parse,
	.args_doc = "[STORAGE:]NAME",
	.doc = "Makes a volume: empty, or from an image.\v"
	       "With --image the size is the image's where --size is not given. Nothing is copied; "
	       "space is taken as the disk is written.",
};

static const struct argp_option clone_table[] = {
	{"snapshot", 'n', "NAME", 0, "The state of this snapshot, not the present one", 0},
	{"full", KEY_FULL, NULL, 0, "Copy all of it, so that the two share nothing", 0},
	{0},
};
static const struct argp clone_argp = {
	.options = clone_table,
	.parser = vmj_volume_options_parse,
	.args_doc = "[STORAGE:]NAME NEW",
	.doc = "Makes another volume of what a volume holds.\v"
	       "That takes no longer for a large one, and what is the same is stored once; with "
	       "--full it is copied. The present state of a volume that a guest uses cannot be "
	       "cloned: take a snapshot and clone that.",
};

static const struct argp resize_argp = {
	.parser = vmj_volume_options_parse,
	.args_doc = "[STORAGE:]NAME SIZE",
	.doc = "Makes a volume's disk larger, also under a guest that runs.\v"
	       "A disk never becomes smaller. What is in it (partitions, file systems) grows by the "
	       "guest's own means.",
};

static const struct argp_option attach_table[] = {
	{"read-only", KEY_READONLY, NULL, 0, "The guest may not write it", 0},
	{0},
};
static const struct argp attach_argp = {
	.options = attach_table,
	.parser = vmj_volume_options_parse,
	.args_doc = "JOB [STORAGE:]NAME",
	.doc = "Gives a volume to a guest that runs, as a further disk.\v"
	       "The guest finds it by its serial, the volume's name "
	       "(/dev/disk/by-id/virtio-NAME).",
};
static const struct argp detach_argp = {
	.parser = vmj_volume_options_parse,
	.args_doc = "JOB [STORAGE:]NAME",
	.doc = "Takes a volume back from a guest that runs.\v"
	       "Unmount it in the guest first: the guest is asked to let go of it.",
};

static const struct argp rm_argp = {
	.parser = vmj_volume_options_parse,
	.args_doc = "[STORAGE:]NAME",
	.doc = "Removes a volume and its snapshots, for good.\v"
	       "One that is in use is not removed. Clones of it stay as they are.",
};

static void parse(const struct vmj_verb *verb, int argc, char **argv, unsigned int wanted,
		  struct vmj_volume_options *ret)
{
	*ret = (struct vmj_volume_options){.wanted = wanted, .wanted_what = verb->argp->args_doc};
	argp_parse(verb->argp, argc, argv, 0, NULL, ret);
}

/* --- what they ask ---------------------------------------------------------------------------- */

static int add_size(struct json_object *request, const char *what, const char *text,
		    struct vmj_error *err)
{
	uint64_t mib;
	int rc = vmj_parse_size_mib(what, text, 1, VMJ_DISK_MIB_MAX, &mib, err);

	if (rc == 0)
		vmj_view_add_int(request, "size_mib", (int64_t)mib);
	return rc;
}

static int add_image(struct json_object *request, const char *text, struct vmj_error *err)
{
	struct vmj_request image = {.revision = 0};
	int rc = vmj_request_set_image(&image, text, err);

	if (rc < 0)
		return rc;
	vmj_view_add_text(request, "owner", image.image_owner);
	vmj_view_add_text(request, "image", image.image);
	if (image.revision)
		vmj_view_add_int(request, "revision", image.revision);
	return 0;
}

static int create(const struct vmj_volume_options *o, struct vmj_error *err)
{
	vmj_autojson struct json_object *request = NULL;
	struct vmj_volume_name v;
	int rc = vmj_volume_name_parse(o->arguments[0], &v, err);

	if (rc < 0)
		return rc;
	request = vmj_volume_request("volume-create", &v);
	if (o->size)
		rc = add_size(request, "--size", o->size, err);
	if (rc == 0 && o->image)
		rc = add_image(request, o->image, err);
	return rc == 0 ? vmj_volume_ask(request, NULL, NULL, err) : rc;
}

static int run_create(const struct vmj_verb *verb, int argc, char **argv)
{
	struct vmj_volume_options o;
	struct vmj_error err;

	parse(verb, argc, argv, 1, &o);
	if (!o.size && !o.image) {
		vmj_say("%s: give --size, --image or both", argv[0]);
		return VMJ_EXIT_USAGE;
	}
	return create(&o, &err) < 0 ? vmj_say_failed(&err) : VMJ_EXIT_DONE;
}

static int clone(const struct vmj_volume_options *o, struct vmj_error *err)
{
	vmj_autojson struct json_object *request = NULL;
	char title[VMJ_NAME_MAX + 16];
	struct vmj_volume_name v;
	int rc = vmj_volume_name_parse(o->arguments[0], &v, err);

	if (rc == 0)
		rc = vmj_parse_name("the clone's name", o->arguments[1], err);
	if (rc == 0 && o->snapshot)
		rc = vmj_parse_name("--snapshot", o->snapshot, err);
	if (rc < 0)
		return rc;
	request = vmj_volume_request("volume-clone", &v);
	vmj_view_add_text(request, "to", o->arguments[1]);
	if (o->snapshot)
		vmj_view_add_text(request, "snapshot", o->snapshot);
	if (o->full)
		vmj_json_put_bool(request, "full", true);
	snprintf(title, sizeof(title), "Cloning %s", v.name);
	/* A snapshot's state may be cloned while a guest runs, at that guest's host. */
	return o->snapshot ? vmj_volume_ask_holder(&v, request, title, NULL, err)
			   : vmj_volume_ask(request, title, NULL, err);
}

static int run_clone(const struct vmj_verb *verb, int argc, char **argv)
{
	struct vmj_volume_options o;
	struct vmj_error err;

	parse(verb, argc, argv, 2, &o);
	return clone(&o, &err) < 0 ? vmj_say_failed(&err) : VMJ_EXIT_DONE;
}

static int run_resize(const struct vmj_verb *verb, int argc, char **argv)
{
	vmj_autojson struct json_object *request = NULL;
	struct vmj_volume_options o;
	struct vmj_volume_name v;
	struct vmj_error err;

	parse(verb, argc, argv, 2, &o);
	if (vmj_volume_name_parse(o.arguments[0], &v, &err) < 0)
		return vmj_say_failed(&err);
	request = vmj_volume_request("volume-resize", &v);
	if (add_size(request, "the size", o.arguments[1], &err) < 0 ||
	    vmj_volume_ask_holder(&v, request, NULL, NULL, &err) < 0)
		return vmj_say_failed(&err);
	return VMJ_EXIT_DONE;
}

static int run_rm(const struct vmj_verb *verb, int argc, char **argv)
{
	vmj_autojson struct json_object *request = NULL;
	struct vmj_volume_options o;
	struct vmj_volume_name v;
	struct vmj_error err;

	parse(verb, argc, argv, 1, &o);
	if (vmj_volume_name_parse(o.arguments[0], &v, &err) < 0)
		return vmj_say_failed(&err);
	request = vmj_volume_request("volume-rm", &v);
	return vmj_volume_ask(request, NULL, NULL, &err) < 0 ? vmj_say_failed(&err) : VMJ_EXIT_DONE;
}

/* volume-attach and volume-detach, at the guest's host. */
static int ask_guest(const char *op, const struct vmj_volume_options *o, struct vmj_error *err)
{
	VMJ_CLEANUP(vmj_target_done) struct vmj_target guest = {.job = 0};
	vmj_autojson struct json_object *request = NULL;
	struct vmj_volume_name v;
	int rc = vmj_volume_name_parse(o->arguments[1], &v, err);

	if (rc == 0)
		rc = vmj_target_find_one(o->arguments[0], NULL, &guest, err);
	if (rc < 0)
		return rc;
	request = vmj_volume_request(op, &v);
	vmj_view_add_int(request, "job", guest.job);
	if (o->readonly)
		vmj_json_put_bool(request, "readonly", true);
	return vmj_volume_ask_at(guest.hosts.names[0], request, NULL, NULL, err);
}

static int run_attach(const struct vmj_verb *verb, int argc, char **argv)
{
	struct vmj_volume_options o;
	struct vmj_error err;

	parse(verb, argc, argv, 2, &o);
	return ask_guest("volume-attach", &o, &err) < 0 ? vmj_say_failed(&err) : VMJ_EXIT_DONE;
}

static int run_detach(const struct vmj_verb *verb, int argc, char **argv)
{
	struct vmj_volume_options o;
	struct vmj_error err;

	parse(verb, argc, argv, 2, &o);
	return ask_guest("volume-detach", &o, &err) < 0 ? vmj_say_failed(&err) : VMJ_EXIT_DONE;
}

/* --- the verbs -------------------------------------------------------------------------------- */

static const struct vmj_verb verb_create = {
	.name = "create",
	.summary = "make a volume",
	.argp = &create_argp,
	.run = run_create,
};
static const struct vmj_verb verb_clone = {
	.name = "clone",
	.summary = "make another volume of what one holds",
	.argp = &clone_argp,
	.words = VMJ_WORD_VOLUME,
	.run = run_clone,
};
static const struct vmj_verb verb_resize = {
	.name = "resize",
	.summary = "make a volume larger",
	.argp = &resize_argp,
	.words = VMJ_WORD_VOLUME,
	.run = run_resize,
};
static const struct vmj_verb verb_attach = {
	.name = "attach",
	.summary = "give a volume to a guest that runs",
	.argp = &attach_argp,
	.words = VMJ_WORD_JOB,
	.run = run_attach,
};
static const struct vmj_verb verb_detach = {
	.name = "detach",
	.summary = "take a volume back from a guest",
	.argp = &detach_argp,
	.words = VMJ_WORD_JOB,
	.run = run_detach,
};
static const struct vmj_verb verb_rm = {
	.name = "rm",
	.summary = "remove a volume",
	.argp = &rm_argp,
	.words = VMJ_WORD_VOLUME,
	.run = run_rm,
};
static const struct vmj_verb *const verbs[] = {
	&verb_create, &vmj_volume_verb_list, &vmj_volume_verb_show, &verb_clone,
	&verb_resize, &verb_attach,          &verb_detach,          &verb_rm,
	NULL};

const struct vmj_verb vmj_verb_volume = {
	.name = "volume",
	.summary = "make, list, clone, attach and remove volumes",
	.sub = verbs,
};
