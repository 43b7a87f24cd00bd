/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The markers of shared images, PATH/shares/<uid>.<name>: shared by image*.c, for nobody else. */
#ifndef VMJ_STORAGE_IMAGE_SHARE_H
#define VMJ_STORAGE_IMAGE_SHARE_H

#include <stdbool.h>
#include <sys/types.h>

/* Whether an entry of the open directory is a marker that its owner has made. *ret_name points into
 * `entry`. */
bool vmj_image_share_marker(int shares, const char *entry, uid_t *ret_uid, const char **ret_name);

/* The calling user's marker, if there is one, goes. */
void vmj_image_share_forget(int images, const char *name);

#endif
