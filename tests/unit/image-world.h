/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of images share: a formatted domain and files to import. */
#ifndef TESTS_IMAGE_WORLD_H
#define TESTS_IMAGE_WORLD_H

#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sodium.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmjob/base/spawn.h"
#include "vmjob/storage/image.h"
#include "vmjob/storage/layout.h"

#define OTHER_UID 54321
#define OTHER_GID 54322

static inline char *at(const char *dir, const char *name)
{
	char *path;

	assert_true(asprintf(&path, "%s/%s", dir, name) > 0);
	return path;
}

static inline void run(const char *const *argv)
{
	struct vmj_spawn s = {.argv = argv};
	struct vmj_error err = {.code = 0};

	assert_done(vmj_spawn(&s, &err), err);
}
#define RUN(...) run((const char *const[]){__VA_ARGS__, NULL})

static inline void write_file(const char *path, const void *data, size_t len)
{
	vmj_autoclose int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(vmj_write_full(fd, data, len), 0);
}

/* *state: a directory with a formatted domain d, a raw file raw and a qcow2 file q of 8 MiB. */
static inline int make_world(void **state)
{
	vmj_autofree char *d = NULL, *raw = NULL, *q = NULL;
	struct vmj_error err = {.code = 0};

	umask(077); /* modes must not depend on it */
	if (unit_make_dir(state) < 0 || chmod(*state, 0755) < 0)
		return -1;
	d = at(*state, "d");
	raw = at(*state, "raw");
	q = at(*state, "q");
	assert_done(vmj_storage_format(d, "test", &err), err);
	write_file(raw, "boot sector", 11);
	assert_int_equal(truncate(raw, 8 << 20), 0);
	RUN("qemu-img", "create", "-q", "-f", "qcow2", q, "8M");
	RUN("qemu-io", "-f", "qcow2", "-c", "write -P 0x5a 1M 1M", q);
	return 0;
}

static inline int import_file(const char *d, const char *name, const char *file, bool public_,
			      struct vmj_image *ret, struct vmj_error *err)
{
	struct vmj_image_import spec = {.path = d, .name = name, .file = file, .public_ = public_};

	return vmj_image_import(&spec, ret, err);
}

static inline void import(void **state, const char *file, const char *name, struct vmj_image *ret)
{
	vmj_autofree char *d = at(*state, "d"), *path = at(*state, file);
	struct vmj_error err = {.code = 0};

	assert_done(import_file(d, name, path, false, ret, &err), err);
}

static inline void assert_import_refused(void **state, const char *file, int code, const char *part)
{
	vmj_autofree char *d = at(*state, "d"), *path = at(*state, file);
	struct vmj_error err = {.code = 0};
	struct vmj_image img = {.revision = 77};
	struct vmj_image *list = NULL;
	size_t n = 99;

	assert_user_refused(import_file(d, "bad", path, false, &img, &err), err, code, part);
	assert_int_equal(img.revision, 77);
	assert_int_equal(vmj_image_list(d, geteuid(), &list, &n, NULL), 0);
	assert_int_equal(n, 0);
	free(list);
}

static inline void need_root(void)
{
	if (geteuid() != 0)
		skip();
}

/* Import in a child that is another user. Returns its exit status. */
static inline int import_as_other(const char *d, const char *file, const char *name)
{
	pid_t pid = fork();
	int status = -1;

	if (pid == 0) {
		struct vmj_error err = {.code = 0};
		struct vmj_image img;

		if (setresgid(OTHER_GID, OTHER_GID, OTHER_GID) < 0 ||
		    setresuid(OTHER_UID, OTHER_UID, OTHER_UID) < 0)
			_exit(99);
		_exit(-import_file(d, name, file, false, &img, &err));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_world, unit_remove_dir)

/* Runs a group of tests that need qemu-img. */
#define RUN_IMAGE_TESTS(tests)                                               \
	({                                                                   \
		int run_rc_ = 0;                                             \
		if (access("/usr/bin/qemu-img", X_OK) < 0)                   \
			printf("1..0 # SKIP qemu-img is missing\n");         \
		else if (sodium_init() < 0)                                  \
			run_rc_ = 99;                                        \
		else                                                         \
			run_rc_ = cmocka_run_group_tests(tests, NULL, NULL); \
		run_rc_;                                                     \
	})

#endif
