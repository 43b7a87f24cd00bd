/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Snapshots as changes of a volume's tree of layers: pure, no file is looked at.
 *
 * Theory of operation. A snapshot freezes the top and puts an empty layer over it. A revert puts an
 * empty layer over the snapshot's and drops the top, which no snapshot ever names. Removing a
 * snapshot removes its name only; what is stored then is a matter of merges, each of which takes
 * one layer that nobody needs out of the tree. A layer is needed if it is the top, if a snapshot
 * names it, or if several layers are over it. What is read through any needed layer is the same
 * before, during and after a merge, so that one which was broken off may be forgotten, or done
 * again.
 *
 * A merge of `layer`, not needed, with `child`, the only layer over it:
 *
 *   commit        the child's data go into the layer, which then takes the child's file name: no
 *                 header of those above changes. For files that no guest has open.
 *   pull          the child takes in what it read from the layer; then the layer goes. The child
 *                 keeps its file, hence also for the top of a guest that runs.
 *   live commit   within a running guest, by QEMU: the child's data go into the layer, which takes
 *                 the child's place under its own name; QEMU points the layer above to it. Never
 *                 for the top: after a power cut nobody could tell which of the two was written
 *                 last.
 *
 * Files that are not the volume's own (a clone or an image has them, too) are never written, and
 * the base, the image's file, stays as it is.
 */
#ifndef VMJ_STORAGE_SNAPSHOT_PLAN_H
#define VMJ_STORAGE_SNAPSHOT_PLAN_H

#include "vmjob/storage/volume.h"

#define VMJ_CHAIN_SOFT 8 /* longer: even layers that are shared are copied out of the chain */

/* What the file system says of layers[i]. */
struct vmj_layer_facts {
	bool own;       /* of the volume's user, and under no other name */
	uint64_t bytes; /* allocated */
};

enum vmj_merge_way {
	VMJ_MERGE_NOTHING,
	VMJ_MERGE_DROP, /* nothing is over the layer: it just goes */
	VMJ_MERGE_COMMIT,
	VMJ_MERGE_PULL,
	VMJ_MERGE_LIVE_COMMIT,
	VMJ_MERGE_LIVE_PULL,
};

struct vmj_merge {
	enum vmj_merge_way way;
	char layer[VMJ_VOLUME_FILE_MAX];
	char child[VMJ_VOLUME_FILE_MAX]; /* "" for DROP */
	char above[VMJ_VOLUME_FILE_MAX]; /* LIVE_COMMIT: the layer of the guest over the child */
	uint64_t bytes;                  /* that will be written, about */
};

/* EBUSY by the user's fault if something is pending: only one change at a time. */
int vmj_snapshot_check_idle(const struct vmj_volume *v, struct vmj_error *err);

/* Announce a snapshot of the top in v->pending, with a name for the new top's file. By the user's
 * fault: EEXIST, the name is taken; E2BIG, there are too many, or the chain would be too long;
 * EINVAL, no name. On failure v is as it was, for all these. */
int vmj_snapshot_begin(struct vmj_volume *v, const char *name, int64_t time, struct vmj_error *err);
/* Do what v->pending announces. */
int vmj_snapshot_finish(struct vmj_volume *v, struct vmj_error *err);

/* A new top over the snapshot, as large as the disk was then. ret_old: the top that was dropped.
 * ENOENT by the user's fault. */
int vmj_snapshot_revert(struct vmj_volume *v, const char *name, char ret_old[VMJ_VOLUME_FILE_MAX],
			struct vmj_error *err);
/* Remove the name. ENOENT by the user's fault. */
int vmj_snapshot_forget(struct vmj_volume *v, const char *name, struct vmj_error *err);

/* Has a guest the top's chain open? What cannot be done while it runs is left for later. */
enum vmj_merge_where {
	VMJ_MERGE_OFFLINE,
	VMJ_MERGE_LIVE,
	VMJ_MERGE_LIVE_NO_COMMIT, /* its QEMU cannot commit just now */
};

/* The next merge of v that makes sense; facts: one for each layer. */
struct vmj_merge vmj_merge_next(const struct vmj_volume *v, const struct vmj_layer_facts *facts,
				enum vmj_merge_where where);
/* The tree after it. */
int vmj_merge_apply(struct vmj_volume *v, const struct vmj_merge *m, struct vmj_error *err);

/* Is the top's chain longer than VMJ_CHAIN_SOFT? */
bool vmj_volume_is_long(const struct vmj_volume *v);

#endif
