/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside PATH/volumes (volume.h has the layout): shared by volume*.c and snapshot*.c, for nobody
 * else. Every directory on the way must be a real one, ours, and writable by no other. */
#ifndef VMJ_STORAGE_VOLUME_TREE_H
#define VMJ_STORAGE_VOLUME_TREE_H

#include <stdbool.h>
#include <stdint.h>

#include "vmjob/base/error.h"
#include "vmjob/storage/volume.h"

#define VOLUME_META    "volume.json"
#define VOLUME_NEW     ".new-"
#define VOLUME_GONE    ".gone-"
#define VOLUME_TMP_MAX (VMJ_NAME_MAX + 32) /* ".gone-NAME-<16 hex digits>" */

/* PATH/volumes; the host's fault if it cannot be opened. */
int vmj_volumes_open(const char *domain, struct vmj_error *err);

/* volumes/<uid>. Where there is none it is made, or, without `make`, -ENOENT with err untouched. */
int vmj_volumes_of_user(int volumes, uid_t uid, bool make, struct vmj_error *err);

/* volumes/<uid>/<name>; `name` may be one of .new-… and .gone-…. Where there is none: -ENOENT with
 * err untouched. */
int vmj_volume_dir_open(int user, const char *name, struct vmj_error *err);

/* volume.json of an open directory. load: -ENOENT with err untouched where there is none; damage,
 * and another volume's, is the host's fault. */
int vmj_volume_load(int dir, uid_t uid, const char *name, struct vmj_volume *ret,
		    struct vmj_error *err);
int vmj_volume_store(int dir, const struct vmj_volume *v, struct vmj_error *err);

/* ".new-NAME-<random>"; -EIO: no randomness. */
int vmj_volume_tmp_name(const char *prefix, const char *name, char ret[VOLUME_TMP_MAX],
			struct vmj_error *err);

#endif
