/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is written in a storage domain, by whom, and what room there is. Blocking.
 *
 * Bytes are those that files take on disk (st_blocks). A file with several names counts once, and
 * for its owner: an image's disk that volumes share by hard links belongs to whoever imported it.
 * Once it has but one name left, it counts for the user in whose directory that is. Trees are not
 * locked: what changes meanwhile is counted before or after the change.
 */
#ifndef VMJ_STORAGE_USAGE_H
#define VMJ_STORAGE_USAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "vmjob/base/error.h"
#include "vmjob/model/config.h"
#include "vmjob/policy/quota.h"

#define VMJ_USAGE_FILES_MAX 100000 /* of one user */
#define VMJ_USAGE_USERS_MAX 100000

struct vmj_capacity {
	uint64_t total_bytes, free_bytes; /* free: to users, not to root alone */
};
int vmj_capacity_read(const char *path, struct vmj_capacity *ret, struct vmj_error *err);

struct vmj_usage {
	uint64_t images_bytes, volumes_bytes;
	/* Filled by vmj_usage_promised() only: the sizes that guests see, of all volumes. */
	uint64_t promised_bytes;
	uint32_t n_volumes;
	bool cut; /* there are more than VMJ_USAGE_FILES_MAX files: the rest is not counted */
};

/* One user's images and volumes; uid 0 has the public images. What the caller may not read is not
 * counted: only root sees volumes. A user without anything: all 0. */
int vmj_usage_user(const char *path, uid_t uid, struct vmj_usage *ret, struct vmj_error *err);

struct vmj_usage_of {
	uid_t uid;
	struct vmj_usage usage;
};
/* Every user who has a directory, by uid; and all together, where a shared file counts once. *ret
 * is the caller's, NULL where *ret_n is 0. Needs root's rights. */
int vmj_usage_all(const char *path, struct vmj_usage_of **ret, size_t *ret_n,
		  struct vmj_usage *ret_total, struct vmj_error *err);

/* What is promised in volumes, to each of `users` as vmj_usage_all() gave them, and in all. Reads
 * each volume's description: for people who ask, not for admission. Needs root's rights. */
int vmj_usage_promised(const char *path, struct vmj_usage_of *users, size_t n,
		       struct vmj_usage *total, struct vmj_error *err);

/*
 * May this user have a disk of which new_bytes are written at once (0: a thin one)? What
 * volume-create, clone, resize, snapshots and imports call before they make anything. Walks the
 * user's tree where there is a quota, all trees where there is a limit; else asks the file system
 * alone. Refusals are the user's fault (policy/quota.h). Without root's rights volumes and other
 * users' trees cannot be seen: op "storage-admit" has an agent decide.
 */
int vmj_quota_admit(const struct vmj_storage_config *s, uid_t uid, uint64_t new_bytes,
		    struct vmj_error *err);

#endif
