/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmjob/base/spawn.h"
#include "vmjob/storage/image.h"
#include "vmjob/storage/layout.h"
#include "vmjob/storage/qcow2.h"
#include "vmjob/model/request.h"

#define OTHER_UID 54321
#define OTHER_GID 54322

static char *at(const char *dir, const char *name)
{
	char *path;

	assert_true(asprintf(&path, "%s/%s", dir, name) > 0);
	return path;
}

static void run(const char *const *argv)
{
	struct vmj_spawn s = {.argv = argv};
	struct vmj_error err = {.code = 0};

	assert_done(vmj_spawn(&s, &err), err);
}
#define RUN(...) run((const char *const[]){__VA_ARGS__, NULL})

static void write_file(const char *path, const void *data, size_t len)
{
	vmj_autoclose int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(vmj_write_full(fd, data, len), 0);
}

/* *state: a directory with a formatted domain d, a raw file raw and a qcow2 file q of 8 MiB. */
static int make_world(void **state)
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

static void import(void **state, const char *file, const char *name, struct vmj_image *ret)
{
	vmj_autofree char *d = at(*state, "d"), *path = at(*state, file);
	struct vmj_error err = {.code = 0};

	assert_done(vmj_image_import(d, name, path, false, NULL, NULL, ret, &err), err);
}

static void assert_import_refused(void **state, const char *file, int code, const char *part)
{
	vmj_autofree char *d = at(*state, "d"), *path = at(*state, file);
	struct vmj_error err = {.code = 0};
	struct vmj_image img = {.revision = 77};
	struct vmj_image *list = NULL;
	size_t n = 99;

	assert_user_refused(vmj_image_import(d, "bad", path, false, NULL, NULL, &img, &err), err,
			    code, part);
	assert_int_equal(img.revision, 77);
	assert_int_equal(vmj_image_list(d, geteuid(), &list, &n, NULL), 0);
	assert_int_equal(n, 0);
	free(list);
}

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

static double last_fraction;
static unsigned int n_fractions;

static void on_progress(double fraction, void *arg)
{
	assert_ptr_equal(arg, &last_fraction);
	assert_true(fraction >= last_fraction && fraction <= 1);
	last_fraction = fraction;
	n_fractions++;
}

static void test_import_raw(void **state)
{
	vmj_autofree char *d = at(*state, "d"), *raw = at(*state, "raw");
	struct vmj_error err = {.code = 0};
	struct vmj_image img, found;

	last_fraction = 0;
	assert_done(
		vmj_image_import(d, "tiny", raw, false, on_progress, &last_fraction, &img, &err),
		err);
	assert_true(n_fractions > 0 && last_fraction > 0.99);
	assert_string_equal(img.name, "tiny");
	assert_int_equal(img.revision, 1);
	assert_int_equal(img.owner, geteuid());
	assert_int_equal(img.virtual_bytes, 8 << 20);
	assert_int_equal(img.virtual_mib, 8);
	assert_true(img.time > 1600000000);
	RUN("qemu-img", "compare", "-q", "-f", "raw", "-F", "qcow2", raw, img.path);
	assert_done(vmj_image_find(d, NULL, "tiny", 0, geteuid(), getegid(), &found, &err), err);
	assert_memory_equal(&img, &found, sizeof(img));
}

