/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Snapshots and merges as sequences of steps that a crash may end anywhere: after recovery, each
 * was done or was not, and what the top and the snapshots hold is right all the time.
 *
 * The steps' effects (files, qemu-img, QEMU) are behind struct vmj_layers_env, so that tests run
 * these sequences on a made-up world and break them off at each of its calls. The real ones are in
 * snapshot_files.h; what a running guest needs is the agent's.
 *
 * All functions want the volume's lease, and `v` as volume.json has it, recovered. On success and
 * on failure v is as volume.json was last written. Blocking.
 */
#ifndef VMJ_STORAGE_SNAPSHOT_H
#define VMJ_STORAGE_SNAPSHOT_H

#include "vmjob/storage/snapshot_plan.h"

struct vmj_layers_env {
	/* volume.json, durably. */
	int (*save)(const struct vmj_volume *v, void *arg, struct vmj_error *err);
	/* A new, empty, writable layer of v->virtual_bytes over `parent`, whole when it is there,
	 * durable; replaces an orphan. */
	int (*make)(const struct vmj_volume *v, const char *file, const char *parent, void *arg,
		    struct vmj_error *err);
	/* Let its user write the file, or not (any more). An own file: struct vmj_layer_facts. */
	int (*set_writable)(const struct vmj_volume *v, const char *file, bool writable, void *arg,
			    struct vmj_error *err);
	/* Put the data of `child` into its parent `layer`, both writable, durably; the child stays
	 * as it is. */
	int (*commit)(const struct vmj_volume *v, const char *child, const char *layer, void *arg,
		      struct vmj_error *err);
	/* Put into `child`, which is writable, what it reads from below but not from `parent` ("":
	 * nothing), durably, and then make `parent` its parent. */
	int (*pull)(const struct vmj_volume *v, const char *child, const char *parent, void *arg,
		    struct vmj_error *err);
	/* Rename over what has that name; durably. */
	int (*move)(const struct vmj_volume *v, const char *from, const char *to, void *arg,
		    struct vmj_error *err);
	/* Write the parent's name ("": none) into the header of an own file, and nothing else;
	 * nothing to do: nothing is done. */
	int (*set_parent)(const struct vmj_volume *v, const char *file, const char *parent,
			  void *arg, struct vmj_error *err);
	/* Gone already: success. */
	int (*drop)(const struct vmj_volume *v, const char *file, void *arg, struct vmj_error *err);
	/* 1: it is there, 0: not, or -errno. */
	int (*exists)(const struct vmj_volume *v, const char *file, void *arg,
		      struct vmj_error *err);
	/* ret: one for each layer. */
	int (*look)(const struct vmj_volume *v, struct vmj_layer_facts *ret, void *arg,
		    struct vmj_error *err);

	/* For a volume in a running guest, all NULL else. Commit, pull: as above, done by QEMU on
	 * its open files; `above`: the layer over `child`, which gets `layer` for its parent.
	 * Accept what has been done already. live_commit alone may be NULL: not to be had now. */
	int (*live_commit)(const struct vmj_volume *v, const char *above, const char *child,
			   const char *layer, void *arg, struct vmj_error *err);
	int (*live_pull)(const struct vmj_volume *v, const char *parent, void *arg,
			 struct vmj_error *err);
	/* 1: QEMU has the file open as a layer of the disk, 0: not, or -errno. */
	int (*live_has)(const struct vmj_volume *v, const char *file, void *arg,
			struct vmj_error *err);

	void *arg;
};

/* The points of all that follows (base/point.h), for tests; ends with NULL. */
extern const char *const vmj_snapshot_points[];

/* Prepare: the new top's file is there and announced. For a running guest, QEMU is then switched to
 * it. Complete: it is the top. Cancel: QEMU was not switched. */
int vmj_snapshot_prepare(const struct vmj_layers_env *env, struct vmj_volume *v, const char *name,
			 int64_t time, struct vmj_error *err);
int vmj_snapshot_complete(const struct vmj_layers_env *env, struct vmj_volume *v, bool quiesced,
			  struct vmj_error *err);
int vmj_snapshot_cancel(const struct vmj_layers_env *env, struct vmj_volume *v,
			struct vmj_error *err);

/* The first two, of a volume that no guest has. */
int vmj_snapshot_create(const struct vmj_layers_env *env, struct vmj_volume *v, const char *name,
			int64_t time, struct vmj_error *err);
/* The top becomes what the snapshot holds; what the old one held beyond is gone. No guest has it.
 */
int vmj_snapshot_go_back(const struct vmj_layers_env *env, struct vmj_volume *v, const char *name,
			 struct vmj_error *err);
/* Its name goes; vmj_volume_flatten() frees the space. */
int vmj_snapshot_remove(const struct vmj_layers_env *env, struct vmj_volume *v, const char *name,
			struct vmj_error *err);

/* One merge, if any makes sense: 1 done, 0 none. Merge on until 0 is returned. On failure nothing
 * is lost; it may be tried again. */
int vmj_volume_merge(const struct vmj_layers_env *env, struct vmj_volume *v, struct vmj_error *err);

/* End what a crash broke off (pending SNAPSHOT and MERGE), and put headers and modes right.
 * Idempotent. With the live functions set, a guest has the volume. */
int vmj_layers_recover(const struct vmj_layers_env *env, struct vmj_volume *v,
		       struct vmj_error *err);

#endif
