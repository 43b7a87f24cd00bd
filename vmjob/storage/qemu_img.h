/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img, for work on disks that a user's files hold: with that user's rights, and progress. */
#ifndef VMJ_STORAGE_QEMU_IMG_H
#define VMJ_STORAGE_QEMU_IMG_H

#include <sys/types.h>

#include "vmjob/base/error.h"
#include "vmjob/storage/image.h"

struct vmj_qemu_img {
	const char *const *argv; /* argv[0] "qemu-img"; with -p where progress is wanted */
	uid_t uid;               /* 0: as the caller */
	gid_t gid;
	vmj_progress_fn progress; /* NULL: none */
	void *arg;
};

/* Up to a day. Errors as vmj_spawn()'s. */
int vmj_qemu_img_run(const struct vmj_qemu_img *q, struct vmj_error *err);

#endif
