/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/storage/snapshot_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmjob/storage/qcow2.h"
#include "vmjob/storage/qemu_img.h"
#include "vmjob/storage/volume_tree.h"

static int file_fail(struct vmj_error *err, int code, const struct vmj_volume *v, const char *file,
		     const char *what)
{
	return vmj_fail(err, code, "volume \"%s\": cannot %s %s: %s", v->name, what, file,
			vmj_strerror(code));
}

static bool is_own(const struct stat *st, const struct vmj_volume *v)
{
	return S_ISREG(st->st_mode) && st->st_uid == v->uid && st->st_nlink == 1;
}

/* Of the user's and ours alone: a file with another name is never changed. */
static int open_own(const struct vmj_layer_files *f, const struct vmj_volume *v, const char *file,
		    struct stat *ret, struct vmj_error *err)
{
	vmj_autoclose int fd =
		openat(f->dir, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, ret) < 0)
		return file_fail(err, errno, v, file, "open");
	if (!is_own(ret, v))
		return vmj_fail(err, EPERM,
				"volume \"%s\": %s is not a file of user %u under this name only",
				v->name, file, (unsigned int)v->uid);
	return vmj_steal_fd(fd);
}

/* --- the environment -------------------------------------------------------------------------- */

static int env_save(const struct vmj_volume *v, void *arg, struct vmj_error *err)
{
	struct vmj_layer_files *f = arg;

	return vmj_volume_store(f->dir, v, err);
}

static int env_make(const struct vmj_volume *v, const char *file, const char *parent, void *arg,
		    struct vmj_error *err)
{
	struct vmj_layer_files *f = arg;

	return vmj_layer_make(f->dir, v, file, parent, v->virtual_bytes, err);
}

static int env_set_writable(const struct vmj_volume *v, const char *file, bool writable, void *arg,
			    struct vmj_error *err)
{
	struct stat st;
	vmj_autoclose int fd = open_own(arg, v, file, &st, err);

	if (fd < 0)
		return fd;
	if (fchmod(fd, writable ? 0600 : 0400) < 0)
		return file_fail(err, errno, v, file, "set the mode of");
	return 0;
}

static int run_qemu_img(const struct vmj_layer_files *f, const struct vmj_volume *v,
			const char *const *argv, struct vmj_error *err)
{
	struct vmj_qemu_img q = {
		.argv = argv, .uid = v->uid, .gid = v->gid, .progress = f->progress, .arg = f->arg};

	return vmj_qemu_img_run(&q, err);
}

static int sync_file(const struct vmj_layer_files *f, const struct vmj_volume *v, const char *file,
		     struct vmj_error *err)
{
	struct stat st;
	vmj_autoclose int fd = open_own(f, v, file, &st, err);

	if (fd < 0)
		return fd;
	return fsync(fd) < 0 ? file_fail(err, errno, v, file, "sync") : 0;
}

static int env_commit(const struct vmj_volume *v, const char *child, const char *layer, void *arg,
		      struct vmj_error *err)
{
	const struct vmj_layer_files *f = arg;
	char path[VMJ_VOLUME_PATH_MAX];
	const char *const argv[] = {"qemu-img", "commit", "-p", "-d", "-f",
				    "qcow2",    "--",     path, NULL};
	int rc = vmj_chain_verify(f->dir, v, child, err);

	if (rc < 0)
		return rc;
	vmj_volume_path(f->domain, v, child, path);
	rc = run_qemu_img(f, v, argv, err);
	if (rc < 0)
		return vmj_fail_prefix(err, "volume \"%s\": cannot merge %s into %s", v->name,
				       child, layer);
	return sync_file(f, v, layer, err);
}

static int env_pull(const struct vmj_volume *v, const char *child, const char *parent, void *arg,
		    struct vmj_error *err)
{
	const struct vmj_layer_files *f = arg;
	char path[VMJ_VOLUME_PATH_MAX];
	const char *const argv[] = {"qemu-img", "rebase", "-p",   "-f", "qcow2", "-F",
				    "qcow2",    "-b",     parent, "--", path,    NULL};
	int rc = vmj_chain_verify(f->dir, v, child, err);

	if (rc < 0)
		return rc;
	vmj_volume_path(f->domain, v, child, path);
	rc = run_qemu_img(f, v, argv, err);
	if (rc < 0)
		return vmj_fail_prefix(err, "volume \"%s\": cannot merge what is below %s into it",
				       v->name, child);
	return sync_file(f, v, child, err);
}

static int env_move(const struct vmj_volume *v, const char *from, const char *to, void *arg,
		    struct vmj_error *err)
{
	const struct vmj_layer_files *f = arg;

