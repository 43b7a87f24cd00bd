/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. What a user shares is said by the file system alone: images/<uid> becomes
 * 0711, so that others can pass but not list, and images/<uid>/<name> gets the mode 0755, or 0750
 * and a group. All others of that user's are closed (0700) before the first is opened, and are made
 * closed from then on. The markers only say where to look.
 */
#include "vmjob/storage/image_share.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/dir.h"
#include "vmjob/storage/image_tree.h"
#include "vmjob/storage/layout.h"

#define MARKER_MAX (VMJ_NAME_MAX + 16)

static void format_marker(char buf[MARKER_MAX], uid_t uid, const char *name)
{
	snprintf(buf, MARKER_MAX, "%u.%s", (unsigned int)uid, name);
}

bool vmj_image_share_marker(int shares, const char *entry, uid_t *ret_uid, const char **ret_name)
{
	const char *dot = strchr(entry, '.');
	char number[16];
	struct stat st;

	if (!dot || (size_t)(dot - entry) >= sizeof(number) || !vmj_name_valid(dot + 1))
		return false;
	memcpy(number, entry, (size_t)(dot - entry));
	number[dot - entry] = '\0';
	if (!vmj_domain_uid(number, ret_uid) ||
	    fstatat(shares, entry, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	*ret_name = dot + 1;
	return S_ISREG(st.st_mode) && st.st_uid == *ret_uid;
}

static int open_shares(int images)
{
	int fd = openat(images, "../" IMAGE_SHARES, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

void vmj_image_share_forget(int images, const char *name)
{
	vmj_autoclose int shares = open_shares(images);
	char marker[MARKER_MAX];

	format_marker(marker, geteuid(), name);
	if (shares >= 0)
		unlinkat(shares, marker, 0);
}

static int put_marker(const char *path, int images, const char *name, struct vmj_error *err)
{
	vmj_autoclose int shares = open_shares(images), fd = -1;
	const char *marked;
	char marker[MARKER_MAX];
	uid_t uid;

	if (shares < 0)
		return vmj_fail(err, -shares,
				"storage %s: shares/ cannot be opened: %s: have `vmjob storage "
				"format` brought it to version %d",
				path, vmj_strerror(shares), VMJ_DOMAIN_VERSION);
	format_marker(marker, geteuid(), name);
	fd = openat(shares, marker, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0444);
	if (fd >= 0 || (errno == EEXIST && vmj_image_share_marker(shares, marker, &uid, &marked)))
		return 0;
	return vmj_fail(err, errno, "storage %s: cannot mark image \"%s\" as shared: shares/%s: %m",
			path, name, marker);
}

/* Whoever shares nothing yet has directories that only images/<uid> keeps closed. */
static int close_others(int owner, struct vmj_error *err)
{
	vmj_autoclosedir DIR *dir = NULL;
	int fd = openat(owner, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *e;

	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		int code = errno;

		vmj_close(fd);
		return vmj_fail(err, code, "cannot list your images: %s", vmj_strerror(code));
	}
	while ((e = readdir(dir))) {
		vmj_autoclose int named = -1;

		if (!vmj_name_valid(e->d_name))
			continue;
		named = openat(owner, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (named >= 0 && fchmod(named, 0700) < 0)
			return vmj_fail(err, errno, "cannot close image \"%s\" to others: %m",
					e->d_name);
	}
	return 0;
}

static int let_pass(int owner, struct vmj_error *err)
{
	vmj_autoclose int fd = openat(owner, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;
	int rc;

	if (fd < 0 || fstat(fd, &st) < 0)
		return vmj_fail(err, errno, "cannot open the directory of your images: %m");
	if (st.st_mode & 001)
		return 0;
	rc = close_others(owner, err);
	if (rc == 0 && fchmod(fd, 0711) < 0)
		return vmj_fail(err, errno, "cannot let others pass to your images: %m");
	return rc;
}

static int set_mode(int named, const char *name, enum vmj_share with, gid_t gid,
		    struct vmj_error *err)
{
	static const mode_t modes[] = {
		[VMJ_SHARE_NONE] = 0700, [VMJ_SHARE_GROUP] = 0750, [VMJ_SHARE_ALL] = 0755};

	/* Closed first: never open to the group that it had. */
	if (with == VMJ_SHARE_GROUP &&
	    (fchmod(named, 0700) < 0 || fchown(named, (uid_t)-1, gid) < 0)) {
		if (errno == EPERM)
			return vmj_fail_user(err, EPERM,
					     "image \"%s\" cannot be shared with group %u: you are "
					     "not in it",
					     name, (unsigned int)gid);
		return vmj_fail(err, errno, "image \"%s\": cannot set its group: %m", name);
	}
	if (fchmod(named, modes[with]) < 0)
		return vmj_fail(err, errno, "image \"%s\": cannot set its mode: %m", name);
	return 0;
}

/* A volume that was made of it has closed the file: see close_private() of volume_create.c. */
static int open_disk(int named, const char *entry, void *arg)
{
	vmj_autoclose int dir = openat(named, entry, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	vmj_autoclose int disk =
		dir < 0 ? -1 : openat(dir, IMAGE_DISK, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	return disk < 0 || fchmod(disk, 0444) == 0 ? 0 : -errno;
}

int vmj_image_share(const char *path, const char *name, enum vmj_share with, gid_t gid,
		    struct vmj_error *err)
{
	vmj_autoclose int images = -1, owner = -1, named = -1;
	bool squatted;
	int rc = vmj_parse_name("the image's name", name, err);

	if (rc < 0)
		return rc;
	images = vmj_images_open(path, err);
	if (images < 0)
		return images;
	owner = vmj_image_owner_open(images, geteuid(), false, &squatted, err);
	if (owner < 0 && owner != -ENOENT)
		return owner;
	if (owner >= 0)
		named = openat(owner, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (named < 0)
		return vmj_fail_user(err, ENOENT, "you have no image \"%s\"", name);
	if (with != VMJ_SHARE_NONE) {
		rc = vmj_dir_each(named, ".", open_disk, NULL);
		if (rc < 0)
			return vmj_fail(err, -rc, "image \"%s\": cannot open it to others: %s",
					name, vmj_strerror(rc));
		rc = let_pass(owner, err);
	}
	if (rc == 0)
		rc = set_mode(named, name, with, gid, err);
	if (rc < 0)
		return rc;
	if (with != VMJ_SHARE_NONE)
		return put_marker(path, images, name, err);
	vmj_image_share_forget(images, name);
	return 0;
}
