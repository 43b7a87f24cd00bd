/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A FAT12 file system with a few files in its root, made in memory: what cloud-init's seed is.
 * Written by ourselves because a run of mkfs.vfat and mcopy costs more than all the rest of a
 * guest's preparation on a busy host. */
#ifndef VMJ_HOST_FAT_H
#define VMJ_HOST_FAT_H

#include <stddef.h>

#include "vmjob/base/error.h"

#define VMJ_FAT_SIZE      (1u << 20) /* of the whole file system; what is not written is zeros */
#define VMJ_FAT_FILES_MAX 8
#define VMJ_FAT_NAME_MAX  26 /* ASCII */

struct vmj_fat_file {
	const char *name, *data;
	size_t len;
};

/* label: up to 11 capitals and digits. *ret: the used part of the file system, *ret_len bytes, the
 * caller's. ENOSPC when the files do not fit. */
int vmj_fat_make(const char *label, const struct vmj_fat_file *files, size_t n, unsigned char **ret,
		 size_t *ret_len, struct vmj_error *err);

#endif
