/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/storage/image_tmp.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/file.h"
#include "vmjob/storage/image.h"
#include "vmjob/storage/image_tree.h"

#define RENAME_TRIES 1000
#define NAME_TRIES   100
#define ENTRY_MAX    48 /* longer names of what is to be removed are not ours */

/* Takes the lock of owner/tmp if nobody has it. -EWOULDBLOCK: a living writer. -ENOENT: gone. */
static int lock_dir(int owner, const char *tmp, int *ret_lock)
{
	char path[64];
	vmj_autoclose int fd = -1;
	struct stat st;

	snprintf(path, sizeof(path), "%s/" IMAGE_LOCK, tmp);
	fd = openat(owner, path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_nlink == 0)
		return -ENOENT; /* another took it first, and has removed the directory */
	*ret_lock = vmj_steal_fd(fd);
	return 0;
}

/* With its lock, which is given back. On NFS a file that is open has another name in its directory
 * after it was removed, until it is closed: only then can the directory go. */
static void remove_dir(int owner, const char *tmp, int *lock)
{
	vmj_remove_tree(owner, tmp, NULL);
	*lock = vmj_close(*lock);
	unlinkat(owner, tmp, AT_REMOVEDIR);
}

static void remove_leavings(int owner)
{
	int fd = openat(owner, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	vmj_autoclosedir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!dir) {
		vmj_close(fd);
		return;
	}
	while ((e = readdir(dir))) {
		vmj_autoclose int lock = -1;

		if (strncmp(e->d_name, IMAGE_TMP, strlen(IMAGE_TMP)) != 0 ||
		    strlen(e->d_name) > ENTRY_MAX)
			continue;
		if (lock_dir(owner, e->d_name, &lock) == 0)
			remove_dir(owner, e->d_name, &lock);
	}
}

/* Whatever the umask. EEXIST is success. */
static int make_dir(int at, const char *name, mode_t mode)
{
	if (mkdirat(at, name, mode) < 0)
		return errno == EEXIST ? 0 : -errno;
	return fchmodat(at, name, mode, 0) < 0 ? -errno : 0;
}

static int open_owner(struct vmj_image_tmp *t, const char *path, bool public_,
		      struct vmj_error *err)
{
	vmj_autoclose int images = vmj_images_open(path, err);
	char name[IMAGE_OWNER_MAX];
	bool squatted;
	int rc;

	if (images < 0)
		return images;
	vmj_image_owner_dir(geteuid(), public_, name);
	rc = make_dir(images, name, public_ ? 0755 : 0700);
	if (rc < 0)
		return vmj_fail(err, -rc, "storage %s: cannot make images/%s: %s", path, name,
				vmj_strerror(rc));
	t->owner = vmj_image_owner_open(images, geteuid(), public_, &squatted, err);
	if (squatted)
		return vmj_fail(err, EPERM,
				"storage %s: images/%s is not a directory that is yours and that "
				"only you can write: have it removed, or mend its mode",
				path, name);
	if (t->owner < 0)
		return t->owner;
	if ((size_t)snprintf(t->path, sizeof(t->path), "%s/images/%s/", path, name) >=
	    sizeof(t->path) - 2 * sizeof(t->tmp))
		return vmj_fail(err, ENAMETOOLONG, "storage %s: its path is too long", path);
	return 0;
}

