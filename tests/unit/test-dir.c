/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmjob/base/dir.h"

struct found {
	unsigned int n;
	unsigned int stop_at;
	bool only_ours; /* every entry is one of a, b, c, and can be reached from `dir` */
};

static int note(int dir, const char *entry, void *arg)
{
	struct found *f = arg;
	struct stat st;

	f->only_ours &= strchr("abc", entry[0]) && !entry[1] &&
			fstatat(dir, entry, &st, AT_SYMLINK_NOFOLLOW) == 0;
	return ++f->n == f->stop_at ? 77 : 0;
}

static int remove_it(int dir, const char *entry, void *arg)
{
	return unlinkat(dir, entry, 0) < 0 ? -errno : 0;
}

static int open_with_three(void **state)
{
	int fd = open(*state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(mkdirat(fd, "d", 0755), 0);
	assert_int_equal(symlinkat("d", fd, "link"), 0);
	for (const char *name = "abc"; *name; name++) {
		char path[] = "d/?";
		int file;

		path[2] = *name;
		file = openat(fd, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		assert_true(file >= 0);
		close(file);
	}
	return fd;
}

static void each_entry_is_seen_once(void **state)
{
	vmj_autoclose int fd = open_with_three(state);
	struct found f = {.only_ours = true};

	assert_int_equal(vmj_dir_each(fd, "d", note, &f), 0);
	assert_int_equal(f.n, 3);
	assert_true(f.only_ours);
}

static void a_result_ends_it(void **state)
{
	vmj_autoclose int fd = open_with_three(state);
	struct found f = {.stop_at = 2};

	assert_int_equal(vmj_dir_each(fd, "d", note, &f), 77);
	assert_int_equal(f.n, 2);
}

static void entries_may_be_removed(void **state)
{
	vmj_autoclose int fd = open_with_three(state);

	assert_int_equal(vmj_dir_each(fd, "d", remove_it, NULL), 0);
	assert_int_equal(unlinkat(fd, "d", AT_REMOVEDIR), 0);
}

static void links_are_not_followed(void **state)
{
	vmj_autoclose int fd = open_with_three(state);
	struct found f = {.n = 0};

	assert_int_equal(vmj_dir_each(fd, "link", note, &f), -ENOTDIR);
	assert_int_equal(vmj_dir_each(fd, "none", note, &f), -ENOENT);
	assert_int_equal(vmj_dir_each(fd, "d/a", note, &f), -ENOTDIR);
	assert_int_equal(f.n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, unit_make_dir, unit_remove_dir)
		TEST(each_entry_is_seen_once),
		TEST(a_result_ends_it),
		TEST(entries_may_be_removed),
		TEST(links_are_not_followed),
	};

	return cmocka_run_group_tests_name("dir", tests, NULL, NULL);
}
