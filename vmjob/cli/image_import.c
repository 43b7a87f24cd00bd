/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vmjob image import */
#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/cli/agents.h"
#include "vmjob/cli/guard.h"
#include "vmjob/cli/image.h"
#include "vmjob/cli/progress.h"
#include "vmjob/cli/table.h"
#include "vmjob/cli/volume_ask.h"
#include "vmjob/model/json.h"
#include "vmjob/storage/usage.h"

static const struct argp_option table[] = {
	{"name", 'n', "NAME", 0, "What to call it (default: the file's name without its ending)",
	 0},
	{"public", VMJ_IMAGE_KEY_PUBLIC, NULL, 0, "For all users (root only)", 0},
	{"disk", VMJ_IMAGE_KEY_DISK, "FILE", 0, "Which disk of an OVA that has several", 0},
	{"os", VMJ_IMAGE_KEY_OS, "TEXT", 0, "Say which system it holds", 1},
	{"min-memory", VMJ_IMAGE_KEY_MIN_MEMORY, "SIZE", 0, "Say how much memory it needs", 1},
	{"min-disk", VMJ_IMAGE_KEY_MIN_DISK, "SIZE", 0, "Say how large a disk it needs", 1},
	{"firmware", VMJ_IMAGE_KEY_FIRMWARE, "bios|uefi", 0, "Say what it starts with", 1},
	{"default-user", VMJ_IMAGE_KEY_USER, "NAME", 0, "Say whom to log in as", 1},
	{"agent", VMJ_IMAGE_KEY_AGENT, "yes|no", 0, "Say whether it has the guest agent", 1},
	VMJ_IMAGE_OPTION_PROGRESS,
	VMJ_OPTION_STORAGE,
	VMJ_OPTION_JSON,
	{0},
};

static const struct argp argp = {
	.options = table,
	.parser = vmj_image_parse,
	.args_doc = "FILE|-",
	.doc = "Imports a disk image for use as --vm-image: qcow2, raw, vmdk, vdi, vhdx, vpc, one of "
	       "these packed with gzip, xz or zstd, or the disk of an OVA.\v"
	       "Importing under a name that exists makes a new revision; guests that run keep "
	       "theirs. The file is copied and stays as it is.",
};

/* "dir/debian12.qcow2" → "debian12" */
static const char *name_of_file(const char *file, char buf[VMJ_NAME_MAX + 1])
{
	const char *base = strrchr(file, '/');

	base = base ? base + 1 : file;
	snprintf(buf, VMJ_NAME_MAX + 1, "%.*s", (int)strcspn(base, "."), base);
	return buf;
}

struct work {
	const struct vmj_image_options *options;
	struct vmj_storage_config storage;
	struct vmj_progress progress;
};

static void on_progress(const char *what, uint64_t done, uint64_t total, void *arg)
{
	struct work *w = arg;

	vmj_progress_on(what, done, total, &w->progress);
}

/* An agent sees all that is written. Where none answers, only what the user sees is counted. */
static int admit(uint64_t bytes, void *arg, struct vmj_error *err)
{
	const struct work *w = arg;
	vmj_autojson struct json_object *request = NULL, *reply = NULL;
	struct vmj_error e;
	int rc;

	if (geteuid() == 0 || (!w->storage.quota_mib && !w->storage.limit_mib))
		return vmj_quota_admit(&w->storage, geteuid(), bytes, err);
	request = vmj_request_new("storage-admit");
	vmj_json_put_string(request, "storage", w->storage.name);
	vmj_json_put_u64(request, "bytes", bytes);
	rc = vmj_volume_ask(request, NULL, &reply, &e);
	if (rc == -EDQUOT || rc == -ENOSPC)
		return vmj_fail_user(err, -rc, "%s", e.text);
	return rc == 0 ? 0 : vmj_quota_admit(&w->storage, geteuid(), bytes, err);
}

static int print(const struct vmj_image *image, bool json)
{
	vmj_autojson struct json_object *row = NULL;

	if (!json) {
		printf("%s@%" PRIu32 "\n", image->name, image->revision);
		return VMJ_EXIT_DONE;
	}
	row = vmj_image_row(image);
	vmj_json_print(row, stdout);
	return VMJ_EXIT_DONE;
}

static int work(void *arg)
{
	struct work *w = arg;
	char title[VMJ_NAME_MAX + 16];
	struct vmj_image_import spec = {
		.path = w->storage.path,
		.name = w->options->name,
		.file = w->options->arguments[0],
		.disk = w->options->disk,
		.public_ = w->options->public_,
		.admit = admit,
		.meta = w->options->meta,
		.progress = on_progress,
		.arg = w,
	};
	struct vmj_image image;
	struct vmj_error err;
	int rc;

	snprintf(title, sizeof(title), "Importing %.63s", spec.name);
	vmj_progress_start(&w->progress, title, w->options->progress);
	rc = vmj_image_import(&spec, &image, &err);
	vmj_progress_end(&w->progress);
	return rc < 0 ? vmj_say_failed(&err) : print(&image, w->options->json);
}

static void clean(void *arg)
{
	const struct work *w = arg;

	vmj_image_sweep(w->storage.path, NULL);
}

static int run(const struct vmj_verb *verb, int argc, char **argv)
{
	struct vmj_image_options o = {.min = 1, .max = 1, .wants = verb->argp->args_doc};
	struct work w = {.options = &o};
	char name[VMJ_NAME_MAX + 1];
	struct vmj_error err;

	argp_parse(verb->argp, argc, argv, 0, NULL, &o);
	if (!o.name && strcmp(o.arguments[0], "-") == 0) {
		vmj_say("what comes from standard input needs a name: --name=NAME");
		return VMJ_EXIT_USAGE;
	}
	if (strcmp(o.arguments[0], "-") == 0 && isatty(STDIN_FILENO)) {
		vmj_say("standard input is a terminal: pipe an image into it");
		return VMJ_EXIT_USAGE;
	}
	if (!o.name)
		o.name = name_of_file(o.arguments[0], name);
	if (vmj_domain_find(o.storage, &w.storage, &err) < 0)
		return vmj_say_failed(&err);
	return vmj_guard(work, clean, &w);
}

const struct vmj_verb vmj_image_verb_import = {
	.name = "import",
	.summary = "import a disk image",
	.argp = &argp,
	.words = VMJ_WORD_FILE,
	.run = run,
};
