/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. An import is made in a directory of its own beside the images,
 * images/<uid>/.tmp-XXXXXX, that holds a locked file `lock` as long as its writer lives, and
 * becomes the next revision by one rename. Renaming a directory over one that is not empty fails,
 * also on NFS: that is what makes numbering safe between two imports at once. Whoever imports next
 * removes what a dead writer left: a .tmp-* whose lock it can take. The lock stays in the directory
 * over the rename, for otherwise it could be taken, and the directory removed, in between.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/file.h"
#include "vmjob/base/spawn.h"
#include "vmjob/storage/image_tree.h"
#include "vmjob/storage/layout.h"
#include "vmjob/storage/qcow2.h"

#define IMPORT_TIMEOUT_MS (24 * 3600 * 1000)
#define RENAME_TRIES      1000

struct import {
	const char *path, *name, *file;
	bool public_, qcow2;
	uint64_t virtual_bytes;
	int owner;               /* images/<uid> */
	int dir, lock;           /* owner/tmp, and the lock in it */
	char tmp[32];            /* "" : none made */
	char dir_path[PATH_MAX]; /* of owner/tmp, for qemu-img */
	char source[PATH_MAX];   /* absolute */
	vmj_progress_fn progress;
	void *arg;
	char sha256[65];
};

static void import_done(struct import *im)
{
	if (im->tmp[0])
		vmj_remove_tree(im->owner, im->tmp, NULL);
	vmj_close(im->lock);
	vmj_close(im->dir);
	vmj_close(im->owner);
}

static int open_source(struct import *im, struct vmj_error *err)
{
	vmj_autoclose int fd = open(im->file, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	char what[256], quoted[200];
	struct vmj_qcow2 q = {0};
	int rc;

	snprintf(what, sizeof(what), "file \"%s\"", vmj_quote(im->file, quoted, sizeof(quoted)));
	if (fd < 0)
		return vmj_fail_user(err, errno, "%s cannot be opened: %m", what);
	rc = vmj_qcow2_probe(fd, what, &q, &im->qcow2, err);
	if (rc < 0)
		return rc;
	if (!realpath(im->file, im->source))
		return vmj_fail_user(err, errno, "%s cannot be found: %m", what);
	im->virtual_bytes = q.virtual_bytes;
	return 0;
}

/* Whatever the umask. EEXIST is success. */
static int make_dir(int at, const char *name, mode_t mode)
{
	if (mkdirat(at, name, mode) < 0)
		return errno == EEXIST ? 0 : -errno;
	return fchmodat(at, name, mode, 0) < 0 ? -errno : 0;
}

static int open_owner(struct import *im, struct vmj_error *err)
{
	vmj_autoclose int images = vmj_images_open(im->path, err);
	char name[IMAGE_OWNER_MAX];
	bool squatted;
	int rc;

	if (images < 0)
		return images;
	vmj_image_owner_dir(geteuid(), im->public_, name);
	rc = make_dir(images, name, im->public_ ? 0755 : 0700);
	if (rc < 0)
		return vmj_fail(err, -rc, "storage %s: cannot make images/%s: %s", im->path, name,
				vmj_strerror(rc));
	im->owner = vmj_image_owner_open(images, geteuid(), im->public_, &squatted, err);
	if (squatted)
		return vmj_fail(err, EPERM,
				"storage %s: images/%s is not a directory that is yours and that "
				"only you can write: have it removed, or mend its mode",
				im->path, name);
	return im->owner < 0 ? im->owner : 0;
}

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

		if (strncmp(e->d_name, IMAGE_TMP, strlen(IMAGE_TMP)) != 0 || strlen(e->d_name) > 48)
			continue;
		if (lock_dir(owner, e->d_name, &lock) == 0)
			vmj_remove_tree(owner, e->d_name, NULL);
	}
}

