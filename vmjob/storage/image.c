/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/storage/image.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/file.h"
#include "vmjob/storage/asuser.h"
#include "vmjob/storage/image_tree.h"

static int check_identity(uid_t uid, gid_t gid, struct vmj_asuser *a, struct vmj_error *err)
{
	int rc = vmj_asuser_begin(a, uid, gid);

	if (rc < 0)
		return vmj_fail(err, -rc, "cannot take the rights of user %u: %s",
				(unsigned int)uid, vmj_strerror(rc));
	return 0;
}

/* -ENOENT without a text when this owner has no image of that name. */
static int find_owned(const char *path, int images, uid_t uid, bool public_, const char *name,
		      uint32_t revision, struct vmj_image *ret, struct vmj_error *err)
{
	vmj_autoclose int owner = -1, dir = -1;
	bool squatted;
	int rc;

	owner = vmj_image_owner_open(images, uid, public_, &squatted, err);
	if (owner < 0)
		return owner;
	dir = openat(owner, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return errno == ENOENT ? -ENOENT : vmj_image_fail(err, errno, name, "it");
	if (revision == 0) {
		rc = vmj_image_latest(dir, &revision, err);
		if (rc < 0)
			return rc;
		if (revision == 0)
			return -ENOENT; /* an import that has not finished, or a removal */
	}
	return vmj_image_load(path, owner, uid, public_, name, revision, ret, err);
}

/* A user's name, or a number of one who has none here. */
static int find_user(const char *owner, uid_t *ret, struct vmj_error *err)
{
	struct passwd pw, *found = NULL;
	char buf[4096];
	uint64_t n;
	int rc;

	if (vmj_parse_u64("owner", owner, 0, UINT32_MAX - 1, &n, NULL) == 0) {
		*ret = (uid_t)n;
		return 0;
	}
	rc = vmj_parse_name("the image's owner", owner, err);
	if (rc < 0)
		return rc;
	rc = getpwnam_r(owner, &pw, buf, sizeof(buf), &found);
	if (found) {
		*ret = found->pw_uid;
		return 0;
	}
	if (rc == 0 || rc == ENOENT || rc == ESRCH)
		return vmj_fail_user(
			err, ENOENT,
			"image owner \"%s\": there is no such user: before the / stands "
			"the name of a user, or public",
			owner);
	return vmj_fail(err, rc, "cannot look up user \"%s\": %s", owner, vmj_strerror(rc));
}

/* What is not there and what is not for you look the same, so that nobody learns what others have.
 */
static int find_shared(const char *path, int images, const char *owner, const char *name,
		       uint32_t revision, struct vmj_image *ret, struct vmj_error *err)
{
	struct vmj_error e = {.code = 0};
	uid_t uid = 0;
	int rc = find_user(owner, &uid, err);

	if (rc < 0)
		return rc;
	rc = find_owned(path, images, uid, false, name, revision, ret, &e);
	if (rc == -ENOENT || rc == -EACCES)
		return vmj_fail_user(err, ENOENT,
				     "image \"%s/%s\" does not exist or is not shared with you: "
				     "vmjob image list shows those that are (guests have your user "
				     "and primary group)",
				     owner, name);
	if (rc < 0 && err)
		*err = e;
	return rc;
}

/* Own ones before public ones. */
static int find_any(const char *path, int images, uid_t uid, const char *name, uint32_t revision,
		    struct vmj_image *ret, struct vmj_error *err)
{
	struct vmj_error e = {.code = 0};
	int rc = find_owned(path, images, uid, false, name, revision, ret, &e);

	if (rc == -ENOENT && e.code == 0)
		rc = find_owned(path, images, uid, true, name, revision, ret, &e);
	if (rc == -ENOENT && e.code == 0)
		return vmj_fail_user(err, ENOENT,
				     "image \"%s\" does not exist, neither your own nor a public "
				     "one: vmjob image list shows those that do",
				     name);
	if (rc < 0 && err)
		*err = e;
	return rc;
}

static int find_public(const char *path, int images, const char *name, uint32_t revision,
		       struct vmj_image *ret, struct vmj_error *err)
{
	struct vmj_error e = {.code = 0};
	int rc = find_owned(path, images, 0, true, name, revision, ret, &e);

	if (rc == -ENOENT && e.code == 0)
		return vmj_fail_user(err, ENOENT,
				     "image \"public/%s\" does not exist: vmjob image list shows "
				     "those that do",
				     name);
	if (rc < 0 && err)
		*err = e;
	return rc;
}

int vmj_image_find(const char *path, const char *owner, const char *name, uint32_t revision,
		   uid_t uid, gid_t gid, struct vmj_image *ret, struct vmj_error *err)
{
	vmj_auto_asuser struct vmj_asuser user = {.changed = false};
	vmj_autoclose int images = -1;
	int rc;

	rc = vmj_parse_name("the image's name", name, err);
	if (rc == 0)
		rc = check_identity(uid, gid, &user, err);
	if (rc < 0)
		return rc;
	images = vmj_images_open(path, err);
	if (images < 0)
		return images;
	if (!owner || !owner[0])
		return find_any(path, images, uid, name, revision, ret, err);
	if (strcmp(owner, IMAGE_PUBLIC) == 0)
		return find_public(path, images, name, revision, ret, err);
	return find_shared(path, images, owner, name, revision, ret, err);
}