	if (renameat(f->dir, from, f->dir, to) < 0 || fsync(f->dir) < 0)
		return file_fail(err, errno, v, from, "rename");
	return 0;
}

static int write_parent(const struct vmj_layer_files *f, const struct vmj_volume *v,
			const char *file, const char *parent, struct vmj_error *err)
{
	char path[VMJ_VOLUME_PATH_MAX];
	const char *const argv[] = {"qemu-img", "rebase", "-u",   "-f", "qcow2", "-F",
				    "qcow2",    "-b",     parent, "--", path,    NULL};
	int rc;

	vmj_volume_path(f->domain, v, file, path);
	rc = run_qemu_img(f, v, argv, err);
	if (rc < 0)
		return vmj_fail_prefix(err, "volume \"%s\": cannot set the parent of %s", v->name,
				       file);
	return 0;
}

static int env_set_parent(const struct vmj_volume *v, const char *file, const char *parent,
			  void *arg, struct vmj_error *err)
{
	char what[VMJ_NAME_MAX + VMJ_VOLUME_FILE_MAX + 32], now[VMJ_QCOW2_BACKING_MAX];
	const struct vmj_layer_files *f = arg;
	struct stat st;
	vmj_autoclose int fd = open_own(f, v, file, &st, err);
	int rc;

	if (fd < 0)
		return fd;
	snprintf(what, sizeof(what), "volume \"%s\": its layer %s", v->name, file);
	rc = vmj_qcow2_backing(fd, what, now, err);
	if (rc < 0 || strcmp(now, parent) == 0)
		return rc;
	if (fchmod(fd, 0600) < 0)
		return file_fail(err, errno, v, file, "set the mode of");
	rc = write_parent(f, v, file, parent, err);
	if (rc == 0 && (fchmod(fd, st.st_mode & 0777) < 0 || fsync(fd) < 0))
		rc = file_fail(err, errno, v, file, "set the mode of");
	return rc;
}

static int env_drop(const struct vmj_volume *v, const char *file, void *arg, struct vmj_error *err)
{
	const struct vmj_layer_files *f = arg;

	if (unlinkat(f->dir, file, 0) < 0 && errno != ENOENT)
		return file_fail(err, errno, v, file, "remove");
	return 0;
}

static int env_exists(const struct vmj_volume *v, const char *file, void *arg,
		      struct vmj_error *err)
{
	const struct vmj_layer_files *f = arg;
	struct stat st;

	if (fstatat(f->dir, file, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return 1;
	return errno == ENOENT ? 0 : file_fail(err, errno, v, file, "look at");
}

static int env_look(const struct vmj_volume *v, struct vmj_layer_facts *ret, void *arg,
		    struct vmj_error *err)
{
	const struct vmj_layer_files *f = arg;
	struct stat st;

	for (unsigned int i = 0; i < v->n_layers; i++) {
		if (fstatat(f->dir, v->layers[i].file, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return file_fail(err, errno, v, v->layers[i].file, "look at");
		ret[i] = (struct vmj_layer_facts){
			.own = is_own(&st, v) && strcmp(v->layers[i].file, VMJ_BASE_FILE) != 0,
			.bytes = (uint64_t)st.st_blocks * 512};
	}
	return 0;
}

/* ---------------------------------------------------------------------------------------------- */

int vmj_layer_files_open(struct vmj_layer_files *f, const char *domain, const struct vmj_volume *v,
			 struct vmj_error *err)
{
	*f = (struct vmj_layer_files){.domain = domain};
	f->dir = vmj_volume_open(domain, v->uid, v->name, err);
	return f->dir < 0 ? f->dir : 0;
}

void vmj_layer_files_done(struct vmj_layer_files *f)
{
	f->dir = vmj_close(f->dir);
}

struct vmj_layers_env vmj_layer_files_env(struct vmj_layer_files *f)
{
	return (struct vmj_layers_env){
		.save = env_save,
		.make = env_make,
		.set_writable = env_set_writable,
		.commit = env_commit,
		.pull = env_pull,
		.move = env_move,
		.set_parent = env_set_parent,
		.drop = env_drop,
		.exists = env_exists,
		.look = env_look,
		.arg = f,
	};
}

int vmj_snapshot_recover(const char *domain, struct vmj_volume *v, struct vmj_error *err)
{
	vmj_auto_layer_files struct vmj_layer_files f = {.dir = -1};
	struct vmj_layers_env env = vmj_layer_files_env(&f);
	int rc = vmj_layer_files_open(&f, domain, v, err);

	return rc < 0 ? rc : vmj_layers_recover(&env, v, err);
}
