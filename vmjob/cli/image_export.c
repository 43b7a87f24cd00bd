/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vmjob image export */
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/parse.h"
#include "vmjob/cli/guard.h"
#include "vmjob/cli/image.h"
#include "vmjob/cli/progress.h"

static const struct argp_option table[] = {
	{"format", VMJ_IMAGE_KEY_FORMAT, "FORMAT", 0,
	 "qcow2, raw, vmdk, vdi, vhdx, vpc or ova (default: as the file's name ends, else qcow2)",
	 0},
	{"force", 'f', NULL, 0, "Replace a file that is there", 0},
	VMJ_IMAGE_OPTION_PROGRESS,
	VMJ_OPTION_STORAGE,
	{0},
};

static const struct argp argp = {
	.options = table,
	.parser = vmj_image_parse,
	.args_doc = "[OWNER/]NAME[@REV] FILE|-",
	.doc = "Writes an image to a file, or to standard output.\v"
	       "The file appears when it is whole. An OVA is for other hypervisors: an archive of the "
	       "disk, a description and checksums.",
};

struct work {
	struct vmj_image_export spec;
	struct vmj_image image;
	bool progress;
	char tmp[PATH_MAX];
};

static const char *format_of(const char *file)
{
	const char *dot = strrchr(file, '.');

	if (dot && !strcmp(dot, ".vhd"))
		return "vpc";
	for (int i = 0; dot && vmj_image_formats[i]; i++)
		if (!strcmp(dot + 1, vmj_image_formats[i]))
			return vmj_image_formats[i];
	return "qcow2";
}

static int find_format(const char *name, const char **ret)
{
	char quoted[64];

	for (int i = 0; vmj_image_formats[i]; i++)
		if (!strcmp(name, vmj_image_formats[i])) {
			*ret = vmj_image_formats[i];
			return 0;
		}
	vmj_say("--format=%s: it is qcow2, raw, vmdk, vdi, vhdx, vpc or ova",
		vmj_quote(name, quoted, sizeof(quoted)));
	return -1;
}

static int work(void *arg)
{
	struct work *w = arg;
	char title[VMJ_NAME_MAX + 16];
	struct vmj_progress progress;
	struct vmj_error err;
	int rc;

	snprintf(title, sizeof(title), "Exporting %.63s", w->image.name);
	vmj_progress_start(&progress, title, w->progress);
	w->spec.progress = vmj_progress_on;
	w->spec.arg = &progress;
	rc = vmj_image_export(&w->spec, &err);
	vmj_progress_end(&progress);
	return rc < 0 ? vmj_say_failed(&err) : VMJ_EXIT_DONE;
}

static void clean(void *arg)
{
	const struct work *w = arg;

	vmj_image_export_clean(w->tmp);
}

static int run(const struct vmj_verb *verb, int argc, char **argv)
{
	struct vmj_image_options o = {.min = 2, .max = 2, .wants = verb->argp->args_doc};
	struct vmj_storage_config storage;
	struct work w = {.spec = {.image = &w.image, .tmp = w.tmp}};
	struct vmj_error err;

	argp_parse(verb->argp, argc, argv, 0, NULL, &o);
	w.progress = o.progress;
	w.spec.file = o.arguments[1];
	w.spec.force = o.force;
	w.spec.format = format_of(w.spec.file);
	if (o.format && find_format(o.format, &w.spec.format) < 0)
		return VMJ_EXIT_USAGE;
	if (!strcmp(w.spec.file, "-") && isatty(STDOUT_FILENO)) {
		vmj_say("standard output is a terminal: pipe the image into something");
		return VMJ_EXIT_USAGE;
	}
	if (vmj_image_named(&o, o.arguments[0], &storage, &w.image, &err) < 0 ||
	    vmj_image_export_tmp(&w.spec, w.tmp, &err) < 0)
		return vmj_say_failed(&err);
	return vmj_guard(work, clean, &w);
}

const struct vmj_verb vmj_image_verb_export = {
	.name = "export",
	.summary = "write an image to a file",
	.argp = &argp,
	.words = VMJ_WORD_IMAGE,
	.run = run,
};
