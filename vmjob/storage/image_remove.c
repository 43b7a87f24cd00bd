/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/file.h"
#include "vmjob/storage/image_share.h"
#include "vmjob/storage/image_tree.h"

/* Out of sight by one rename, then away. */
static int remove_entry(int owner, int from, const char *entry, struct vmj_error *err)
{
	char tmp[32];

	snprintf(tmp, sizeof(tmp), IMAGE_TMP "rm-%08" PRIx32, randombytes_random());
	if (renameat(from, entry, owner, tmp) < 0)
		return errno == ENOENT ? -ENOENT
				       : vmj_fail(err, errno, "cannot remove %s: %m", entry);
	return vmj_remove_tree(owner, tmp, err);
}

static int remove_owned(int owner, const char *name, uint32_t revision, struct vmj_error *err)
{
	vmj_autoclose int dir = -1;
	char sub[16];
	int rc;

	if (revision == 0)
		return remove_entry(owner, owner, name, err);
	dir = openat(owner, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return errno == ENOENT ? -ENOENT : vmj_image_fail(err, errno, name, "it");
	snprintf(sub, sizeof(sub), "%" PRIu32, revision);
	rc = remove_entry(owner, dir, sub, err);
	if (rc == 0 && unlinkat(owner, name, AT_REMOVEDIR) < 0 && errno != ENOTEMPTY &&
	    errno != EEXIST && errno != ENOENT)
		return vmj_fail(err, errno, "cannot remove the directory of image \"%s\": %m",
				name);
	return rc;
}

int vmj_image_remove(const char *path, const char *name, uint32_t revision, bool public_,
		     struct vmj_error *err)
{
	vmj_autoclose int images = -1, owner = -1;
	struct vmj_error e = {.code = 0};
	bool squatted;
	int rc;

	rc = vmj_parse_name("the image's name", name, err);
	if (rc < 0)
		return rc;
	images = vmj_images_open(path, err);
	if (images < 0)
		return images;
	rc = owner = vmj_image_owner_open(images, geteuid(), public_, &squatted, &e);
	if (rc >= 0)
		rc = remove_owned(owner, name, revision, &e);
	if (rc == -ENOENT && e.code == 0)
		return vmj_fail_user(err, ENOENT,
				     revision ? "you have no image \"%s\" of revision %" PRIu32
					      : "you have no image \"%s\"",
				     name, revision);
	if (rc < 0) {
		if (err)
			*err = e;
		return rc;
	}
	if (!public_ && faccessat(owner, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		vmj_image_share_forget(images, name);
	return 0;
}
