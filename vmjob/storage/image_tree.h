/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside a directory domain (image.h has the layout): shared by image*.c, for nobody
 * else. */
#ifndef VMJ_STORAGE_IMAGE_TREE_H
#define VMJ_STORAGE_IMAGE_TREE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "vmjob/base/error.h"
#include "vmjob/storage/image.h"

#define IMAGE_DISK      "disk.qcow2"
#define IMAGE_META      "image.json"
#define IMAGE_TMP       ".tmp-"
#define IMAGE_LOCK      "lock"
#define IMAGE_PUBLIC    "public"
#define IMAGE_SHARES    "shares" /* beside images */
#define IMAGE_LIST_MAX  10000    /* images that one user's directory may show */
#define IMAGE_META_MAX  16384
#define IMAGE_OWNER_MAX 16

/* "1000" or "public". */
const char *vmj_image_owner_dir(uid_t uid, bool public_, char buf[IMAGE_OWNER_MAX]);

/* PATH/images with the caller's rights; the host's fault if it cannot be opened. */
int vmj_images_open(const char *path, struct vmj_error *err);

/* images/<owner>: a descriptor to name what is in it by (O_PATH: others may pass, not list);
 * -ENOENT where it does not exist or is not a real directory of that owner's alone (err untouched
 * then, *ret_squatted tells). */
int vmj_image_owner_open(int images, uid_t uid, bool public_, bool *ret_squatted,
			 struct vmj_error *err);

/* The highest revision below an open directory of an image, 0: none. */
int vmj_image_latest(int image_dir, uint32_t *ret, struct vmj_error *err);

/* Everything about one revision below an open owner's directory. */
int vmj_image_load(const char *path, int owner_dir, uid_t owner, bool public_, const char *name,
		   uint32_t revision, struct vmj_image *ret, struct vmj_error *err);

/* The images of one owner (or the public ones) that the caller can read, unsorted; as
 * vmj_image_list(). */
int vmj_image_list_owned(const char *path, uid_t uid, bool public_, struct vmj_image **ret,
			 size_t *ret_n, struct vmj_error *err);

/* The user's fault for what a user can bring about, the host's for the rest. */
int vmj_image_fail(struct vmj_error *err, int code, const char *name, const char *what);

#endif
