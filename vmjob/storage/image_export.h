/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An export under way: shared by image_export.c and ova_write.c, for nobody else. */
#ifndef VMJ_STORAGE_IMAGE_EXPORT_H
#define VMJ_STORAGE_IMAGE_EXPORT_H

#include "vmjob/storage/image.h"

struct vmj_export {
	const struct vmj_image_export *spec;
	const char *tmp; /* the file to write: open as fd, empty */
	int fd;
};

/* The image's disk in the format and its options (NULL: none) into the file `to`. */
int vmj_export_convert(const struct vmj_export *e, const char *format, const char *options,
		       const char *to, struct vmj_error *err);

/* An OVA of the image into e->fd. Needs another temporary file, `disk`, which is removed. */
int vmj_ova_write(const struct vmj_export *e, const char *disk, struct vmj_error *err);

#endif
