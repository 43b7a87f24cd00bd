/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "image-world.h"

static void test_users_are_apart(void **state)
{
	vmj_autofree char *d = at(*state, "d"), *q = at(*state, "q");
	struct vmj_error err = {.code = 0};
	struct vmj_image img;

	need_root();
	assert_int_equal(chmod(q, 0644), 0);
	assert_int_equal(import_as_other(d, q, "mine"), 0);
	assert_done(vmj_image_find(d, NULL, "mine", 0, OTHER_UID, OTHER_GID, &img, &err), err);
	assert_int_equal(img.owner, OTHER_UID);
	assert_user_refused(
		vmj_image_find(d, NULL, "mine", 0, OTHER_UID + 1, OTHER_GID, &img, &err), err,
		ENOENT, "does not exist");
	/* The thread is root again. */
	assert_int_equal(access(img.path, W_OK), 0);
}

static void test_public(void **state)
{
	vmj_autofree char *d = at(*state, "d"), *q = at(*state, "q"), *raw = at(*state, "raw");
	struct vmj_error err = {.code = 0};
	struct vmj_image img, *list;
	size_t n;

	need_root();
	assert_done(import_file(d, "both", q, true, &img, &err), err);
	assert_true(img.public_);
	assert_done(vmj_image_find(d, NULL, "both", 0, OTHER_UID, OTHER_GID, &img, &err), err);
	assert_true(img.public_);
	assert_int_equal(chmod(raw, 0644), 0);
	assert_int_equal(import_as_other(d, raw, "both"), 0);
	assert_done(vmj_image_find(d, NULL, "both", 0, OTHER_UID, OTHER_GID, &img, &err), err);
	assert_false(img.public_);
	assert_done(vmj_image_list(d, OTHER_UID, &list, &n, &err), err);
	assert_int_equal(n, 2);
	assert_false(list[0].public_);
	assert_true(list[1].public_);
	free(list);
}

static void test_unreadable_is_the_users_fault(void **state)
{
	vmj_autofree char *d = at(*state, "d"), *q = at(*state, "q");
	struct vmj_error err = {.code = 0};
	struct vmj_image img;

	need_root();
	assert_done(import_file(d, "secret", q, true, &img, &err), err);
	assert_int_equal(chmod(img.path, 0600), 0);
	assert_user_refused(vmj_image_find(d, NULL, "secret", 0, OTHER_UID, OTHER_GID, &img, &err),
			    err, EACCES, "may not read");
}

/* Somebody made images/<uid of another> first, or a link there. */
static void test_squatters(void **state)
{
	vmj_autofree char *d = at(*state, "d"), *q = at(*state, "q"), *own = NULL;
	struct vmj_error err = {.code = 0};
	struct vmj_image img;

	need_root();
	assert_int_equal(chmod(q, 0644), 0);
	import(state, "q", "mine", &img);
	assert_true(asprintf(&own, "%s/images/%u", d, OTHER_UID) > 0);
	assert_int_equal(mkdir(own, 0755), 0); /* root's */
	assert_int_equal(WEXITSTATUS(import_as_other(d, q, "x")), EPERM);
	assert_int_equal(rmdir(own), 0);
	assert_int_equal(symlink("0", own), 0);
	assert_int_equal(WEXITSTATUS(import_as_other(d, q, "x")), EPERM);
	assert_user_refused(vmj_image_find(d, NULL, "mine", 0, OTHER_UID, OTHER_GID, &img, &err),
			    err, ENOENT, "does not exist");
	assert_int_equal(unlink(own), 0);
	assert_int_equal(mkdir(own, 0755), 0);
	assert_int_equal(chown(own, OTHER_UID, OTHER_GID), 0);
	assert_int_equal(chmod(own, 0777), 0); /* anybody could put images there */
	assert_int_equal(WEXITSTATUS(import_as_other(d, q, "x")), EPERM);
}

