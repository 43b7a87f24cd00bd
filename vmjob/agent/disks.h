/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest's disks, from its request to files, within prepare. All block.
 *
 * An ordinary guest's root is an overlay on this host, over the image; its fresh disks are here
 * too. A protected guest (--vm-ha) has both as volumes of its job in the default storage, found
 * again when the job is requeued to whatever host. With
 * --vm-persistent the root is a volume of the user's, made from the image at the first start; then
 * the volume counts, whatever the image has become.
 */
#ifndef VMJ_AGENT_DISKS_H
#define VMJ_AGENT_DISKS_H

#include "vmjob/agent/work.h"

/* What each disk of the request will be and where it is plugged in, into w->guest.disks; finds the
 * images that are needed for certain. Makes nothing. */
int vmj_disks_plan(struct vmj_work *w, struct vmj_error *err);

/* Take the volumes (they are on record: volumes.h), make those that are to be made, fill in their
 * chains. */
int vmj_disks_take(struct vmj_work *w, struct vmj_error *err);

/* Make the node-local ones; replaces what a crash left. */
int vmj_disks_make(struct vmj_work *w, struct vmj_error *err);

/* Can all files of the disk be opened past the page cache? */
bool vmj_disks_direct(const struct vmj_guest_disk *d);

#endif