static void test_import_sha256(void **state)
{
	unsigned char digest[crypto_hash_sha256_BYTES];
	vmj_autofree char *data = NULL;
	char hex[65];
	struct vmj_image img;
	size_t len;

	import(state, "q", "tiny", &img);
	assert_int_equal(vmj_file_read(-1, img.path, 64 << 20, &data, &len, NULL), 0);
	crypto_hash_sha256(digest, (unsigned char *)data, len);
	assert_string_equal(img.sha256, sodium_bin2hex(hex, sizeof(hex), digest, sizeof(digest)));
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

			_exit(vmj_image_import(d, "tiny", q, false, NULL, NULL, &img, NULL) < 0);
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

static void test_refuses_backing_file(void **state)
{
	vmj_autofree char *q = at(*state, "q"), *o = at(*state, "o");

	RUN("qemu-img", "create", "-q", "-f", "qcow2", "-b", q, "-F", "qcow2", o);
	assert_import_refused(state, "o", EINVAL, "backing file");
}

static void test_refuses_data_file(void **state)
{
	vmj_autofree char *o = at(*state, "o"), *opt = NULL;

	assert_true(asprintf(&opt, "data_file=%s/data", (char *)*state) > 0);
	RUN("qemu-img", "create", "-q", "-f", "qcow2", "-o", opt, o, "8M");
	assert_import_refused(state, "o", EINVAL, "in another file");
}

static void test_refuses_corrupt_mark(void **state)
{
	vmj_autofree char *q = at(*state, "q");
	vmj_autoclose int fd = open(q, O_RDWR | O_CLOEXEC);

	assert_int_equal(pwrite(fd, "\2", 1, 79), 1); /* incompatible_features, corrupt */
	assert_import_refused(state, "q", EINVAL, "corrupt");
}

static void test_refuses_truncated(void **state)
{
	vmj_autofree char *q = at(*state, "q");

	assert_int_equal(truncate(q, 3 * 65536), 0); /* a download that broke off */
	assert_import_refused(state, "q", EINVAL, "");
}

static void test_refuses_cut_header(void **state)
{
	vmj_autofree char *q = at(*state, "q");

	assert_int_equal(truncate(q, 40), 0);
	assert_import_refused(state, "q", EINVAL, "cut off");
}

static void test_refuses_garbage_table(void **state)
{
	vmj_autofree char *q = at(*state, "q");
	vmj_autoclose int fd = open(q, O_RDWR | O_CLOEXEC);
	char junk[512];

	memset(junk, 0x77, sizeof(junk));
	assert_int_equal(pwrite(fd, junk, sizeof(junk), 3 * 65536),
			 sizeof(junk)); /* the L1 table */
	assert_import_refused(state, "q", EINVAL, "has errors");
}

static void test_refuses_unknown_feature(void **state)
{
	vmj_autofree char *q = at(*state, "q");
	vmj_autoclose int fd = open(q, O_RDWR | O_CLOEXEC);

	assert_int_equal(pwrite(fd, "\x80", 1, 72), 1);
	assert_import_refused(state, "q", EINVAL, "not known here");
}

static void test_refuses_encrypted(void **state)
{
	vmj_autofree char *q = at(*state, "q");
	vmj_autoclose int fd = open(q, O_RDWR | O_CLOEXEC);

	assert_int_equal(pwrite(fd, "\0\0\0\2", 4, 32), 4);
	assert_import_refused(state, "q", EINVAL, "encrypted");
}

static void test_refuses_foreign_formats(void **state)
{
	vmj_autofree char *raw = at(*state, "raw");

	write_file(raw, "KDMV and so on", 14);
	assert_import_refused(state, "raw", EINVAL, "VMDK");
	write_file(raw, "\x1f\x8b and so on", 12);
	assert_import_refused(state, "raw", EINVAL, "gzip");
}

static void test_refuses_irregular(void **state)
{
	vmj_autofree char *fifo = at(*state, "fifo");

	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_import_refused(state, "fifo", EINVAL, "not a regular file");
	assert_import_refused(state, ".", EINVAL, "not a regular file");
	assert_import_refused(state, "none", ENOENT, "cannot be opened");
}

static void test_refuses_empty(void **state)
{
	vmj_autofree char *raw = at(*state, "raw");

	write_file(raw, "", 0);
	assert_import_refused(state, "raw", EINVAL, "0 bytes");
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

		assert_true(vmj_image_import(d, names[i], q, false, NULL, NULL, &img, &err) < 0);
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

static void need_root(void)
{
	if (geteuid() != 0)
		skip();
}

/* Import in a child that is another user. Returns its exit status. */
static int import_as_other(const char *d, const char *file, const char *name)
{
	pid_t pid = fork();
	int status = -1;

	if (pid == 0) {
		struct vmj_error err = {.code = 0};
		struct vmj_image img;

		if (setresgid(OTHER_GID, OTHER_GID, OTHER_GID) < 0 ||
		    setresuid(OTHER_UID, OTHER_UID, OTHER_UID) < 0)
			_exit(99);
		_exit(-vmj_image_import(d, name, file, false, NULL, NULL, &img, &err));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

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

/* OWNER/NAME: what that owner has let others read, and nothing more. */
static void test_owner(void **state)
{
	vmj_autofree char *d = at(*state, "d"), *q = at(*state, "q"), *own = NULL;
	struct vmj_error err = {.code = 0};
	struct vmj_image img;
	char owner[16];

	need_root();
	assert_int_equal(chmod(q, 0644), 0);
	assert_int_equal(import_as_other(d, q, "mine"), 0);
	snprintf(owner, sizeof(owner), "%u", OTHER_UID);
	assert_true(asprintf(&own, "%s/images/%s", d, owner) > 0);
	assert_done(vmj_image_find(d, owner, "mine", 0, OTHER_UID, OTHER_GID, &img, &err), err);
	assert_user_refused(vmj_image_find(d, owner, "mine", 0, OTHER_UID + 1, 1, &img, &err), err,
			    ENOENT, "not shared with you");
	assert_int_equal(chmod(own, 0711), 0);
	assert_done(vmj_image_find(d, owner, "mine", 0, OTHER_UID + 1, 1, &img, &err), err);
	assert_int_equal(img.owner, OTHER_UID);
	assert_user_refused(vmj_image_find(d, owner, "none", 0, OTHER_UID + 1, 1, &img, &err), err,
			    ENOENT, "not shared with you");
	assert_user_refused(vmj_image_find(d, "root", "mine", 0, OTHER_UID, 1, &img, &err), err,
			    ENOENT, "root/mine");
	assert_user_refused(vmj_image_find(d, "public", "mine", 0, OTHER_UID, 1, &img, &err), err,
			    ENOENT, "public/mine");
	assert_user_refused(vmj_image_find(d, "nobody-such", "mine", 0, 1, 1, &img, &err), err,
			    ENOENT, "no such user");
	assert_user_refused(vmj_image_find(d, "../public", "mine", 0, 1, 1, &img, &err), err,
			    EINVAL, "owner");
}

static void test_public(void **state)
{
	vmj_autofree char *d = at(*state, "d"), *q = at(*state, "q"), *raw = at(*state, "raw");
	struct vmj_error err = {.code = 0};
	struct vmj_image img, *list;
	size_t n;

	need_root();
	assert_done(vmj_image_import(d, "both", q, true, NULL, NULL, &img, &err), err);
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
	assert_done(vmj_image_import(d, "secret", q, true, NULL, NULL, &img, &err), err);
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
		_exit(-vmj_image_import(d, "x", q, true, NULL, NULL, &img, NULL));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), EPERM);
}

static void test_overlay(void **state)
{
	vmj_autofree char *file = at(*state, "disk.qcow2");
	uid_t uid = geteuid() == 0 ? OTHER_UID : geteuid();
	gid_t gid = geteuid() == 0 ? OTHER_GID : getegid();
	struct vmj_error err = {.code = 0};
	struct vmj_image img;
	struct stat st;

	import(state, "q", "tiny", &img);
	write_file(file, "left by a crash", 15);
	assert_done(vmj_disk_overlay(&img, file, uid, gid, &err), err);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_uid, uid);
	assert_int_equal(st.st_gid, gid);
	RUN("qemu-img", "compare", "-q", "-F", "qcow2", "-f", "qcow2", file, img.path);
	assert_int_equal(stat(img.path, &st), 0);
	assert_int_equal(st.st_uid, geteuid());
	assert_done(vmj_disk_empty(file, 100, uid, gid, &err), err);
	RUN("qemu-img", "check", "-q", "-f", "qcow2", file);
}

/* qemu-img is the judge of what we write, for sizes around those of the tables. */
static void test_disk_sizes(void **state)
{
	static const uint64_t sizes[] = {
		1, 511, 513, 512ull << 20, (512ull << 20) + 1, 5ull << 40, VMJ_DISK_MIB_MAX << 20};
	vmj_autofree char *file = at(*state, "disk.qcow2");
	struct vmj_image img = {.path = "/nonexistent/base.qcow2"};
	struct vmj_error err = {.code = 0};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		vmj_autoclose int fd = -1;
		struct vmj_qcow2 q;
		bool qcow2;

		img.virtual_bytes = sizes[i];
		assert_done(vmj_disk_overlay(&img, file, geteuid(), getegid(), &err), err);
		fd = open(file, O_RDWR | O_CLOEXEC);
		assert_user_refused(vmj_qcow2_probe(fd, "it", &q, &qcow2, &err), err, EINVAL,
				    "backing file");
		assert_int_equal(ftruncate(fd, 0), 0);
		assert_done(vmj_qcow2_create(fd, sizes[i], NULL, &err), err);
		assert_done(vmj_qcow2_probe(fd, "it", &q, &qcow2, &err), err);
		assert_true(qcow2);
		assert_int_equal(q.virtual_bytes, (sizes[i] + 511) / 512 * 512);
		RUN("qemu-img", "check", "-q", "-f", "qcow2", file);
	}
	assert_refused(vmj_qcow2_create(-1, 0, NULL, &err), err, ERANGE, "0 bytes");
	assert_refused(vmj_qcow2_create(-1, UINT64_MAX / 4, NULL, &err), err, ERANGE, "bytes");
}

