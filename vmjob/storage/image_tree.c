/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/storage/image_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/file.h"
#include "vmjob/storage/image_json.h"
#include "vmjob/storage/qcow2.h"

const char *vmj_image_owner_dir(uid_t uid, bool public_, char buf[IMAGE_OWNER_MAX])
{
	if (public_)
		snprintf(buf, IMAGE_OWNER_MAX, IMAGE_PUBLIC);
	else
		snprintf(buf, IMAGE_OWNER_MAX, "%u", (unsigned int)uid);
	return buf;
}

int vmj_image_fail(struct vmj_error *err, int code, const char *name, const char *what)
{
	switch (code) {
	case ENOENT:
		return vmj_fail_user(err, ENOENT, "image \"%s\": %s does not exist", name, what);
	case EACCES:
	case EPERM:
		return vmj_fail_user(err, EACCES,
				     "image \"%s\": you may not read %s (the guest reads it with "
				     "your user and primary group)",
				     name, what);
	case ELOOP:
	case ENOTDIR:
		return vmj_fail_user(err, EINVAL, "image \"%s\": %s is a link or of the wrong kind",
				     name, what);
	default:
		return vmj_fail(err, code, "image \"%s\": cannot open %s: %s", name, what,
				vmj_strerror(code));
	}
}

int vmj_images_open(const char *path, struct vmj_error *err)
{
	vmj_autoclose int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int images;

	if (fd < 0)
		return vmj_fail(err, errno, "storage %s cannot be opened: %m", path);
	images = openat(fd, "images", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (images < 0)
		return vmj_fail(err, errno,
				"storage %s has no images directory that can be opened: %m (is it "
				"mounted, and made a domain?)",
				path);
	return images;
}

int vmj_image_owner_open(int images, uid_t uid, bool public_, bool *ret_squatted,
			 struct vmj_error *err)
{
	uid_t owner = public_ ? 0 : uid;
	vmj_autoclose int fd = -1;
	char name[IMAGE_OWNER_MAX];
	struct stat st;

	*ret_squatted = false;
	vmj_image_owner_dir(uid, public_, name);
	fd = openat(images, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return -ENOENT;
	if (fd < 0 && errno != ELOOP && errno != ENOTDIR && errno != EACCES)
		return vmj_fail(err, errno, "cannot open images/%s: %m", name);
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_uid != owner || (st.st_mode & 022)) {
		*ret_squatted = true;
		return -ENOENT;
	}
	return vmj_steal_fd(fd);
}

static bool parse_revision(const char *name, uint32_t *ret)
{
	char canonical[16];
	uint64_t v;

	if (vmj_parse_u64("revision", name, 1, UINT32_MAX, &v, NULL) < 0)
		return false;
	snprintf(canonical, sizeof(canonical), "%" PRIu64, v);
	*ret = (uint32_t)v;
	return strcmp(canonical, name) == 0;
}

int vmj_image_latest(int image_dir, uint32_t *ret, struct vmj_error *err)
{
	vmj_autoclosedir DIR *dir = NULL;
	uint32_t best = 0, r;
	struct dirent *e;
	int fd = openat(image_dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		int code = errno;

		vmj_close(fd);
		return vmj_fail(err, code, "cannot list an image's revisions: %s",
				vmj_strerror(code));
	}
	while ((errno = 0, e = readdir(dir)))
		if (parse_revision(e->d_name, &r) && r > best)
			best = r;
	if (errno)
		return vmj_fail(err, errno, "cannot list an image's revisions: %m");
	*ret = best;
	return 0;
}

static int load_disk(int dir, const char *name, struct vmj_image *img, struct vmj_error *err)
{
	vmj_autoclose int fd =
		openat(dir, IMAGE_DISK, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	char what[VMJ_NAME_MAX + 16];
	struct vmj_qcow2 q = {0};
	struct stat st;
	bool qcow2;
	int rc;

	if (fd < 0)
		return vmj_image_fail(err, errno, name, IMAGE_DISK);
	snprintf(what, sizeof(what), "image \"%s\"", name);
	rc = vmj_qcow2_probe(fd, what, &q, &qcow2, err);
	if (rc < 0)
		return rc;
	if (fstat(fd, &st) < 0)
		return vmj_fail(err, errno, "image \"%s\": cannot look at it: %m", name);
	if (st.st_uid != img->owner || !qcow2)
		return vmj_fail_user(err, EINVAL, "image \"%s\": its file %s: import it anew", name,
				     qcow2 ? "belongs to another user" : "is not qcow2 any more");
	img->virtual_bytes = q.virtual_bytes;
	img->virtual_mib = (q.virtual_bytes + (1 << 20) - 1) >> 20;
	img->used_mib = ((uint64_t)st.st_blocks + 2047) / 2048;
	img->links = (unsigned int)st.st_nlink;
	img->inode = st.st_ino;
	return 0;
}

/* The owner's directory lets others pass once something is shared; the image's own says whom. */
static void load_share(int owner_dir, int named, struct vmj_image *img)
{
	struct stat owner, st;

	if (img->public_) {
		img->share = VMJ_SHARE_ALL;
		return;
	}
	if (fstat(owner_dir, &owner) < 0 || fstat(named, &st) < 0 || !(owner.st_mode & 001))
		return;
	if ((st.st_mode & 005) == 005)
		img->share = VMJ_SHARE_ALL;
	else if ((st.st_mode & 050) == 050)
		img->share = VMJ_SHARE_GROUP;
	img->share_gid = st.st_gid;
}

int vmj_image_load(const char *path, int owner_dir, uid_t owner, bool public_, const char *name,
		   uint32_t revision, struct vmj_image *ret, struct vmj_error *err)
{
	struct vmj_image img = {
		.revision = revision, .owner = public_ ? 0 : owner, .public_ = public_};
	char dirname[IMAGE_OWNER_MAX], sub[VMJ_NAME_MAX + 16];
	vmj_autoclose int named = -1, dir = -1;
	int rc;

	/* Step by step, so that no link is followed on the way. */
	named = openat(owner_dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (named < 0)
		return vmj_image_fail(err, errno, name, "it");
	snprintf(sub, sizeof(sub), "%" PRIu32, revision);
	dir = openat(named, sub, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	snprintf(sub, sizeof(sub), "revision %" PRIu32, revision);
	if (dir < 0)
		return vmj_image_fail(err, errno, name, sub);
	rc = load_disk(dir, name, &img, err);
	if (rc == 0)
		rc = vmj_image_json_read(dir, name, &img, err);
	if (rc < 0)
		return rc;
	load_share(owner_dir, named, &img);
	snprintf(img.name, sizeof(img.name), "%s", name);
	rc = snprintf(img.path, sizeof(img.path), "%s/images/%s/%s/%" PRIu32 "/" IMAGE_DISK, path,
		      vmj_image_owner_dir(owner, public_, dirname), name, revision);
	if ((size_t)rc >= sizeof(img.path))
		return vmj_fail(err, ENAMETOOLONG, "storage %s: its path is too long", path);
	*ret = img;
	return 0;
}
