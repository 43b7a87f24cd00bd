/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/storage/image_same.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/storage/image_tree.h"

#define PIECE     (1u << 20)
#define LINK_NAME "same"

static int read_piece(int fd, char *buf, off_t offset)
{
	size_t len = 0;

	while (len < PIECE) {
		ssize_t n = pread(fd, buf + len, PIECE - len, offset + (off_t)len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	return (int)len;
}

static bool same_bytes(int a, int b)
{
	vmj_autofree char *x = malloc(PIECE), *y = malloc(PIECE);
	off_t offset = 0;

	while (x && y) {
		int n = read_piece(a, x, offset), m = read_piece(b, y, offset);

		if (n < 0 || n != m || memcmp(x, y, (size_t)n) != 0)
			return false;
		if (n == 0)
			return true;
		offset += n;
	}
	return false;
}

static bool same_file(int fd, const char *other)
{
	vmj_autoclose int o = open(other, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat a, b;

	return o >= 0 && fstat(fd, &a) == 0 && fstat(o, &b) == 0 && a.st_size == b.st_size &&
	       a.st_dev == b.st_dev && a.st_uid == b.st_uid && (b.st_mode & 07777) == 0444 &&
	       same_bytes(fd, o);
}

int vmj_image_same_link(const struct vmj_image_tmp *tmp, const char *path, bool public_, int fd,
			const char *sha256, struct vmj_error *err)
{
	vmj_autofree struct vmj_image *images = NULL;
	size_t n = 0;
	int rc = vmj_image_list_owned(path, geteuid(), public_, &images, &n, err);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < n; i++) {
		if (strcmp(images[i].sha256, sha256) != 0 || !same_file(fd, images[i].path))
			continue;
		if (linkat(AT_FDCWD, images[i].path, tmp->dir, LINK_NAME, 0) < 0)
			return 0; /* EMLINK, EPERM…: it has its own then */
		if (renameat(tmp->dir, LINK_NAME, tmp->dir, IMAGE_DISK) < 0)
			return vmj_fail(err, errno, "cannot store the image: %m");
		return 0;
	}
	return 0;
}
