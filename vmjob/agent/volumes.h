/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest's volumes: their leases and their chains. All block.
 *
 * Order is what keeps data safe: the disk is on the guest's record, then its lease is taken, then
 * its files are looked at; and the other way round, nothing of the guest runs any more (or QEMU has
 * let go of the disk), then the lease is given back, then the disk leaves the record. Each may be
 * repeated.
 */
#ifndef VMJ_AGENT_VOLUMES_H
#define VMJ_AGENT_VOLUMES_H

#include "vmjob/agent/work.h"

/* The storage of this name, or the default (NULL, ""); reached by this host, else the host's fault.
 */
int vmj_work_storage(struct vmj_work *w, const char *name, const struct vmj_storage_config **ret,
		     struct vmj_error *err);

/* The image, in the first storage that has it. -ENOENT and -EACCES by the user's fault. */
int vmj_work_image(struct vmj_work *w, const char *owner, const char *name, uint32_t revision,
		   struct vmj_image *ret, const struct vmj_storage_config **ret_storage,
		   struct vmj_error *err);

/* The volume's lease, for w->guest. In use elsewhere: by the user's fault. */
int vmj_guest_volume_take(struct vmj_work *w, struct vmj_guest_disk *d, struct vmj_error *err);

/* The two that follow want the lease. read: -ENOENT by the user's fault, and only then. open: v as
 * read; what a crash left of it is mended, every layer checked, its chain put into *d. */
int vmj_guest_volume_read(struct vmj_work *w, const struct vmj_guest_disk *d,
			  struct vmj_volume *ret, struct vmj_error *err);
int vmj_guest_volume_open(struct vmj_work *w, struct vmj_guest_disk *d, struct vmj_volume *v,
			  struct vmj_error *err);

/* The volume's chain, from its top, into *d. Pure. */
int vmj_guest_disk_set_chain(struct vmj_guest_disk *d, const char *domain,
			     const struct vmj_volume *v, struct vmj_error *err);

/* The leases of all volumes of w->guest once more, before it writes (again): while it stood still,
 * or its making hung, others may have taken one over by the rules. Then -EBUSY by the user's fault:
 * it must not go on. */
int vmj_guest_volumes_retake(struct vmj_work *w, struct vmj_error *err);

/* Of a volume that the domain has: lease and chain as they are, nothing is mended. */
int vmj_guest_volume_adopt(struct vmj_work *w, struct vmj_guest_disk *d, struct vmj_error *err);

/* Nobody writes it any more. Not held: success. */
int vmj_guest_volume_return(struct vmj_work *w, const struct vmj_guest_disk *d,
			    struct vmj_error *err);

/* All of w->guest's, once its QEMU is gone for certain: it is refused while that lives. */
int vmj_guest_volumes_return(struct vmj_work *w, struct vmj_error *err);

#endif
