/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "image-world.h"

#include <sys/file.h>

static void test_domain_format(void **state)
{
	vmj_autofree char *d = at(*state, "d"), *images = at(d, "images");
	struct vmj_error err = {.code = 0};
	struct stat st;

	assert_done(vmj_storage_check(d, &err), err);
	assert_done(vmj_storage_format(d, "test", &err), err);
	assert_refused(vmj_storage_format(d, "other", &err), err, EEXIST, "\"test\" already");
	assert_int_equal(stat(images, &st), 0);
	assert_int_equal(st.st_mode & 07777, 01777);
}

static void test_domain_not_mounted(void **state)
{
	vmj_autofree char *none = at(*state, "none");
	struct vmj_error err = {.code = 0};

	assert_refused(vmj_storage_check(*state, &err), err, ENOENT, "not mounted");
	assert_int_equal(err.fault, VMJ_FAULT_HOST);
	assert_refused(vmj_storage_check(none, &err), err, ENOENT, "cannot be opened");
}

static void test_domain_of_the_future(void **state)
{
	vmj_autofree char *d = at(*state, "d"), *mark = at(d, "vmjob-domain.json");
	const char *text = "{\"format\":\"vmjob-domain\",\"version\":3,\"name\":\"test\"}";
	struct vmj_error err = {.code = 0};

	write_file(mark, text, strlen(text));
	assert_refused(vmj_storage_check(d, &err), err, EPROTO, "version 3");
	write_file(mark, "{", 1);
	assert_refused(vmj_storage_check(d, &err), err, EINVAL, "damaged");
	text = "{\"format\":\"vmjob-domain\",\"version\":1,\"name\":null}";
	write_file(mark, text, strlen(text));
	assert_refused(vmj_storage_check(d, &err), err, EINVAL, "damaged");
}

static void test_revisions(void **state)
{
	vmj_autofree char *d = at(*state, "d");
	struct vmj_error err = {.code = 0};
	struct vmj_image img, *list;
	size_t n;

	for (uint32_t i = 1; i <= 3; i++) {
		import(state, i == 2 ? "q" : "raw", "tiny", &img);
		assert_int_equal(img.revision, i);
	}
	assert_done(vmj_image_find(d, NULL, "tiny", 0, geteuid(), getegid(), &img, &err), err);
	assert_int_equal(img.revision, 3);
	assert_done(vmj_image_find(d, NULL, "tiny", 2, geteuid(), getegid(), &img, &err), err);
	assert_int_equal(img.revision, 2);
	assert_user_refused(vmj_image_find(d, NULL, "tiny", 4, geteuid(), getegid(), &img, &err),
			    err, ENOENT, "revision 4");
	assert_done(vmj_image_remove(d, "tiny", 2, false, &err), err);
	assert_user_refused(vmj_image_remove(d, "tiny", 2, false, &err), err, ENOENT, "revision 2");
	assert_done(vmj_image_list(d, geteuid(), &list, &n, &err), err);
	assert_int_equal(n, 2);
	assert_int_equal(list[0].revision, 1);
	assert_int_equal(list[1].revision, 3);
	free(list);
	assert_done(vmj_image_remove(d, "tiny", 0, false, &err), err);
	assert_user_refused(vmj_image_find(d, NULL, "tiny", 0, geteuid(), getegid(), &img, &err),
			    err, ENOENT, "does not exist");
}

/* Several processes import the same name at once: each gets a revision of its own. */
static void test_revisions_race(void **state)
{
	enum { N = 4 };
	vmj_autofree char *d = at(*state, "d"), *q = at(*state, "q");
	struct vmj_image *list;
	pid_t pids[N];
	size_t n;

	for (int i = 0; i < N; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			struct vmj_image img;

			_exit(import_file(d, "tiny", q, false, &img, NULL) < 0);
		}
	}
	for (int i = 0; i < N; i++) {
		int status;

		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	assert_int_equal(vmj_image_list(d, geteuid(), &list, &n, NULL), 0);
	assert_int_equal(n, N);
	for (uint32_t i = 0; i < N; i++)
		assert_int_equal(list[i].revision, i + 1);
	free(list);
}

