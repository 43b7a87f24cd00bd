/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside PATH/volumes (volume.h has the layout): shared by volume*.c and snapshot*.c, for nobody
 * else. Every directory on the way must be a real one, ours, and writable by no other. */
#ifndef VMJ_STORAGE_VOLUME_TREE_H
#define VMJ_STORAGE_VOLUME_TREE_H

#include <stdbool.h>
#include <stdint.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/error.h"
#include "vmjob/storage/volume.h"

#define VOLUME_META    "volume.json"
#define VOLUME_NEW     ".new-"
#define VOLUME_GONE    ".gone-"
#define VOLUME_TMP_MAX (VMJ_NAME_MAX + 32) /* ".gone-NAME-<16 hex digits>" */

/* --- directories ------------------------------------------------------------------------------ */

/* PATH/volumes; the host's fault if it cannot be opened. */
int vmj_volumes_open(const char *domain, struct vmj_error *err);

/* volumes/<uid>. Where there is none it is made, or, without `make`, -ENOENT with err untouched. */
int vmj_volumes_of_user(int volumes, uid_t uid, bool make, struct vmj_error *err);

/* volumes/<uid>/<name>; `name` may be one of .new-… and .gone-…. Where there is none: -ENOENT with
 * err untouched. */
int vmj_volume_dir_open(int user, const char *name, struct vmj_error *err);

/* volume.json of an open directory. load: -ENOENT with err untouched where there is none; damage,
 * and another volume's, is the host's fault. load_in: of user/name/. */
int vmj_volume_load(int dir, uid_t uid, const char *name, struct vmj_volume *ret,
		    struct vmj_error *err);
int vmj_volume_load_in(int user, uid_t uid, const char *name, struct vmj_volume *ret,
		       struct vmj_error *err);
int vmj_volume_store(int dir, const struct vmj_volume *v, struct vmj_error *err);

/* ".new-NAME-<random>"; -EIO: no randomness. */
int vmj_volume_tmp_name(const char *prefix, const char *name, char ret[VOLUME_TMP_MAX],
			struct vmj_error *err);
/* The NAME in one of `prefix`. */
bool vmj_volume_tmp_parse(const char *prefix, const char *entry, char ret[VMJ_NAME_MAX + 1]);

/* May a new volume (of a job, or 0) be called so? Else the user's fault. */
int vmj_volume_new_name(const char *name, uint32_t job, struct vmj_error *err);
/* -ENOENT, by the user's fault, and what to do. */
int vmj_volume_not_there(const char *name, struct vmj_error *err);

/* --- layer files of an open directory of v -----------------------------------------------------
 */

/* A new one, the user's and 0600, empty over `parent` ("": none), durable. Replaces an orphan of
 * that name. */
int vmj_layer_make(int dir, const struct vmj_volume *v, const char *file, const char *parent,
		   uint64_t bytes, struct vmj_error *err);
/* 0400, or 0600; the owner may have changed it, so it is set, not assumed. */
int vmj_layer_freeze(int dir, const struct vmj_volume *v, const char *file, struct vmj_error *err);
int vmj_layer_thaw(int dir, const struct vmj_volume *v, const char *file, struct vmj_error *err);

/* Opened for reading by root and checked: a regular file of the owner that it must have, qcow2,
 * over the parent that v says. A descriptor; *ret_bytes (NULL allowed): its disk's size. */
int vmj_layer_open(int dir, const struct vmj_volume *v, const char *file, uint64_t *ret_bytes,
		   struct vmj_error *err);
/* The same for all of the chain of `from` (NULL: the top), and the top's size. */
int vmj_chain_verify(int dir, const struct vmj_volume *v, const char *from, struct vmj_error *err);

/* A further name of the open file `from` as dir/file; where it can have none, a copy, made with v's
 * user's rights, 0400. from_path: the same file, for messages and copies. */
int vmj_layer_link(int from, const char *from_path, int dir, const char *dir_path,
		   const struct vmj_volume *v, const char *file, struct vmj_error *err);

/* --- a volume under way ----------------------------------------------------------------------- */

struct vmj_making {
	const char *domain;
	int user, dir;
	char tmp[VOLUME_TMP_MAX]; /* "": none */
	char path[VMJ_VOLUME_PATH_MAX];
};
#define VMJ_MAKING_INIT                           \
	{                                         \
		.user = -1, .dir = -1, .tmp = "", \
	}
/* volumes/<uid>/.new-<guard>-…, open. guard: the name of which the caller holds the lease. -EEXIST
 * by the user's fault: there is such a volume. */
int vmj_making_begin(struct vmj_making *m, const char *domain, const struct vmj_volume *v,
		     const char *guard, struct vmj_error *err);
/* Writes volume.json; syncs. */
int vmj_making_seal(struct vmj_making *m, const struct vmj_volume *v, struct vmj_error *err);
/* It appears. -EEXIST as begin. */
int vmj_making_publish(struct vmj_making *m, const struct vmj_volume *v, struct vmj_error *err);
/* Removes it unless it has appeared. */
void vmj_making_done(struct vmj_making *m);
#define vmj_auto_making VMJ_CLEANUP(vmj_making_done)

#endif
