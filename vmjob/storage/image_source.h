/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an import reads: from whatever it was given (a file, standard input, packed, an archive) to
 * one disk that stands alone, for qemu-img. */
#ifndef VMJ_STORAGE_IMAGE_SOURCE_H
#define VMJ_STORAGE_IMAGE_SOURCE_H

#include <limits.h>

#include "vmjob/storage/image.h"
#include "vmjob/storage/image_tmp.h"

struct vmj_image_source {
	int fd;              /* of the disk; -1: none */
	char path[PATH_MAX]; /* of the same, absolute */
	const char *format;  /* as qemu-img -f has it */
	uint64_t virtual_bytes;
	struct vmj_image_meta meta; /* what an archive says */
	char name[256];             /* of what was given, for people */
};

/* A file that cannot be opened or is no regular one is refused before anything is made. */
int vmj_image_source_open(struct vmj_image_source *s, const struct vmj_image_import *spec,
			  struct vmj_error *err);
/* Unpacks in `tmp` if need be, and looks at the disk. */
int vmj_image_source_prepare(struct vmj_image_source *s, const struct vmj_image_import *spec,
			     const struct vmj_image_tmp *tmp, struct vmj_error *err);
/* Removes what was unpacked in `tmp`. */
int vmj_image_source_drop(struct vmj_image_source *s, const struct vmj_image_tmp *tmp,
			  struct vmj_error *err);
void vmj_image_source_done(struct vmj_image_source *s);

#endif