static int make_temporary(struct import *im, struct vmj_error *err)
{
	char owner[IMAGE_OWNER_MAX];

	for (int tries = 0; tries < 100; tries++) {
		uint32_t r = randombytes_random();
		char tmp[sizeof(im->tmp)];

		snprintf(tmp, sizeof(tmp), IMAGE_TMP "%08" PRIx32, r);
		if (mkdirat(im->owner, tmp, 0755) < 0) {
			if (errno == EEXIST)
				continue;
			return vmj_fail(err, errno, "storage %s: cannot start an import: %m",
					im->path);
		}
		if (lock_dir(im->owner, tmp, &im->lock) < 0)
			continue; /* taken for a dead writer's by another import, which removes it
				   */
		memcpy(im->tmp, tmp, sizeof(tmp));
		im->dir = openat(im->owner, tmp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (im->dir < 0 || fchmod(im->dir, 0755) < 0)
			return vmj_fail(err, errno, "storage %s: cannot start an import: %m",
					im->path);
		vmj_image_owner_dir(geteuid(), im->public_, owner);
		if ((size_t)snprintf(im->dir_path, sizeof(im->dir_path), "%s/images/%s/%s",
				     im->path, owner, tmp) >= sizeof(im->dir_path) - 32)
			return vmj_fail(err, ENAMETOOLONG, "storage %s: its path is too long",
					im->path);
		return 0;
	}
	return vmj_fail(err, EEXIST, "storage %s: no free name for an import", im->path);
}

/* qemu-img -p writes "    (12.34/100%)\r". */
static void on_progress(const char *chunk, size_t len, void *arg)
{
	struct import *im = arg;
	const char *open = memrchr(chunk, '(', len);
	char number[16] = "";

	if (!open || !im->progress)
		return;
	len -= (size_t)(open + 1 - chunk);
	memcpy(number, open + 1, len < sizeof(number) - 1 ? len : sizeof(number) - 1);
	im->progress(strtod(number, NULL) / 100, im->arg);
}

static int check_source(struct import *im, struct vmj_error *err)
{
	const char *argv[] = {"qemu-img", "check", "-q", "-f", "qcow2", "--", im->source, NULL};
	struct vmj_spawn s = {.argv = argv, .timeout_ms = IMPORT_TIMEOUT_MS};
	struct vmj_error e = {.code = 0};

	if (!im->qcow2 || vmj_spawn(&s, &e) == 0)
		return 0;
	if (e.code == ENOENT || e.code == ETIMEDOUT)
		return vmj_fail(err, e.code, "%s", e.text);
	return vmj_fail_user(
		err, EINVAL,
		"file \"%s\" has errors: repair it with qemu-img check -r all, or make "
		"it anew (%s)",
		im->source, e.text);
}

static int convert(struct import *im, struct vmj_error *err)
{
	char target[PATH_MAX + 16];
	const char *argv[] = {"qemu-img", "convert", "-p", "-f",       im->qcow2 ? "qcow2" : "raw",
			      "-O",       "qcow2",   "--", im->source, target,
			      NULL};
	struct vmj_spawn s = {
		.argv = argv, .timeout_ms = IMPORT_TIMEOUT_MS, .on_output = on_progress, .arg = im};
	int rc;

	snprintf(target, sizeof(target), "%s/" IMAGE_DISK, im->dir_path);
	rc = vmj_spawn(&s, err);
	if (rc < 0)
		return vmj_fail_prefix(err, "file \"%s\" cannot be imported", im->source);
	return 0;
}

static int hash_disk(int fd, char ret[65])
{
	unsigned char digest[crypto_hash_sha256_BYTES];
	vmj_autofree unsigned char *buf = malloc(1 << 20);
	crypto_hash_sha256_state state;
	ssize_t n;

	if (!buf)
		return -ENOMEM;
	crypto_hash_sha256_init(&state);
	while ((n = vmj_read_full(fd, buf, 1 << 20)) > 0)
		crypto_hash_sha256_update(&state, buf, (unsigned long long)n);
	if (n < 0)
		return (int)n;
	crypto_hash_sha256_final(&state, digest);
	sodium_bin2hex(ret, 65, digest, sizeof(digest));
	return 0;
}

static int seal_disk(struct import *im, struct vmj_error *err)
{
	vmj_autoclose int fd = openat(im->dir, IMAGE_DISK, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	int rc;

	rc = fd < 0 ? -errno : hash_disk(fd, im->sha256);
	if (rc == 0 && (fchmod(fd, 0444) < 0 || fsync(fd) < 0))
		rc = -errno;
	if (rc < 0)
		return vmj_fail(err, -rc, "storage %s: cannot finish the import: %s", im->path,
				vmj_strerror(rc));
	return 0;
}

static int write_meta(struct import *im, struct vmj_error *err)
{
	struct json_object *o = json_object_new_object();
	const char *slash = strrchr(im->source, '/');
	char quoted[300];
	const char *text;
	int rc;

	if (!o)
		return vmj_fail(err, ENOMEM, "out of memory");
	json_object_object_add(o, "format", json_object_new_string("vmjob-image"));
	json_object_object_add(o, "version", json_object_new_int(1));
	json_object_object_add(o, "name", json_object_new_string(im->name));
	json_object_object_add(o, "sha256", json_object_new_string(im->sha256));
	json_object_object_add(o, "virtual_bytes",
			       json_object_new_int64((int64_t)im->virtual_bytes));
	json_object_object_add(
		o, "source", json_object_new_string(vmj_quote(slash + 1, quoted, sizeof(quoted))));
	json_object_object_add(o, "time", json_object_new_int64(time(NULL)));
	text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);
	rc = vmj_file_write_atomic(im->dir, IMAGE_META, text, strlen(text), 0444, err);
	json_object_put(o);
	return rc;
}

/* *ret: the revision that it has become. */
static int publish(struct import *im, uint32_t *ret, struct vmj_error *err)
{
	char lock[VMJ_NAME_MAX + 32], target[VMJ_NAME_MAX + 16];
	uint32_t revision;
	int rc;

	for (int tries = 0; tries < RENAME_TRIES; tries++) {
		vmj_autoclose int dir = -1;

		rc = make_dir(im->owner, im->name, 0755);
		if (rc < 0)
			return vmj_fail(err, -rc, "storage %s: cannot make image \"%s\": %s",
					im->path, im->name, vmj_strerror(rc));
		dir = openat(im->owner, im->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (dir < 0 && errno == ENOENT)
			continue; /* its last revision was removed just now */
		if (dir < 0)
			return vmj_image_fail(err, errno, im->name, "its directory");
		rc = vmj_image_latest(dir, &revision, err);
		if (rc < 0)
			return rc;
		if (revision == UINT32_MAX)
			return vmj_fail_user(err, EOVERFLOW,
					     "image \"%s\" has no revision number left", im->name);
		snprintf(target, sizeof(target), "%" PRIu32, revision + 1);
		if (renameat(im->owner, im->tmp, dir, target) == 0) {
			im->tmp[0] = '\0';
			fsync(dir);
			snprintf(lock, sizeof(lock), "%s/" IMAGE_LOCK, target);
			unlinkat(dir, lock, 0);
			*ret = revision + 1;
			return 0;
		}
		if (errno != ENOTEMPTY && errno != EEXIST && errno != ENOENT)
			break;
	}
	return vmj_fail(err, errno, "storage %s: cannot publish image \"%s\": %m", im->path,
			im->name);
}

static int check_arguments(const struct import *im, struct vmj_error *err)
{
	int rc = vmj_parse_name("--name", im->name, err);

	if (rc < 0)
		return rc;
	if (im->public_ && geteuid() != 0)
		return vmj_fail_user(err, EPERM, "only root may import public images");
	if (sodium_init() < 0)
		return vmj_fail(err, EIO, "libsodium cannot start");
	return vmj_storage_check(im->path, err);
}

int vmj_image_import(const char *path, const char *name, const char *file, bool public_,
		     vmj_progress_fn progress, void *arg, struct vmj_image *ret,
		     struct vmj_error *err)
{
	VMJ_CLEANUP(import_done)
	struct import im = {
		.path = path,
		.name = name,
		.file = file,
		.public_ = public_,
		.owner = -1,
		.dir = -1,
		.lock = -1,
		.progress = progress,
		.arg = arg,
	};
	uint32_t revision = 0;
	int rc;

	rc = check_arguments(&im, err);
	if (rc == 0)
		rc = open_source(&im, err);
	if (rc == 0)
		rc = open_owner(&im, err);
	if (rc < 0)
		return rc;
	remove_leavings(im.owner);
	rc = make_temporary(&im, err);
	if (rc == 0)
		rc = check_source(&im, err);
	if (rc == 0)
		rc = convert(&im, err);
	if (rc == 0)
		rc = seal_disk(&im, err);
	if (rc == 0)
		rc = write_meta(&im, err);
	if (rc == 0)
		rc = publish(&im, &revision, err);
	if (rc < 0)
		return rc;
	return vmj_image_load(path, im.owner, geteuid(), public_, name, revision, ret, err);
}
