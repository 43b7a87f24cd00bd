/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Layer files of one volume. They are the user's, in a directory that is root's: a file may have
 * any content and mode, but it is the file that root put there under that name. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/spawn.h"
#include "vmjob/storage/qcow2.h"
#include "vmjob/storage/volume_tree.h"

#define COPY_MS (24 * 3600 * 1000)

static int layer_fail(struct vmj_error *err, int code, const struct vmj_volume *v, const char *file,
		      const char *what)
{
	return vmj_fail(err, code, "volume \"%s\": cannot %s %s: %s", v->name, what, file,
			vmj_strerror(code));
}

int vmj_layer_make(int dir, const struct vmj_volume *v, const char *file, const char *parent,
		   uint64_t bytes, struct vmj_error *err)
{
	vmj_autoclose int fd = -1;
	int rc;

	if (unlinkat(dir, file, 0) < 0 && errno != ENOENT)
		return layer_fail(err, errno, v, file, "replace");
	fd = openat(dir, file, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return layer_fail(err, errno, v, file, "make");
	rc = vmj_qcow2_create(fd, bytes, *parent ? parent : NULL, err);
	if (rc < 0)
		return vmj_fail_prefix(err, "volume \"%s\": %s", v->name, file);
	if (fchmod(fd, 0600) < 0 || fchown(fd, v->uid, v->gid) < 0 || fsync(fd) < 0)
		return layer_fail(err, errno, v, file, "make");
	return 0;
}

static int set_mode(int dir, const struct vmj_volume *v, const char *file, mode_t mode,
		    struct vmj_error *err)
{
	vmj_autoclose int fd = vmj_layer_open(dir, v, file, NULL, err);

	if (fd < 0)
		return fd;
	return fchmod(fd, mode) < 0 ? layer_fail(err, errno, v, file, "set the mode of") : 0;
}

int vmj_layer_freeze(int dir, const struct vmj_volume *v, const char *file, struct vmj_error *err)
{
	return set_mode(dir, v, file, 0400, err);
}

int vmj_layer_thaw(int dir, const struct vmj_volume *v, const char *file, struct vmj_error *err)
{
	return set_mode(dir, v, file, 0600, err);
}

/* The base is an image's file and so its importer's; the rest is the volume's user's. */
static int check_file(int fd, const struct vmj_volume *v, const char *file, struct vmj_error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return layer_fail(err, errno, v, file, "look at");
	if (!S_ISREG(st.st_mode))
		return vmj_fail(err, EINVAL, "volume \"%s\": %s is not a regular file", v->name,
				file);
	if (strcmp(file, VMJ_BASE_FILE) != 0 && st.st_uid != v->uid)
		return vmj_fail(err, EPERM, "volume \"%s\": %s belongs to user %u instead of %u",
				v->name, file, (unsigned int)st.st_uid, (unsigned int)v->uid);
	return 0;
}

int vmj_layer_open(int dir, const struct vmj_volume *v, const char *file, uint64_t *ret_bytes,
		   struct vmj_error *err)
{
	vmj_autoclose int fd =
		openat(dir, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	const struct vmj_layer *layer = vmj_volume_layer(v, file);
	char what[VMJ_NAME_MAX + VMJ_VOLUME_FILE_MAX + 32];
	struct vmj_qcow2 q = {0};
	int rc;

	if (fd < 0)
		return layer_fail(err, errno, v, file, "open");
	snprintf(what, sizeof(what), "volume \"%s\": its layer %s", v->name, file);
	rc = check_file(fd, v, file, err);
	if (rc == 0)
		rc = vmj_qcow2_probe_layer(fd, what, layer ? layer->parent : "", &q, err);
	if (rc < 0)
		return rc;
	if (ret_bytes)
		*ret_bytes = q.virtual_bytes;
	return vmj_steal_fd(fd);
}

/* What a guest sees may not be another size than what is accounted. */
static int check_top_size(const struct vmj_volume *v, uint64_t bytes, struct vmj_error *err)
{
	bool grown = v->pending.op == VMJ_PENDING_RESIZE && bytes == v->pending.bytes;

	if (bytes == v->virtual_bytes || grown)
		return 0;
	return vmj_fail_user(err, EINVAL,
			     "volume \"%s\": its layer %s is a disk of %" PRIu64
			     " bytes instead of %" PRIu64
			     ": it was changed by other means than vmjob",
			     v->name, v->top, bytes, v->virtual_bytes);
}

int vmj_chain_verify(int dir, const struct vmj_volume *v, const char *from, struct vmj_error *err)
{
	const char *chain[VMJ_CHAIN_MAX];
	unsigned int n = 0;
	int rc = vmj_volume_chain(v, from, chain, &n, err);

	for (unsigned int i = 0; rc == 0 && i < n; i++) {
		uint64_t bytes = 0;
		vmj_autoclose int fd = vmj_layer_open(dir, v, chain[i], &bytes, err);

		rc = fd < 0 ? fd : 0;
		if (rc == 0 && strcmp(chain[i], v->top) == 0)
			rc = check_top_size(v, bytes, err);
	}
	return rc;
}

static bool cannot_link(int code)
{
	return code == EXDEV || code == EMLINK || code == EPERM || code == EOPNOTSUPP;
}

/* Root makes the file, cp fills it with the user's rights. */
static int copy_layer(const char *from_path, int dir, const char *dir_path,
		      const struct vmj_volume *v, const char *file, struct vmj_error *err)
{
	char target[VMJ_VOLUME_PATH_MAX + VMJ_VOLUME_FILE_MAX];
	const char *argv[] = {"cp", "--sparse=auto", "--reflink=auto", "--", from_path, target,
			      NULL};
	struct vmj_spawn s = {.argv = argv, .uid = v->uid, .gid = v->gid, .timeout_ms = COPY_MS};
	vmj_autoclose int fd =
		openat(dir, file, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int rc;

	if (fd < 0 || fchown(fd, v->uid, v->gid) < 0)
		return layer_fail(err, errno, v, file, "make");
	snprintf(target, sizeof(target), "%s/%s", dir_path, file);
	rc = vmj_spawn(&s, err);
	if (rc < 0)
		return vmj_fail_prefix(err, "volume \"%s\": cannot copy %s", v->name, from_path);
	if (fchmod(fd, 0400) < 0 || fsync(fd) < 0)
		return layer_fail(err, errno, v, file, "finish");
	return 0;
}

int vmj_layer_link(int from, const char *from_path, int dir, const char *dir_path,
		   const struct vmj_volume *v, const char *file, struct vmj_error *err)
{
	char self[32];

	/* The very file that was opened and checked, whatever has its name by now. */
	snprintf(self, sizeof(self), "/proc/self/fd/%d", from);
	if (linkat(AT_FDCWD, self, dir, file, AT_SYMLINK_FOLLOW) == 0)
		return 0;
	if (!cannot_link(errno))
		return layer_fail(err, errno, v, file, "link");
	return copy_layer(from_path, dir, dir_path, v, file, err);
}
