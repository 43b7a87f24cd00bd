/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disks of one guest on its host. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/spawn.h"
#include "vmjob/host/image.h"

/* qemu-img writes through a name; giving the file away comes last, so that a half-made disk is
 * root's. */
static int make_disk(const char *const *argv, const char *file, uid_t uid, gid_t gid,
		     struct vmj_error *err)
{
	struct vmj_spawn s = {.argv = argv};
	vmj_autoclose int fd = -1;
	int rc;

	if (unlink(file) < 0 && errno != ENOENT)
		return vmj_fail(err, errno, "cannot replace disk %s: %m", file);
	rc = vmj_spawn(&s, err);
	if (rc < 0) {
		unlink(file);
		return vmj_fail_prefix(err, "cannot make disk %s", file);
	}
	fd = open(file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fchmod(fd, 0600) < 0 || fchown(fd, uid, gid) < 0) {
		rc = -errno;
		unlink(file);
		return vmj_fail(err, -rc, "cannot give disk %s to user %u: %s", file,
				(unsigned int)uid, vmj_strerror(rc));
	}
	return 0;
}

int vmj_disk_overlay(const struct vmj_image *image, const char *file, uid_t uid, gid_t gid,
		     struct vmj_error *err)
{
	char size[24];
	/* -u: the image is not opened here; a user may have changed it since it was checked. */
	const char *argv[] = {"qemu-img", "create", "-q",        "-u", "-f", "qcow2", "-F",
			      "qcow2",    "-b",     image->path, "--", file, size,    NULL};

	snprintf(size, sizeof(size), "%" PRIu64, image->virtual_bytes);
	return make_disk(argv, file, uid, gid, err);
}

int vmj_disk_empty(const char *file, uint64_t size_mib, uid_t uid, gid_t gid, struct vmj_error *err)
{
	char size[24];
	const char *argv[] = {"qemu-img", "create", "-q", "-f", "qcow2", "--", file, size, NULL};

	snprintf(size, sizeof(size), "%" PRIu64 "M", size_mib);
	return make_disk(argv, file, uid, gid, err);
}

bool vmj_disk_can_direct(const char *file)
{
	vmj_autoclose int fd = open(file, O_RDONLY | O_DIRECT | O_NONBLOCK | O_CLOEXEC);

	return fd >= 0;
}