static int make_temporary(struct vmj_image_tmp *t, const char *path, struct vmj_error *err)
{
	for (int tries = 0; tries < NAME_TRIES; tries++) {
		char tmp[sizeof(t->tmp)];

		snprintf(tmp, sizeof(tmp), IMAGE_TMP "%08" PRIx32, randombytes_random());
		if (mkdirat(t->owner, tmp, 0700) < 0) {
			if (errno == EEXIST)
				continue;
			return vmj_fail(err, errno, "storage %s: cannot start an import: %m", path);
		}
		if (lock_dir(t->owner, tmp, &t->lock) < 0)
			continue; /* another import took it for a dead one's, and removes it */
		memcpy(t->tmp, tmp, sizeof(tmp));
		strcat(t->path, tmp);
		t->dir = openat(t->owner, tmp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (t->dir < 0 || fchmod(t->dir, 0700) < 0)
			return vmj_fail(err, errno, "storage %s: cannot start an import: %m", path);
		return 0;
	}
	return vmj_fail(err, EEXIST, "storage %s: no free name for an import", path);
}

int vmj_image_tmp_make(struct vmj_image_tmp *t, const char *path, bool public_,
		       struct vmj_error *err)
{
	int rc = open_owner(t, path, public_, err);

	if (rc < 0)
		return rc;
	remove_leavings(t->owner);
	return make_temporary(t, path, err);
}

static int sweep(const char *path, int images, bool public_, struct vmj_error *err)
{
	bool squatted;
	vmj_autoclose int owner = vmj_image_owner_open(images, geteuid(), public_, &squatted, err);

	if (owner == -ENOENT)
		return 0;
	if (owner >= 0)
		remove_leavings(owner);
	return owner < 0 ? owner : 0;
}

int vmj_image_sweep(const char *path, struct vmj_error *err)
{
	vmj_autoclose int images = vmj_images_open(path, err);
	int rc = images < 0 ? images : sweep(path, images, false, err);

	return rc < 0 || geteuid() != 0 ? rc : sweep(path, images, true, err);
}

/* The image's directory and the number after its latest revision. -ENOENT without a text: its last
 * revision was removed just now. */
static int open_named(struct vmj_image_tmp *t, const char *name, bool public_, uint32_t *ret_next,
		      struct vmj_error *err)
{
	vmj_autoclose int dir = -1;
	uint32_t latest;
	int rc = make_dir(t->owner, name, public_ ? 0755 : 0700);

	if (rc < 0)
		return vmj_fail(err, -rc, "cannot make image \"%s\": %s", name, vmj_strerror(rc));
	dir = openat(t->owner, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0 && errno == ENOENT)
		return -ENOENT;
	if (dir < 0)
		return vmj_image_fail(err, errno, name, "its directory");
	rc = vmj_image_latest(dir, &latest, err);
	if (rc < 0)
		return rc;
	if (latest == UINT32_MAX)
		return vmj_fail_user(err, EOVERFLOW, "image \"%s\" has no revision number left",
				     name);
	*ret_next = latest + 1;
	return vmj_steal_fd(dir);
}

int vmj_image_tmp_publish(struct vmj_image_tmp *t, const char *name, bool public_, uint32_t *ret,
			  struct vmj_error *err)
{
	char sub[16], lock[32];
	uint32_t next = 0;

	if (fchmod(t->dir, 0755) < 0)
		return vmj_fail(err, errno, "cannot publish image \"%s\": %m", name);
	for (int tries = 0; tries < RENAME_TRIES; tries++) {
		struct vmj_error e = {.code = 0};
		vmj_autoclose int dir = open_named(t, name, public_, &next, &e);

		if (dir == -ENOENT && !e.code)
			continue;
		if (dir < 0) {
			if (err)
				*err = e;
			return dir;
		}
		snprintf(sub, sizeof(sub), "%" PRIu32, next);
		if (renameat(t->owner, t->tmp, dir, sub) == 0) {
			t->tmp[0] = '\0';
			fsync(dir);
			snprintf(lock, sizeof(lock), "%s/" IMAGE_LOCK, sub);
			unlinkat(dir, lock, 0);
			*ret = next;
			return 0;
		}
		if (errno != ENOTEMPTY && errno != EEXIST && errno != ENOENT)
			break;
	}
	return vmj_fail(err, errno, "cannot publish image \"%s\": %m", name);
}

void vmj_image_tmp_done(struct vmj_image_tmp *t)
{
	if (t->tmp[0])
		remove_dir(t->owner, t->tmp, &t->lock);
	t->lock = vmj_close(t->lock);
	t->dir = vmj_close(t->dir);
	t->owner = vmj_close(t->owner);
}
