/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disks of guests that run, through libvirt; as all of virt.h: blocking, thread-safe, ENOTCONN
 * without a connection. */
#ifndef VMJ_HOST_VIRT_DISK_H
#define VMJ_HOST_VIRT_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "vmjob/base/error.h"
#include "vmjob/model/guest-disk.h"

struct vmj_virt;

#define VMJ_VIRT_DISKS_MAX (VMJ_GUEST_DISKS_MAX + 1) /* and the seed */

struct vmj_virt_disk {
	char target[8];
	char path[VMJ_DISK_PATH_MAX]; /* of the top, as QEMU has it now */
	bool failed, full;            /* only of vmj_virt_disk_errors() */
};

/* What the domain has. -ENOENT: no such domain. */
int vmj_virt_disks(struct vmj_virt *v, uint32_t job, struct vmj_virt_disk *ret, unsigned int *ret_n,
		   struct vmj_error *err);

/* Which disks stopped the guest: failed, and full where it was for want of room. None, once it runs
 * again. */
int vmj_virt_disk_errors(struct vmj_virt *v, uint32_t job, struct vmj_virt_disk *ret,
			 unsigned int *ret_n, struct vmj_error *err);

/* xml: vmj_domain_disk_xml(). By the user's fault: no free place, or the disk is locked by another
 * guest. */
int vmj_virt_attach_disk(struct vmj_virt *v, uint32_t job, const char *xml, struct vmj_error *err);

/* Asks the guest to let go of the disk; it is gone when vmj_virt_disks() says so, at once or later
 * (then VMJ_VIRT_DISK_REMOVED is told), or never: the guest decides. Gone already: success. */
int vmj_virt_detach_disk(struct vmj_virt *v, uint32_t job, const char *target,
			 struct vmj_error *err);

/* Grow a disk; the guest sees it at once. What the file's header says counts, also where this
 * fails.
 */
int vmj_virt_resize_disk(struct vmj_virt *v, uint32_t job, const char *target, uint64_t bytes,
			 struct vmj_error *err);

#endif