static void test_refuses_bad_names(void **state)
{
	static const char *const names[] = {
		"",
		"../x",
		"a/b",
		".hidden",
		"a b",
		"a\n",
		"a..b",
		"-x",
		"x\"y",
		"<a>",
		"$(id)",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
	vmj_autofree char *d = at(*state, "d"), *q = at(*state, "q");
	struct vmj_image img;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct vmj_error err = {.code = 0};

		assert_true(import_file(d, names[i], q, false, &img, &err) < 0);
		assert_int_equal(err.fault, VMJ_FAULT_USER);
		assert_true(vmj_image_find(d, NULL, names[i], 0, 0, 0, &img, &err) < 0);
		assert_true(vmj_image_remove(d, names[i], 0, false, &err) < 0);
	}
}

static void test_leavings(void **state)
{
	vmj_autofree char *d = at(*state, "d"), *own = NULL, *dead = NULL, *alive = NULL,
			  *lock = NULL;
	vmj_autoclose int fd = -1;
	struct vmj_image img;

	import(state, "q", "one", &img);
	assert_true(asprintf(&own, "%s/images/%u", d, (unsigned int)geteuid()) > 0);
	dead = at(own, ".tmp-dead");
	alive = at(own, ".tmp-alive");
	assert_int_equal(mkdir(dead, 0700), 0);
	assert_int_equal(mkdir(alive, 0700), 0);
	lock = at(alive, "lock");
	fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	import(state, "q", "two", &img);
	assert_int_equal(access(dead, F_OK), -1);
	assert_int_equal(access(alive, F_OK), 0);
}

static void test_disk_changed_after_import(void **state)
{
	vmj_autofree char *d = at(*state, "d"), *q = at(*state, "q");
	struct vmj_error err = {.code = 0};
	struct vmj_image img;

	import(state, "q", "tiny", &img);
	assert_int_equal(unlink(img.path), 0);
	RUN("qemu-img", "create", "-q", "-f", "qcow2", "-b", q, "-F", "qcow2", img.path);
	assert_user_refused(vmj_image_find(d, NULL, "tiny", 0, geteuid(), getegid(), &img, &err),
			    err, EINVAL, "backing file");
	assert_int_equal(unlink(img.path), 0);
	assert_int_equal(symlink(q, img.path), 0);
	assert_user_refused(vmj_image_find(d, NULL, "tiny", 0, geteuid(), getegid(), &img, &err),
			    err, EINVAL, "a link");
	assert_int_equal(unlink(img.path), 0);
	assert_user_refused(vmj_image_find(d, NULL, "tiny", 0, geteuid(), getegid(), &img, &err),
			    err, ENOENT, "disk.qcow2 does not exist");
}

/* The same file twice is one file on disk, and goes with its last name. */
static void test_same_content_is_stored_once(void **state)
{
	vmj_autofree char *d = at(*state, "d"), *q = at(*state, "q");
	struct vmj_error err = {.code = 0};
	struct vmj_image one, two, other;
	struct stat a, b;

	import(state, "q", "one", &one);
	assert_int_equal(one.links, 1);
	import(state, "q", "two", &two);
	import(state, "raw", "other", &other);
	assert_int_equal(stat(one.path, &a), 0);
	assert_int_equal(stat(two.path, &b), 0);
	assert_int_equal(a.st_ino, b.st_ino);
	assert_int_equal(two.links, 2);
	assert_int_equal(two.inode, a.st_ino);
	assert_int_equal(other.links, 1);
	assert_done(vmj_image_remove(d, "one", 0, false, &err), err);
	RUN("qemu-img", "compare", "-q", "-f", "qcow2", "-F", "qcow2", q, two.path);
}

