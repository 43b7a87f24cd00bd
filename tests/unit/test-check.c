/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The mark, folders, images and shares of a domain, damaged in each way. */
#include "check-world.h"

static const struct damage damages[] = {
	/* the mark and the folders */
	{"rm vmjob-domain.json", "vmjob-domain.json", "mark is missing", VMJ_ERROR, false, 0, NULL},
	{"echo x > vmjob-domain.json", "vmjob-domain.json", "damaged", VMJ_ERROR, false, 0, NULL},
	{"sed -i 's/:2/:9/' vmjob-domain.json", "vmjob-domain.json", "version 9", VMJ_ERROR, false,
	 0, NULL},
	{"sed -i 's/:2/:1/' vmjob-domain.json", "vmjob-domain.json", "version 1", VMJ_WARNING,
	 false, 0, NULL},
	{"sed -i 's/test/other/' vmjob-domain.json", "vmjob-domain.json", "\"other\"", VMJ_ERROR,
	 false, 0, NULL},
	{"rmdir hosts", "hosts", "missing", VMJ_ERROR, true, 0, NULL},
	{"chmod 777 leases", "leases", "mode 0777, not to 0 with 0700", VMJ_ERROR, true, 0, NULL},
	{"chown 12 volumes", "volumes", "belongs to 12:0", VMJ_ERROR, true, 0, NULL},
	{"chmod 777 images", "images", "mode 0777", VMJ_ERROR, true, 0, NULL},
	{"rmdir hosts; touch hosts", "hosts", "in the place of a directory", VMJ_ERROR, false, 0,
	 NULL},
	{"rmdir hosts; ln -s leases hosts", "hosts", "in the place of a directory", VMJ_ERROR,
	 false, 0, NULL},
	{"touch .vmjob-domain.json.tmp-abc", ".vmjob-domain.json.tmp-abc", "did not end",
	 VMJ_WARNING, true, 0, NULL},
	{"mkdir lost+found", "lost+found", "not of vmjob", VMJ_NOTE, false, 0, NULL},
	{"touch \"$(printf 'a\\nb')\"", "a\\x0ab", "not of vmjob", VMJ_NOTE, false, 0, NULL},
	/* images */
	{"mkdir images/777", "images/777", "belongs to 0", VMJ_ERROR, false, 0, NULL},
	{"ln -s 54321 images/777", "images/777", "in the place of a user's directory", VMJ_ERROR,
	 false, 0, NULL},
	{"mkdir images/nobody", "images/nobody", "no user's", VMJ_NOTE, false, 0, NULL},
	{"chmod 777 images/54321", "images/54321", "mode 0777, not to 54321 with 0755", VMJ_ERROR,
	 true, 0, NULL},
	{"chmod g+w images/public", "images/public", "mode 0775", VMJ_ERROR, true, 0, NULL},
	{"mkdir images/54321/.tmp-1; echo x > images/54321/.tmp-1/disk.qcow2",
	 "images/54321/.tmp-1", "did not end", VMJ_WARNING, true, 0, NULL},
	{"rm images/54321/deb/1/image.json", "images/54321/deb/1", "image.json does not exist",
	 VMJ_ERROR, false, 0, NULL},
	{"echo x > images/54321/deb/1/image.json", "images/54321/deb/1", "damaged", VMJ_ERROR,
	 false, 0, NULL},
	{"rm images/public/deb/2/disk.qcow2", "images/public/deb/2", "disk.qcow2 does not exist",
	 VMJ_ERROR, false, 0, NULL},
	{"truncate -s 10 images/54321/deb/1/disk.qcow2", "images/54321/deb/1", "", VMJ_ERROR, false,
	 0, NULL},
	{"chown 9 images/54321/deb/1/disk.qcow2", "images/54321/deb/1", "another user", VMJ_ERROR,
	 false, 0, NULL},
	{"mkdir images/54321/empty", "images/54321/empty", "without a revision", VMJ_NOTE, false, 0,
	 NULL},
	{"touch images/54321/file", "images/54321/file", "in the place of an image", VMJ_WARNING,
	 false, 0, NULL},
	{"mkdir images/54321/deb/01", "images/54321/deb/01", "no revision", VMJ_NOTE, false, 0,
	 NULL},
	{"mkdir images/54321/.hidden", "images/54321/.hidden", "no image", VMJ_NOTE, false, 0,
	 NULL},
	{"d=images/54321/deb/1/disk.qcow2; dd if=/dev/urandom of=$d bs=1 seek=200000 count=10 "
	 "conv=notrunc status=none",
	 "images/54321/deb/1", "checksum differs", VMJ_ERROR, false, DEEP, NULL},
	/* shares */
	{"rm -r images/54321/deb", "shares/54321.deb", "does not exist", VMJ_WARNING, true, 0,
	 NULL},
	{"chown 9 shares/54321.deb", "shares/54321.deb", "did not make it", VMJ_WARNING, true, 0,
	 NULL},
	{"touch shares/x", "shares/x", "marks no image", VMJ_NOTE, false, 0, NULL},
};

static void each_damage_is_named_and_mended(void **state)
{
	check_damages(state, damages, sizeof(damages) / sizeof(damages[0]), make_domain);
}

/* What somebody may be working on just now is nobody's business. */
static void the_young_are_left_alone(void **state)
{
	struct vmj_storage_config storage = {.name = "test"};
	struct findings f = {.n = 0};
	struct vmj_check c = {.storage = &storage, .repair = true, .found = note, .arg = &f};
	struct vmj_check_sum sum;
	struct vmj_error err;

	if (geteuid() != 0)
		skip();
	strcpy(storage.path, *state);
	run_in(*state, "touch .vmjob-domain.json.tmp-abc; mkdir images/54321/.tmp-1");
	assert_done(vmj_storage_check_all(&c, &sum, &err), err);
	assert_int_equal(f.n, 0);
}

static void what_cannot_be_opened_is_an_error(void **state)
{
	struct vmj_storage_config storage = {.name = "test", .path = "/nonexistent/vmjob"};
	struct vmj_check c = {.storage = &storage, .found = note};
	struct vmj_check_sum sum;
	struct vmj_error err;

	assert_refused(vmj_storage_check_all(&c, &sum, &err), err, ENOENT, "/nonexistent/vmjob");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_domain, remove_domain)
		TEST(each_damage_is_named_and_mended),
		TEST(the_young_are_left_alone),
		TEST(what_cannot_be_opened_is_an_error),
	};

	return cmocka_run_group_tests_name("check", tests, NULL, NULL);
}
