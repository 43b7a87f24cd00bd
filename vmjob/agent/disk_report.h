/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest's disks as `show` has them. */
#ifndef VMJ_AGENT_DISK_REPORT_H
#define VMJ_AGENT_DISK_REPORT_H

#include <stdint.h>

#include "vmjob/model/guest-disk.h"

struct json_object;

struct vmj_disk_figures {
	uint64_t size_bytes; /* as the guest sees it; 0: not known */
	uint64_t used_bytes; /* its own files take on disk: an image elsewhere is not counted */
};

/* Blocking. */
void vmj_disk_figures(const struct vmj_guest_disk *d, struct vmj_disk_figures *ret);

/* Into one disk of a guest's JSON; f NULL: not known yet. */
void vmj_disk_figures_add(struct json_object *disk, const struct vmj_guest_disk *d,
			  const struct vmj_disk_figures *f);

#endif
