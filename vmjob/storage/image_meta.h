/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is said about an image's guest: found in the file, told by its owner, shown to its users.
 * Nothing of it is relied upon for safety. */
#ifndef VMJ_STORAGE_IMAGE_META_H
#define VMJ_STORAGE_IMAGE_META_H

#include <stdint.h>

#include "vmjob/base/error.h"

struct json_object;
struct vmj_json;

enum vmj_firmware { VMJ_FIRMWARE_UNKNOWN = 0, VMJ_FIRMWARE_BIOS, VMJ_FIRMWARE_UEFI };
enum vmj_has_agent { VMJ_AGENT_UNKNOWN = 0, VMJ_AGENT_YES, VMJ_AGENT_NO };

struct vmj_image_meta {
	char os[64];             /* "Debian 12"; "": not known */
	uint64_t min_memory_mib; /* 0: not known */
	uint64_t min_disk_mib;
	enum vmj_firmware firmware;
	enum vmj_has_agent agent;
	char default_user[33]; /* whom to log in as; "": not known */
};

/* One value as people write it: key is os, min-memory, min-disk, firmware (bios, uefi),
 * default-user, agent (yes, no); an empty value forgets it. *m is untouched on failure; all are the
 * user's fault. */
int vmj_image_meta_set(struct vmj_image_meta *m, const char *key, const char *value,
		       struct vmj_error *err);
/* What `over` knows goes over what `m` says. */
void vmj_image_meta_merge(struct vmj_image_meta *m, const struct vmj_image_meta *over);

/* "" for unknown. */
const char *vmj_firmware_name(enum vmj_firmware firmware);
const char *vmj_has_agent_name(enum vmj_has_agent agent);

/* As members of image.json, all optional. */
void vmj_image_meta_read(struct vmj_json *in, struct vmj_image_meta *ret);
void vmj_image_meta_write(struct json_object *o, const struct vmj_image_meta *m);

#endif
