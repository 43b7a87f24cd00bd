/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by snapshot*.c, for nobody else. */
#ifndef VMJ_STORAGE_SNAPSHOT_PRIVATE_H
#define VMJ_STORAGE_SNAPSHOT_PRIVATE_H

#include "vmjob/storage/snapshot.h"

/* The merge was done in the files, or by QEMU: volume.json is to say so, and what is not needed any
 * more to go. */
int vmj_merge_conclude(const struct vmj_layers_env *env, struct vmj_volume *v,
		       const struct vmj_merge *m, struct vmj_error *err);

#endif
