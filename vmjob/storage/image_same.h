/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Identical content is stored once among the images of one owner. Not across owners: that would
 * tell one what another has (doc/decisions/images-stored-once.md). */
#ifndef VMJ_STORAGE_IMAGE_SAME_H
#define VMJ_STORAGE_IMAGE_SAME_H

#include <stdbool.h>

#include "vmjob/base/error.h"
#include "vmjob/storage/image_tmp.h"

/* Where the owner has an image with this checksum whose disk is the same byte by byte as the one
 * in `tmp` (open as fd), that disk takes the place of tmp's by a hard link. No such image, or a
 * file system without links: nothing is changed. */
int vmj_image_same_link(const struct vmj_image_tmp *tmp, const char *path, bool public_, int fd,
			const char *sha256, struct vmj_error *err);

#endif
