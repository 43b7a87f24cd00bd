/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmjob/storage/layout.h"

#define V1_MARK                                                                  \
	"{\"format\":\"vmjob-domain\",\"version\":1,\"name\":\"test\",\"uuid\":" \
	"\"6b0b7a4c-4f1a-4b43-9b6c-1d2f5c0f8e11\"}"

static const char *in(void **state, const char *name)
{
	static char path[2][512];
	static int turn;

	turn = !turn;
	snprintf(path[turn], sizeof(path[turn]), "%s/%s", (const char *)*state, name);
	return path[turn];
}

static void write_mark(void **state, const char *text)
{
	struct vmj_error err;

	assert_done(vmj_file_write_atomic(-1, in(state, VMJ_DOMAIN_FILE), text, strlen(text), 0644,
					  &err),
		    err);
}

static void format(void **state)
{
	struct vmj_error err;

	assert_done(vmj_storage_format(*state, "test", &err), err);
}

static void assert_mode(void **state, const char *name, mode_t mode)
{
	struct stat st;

	assert_int_equal(lstat(in(state, name), &st), 0);
	assert_true(S_ISDIR(st.st_mode));
	assert_int_equal(st.st_mode & 07777, mode);
	assert_int_equal(st.st_uid, geteuid());
}

static void assert_all_folders(void **state)
{
	assert_mode(state, "images", 01777);
	assert_mode(state, "images/public", 0755);
	assert_mode(state, "shares", 01777);
	assert_mode(state, "volumes", 0711);
	assert_mode(state, "leases", 0700);
	assert_mode(state, "hosts", 0700);
}

static void format_makes_all(void **state)
{
	struct vmj_domain_mark m;
	struct vmj_error err;
	mode_t was = umask(077);

	format(state);
	umask(was);
	assert_all_folders(state);
	assert_done(vmj_domain_read(*state, &m, &err), err);
	assert_string_equal(m.name, "test");
	assert_int_equal(m.version, 2);
	assert_int_equal(strlen(m.uuid), 36);
	assert_done(vmj_storage_check(*state, &err), err);
	assert_done(vmj_storage_check_volumes(*state, &err), err);
}

static void format_again_mends_and_keeps_the_uuid(void **state)
{
	struct vmj_domain_mark before, after;
	struct vmj_error err;

	format(state);
	assert_done(vmj_domain_read(*state, &before, &err), err);
	assert_int_equal(chmod(in(state, "leases"), 0777), 0);
	assert_int_equal(rmdir(in(state, "hosts")), 0);
	format(state);
	assert_all_folders(state);
	assert_done(vmj_domain_read(*state, &after, &err), err);
	assert_string_equal(before.uuid, after.uuid);
}

static void version_1_is_good_for_images_and_is_upgraded(void **state)
{
	struct vmj_domain_mark m;
	struct vmj_error err;

	assert_int_equal(mkdir(in(state, "images"), 01777), 0);
	assert_int_equal(mkdir(in(state, "images/public"), 0755), 0);
	assert_int_equal(mkdir(in(state, "images/public/deb"), 0755), 0);
	write_mark(state, V1_MARK);
	assert_done(vmj_storage_check(*state, &err), err);
	assert_refused(vmj_storage_check_volumes(*state, &err), err, EPROTO,
		       "version 1 of the layout, which holds images only: run `vmjob storage "
		       "format`");
	format(state);
	assert_all_folders(state);
	assert_done(vmj_storage_check_volumes(*state, &err), err);
	assert_done(vmj_domain_read(*state, &m, &err), err);
	assert_int_equal(m.version, 2);
	assert_string_equal(m.uuid, "6b0b7a4c-4f1a-4b43-9b6c-1d2f5c0f8e11");
	assert_int_equal(access(in(state, "images/public/deb"), F_OK), 0);
}

/* A format that died before its end: no mark, so no domain; the next one finishes it. */
static void without_its_mark_it_is_no_domain(void **state)
{
	struct vmj_error err;

	format(state);
	assert_int_equal(unlink(in(state, VMJ_DOMAIN_FILE)), 0);
	assert_refused(vmj_storage_check(*state, &err), err, ENOENT, "not mounted");
	format(state);
	assert_done(vmj_storage_check(*state, &err), err);
}

