/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmjob/storage/layout.h"
#include "vmjob/storage/usage.h"
#include "vmjob/storage/volume.h"

#define ANNA 54321
#define BOB  54322
#define MIB  (1ull << 20)

/* The tests are about owners, which only root can set. */
static int make_domain(void **state)
{
	struct vmj_error err;

	if (unit_make_dir(state) < 0)
		return -1;
	assert_done(vmj_storage_format(*state, "test", &err), err);
	return 0;
}

static bool is_root(void)
{
	return geteuid() == 0;
}

static const char *in(void **state, const char *name)
{
	static char path[2][512];
	static int turn;

	turn = !turn;
	snprintf(path[turn], sizeof(path[turn]), "%s/%s", (const char *)*state, name);
	return path[turn];
}

static void make_folder(void **state, const char *name, uid_t uid)
{
	assert_int_equal(mkdir(in(state, name), 0755), 0);
	assert_int_equal(chown(in(state, name), uid, uid), 0);
}

/* A file of so many MiB that are on disk. */
static void put(void **state, const char *name, uid_t uid, unsigned int mib)
{
	vmj_autoclose int fd = open(in(state, name), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(fchown(fd, uid, uid), 0);
	if (mib)
		assert_int_equal(posix_fallocate(fd, 0, (off_t)(mib * MIB)), 0);
}

static void name_again(void **state, const char *from, const char *to)
{
	assert_int_equal(link(in(state, from), in(state, to)), 0);
}

/* File systems add some blocks of their own. */
static void assert_about(uint64_t bytes, unsigned int mib)
{
	if (bytes < mib * MIB || bytes > mib * MIB + MIB / 2)
		fail_msg("%llu bytes instead of %u MiB", (unsigned long long)bytes, mib);
}

/* Anna: an image of 3 MiB, a volume made from it with 2 MiB of its own, whose frozen layer a clone
 * shares. Bob: a volume made from Anna's image with 1 MiB. Public: 4 MiB, shared with Bob. */
static void fill(void **state)
{
	make_folder(state, "images/54321", ANNA);
	make_folder(state, "images/54321/deb", ANNA);
	make_folder(state, "images/54321/deb/1", ANNA);
	put(state, "images/54321/deb/1/disk.qcow2", ANNA, 3);
	make_folder(state, "images/public/pub", 0);
	make_folder(state, "images/public/pub/1", 0);
	put(state, "images/public/pub/1/disk.qcow2", 0, 4);
	make_folder(state, "volumes/54321", 0);
	make_folder(state, "volumes/54321/data", 0);
	name_again(state, "images/54321/deb/1/disk.qcow2", "volumes/54321/data/base.qcow2");
	put(state, "volumes/54321/data/layer-1.qcow2", ANNA, 2);
	make_folder(state, "volumes/54321/clone", 0);
	name_again(state, "volumes/54321/data/layer-1.qcow2", "volumes/54321/clone/layer-1.qcow2");
	make_folder(state, "volumes/54322", 0);
	make_folder(state, "volumes/54322/root", 0);
	name_again(state, "images/54321/deb/1/disk.qcow2", "volumes/54322/root/base.qcow2");
	name_again(state, "images/public/pub/1/disk.qcow2", "volumes/54322/root/pub.qcow2");
	put(state, "volumes/54322/root/layer-1.qcow2", BOB, 1);
}

static void shared_files_count_once_for_their_owner(void **state)
{
	struct vmj_usage u;
	struct vmj_error err;

	if (!is_root())
		skip();
	fill(state);
	assert_done(vmj_usage_user(*state, ANNA, &u, &err), err);
	assert_about(u.images_bytes, 3);
	assert_about(u.volumes_bytes, 2);
	assert_done(vmj_usage_user(*state, BOB, &u, &err), err);
	assert_int_equal(u.images_bytes, 0);
	assert_about(u.volumes_bytes, 1);
	assert_done(vmj_usage_user(*state, 0, &u, &err), err);
	assert_about(u.images_bytes, 4);
	assert_int_equal(u.volumes_bytes, 0);
	assert_done(vmj_usage_user(*state, 4711, &u, &err), err);
	assert_int_equal(u.images_bytes + u.volumes_bytes, 0);
}

static void the_last_name_counts_where_it_is(void **state)
{
	struct vmj_usage u;
	struct vmj_error err;

	if (!is_root())
		skip();
	fill(state);
	assert_int_equal(unlink(in(state, "images/54321/deb/1/disk.qcow2")), 0);
	assert_int_equal(unlink(in(state, "volumes/54321/data/base.qcow2")), 0);
	assert_done(vmj_usage_user(*state, BOB, &u, &err), err);
	assert_about(u.volumes_bytes, 1 + 3);
	assert_done(vmj_usage_user(*state, ANNA, &u, &err), err);
	assert_int_equal(u.images_bytes, 0);
}

static void all_together(void **state)
{
	vmj_autofree struct vmj_usage_of *users = NULL;
	struct vmj_usage total;
	struct vmj_error err;
	size_t n;

	if (!is_root())
		skip();
	fill(state);
	make_folder(state, "images/nobody's", BOB);
	make_folder(state, "images/054321", BOB);
	assert_done(vmj_usage_all(*state, &users, &n, &total, &err), err);
	assert_int_equal(n, 3);
	assert_int_equal(users[0].uid, 0);
	assert_int_equal(users[1].uid, ANNA);
	assert_int_equal(users[2].uid, BOB);
	assert_about(users[0].usage.images_bytes, 4);
	assert_about(users[1].usage.volumes_bytes, 2);
	assert_about(users[2].usage.volumes_bytes, 1);
	assert_about(total.images_bytes + total.volumes_bytes, 3 + 4 + 2 + 1);
	assert_false(total.cut);
}

static void promise(void **state, const char *name, uid_t uid, uint64_t bytes)
{
	struct vmj_volume_spec spec = {
		.domain = *state, .name = name, .uid = uid, .gid = uid, .bytes = bytes};
	struct vmj_volume v;
	struct vmj_error err;

	assert_done(vmj_volume_create(&spec, &v, &err), err);
}

static void promises_are_more_than_what_is_written(void **state)
{
	vmj_autofree struct vmj_usage_of *users = NULL;
	struct vmj_usage total;
	struct vmj_error err;
	size_t n;

	if (!is_root())
		skip();
	promise(state, "a", ANNA, 100 * MIB);
	promise(state, "b", ANNA, 200 * MIB);
	promise(state, "c", BOB, 50 * MIB);
	assert_done(vmj_usage_all(*state, &users, &n, &total, &err), err);
	assert_int_equal(n, 3);
	assert_true(total.volumes_bytes < 10 * MIB);
	assert_done(vmj_usage_promised(*state, users, n, &total, &err), err);
	assert_int_equal(total.promised_bytes, 350 * MIB);
	assert_int_equal(total.n_volumes, 3);
	assert_int_equal(users[0].usage.n_volumes, 0); /* root's public images */
	assert_int_equal(users[1].usage.promised_bytes, 300 * MIB);
	assert_int_equal(users[2].usage.n_volumes, 1);
}

/* Anybody may make images/<uid> of somebody else: that must not fill the other's quota. */
static void what_others_put_there_does_not_count(void **state)
{
	vmj_autofree struct vmj_usage_of *users = NULL;
	struct vmj_usage u, total;
	struct vmj_error err;
	size_t n;

	if (!is_root())
		skip();
	make_folder(state, "images/54321", BOB);
	put(state, "images/54321/big", BOB, 5);
	assert_done(vmj_usage_user(*state, ANNA, &u, &err), err);
	assert_int_equal(u.images_bytes, 0);
	assert_done(vmj_usage_all(*state, &users, &n, &total, &err), err);
	assert_about(total.images_bytes, 5);
}

static void links_and_pipes_are_not_opened(void **state)
{
	struct vmj_usage u;
	struct vmj_error err;

	if (!is_root())
		skip();
	make_folder(state, "images/54321", ANNA);
	put(state, "images/54321/.tmp-1", ANNA, 1);
	assert_int_equal(symlink("/", in(state, "images/54321/root")), 0);
	assert_int_equal(symlink("/", in(state, "volumes/54321")), 0);
	assert_int_equal(mkfifo(in(state, "images/54321/pipe"), 0600), 0);
	assert_done(vmj_usage_user(*state, ANNA, &u, &err), err);
	assert_about(u.images_bytes, 1);
	assert_int_equal(u.volumes_bytes, 0);
}

static void deep_trees_end(void **state)
{
	char name[512] = "images/54321";
	struct vmj_usage u;
	struct vmj_error err;

	if (!is_root())
		skip();
	make_folder(state, name, ANNA);
	for (int i = 0; i < 20; i++) {
		strcat(name, "/d");
		make_folder(state, name, ANNA);
	}
	strcat(name, "/f");
	put(state, name, ANNA, 1);
	assert_done(vmj_usage_user(*state, ANNA, &u, &err), err);
	assert_int_equal(u.images_bytes, 0);
}

static void too_many_files_are_said(void **state)
{
	struct vmj_storage_config s = {.name = "test", .quota_mib = 1024};
	vmj_autoclose int dir = -1;
	struct vmj_usage u;
	struct vmj_error err;
	char name[16];

	if (!is_root())
		skip();
	make_folder(state, "images/54321", ANNA);
	dir = open(in(state, "images/54321"), O_PATH | O_CLOEXEC);
	assert_int_equal(mknodat(dir, "f", S_IFREG | 0600, 0), 0);
	for (int i = 1; i <= VMJ_USAGE_FILES_MAX; i++) {
		snprintf(name, sizeof(name), "%d", i);
		/* a file system may allow fewer names of one file */
		if (linkat(dir, "f", dir, name, 0) < 0)
			assert_int_equal(mknodat(dir, name, S_IFREG | 0600, 0), 0);
	}
	assert_done(vmj_usage_user(*state, ANNA, &u, &err), err);
	assert_true(u.cut);
	strcpy(s.path, *state);
	assert_user_refused(vmj_quota_admit(&s, ANNA, 0, &err), err, EDQUOT, "too many to count");
}

static void admission_looks_at_what_is_written(void **state)
{
	struct vmj_storage_config s = {.name = "test", .quota_mib = 4};
	struct vmj_error err;

	if (!is_root())
		skip();
	strcpy(s.path, *state);
	assert_done(vmj_quota_admit(&s, ANNA, 0, &err), err);
	assert_done(vmj_quota_admit(&s, ANNA, 4 * MIB, &err), err);
	fill(state);
	assert_user_refused(vmj_quota_admit(&s, ANNA, 0, &err), err, EDQUOT, "of your quota of 4M");
	assert_done(vmj_quota_admit(&s, BOB, 2 * MIB, &err), err);
	assert_user_refused(vmj_quota_admit(&s, BOB, 4 * MIB, &err), err, EDQUOT, "your quota");
	s.quota_mib = 0;
	s.limit_mib = 12;
	assert_done(vmj_quota_admit(&s, ANNA, MIB, &err), err);
	assert_user_refused(vmj_quota_admit(&s, ANNA, 3 * MIB, &err), err, EDQUOT, "limit of 12M");
}

static void a_missing_domain_is_the_hosts_fault(void **state)
{
	struct vmj_storage_config s = {.name = "test", .path = "/nonexistent/vmjob"};
	struct vmj_error err;

	assert_refused(vmj_quota_admit(&s, ANNA, 0, &err), err, ENOENT, "/nonexistent/vmjob");
	assert_int_equal(err.fault, VMJ_FAULT_HOST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_domain, unit_remove_dir)
		TEST(shared_files_count_once_for_their_owner),
		TEST(the_last_name_counts_where_it_is),
		TEST(all_together),
		TEST(promises_are_more_than_what_is_written),
		TEST(what_others_put_there_does_not_count),
		TEST(links_and_pipes_are_not_opened),
		TEST(deep_trees_end),
		TEST(too_many_files_are_said),
		TEST(admission_looks_at_what_is_written),
		TEST(a_missing_domain_is_the_hosts_fault),
	};

	return cmocka_run_group_tests_name("usage", tests, NULL, NULL);
}
