/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest's disks as libvirt's XML: within a domain, and each alone, to be attached or detached.
 * Pure. */
#ifndef VMJ_HOST_DOMAIN_DISK_H
#define VMJ_HOST_DOMAIN_DISK_H

#include <stdbool.h>

#include "vmjob/base/error.h"
#include "vmjob/model/guest-disk.h"

struct vmj_xml;

#define VMJ_SEED_TARGET "vdz" /* no disk of the record is ever there */

/* direct_io: vmj_disk_can_direct() of every file of the chain. */
void vmj_domain_put_disk(struct vmj_xml *x, const struct vmj_guest_disk *d, bool direct_io);
void vmj_domain_put_seed(struct vmj_xml *x, const char *file);

/* The <disk> element alone; *ret is the caller's. */
int vmj_domain_disk_xml(const struct vmj_guest_disk *d, bool direct_io, char **ret,
			struct vmj_error *err);

#endif