/* A checksum alone does not make two files the same. */
static void test_false_checksum_links_nothing(void **state)
{
	struct vmj_image one, two;
	struct vmj_error err = {.code = 0};
	vmj_autoclose int fd = -1;

	import(state, "q", "one", &one);
	assert_int_equal(chmod(one.path, 0644), 0);
	fd = open(one.path, O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "changed", 7, 6 * 65536), 7);
	assert_int_equal(chmod(one.path, 0444), 0);
	import(state, "q", "two", &two);
	assert_string_equal(one.sha256, two.sha256);
	assert_int_equal(two.links, 1);
	assert_int_equal(err.code, 0);
}

static void test_describe(void **state)
{
	vmj_autofree char *d = at(*state, "d");
	struct vmj_error err = {.code = 0};
	struct vmj_image img, found;
	struct vmj_image_meta meta = {.min_memory_mib = 512, .firmware = VMJ_FIRMWARE_UEFI};

	import(state, "q", "tiny", &img);
	assert_done(vmj_image_meta_set(&meta, "os", "Debian 12", &err), err);
	assert_done(vmj_image_describe(&img, &meta, &err), err);
	assert_done(vmj_image_find(d, NULL, "tiny", 1, geteuid(), getegid(), &found, &err), err);
	assert_memory_equal(&found.meta, &meta, sizeof(meta));
	assert_string_equal(found.sha256, img.sha256);
	assert_int_equal(found.time, img.time);
	img.owner = OTHER_UID;
	assert_user_refused(vmj_image_describe(&img, &meta, &err), err, EPERM, "not yours");
}

/* image.json as vmjob 0.1 wrote it, and as nobody does. */
static void test_meta_is_read_strictly(void **state)
{
	static const char hex[] =
		"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
	static const char *const bad[] = {
		"{}",
		"{\"version\":2,\"sha256\":\"%s\",\"time\":1}",
		"{\"version\":1,\"sha256\":\"12\",\"time\":1}",
		"{\"version\":1,\"sha256\":\"%s\",\"time\":1,\"os\":\"a\\u001bb\"}",
		"{\"version\":1,\"sha256\":\"%s\",\"time\":1,\"firmware\":\"none\"}",
		"{\"version\":1,\"sha256\":\"%s\",\"time\":1,\"more\":1}",
		"{\"version\":1,\"sha256\":\"%s\",\"time\":1",
	};
	vmj_autofree char *d = at(*state, "d"), *json = NULL;
	struct vmj_error err = {.code = 0};
	struct vmj_image img, found;
	char text[400];

	import(state, "q", "tiny", &img);
	assert_true(asprintf(&json, "%.*s/image.json", (int)(strrchr(img.path, '/') - img.path),
			     img.path) > 0);
	snprintf(text, sizeof(text),
		 "{\"format\":\"vmjob-image\",\"version\":1,\"name\":\"tiny\",\"sha256\":\"%s\","
		 "\"virtual_bytes\":8388608,\"source\":\"q\",\"time\":1700000000}",
		 hex);
	assert_int_equal(unlink(json), 0);
	write_file(json, text, strlen(text));
	assert_done(vmj_image_find(d, NULL, "tiny", 1, geteuid(), getegid(), &found, &err), err);
	assert_string_equal(found.sha256, hex);
	assert_string_equal(found.source, "q");
	assert_int_equal(found.time, 1700000000);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(text, sizeof(text), bad[i], hex);
#pragma GCC diagnostic pop
		write_file(json, text, strlen(text));
		assert_user_refused(
			vmj_image_find(d, NULL, "tiny", 1, geteuid(), getegid(), &found, &err), err,
			EINVAL, "import the image anew");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_domain_format),
		TEST(test_domain_not_mounted),
		TEST(test_domain_of_the_future),
		TEST(test_revisions),
		TEST(test_revisions_race),
		TEST(test_refuses_bad_names),
		TEST(test_leavings),
		TEST(test_disk_changed_after_import),
		TEST(test_same_content_is_stored_once),
		TEST(test_false_checksum_links_nothing),
		TEST(test_describe),
		TEST(test_meta_is_read_strictly),
	};

	return RUN_IMAGE_TESTS(tests);
}