/* What is written goes into the overlay, what is read comes from the image. */
static void test_overlay_is_used(void **state)
{
	vmj_autofree char *file = at(*state, "disk.qcow2");
	struct vmj_error err = {.code = 0};
	struct vmj_image img;

	import(state, "q", "tiny", &img);
	assert_done(vmj_disk_overlay(&img, file, geteuid(), getegid(), &err), err);
	RUN("qemu-io", "-f", "qcow2", "-c", "read -P 0x5a 1M 1M", "-c", "write -P 0x77 4M 64k",
	    "-c", "read -P 0x77 4M 64k", file);
	RUN("qemu-img", "check", "-q", "-f", "qcow2", file);
	RUN("qemu-io", "-r", "-f", "qcow2", "-c", "read -P 0 4M 64k", img.path);
}

static void test_disk_cannot_be_made(void **state)
{
	struct vmj_error err = {.code = 0};

	assert_true(vmj_disk_empty("/proc/none/disk", 100, 0, 0, &err) < 0);
	assert_int_equal(err.fault, VMJ_FAULT_HOST);
	assert_non_null(strstr(err.text, "/proc/none/disk"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_world, unit_remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_domain_format),
		TEST(test_domain_not_mounted),
		TEST(test_domain_of_the_future),
		TEST(test_import_raw),
		TEST(test_import_sha256),
		TEST(test_revisions),
		TEST(test_revisions_race),
		TEST(test_refuses_backing_file),
		TEST(test_refuses_data_file),
		TEST(test_refuses_corrupt_mark),
		TEST(test_refuses_truncated),
		TEST(test_refuses_cut_header),
		TEST(test_refuses_garbage_table),
		TEST(test_refuses_unknown_feature),
		TEST(test_refuses_encrypted),
		TEST(test_refuses_foreign_formats),
		TEST(test_refuses_irregular),
		TEST(test_refuses_empty),
		TEST(test_refuses_bad_names),
		TEST(test_leavings),
		TEST(test_disk_changed_after_import),
		TEST(test_users_are_apart),
		TEST(test_owner),
		TEST(test_public),
		TEST(test_unreadable_is_the_users_fault),
		TEST(test_squatters),
		TEST(test_public_is_roots),
		TEST(test_overlay),
		TEST(test_disk_sizes),
		TEST(test_overlay_is_used),
		TEST(test_disk_cannot_be_made),
	};

	if (access("/usr/bin/qemu-img", X_OK) < 0) {
		printf("1..0 # SKIP qemu-img is missing\n");
		return 0;
	}
	if (sodium_init() < 0)
		return 99;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