static void test_public_is_roots(void **state)
{
	vmj_autofree char *d = at(*state, "d"), *q = at(*state, "q");
	pid_t pid;
	int status;

	need_root();
	assert_int_equal(chmod(q, 0644), 0);
	pid = fork();
	if (pid == 0) {
		struct vmj_image img;

		if (setresuid(OTHER_UID, OTHER_UID, OTHER_UID) < 0)
			_exit(99);
		_exit(-import_file(d, "x", q, true, &img, NULL));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), EPERM);
}

/* fn(arg) as another user, in a child; its exit status. */
static int as_other(uid_t uid, gid_t gid, int (*fn)(const char *d, const char *name), const char *d,
		    const char *name)
{
	pid_t pid = fork();
	int status = -1;

	if (pid == 0) {
		if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 ||
		    setresuid(uid, uid, uid) < 0)
			_exit(99);
		_exit(fn(d, name));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int share_all(const char *d, const char *name)
{
	return -vmj_image_share(d, name, VMJ_SHARE_ALL, 0, NULL);
}

static int share_group(const char *d, const char *name)
{
	return -vmj_image_share(d, name, VMJ_SHARE_GROUP, getegid(), NULL);
}

static int share_strange_group(const char *d, const char *name)
{
	return -vmj_image_share(d, name, VMJ_SHARE_GROUP, 4711, NULL);
}

static int share_none(const char *d, const char *name)
{
	return -vmj_image_share(d, name, VMJ_SHARE_NONE, 0, NULL);
}

static int remove_image(const char *d, const char *name)
{
	return -vmj_image_remove(d, name, 0, false, NULL);
}

/* How many images that are not its own a user sees. */
static int count_others(const char *d, const char *name)
{
	struct vmj_image *list = NULL;
	int found = 0;
	size_t n = 0;

	if (vmj_image_list(d, geteuid(), &list, &n, NULL) < 0)
		return 98;
	for (size_t i = 0; i < n; i++)
		found += list[i].owner != geteuid();
	free(list);
	return found;
}

#define THIRD_UID 54399
#define THIRD_GID 54398

static void assert_found(const char *d, const char *name, gid_t gid)
{
	struct vmj_error err = {.code = 0};
	struct vmj_image img;

	assert_done(vmj_image_find(d, "54321", name, 0, THIRD_UID, gid, &img, &err), err);
	assert_int_equal(img.owner, OTHER_UID);
}

static void assert_hidden(const char *d, const char *name, gid_t gid)
{
	struct vmj_error err = {.code = 0};
	struct vmj_image img;

	assert_user_refused(vmj_image_find(d, "54321", name, 0, THIRD_UID, gid, &img, &err), err,
			    ENOENT, "not shared with you");
}

static void test_share_with_all(void **state)
{
	vmj_autofree char *d = at(*state, "d"), *q = at(*state, "q");
	vmj_autofree char *disk = at(d, "images/54321/mine/1/disk.qcow2");

	need_root();
	assert_int_equal(chmod(q, 0644), 0);
	assert_int_equal(import_as_other(d, q, "mine"), 0);
	assert_int_equal(import_as_other(d, q, "secret"), 0);
	assert_int_equal(chmod(disk, 0400), 0); /* as a volume of it leaves it */
	assert_hidden(d, "mine", THIRD_GID);
	assert_int_equal(as_other(OTHER_UID, OTHER_GID, share_all, d, "mine"), 0);
	assert_int_equal(as_other(OTHER_UID, OTHER_GID, share_all, d, "mine"), 0);
	assert_found(d, "mine", THIRD_GID);
	assert_hidden(d, "secret", THIRD_GID);
	assert_hidden(d, "none", THIRD_GID);
	assert_int_equal(as_other(THIRD_UID, THIRD_GID, count_others, d, ""), 1);
	/* Later revisions are shared, later images are not. */
	assert_int_equal(import_as_other(d, q, "mine"), 0);
	assert_int_equal(import_as_other(d, q, "later"), 0);
	assert_int_equal(as_other(THIRD_UID, THIRD_GID, count_others, d, ""), 2);
	assert_hidden(d, "later", THIRD_GID);
	assert_int_equal(as_other(OTHER_UID, OTHER_GID, share_none, d, "mine"), 0);
	assert_hidden(d, "mine", THIRD_GID);
	assert_int_equal(as_other(THIRD_UID, THIRD_GID, count_others, d, ""), 0);
}

static void test_share_with_a_group(void **state)
{
	vmj_autofree char *d = at(*state, "d"), *q = at(*state, "q");

	need_root();
	assert_int_equal(chmod(q, 0644), 0);
	assert_int_equal(import_as_other(d, q, "mine"), 0);
	assert_int_equal(as_other(OTHER_UID, OTHER_GID, share_strange_group, d, "mine"), EPERM);
	assert_hidden(d, "mine", 4711);
	assert_int_equal(as_other(OTHER_UID, OTHER_GID, share_group, d, "mine"), 0);
	assert_found(d, "mine", OTHER_GID);
	assert_hidden(d, "mine", THIRD_GID);
	assert_int_equal(as_other(THIRD_UID, OTHER_GID, count_others, d, ""), 1);
	assert_int_equal(as_other(THIRD_UID, THIRD_GID, count_others, d, ""), 0);
}

/* A removed image leaves no marker, and its name is not shared when it comes again. */
static void test_removal_ends_sharing(void **state)
{
	vmj_autofree char *d = at(*state, "d"), *q = at(*state, "q"),
			  *marker = at(*state, "d/shares/54321.mine");

	need_root();
	assert_int_equal(chmod(q, 0644), 0);
	assert_int_equal(import_as_other(d, q, "mine"), 0);
	assert_int_equal(as_other(OTHER_UID, OTHER_GID, share_all, d, "mine"), 0);
	assert_int_equal(access(marker, F_OK), 0);
	assert_int_equal(as_other(OTHER_UID, OTHER_GID, remove_image, d, "mine"), 0);
	assert_int_equal(access(marker, F_OK), -1);
	assert_int_equal(import_as_other(d, q, "mine"), 0);
	assert_hidden(d, "mine", THIRD_GID);
}

/* A marker that another made shows nothing, nor does one that a link stands for. */
static void test_false_markers(void **state)
{
	vmj_autofree char *d = at(*state, "d"), *q = at(*state, "q"),
			  *marker = at(*state, "d/shares/54321.mine"),
			  *own = at(*state, "d/images/54321");

	need_root();
	assert_int_equal(chmod(q, 0644), 0);
	assert_int_equal(import_as_other(d, q, "mine"), 0);
	assert_int_equal(chmod(own, 0755), 0);
	write_file(marker, "", 0);
	assert_int_equal(as_other(THIRD_UID, THIRD_GID, count_others, d, ""), 0);
	assert_int_not_equal(as_other(OTHER_UID, OTHER_GID, share_all, d, "mine"), 0);
	assert_int_equal(unlink(marker), 0);
	assert_int_equal(symlink("/etc/passwd", marker), 0);
	assert_int_equal(lchown(marker, OTHER_UID, OTHER_GID), 0);
	assert_int_equal(as_other(THIRD_UID, THIRD_GID, count_others, d, ""), 0);
}

static void test_owner_is_a_user(void **state)
{
	vmj_autofree char *d = at(*state, "d");
	struct vmj_error err = {.code = 0};
	struct vmj_image img;

	assert_user_refused(vmj_image_find(d, "root", "none", 0, 1, 1, &img, &err), err, ENOENT,
			    "root/none");
	assert_user_refused(vmj_image_find(d, "public", "none", 0, 1, 1, &img, &err), err, ENOENT,
			    "public/none");
	assert_user_refused(vmj_image_find(d, "nobody-such", "mine", 0, 1, 1, &img, &err), err,
			    ENOENT, "no such user");
	assert_user_refused(vmj_image_find(d, "../public", "mine", 0, 1, 1, &img, &err), err,
			    EINVAL, "owner");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_users_are_apart),
		TEST(test_public),
		TEST(test_unreadable_is_the_users_fault),
		TEST(test_squatters),
		TEST(test_public_is_roots),
		TEST(test_share_with_all),
		TEST(test_share_with_a_group),
		TEST(test_removal_ends_sharing),
		TEST(test_false_markers),
		TEST(test_owner_is_a_user),
	};

	return RUN_IMAGE_TESTS(tests);
}
