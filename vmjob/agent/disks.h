/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest's disks, from its request to files: within prepare. All block. */
#ifndef VMJ_AGENT_DISKS_H
#define VMJ_AGENT_DISKS_H

#include "vmjob/agent/work.h"

/* Where each disk of the request will be, into w->guest.disks. Makes nothing. */
int vmj_disks_plan(struct vmj_work *w, struct vmj_error *err);

/* Make what was planned; replaces what a crash left. */
int vmj_disks_make(struct vmj_work *w, struct vmj_error *err);

/* Can all files of the disk be opened past the page cache? */
bool vmj_disks_direct(const struct vmj_guest_disk *d);

#endif
