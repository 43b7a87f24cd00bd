/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the verbs of `vmjob image` share. */
#ifndef VMJ_CLI_IMAGE_H
#define VMJ_CLI_IMAGE_H

#include <stdbool.h>

#include "vmjob/cli/domain.h"
#include "vmjob/cli/verb.h"
#include "vmjob/storage/image.h"

struct json_object;

#define VMJ_IMAGE_ARGUMENTS_MAX 16

struct vmj_image_options {
	unsigned int min, max; /* arguments that the verb takes, */
	const char *wants;     /* and what they are: set before */
	bool json, public_, force, progress, all, none;
	const char *storage, *name, *disk, *format, *group; /* NULL: not given */
	struct vmj_image_meta meta;
	const char *arguments[VMJ_IMAGE_ARGUMENTS_MAX];
	unsigned int n_arguments;
};

enum {
	VMJ_IMAGE_KEY_PUBLIC = 0x100,
	VMJ_IMAGE_KEY_DISK,
	VMJ_IMAGE_KEY_PROGRESS,
	VMJ_IMAGE_KEY_FORMAT,
	VMJ_IMAGE_KEY_ALL,
	VMJ_IMAGE_KEY_GROUP,
	VMJ_IMAGE_KEY_NONE,
	VMJ_IMAGE_KEY_OS,
	VMJ_IMAGE_KEY_MIN_MEMORY,
	VMJ_IMAGE_KEY_MIN_DISK,
	VMJ_IMAGE_KEY_FIRMWARE,
	VMJ_IMAGE_KEY_USER,
	VMJ_IMAGE_KEY_AGENT,
};

/* argp's, for all options of these verbs; its input is a struct vmj_image_options. */
error_t vmj_image_parse(int key, char *arg, struct argp_state *state);

/* Rows for the verbs' argp tables. */
#define VMJ_IMAGE_OPTION_PROGRESS                                                         \
	{                                                                                 \
		"progress", VMJ_IMAGE_KEY_PROGRESS, NULL, 0,                              \
			"Without a terminal, too: say how far it is every ten seconds", 0 \
	}

/* The storage domain, and the image that [OWNER/]NAME[@REV] names in it for this user; public_: the
 * public one. */
int vmj_image_named(const struct vmj_image_options *o, const char *text,
		    struct vmj_storage_config *ret_storage, struct vmj_image *ret,
		    struct vmj_error *err);

/* As vmjob(1) lists the keys. */
struct json_object *vmj_image_row(const struct vmj_image *image);

extern const struct vmj_verb vmj_image_verb_import, vmj_image_verb_show, vmj_image_verb_set,
	vmj_image_verb_share, vmj_image_verb_export;

#endif
