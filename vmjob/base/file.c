/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"

#define TREE_DEPTH_MAX 64

ssize_t vmj_read_full(int fd, void *buf, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = read(fd, (char *)buf + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

int vmj_write_full(int fd, const void *buf, size_t len)
{
	const char *p = buf;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Grows with what comes rather than by st_size, which is 0 in /proc. */
static int read_bounded(int fd, size_t max, char **ret, size_t *ret_len)
{
	vmj_autofree char *data = NULL;
	size_t len = 0, room = 0;

	for (;;) {
		ssize_t n;

		if (len == room) {
			char *more;

			room = room ? 2 * room : 4096;
			if (room > max + 1)
				room = max + 1; /* one more than may be: tells a longer file */
			more = realloc(data, room + 1);
			if (!more)
				return -ENOMEM;
			data = more;
		}
		n = vmj_read_full(fd, data + len, room - len);
		if (n < 0)
			return (int)n;
		len += (size_t)n;
		if (len > max)
			return -EFBIG;
		if (len < room)
			break;
	}
	data[len] = '\0';
	*ret = vmj_steal(data);
	*ret_len = len;
	return 0;
}

int vmj_file_read(int dirfd, const char *path, size_t max, char **ret, size_t *ret_len,
		  struct vmj_error *err)
{
	vmj_autoclose int fd = -1;
	char *data = NULL;
	struct stat st;
	size_t len = 0;
	int rc;

	/* O_NONBLOCK: a FIFO put there must not hold us up. */
	fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0)
		return vmj_fail(err, errno, "cannot open %s: %m", path);
	if (!S_ISREG(st.st_mode))
		return vmj_fail(err, S_ISDIR(st.st_mode) ? EISDIR : EINVAL,
				"%s is not a regular file", path);
	rc = read_bounded(fd, max, &data, &len);
	if (rc == -EFBIG)
		return vmj_fail(err, EFBIG, "%s is longer than %zu bytes", path, max);
	if (rc < 0)
		return vmj_fail(err, -rc, "cannot read %s: %s", path, vmj_strerror(rc));
	*ret = data;
	if (ret_len)
		*ret_len = len;
	return 0;
}

/* ".NAME.tmp-<random>" in the same directory as path. */
static int temporary_name(const char *path, char *buf, size_t size)
{
	const char *slash = strrchr(path, '/');
	int dir = slash ? (int)(slash - path + 1) : 0;
	uint64_t r;
	int n;

	if (getrandom(&r, sizeof(r), 0) != (ssize_t)sizeof(r))
		return -EIO;
	n = snprintf(buf, size, "%.*s.%s.tmp-%016" PRIx64, dir, path, path + dir, r);
	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

static int sync_parent(int dirfd, const char *path)
{
	const char *slash = strrchr(path, '/');
	vmj_autofree char *dir = NULL;
	vmj_autoclose int fd = -1;

	if (slash)
		dir = strndup(path, slash == path ? 1 : (size_t)(slash - path));
	else
		dir = strdup(".");
	if (!dir)
		return -ENOMEM;
	fd = openat(dirfd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return -errno;
	return 0;
}

static int write_new(int dirfd, const char *path, const char *data, size_t len, mode_t mode,
		     bool durable)
{
	vmj_autoclose int fd = -1;
	int rc;

	fd = openat(dirfd, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	rc = vmj_write_full(fd, data, len);
	if (rc == 0 && (fchmod(fd, mode) < 0 || (durable && fsync(fd) < 0)))
		rc = -errno;
	return rc;
}

static int replace(int dirfd, const char *path, const char *data, size_t len, mode_t mode,
		   bool durable, struct vmj_error *err)
{
	char tmp[PATH_MAX];
	int rc;

	rc = temporary_name(path, tmp, sizeof(tmp));
	if (rc < 0)
		return vmj_fail(err, -rc, "cannot write %s: no name for a temporary file: %s", path,
				vmj_strerror(rc));
	rc = write_new(dirfd, tmp, data, len, mode, durable);
	if (rc == 0 && renameat(dirfd, tmp, dirfd, path) < 0)
		rc = -errno;
	if (rc < 0) {
		if (rc != -EEXIST)
			unlinkat(dirfd, tmp, 0);
		return vmj_fail(err, -rc, "cannot write %s: %s", path, vmj_strerror(rc));
	}
	return 0;
}

int vmj_file_replace(int dirfd, const char *path, const char *data, size_t len, mode_t mode,
		     struct vmj_error *err)
{
	return replace(dirfd, path, data, len, mode, false, err);
}

int vmj_file_write_atomic(int dirfd, const char *path, const char *data, size_t len, mode_t mode,
			  struct vmj_error *err)
{
	int rc = replace(dirfd, path, data, len, mode, true, err);

	if (rc < 0)
		return rc;
	rc = sync_parent(dirfd, path);
	if (rc < 0)
		return vmj_fail(err, -rc, "cannot sync the directory of %s: %s", path,
				vmj_strerror(rc));
	return 0;
}

int vmj_file_put(const char *path, const char *value, struct vmj_error *err)
{
	vmj_autoclose int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
	size_t len = strlen(value);
	ssize_t n;

	if (fd < 0)
		return vmj_fail(err, errno, "cannot open %s: %m", path);
	do
		n = write(fd, value, len);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return vmj_fail(err, errno, "cannot write \"%s\" to %s: %m", value, path);
	if ((size_t)n != len)
		return vmj_fail(err, EIO, "%s took only %zd of %zu bytes", path, n, len);
	return 0;
}

static int make_directory(const char *path, mode_t mode)
{
	struct stat st;

	if (mkdir(path, 0700) == 0)
		return chmod(path, mode) < 0 ? -errno : 0;
	if (errno != EEXIST)
		return -errno;
	if (stat(path, &st) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

int vmj_mkdir_p(const char *path, mode_t mode, struct vmj_error *err)
{
	char part[PATH_MAX];
	size_t len = strlen(path);

	if (len == 0 || len >= sizeof(part))
		return vmj_fail(err, len ? ENAMETOOLONG : ENOENT,
				"cannot make directory \"%.64s\": its name is %s", path,
				len ? "too long" : "empty");
	memcpy(part, path, len + 1);
	for (char *p = part + 1; p <= part + len; p++) {
		char was = *p;
		int rc;

		if ((was != '/' && was != '\0') || p[-1] == '/')
			continue;
		*p = '\0';
		rc = make_directory(part, mode);
		if (rc < 0)
			return vmj_fail(err, -rc, "cannot make directory %s: %s", part,
					vmj_strerror(rc));
		*p = was;
	}
	return 0;
}

static int remove_entry(int dirfd, const char *name, dev_t dev, int depth);

static int remove_children(int fd, dev_t dev, int depth)
{
	vmj_autoclosedir DIR *dir = fdopendir(fd);
	struct dirent *e;

	if (!dir) {
		int rc = -errno;

		vmj_close(fd);
		return rc;
	}
	while ((errno = 0, e = readdir(dir))) {
		int rc;

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		rc = remove_entry(fd, e->d_name, dev, depth + 1);
		if (rc < 0)
			return rc;
	}
	return -errno;
}

/* dev 0: whatever file system it is on. What vanishes meanwhile is as good as removed by us. */
static int remove_entry(int dirfd, const char *name, dev_t dev, int depth)
{
	struct stat st;
	int fd, rc;

	if (depth > TREE_DEPTH_MAX)
		return -ELOOP;
	fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && errno != ENOTDIR && errno != ELOOP)
		return errno == ENOENT ? 0 : -errno;
	if (fd >= 0) {
		rc = fstat(fd, &st) < 0 ? -errno : dev && st.st_dev != dev ? -EXDEV : 0;
		if (rc < 0) {
			vmj_close(fd);
			return rc;
		}
		rc = remove_children(fd, st.st_dev, depth); /* closes fd */
		if (rc < 0)
			return rc;
	}
	if (unlinkat(dirfd, name, fd >= 0 ? AT_REMOVEDIR : 0) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

int vmj_remove_tree(int dirfd, const char *path, struct vmj_error *err)
{
	int rc = remove_entry(dirfd, path, 0, 0);

	if (rc == -EXDEV)
		return vmj_fail(err, EXDEV,
				"cannot remove %s: a file system is mounted below it; unmount it",
				path);
	if (rc == -ELOOP)
		return vmj_fail(err, ELOOP, "cannot remove %s: it is more than %d levels deep",
				path, TREE_DEPTH_MAX);
	if (rc < 0)
		return vmj_fail(err, -rc, "cannot remove %s: %s", path, vmj_strerror(rc));
	return 0;
}
