/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The directory in which an import is made. Theory of operation: it lies beside the images,
 * images/<uid>/.tmp-XXXXXXXX, holds a locked file `lock` as long as its writer lives, and becomes
 * the next revision by one rename. Renaming a directory over one that is not empty fails, also on
 * NFS: that is what makes numbering safe between two imports at once. Whoever imports next removes
 * what a dead writer left: a .tmp-* whose lock it can take. The lock stays in the directory over
 * the rename, for otherwise it could be taken, and the directory removed, in between.
 */
#ifndef VMJ_STORAGE_IMAGE_TMP_H
#define VMJ_STORAGE_IMAGE_TMP_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmjob/base/error.h"

struct vmj_image_tmp {
	int owner;           /* images/<uid> */
	int dir, lock;       /* owner/tmp, and the lock in it */
	char tmp[32];        /* "": none made */
	char path[PATH_MAX]; /* of owner/tmp, for programs */
};
#define VMJ_IMAGE_TMP_NONE                         \
	{                                          \
		.owner = -1, .dir = -1, .lock = -1 \
	}

/* images/<uid> of the calling user (or public) is made if need be, and swept. Only the user can
 * look into the new directory. */
int vmj_image_tmp_make(struct vmj_image_tmp *t, const char *path, bool public_,
		       struct vmj_error *err);
/* Becomes the next revision of `name`, for others to read who may pass images/<uid>/<name>.
 * *ret: which. */
int vmj_image_tmp_publish(struct vmj_image_tmp *t, const char *name, bool public_, uint32_t *ret,
			  struct vmj_error *err);
/* Removes it unless it was published. */
void vmj_image_tmp_done(struct vmj_image_tmp *t);

#endif