static void what_is_missing_is_named(void **state)
{
	static const struct {
		const char *folder;
		bool images;
	} cases[] = {{"images/public", true},
		     {"shares", false},
		     {"volumes", false},
		     {"leases", false},
		     {"hosts", false}};
	struct vmj_error err;

	format(state);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int rc;

		assert_int_equal(rmdir(in(state, cases[i].folder)), 0);
		rc = cases[i].images ? vmj_storage_check(*state, &err)
				     : vmj_storage_check_volumes(*state, &err);
		assert_refused(rc, err, ENOENT, cases[i].folder);
		if (!cases[i].images)
			assert_done(vmj_storage_check(*state, &err), err);
		assert_int_equal(symlink("images", in(state, cases[i].folder)), 0);
		rc = cases[i].images ? vmj_storage_check(*state, &err)
				     : vmj_storage_check_volumes(*state, &err);
		assert_refused(rc, err, ENOTDIR, "not a directory");
		assert_int_equal(unlink(in(state, cases[i].folder)), 0);
		format(state);
	}
}

static void folders_that_others_write_are_refused(void **state)
{
	static const char *const folders[] = {"volumes", "leases", "hosts"};
	struct vmj_error err;

	format(state);
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		assert_int_equal(chmod(in(state, folders[i]), 0770), 0);
		assert_refused(vmj_storage_check_volumes(*state, &err), err, EPERM, "mode 0770");
		format(state);
		if (geteuid() != 0)
			continue;
		assert_int_equal(chown(in(state, folders[i]), 12345, 0), 0);
		assert_refused(vmj_storage_check_volumes(*state, &err), err, EPERM, "owner 12345");
		format(state);
		assert_done(vmj_storage_check_volumes(*state, &err), err);
	}
}

static void bad_marks_are_refused(void **state)
{
	static const struct {
		const char *text;
		int code;
		const char *part;
	} cases[] = {
		{"", EINVAL, "damaged"},
		{"{", EINVAL, "damaged"},
		{"[]", EINVAL, "damaged"},
		{"{\"format\":\"other\",\"version\":1,\"name\":\"test\",\"uuid\":\"x\"}", EINVAL,
		 "format"},
		{"{\"format\":\"vmjob-domain\",\"name\":\"test\",\"uuid\":\"x\"}", EINVAL,
		 "version"},
		{"{\"format\":\"vmjob-domain\",\"version\":0,\"name\":\"test\",\"uuid\":\"x\"}",
		 EINVAL, "version"},
		{"{\"format\":\"vmjob-domain\",\"version\":2,\"name\":\"../x\",\"uuid\":\"x\"}",
		 EINVAL, "name"},
		{"{\"format\":\"vmjob-domain\",\"version\":2,\"name\":\"test\"}", EINVAL, "uuid"},
		{"{\"format\":\"vmjob-domain\",\"version\":3,\"news\":[1]}", EPROTO,
		 "version 3 of the layout, this vmjob knows 2"},
	};
	struct vmj_error err;

	format(state);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		write_mark(state, cases[i].text);
		assert_refused(vmj_storage_check(*state, &err), err, cases[i].code, cases[i].part);
		/* and format does not make another domain of it */
		assert_refused(vmj_storage_format(*state, "test", &err), err, cases[i].code,
			       cases[i].part);
	}
}

static void another_name_is_refused(void **state)
{
	struct vmj_error err;

	format(state);
	assert_refused(vmj_storage_format(*state, "other", &err), err, EEXIST,
		       "is the domain \"test\" already");
	assert_user_refused(vmj_storage_format(*state, "../x", &err), err, EINVAL, "not a name");
	assert_refused(vmj_storage_check("/nonexistent/vmjob", &err), err, ENOENT,
		       "/nonexistent/vmjob");
}

static void folders_of_users(void **state)
{
	static const char *const bad[] = {"",     "-1",         "01",          "1a", "public",
					  ".tmp", "4294967295", "99999999999", " 1"};
	uid_t uid = 7;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(vmj_domain_uid(bad[i], &uid));
	assert_int_equal(uid, 7);
	assert_true(vmj_domain_uid("0", &uid));
	assert_int_equal(uid, 0);
	assert_true(vmj_domain_uid("4294967294", &uid));
	assert_true(uid == 4294967294u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, unit_make_dir, unit_remove_dir)
		TEST(format_makes_all),
		TEST(format_again_mends_and_keeps_the_uuid),
		TEST(version_1_is_good_for_images_and_is_upgraded),
		TEST(without_its_mark_it_is_no_domain),
		TEST(what_is_missing_is_named),
		TEST(folders_that_others_write_are_refused),
		TEST(bad_marks_are_refused),
		TEST(another_name_is_refused),
		TEST(folders_of_users),
	};

	return cmocka_run_group_tests_name("layout", tests, NULL, NULL);
}
