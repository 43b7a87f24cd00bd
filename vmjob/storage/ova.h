/* SPDX-License-Identifier: GPL-2.0-or-later */
/* OVA, the archive (tar) of an OVF descriptor, disks and a manifest. Nothing is ever extracted to a
 * path that the archive names. */
#ifndef VMJ_STORAGE_OVA_H
#define VMJ_STORAGE_OVA_H

#include "vmjob/base/error.h"
#include "vmjob/storage/image_meta.h"
#include "vmjob/storage/spool.h"

/* The disk called `disk` (NULL: the only one) of the archive open as `from`, into the spool. Where
 * there is a manifest, the checksums of descriptor and disk must agree. What the descriptor says of
 * the guest goes into *ret. Everything that is wrong with the archive is the user's fault. */
int vmj_ova_extract(int from, const char *disk, struct vmj_spool *to, struct vmj_image_meta *ret,
		    struct vmj_error *err);

#endif
