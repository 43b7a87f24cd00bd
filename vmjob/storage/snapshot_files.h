/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Snapshots and merges of a volume that no guest has, on its real files: the environment of
 * snapshot.h. Programs that look into layers run as the volume's user, on chains that were checked.
 * Blocking; a merge may take long, and can be killed at any time.
 */
#ifndef VMJ_STORAGE_SNAPSHOT_FILES_H
#define VMJ_STORAGE_SNAPSHOT_FILES_H

#include "vmjob/base/cleanup.h"
#include "vmjob/storage/image.h"
#include "vmjob/storage/snapshot.h"

struct vmj_layer_files {
	const char *domain;
	int dir;                  /* the volume's, open */
	vmj_progress_fn progress; /* of one copy; NULL: none */
	void *arg;
	void *guest; /* what the live functions of a caller want */
};

/* domain is borrowed. Then done, also after a failure. */
int vmj_layer_files_open(struct vmj_layer_files *f, const char *domain, const struct vmj_volume *v,
			 struct vmj_error *err);
void vmj_layer_files_done(struct vmj_layer_files *f);
#define vmj_auto_layer_files VMJ_CLEANUP(vmj_layer_files_done)

/* Without live functions; those of a caller get f, as all the others do. */
struct vmj_layers_env vmj_layer_files_env(struct vmj_layer_files *f);

/* vmj_layers_recover() of a volume that no guest has. The first part of vmj_volume_recover(). */
int vmj_snapshot_recover(const char *domain, struct vmj_volume *v, struct vmj_error *err);

#endif
