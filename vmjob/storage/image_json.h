/* SPDX-License-Identifier: GPL-2.0-or-later */
/* image.json: what is known of an image's revision besides its disk. */
#ifndef VMJ_STORAGE_IMAGE_JSON_H
#define VMJ_STORAGE_IMAGE_JSON_H

#include "vmjob/storage/image.h"

/* Of the revision whose directory is open as `dir`: sha256, source, time and meta of *img. Damage
 * is the user's fault, whose file it is. */
int vmj_image_json_read(int dir, const char *name, struct vmj_image *img, struct vmj_error *err);
/* Atomically and durably; also name and virtual_bytes. */
int vmj_image_json_write(int dir, const struct vmj_image *img, struct vmj_error *err);

#endif
