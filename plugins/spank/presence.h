/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A kindness at submit: say at once that an image does not exist, where this host can know. */
#ifndef VMJ_SPANK_PRESENCE_H
#define VMJ_SPANK_PRESENCE_H

#include "vmjob/base/error.h"
#include "vmjob/model/request.h"

/* Of the guest's image and of disks that are images. -ENOENT only if vmjob.conf can be read here,
 * its first storage is mounted here, and it has the image neither of the owner that was named nor,
 * where none was, of the calling user or of "public". Whatever cannot be known is 0: the compute
 * host looks again. */
int vmj_image_presence(const struct vmj_request *request, struct vmj_error *err);
/* The same with a storage's path. */
int vmj_image_presence_in(const char *storage, const struct vmj_request *request,
			  struct vmj_error *err);

#endif
