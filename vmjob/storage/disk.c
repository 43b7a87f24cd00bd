/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disks of one guest on its host. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/storage/image.h"
#include "vmjob/storage/qcow2.h"

static int write_disk(int fd, uint64_t bytes, const char *backing, uid_t uid, gid_t gid,
		      struct vmj_error *err)
{
	int rc = vmj_qcow2_create(fd, bytes, backing, err);

	if (rc == 0 && fchown(fd, uid, gid) < 0)
		rc = vmj_fail(err, errno, "cannot give it to user %u: %m", (unsigned int)uid);
	return rc;
}

static int make_disk(const char *file, uint64_t bytes, const char *backing, uid_t uid, gid_t gid,
		     struct vmj_error *err)
{
	vmj_autoclose int fd = -1;
	int rc;

	if (unlink(file) < 0 && errno != ENOENT)
		return vmj_fail(err, errno, "cannot replace disk %s: %m", file);
	fd = open(file, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return vmj_fail(err, errno, "cannot make disk %s: %m", file);
	rc = write_disk(fd, bytes, backing, uid, gid, err);
	if (rc < 0) {
		unlink(file);
		return vmj_fail_prefix(err, "cannot make disk %s", file);
	}
	return 0;
}

int vmj_disk_overlay(const struct vmj_image *image, const char *file, uid_t uid, gid_t gid,
		     struct vmj_error *err)
{
	return make_disk(file, image->virtual_bytes, image->path, uid, gid, err);
}

int vmj_disk_empty(const char *file, uint64_t size_mib, uid_t uid, gid_t gid, struct vmj_error *err)
{
	return make_disk(file, size_mib << 20, NULL, uid, gid, err);
}

bool vmj_disk_can_direct(const char *file)
{
	vmj_autoclose int fd = open(file, O_RDONLY | O_DIRECT | O_NONBLOCK | O_CLOEXEC);

	return fd >= 0;
}
