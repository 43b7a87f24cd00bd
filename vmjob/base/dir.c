/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/base/dir.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "vmjob/base/cleanup.h"

int vmj_dir_each(int at, const char *name, vmj_dir_fn fn, void *arg)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	vmj_autoclosedir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	int rc = 0;

	if (!dir) {
		rc = -errno;
		vmj_close(fd);
		return rc;
	}
	while ((errno = 0, e = readdir(dir))) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		rc = fn(fd, e->d_name, arg);
		if (rc)
			return rc;
	}
	return -errno;
}
