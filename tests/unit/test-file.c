/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static int open_dir(void **state)
{
	int fd = open(*state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void put(int dir, const char *name, const char *text)
{
	struct vmj_error err;

	assert_done(vmj_file_write_atomic(dir, name, text, strlen(text), 0644, &err), err);
}

static size_t entries(int dir)
{
	vmj_autoclosedir DIR *d = fdopendir(openat(dir, ".", O_RDONLY | O_DIRECTORY));
	size_t n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	return n - 2;
}

static void written_is_read(void **state)
{
	vmj_autoclose int dir = open_dir(state);
	vmj_autofree char *text = NULL;
	struct vmj_error err;
	size_t len;

	put(dir, "f", "one");
	put(dir, "f", "second");
	assert_done(vmj_file_read(dir, "f", 6, &text, &len, &err), err);
	assert_string_equal(text, "second");
	assert_int_equal(len, 6);
	assert_int_equal(entries(dir), 1);
}

static void an_empty_file_is_read(void **state)
{
	vmj_autoclose int dir = open_dir(state);
	vmj_autofree char *text = NULL;
	struct vmj_error err;
	size_t len;

	put(dir, "f", "");
	assert_done(vmj_file_read(dir, "f", 0, &text, &len, &err), err);
	assert_int_equal(len, 0);
	assert_string_equal(text, "");
}

static void proc_is_read(void **state)
{
	vmj_autofree char *text = NULL;
	struct vmj_error err;
	size_t len;

	assert_done(vmj_file_read(-1, "/proc/self/stat", 65536, &text, &len, &err), err);
	assert_true(len > 0 && len == strlen(text));
}

static void a_longer_file_is_refused(void **state)
{
	vmj_autoclose int dir = open_dir(state);
	struct vmj_error err;
	char *text = NULL;

	put(dir, "f", "1234567");
	assert_refused(vmj_file_read(dir, "f", 6, &text, NULL, &err), err, EFBIG, "6 bytes");
	assert_null(text);
}

static void what_is_no_file_is_not_read(void **state)
{
	vmj_autoclose int dir = open_dir(state);
	struct vmj_error err;
	char *text = NULL;

	put(dir, "f", "x");
	assert_int_equal(symlinkat("f", dir, "link"), 0);
	assert_int_equal(mkfifoat(dir, "fifo", 0600), 0);
	assert_refused(vmj_file_read(dir, "link", 9, &text, NULL, &err), err, ELOOP, "link");
	assert_refused(vmj_file_read(dir, "fifo", 9, &text, NULL, &err), err, EINVAL, "regular");
	assert_refused(vmj_file_read(dir, ".", 9, &text, NULL, &err), err, EISDIR, "regular");
	assert_refused(vmj_file_read(dir, "none", 9, &text, NULL, &err), err, ENOENT, "none");
	assert_null(text);
}

static void mode_is_exact(void **state)
{
	vmj_autoclose int dir = open_dir(state);
	mode_t before = umask(077);
	struct stat st;
	struct vmj_error err;

	assert_done(vmj_file_write_atomic(dir, "f", "x", 1, 0666, &err), err);
	umask(before);
	assert_int_equal(fstatat(dir, "f", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0666);
}

static void a_file_is_replaced_whole(void **state)
{
	vmj_autoclose int dir = open_dir(state), old = -1;
	vmj_autofree char *text = NULL;
	struct vmj_error err;
	char was[4] = "";

	put(dir, "f", "old");
	old = openat(dir, "f", O_RDONLY);
	assert_done(vmj_file_replace(dir, "f", "newer", 5, 0600, &err), err);
	assert_int_equal(read(old, was, 3), 3);
	assert_string_equal(was, "old"); /* who reads it still has the old one */
	assert_done(vmj_file_read(dir, "f", 9, &text, NULL, &err), err);
	assert_string_equal(text, "newer");
	assert_refused(vmj_file_replace(dir, "none/f", "x", 1, 0600, &err), err, ENOENT, "none/f");
	assert_int_equal(entries(dir), 1);
}

static void a_failed_write_leaves_nothing(void **state)
{
	vmj_autoclose int dir = open_dir(state);
	struct vmj_error err;

	assert_int_equal(mkdirat(dir, "d", 0755), 0);
	assert_refused(vmj_file_write_atomic(dir, "d", "x", 1, 0600, &err), err, EISDIR, "d");
	assert_refused(vmj_file_write_atomic(dir, "none/f", "x", 1, 0600, &err), err, ENOENT,
		       "none/f");
	assert_int_equal(entries(dir), 1);
}

static void a_link_is_replaced_not_followed(void **state)
{
	vmj_autoclose int dir = open_dir(state);
	vmj_autofree char *text = NULL;
	struct vmj_error err;

	put(dir, "victim", "safe");
	assert_int_equal(symlinkat("victim", dir, "f"), 0);
	put(dir, "f", "new");
	assert_done(vmj_file_read(dir, "victim", 9, &text, NULL, &err), err);
	assert_string_equal(text, "safe");
}

static void one_value_is_put(void **state)
{
	vmj_autoclose int dir = open_dir(state);
	vmj_autofree char *text = NULL;
	struct vmj_error err;
	char path[256];

	put(dir, "f", "");
	snprintf(path, sizeof(path), "%s/f", (const char *)*state);
	assert_done(vmj_file_put(path, "42", &err), err);
	assert_done(vmj_file_read(dir, "f", 9, &text, NULL, &err), err);
	assert_string_equal(text, "42");
	snprintf(path, sizeof(path), "%s/none", (const char *)*state);
	assert_refused(vmj_file_put(path, "42", &err), err, ENOENT, path);
	assert_refused(vmj_file_put("/dev/full", "42", &err), err, ENOSPC, "\"42\"");
}

static void directories_are_made(void **state)
{
	char path[256];
	struct vmj_error err;
	struct stat st;
	mode_t before = umask(077);

	snprintf(path, sizeof(path), "%s/a//b/c/", (const char *)*state);
	assert_done(vmj_mkdir_p(path, 0755, &err), err);
	assert_done(vmj_mkdir_p(path, 0700, &err), err);
	umask(before);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
}

static void a_file_in_the_way_is_named(void **state)
{
	vmj_autoclose int dir = open_dir(state);
	char path[256];
	struct vmj_error err;

	put(dir, "f", "x");
	snprintf(path, sizeof(path), "%s/f/c", (const char *)*state);
	assert_refused(vmj_mkdir_p(path, 0755, &err), err, ENOTDIR, "/f:");
	assert_refused(vmj_mkdir_p("", 0755, &err), err, ENOENT, "empty");
}

static void a_tree_is_removed(void **state)
{
	vmj_autoclose int dir = open_dir(state);
	struct vmj_error err;
	char path[256];

	snprintf(path, sizeof(path), "%s/t/a/b", (const char *)*state);
	assert_done(vmj_mkdir_p(path, 0755, &err), err);
	put(dir, "victim", "safe");
	put(dir, "t/a/f", "x");
	assert_int_equal(symlinkat("../../victim", dir, "t/a/link"), 0);
	assert_int_equal(symlinkat("/", dir, "t/root"), 0);
	assert_done(vmj_remove_tree(dir, "t", &err), err);
	assert_done(vmj_remove_tree(dir, "t", &err), err);
	assert_int_equal(entries(dir), 1);
}

static void a_link_to_a_tree_is_only_unlinked(void **state)
{
	vmj_autoclose int dir = open_dir(state);
	struct vmj_error err;

	assert_int_equal(mkdirat(dir, "d", 0755), 0);
	put(dir, "d/f", "x");
	assert_int_equal(symlinkat("d", dir, "link"), 0);
	assert_done(vmj_remove_tree(dir, "link", &err), err);
	assert_int_equal(faccessat(dir, "d/f", F_OK, 0), 0);
	assert_int_equal(entries(dir), 1);
}

static void a_bottomless_tree_is_refused(void **state)
{
	vmj_autoclose int dir = open_dir(state);
	char path[1024] = "t";
	struct vmj_error err;

	for (int i = 0; i < 70; i++) {
		assert_int_equal(mkdirat(dir, path, 0755), 0);
		strcat(path, "/x");
	}
	assert_refused(vmj_remove_tree(dir, "t", &err), err, ELOOP, "levels");
	assert_done(vmj_remove_tree(dir, "t/x/x/x/x/x/x/x/x/x/x/x", &err), err);
}

int main(void)
{
#define dir_test(f) cmocka_unit_test_setup_teardown(f, unit_make_dir, unit_remove_dir)
	static const struct CMUnitTest tests[] = {
		dir_test(written_is_read),
		dir_test(an_empty_file_is_read),
		cmocka_unit_test(proc_is_read),
		dir_test(a_longer_file_is_refused),
		dir_test(what_is_no_file_is_not_read),
		dir_test(mode_is_exact),
		dir_test(a_file_is_replaced_whole),
		dir_test(a_failed_write_leaves_nothing),
		dir_test(a_link_is_replaced_not_followed),
		dir_test(one_value_is_put),
		dir_test(directories_are_made),
		dir_test(a_file_in_the_way_is_named),
		dir_test(a_tree_is_removed),
		dir_test(a_link_to_a_tree_is_only_unlinked),
		dir_test(a_bottomless_tree_is_refused),
	};

	return cmocka_run_group_tests_name("file", tests, NULL, NULL);
}
