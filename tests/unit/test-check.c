/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A domain is damaged in each way; each damage must be named, at its place and only that, and where
 * it is safe be mended. */
#include "unit.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmjob/base/spawn.h"
#include "vmjob/storage/check.h"
#include "vmjob/storage/image.h"
#include "vmjob/storage/layout.h"

#define ANNA      54321
#define ANNA_TEXT "54321"

static void run_in(const char *dir, const char *script)
{
	struct vmj_error err;
	vmj_autofree char *text = NULL;

	assert_true(asprintf(&text, "set -e; cd '%s'; %s", dir, script) > 0);
	assert_done(vmj_spawn(&(struct vmj_spawn){.argv = (const char *const[]){"sh", "-c", text,
										NULL}},
			      &err),
		    err);
}

/* An image of Anna's and a public one, as imports leave them. */
static void make_images(void **state)
{
	static const char describe[] =
		"for d in images/" ANNA_TEXT "/deb/1 images/public/deb/2; do "
		"sum=$(sha256sum $d/disk.qcow2 | cut -c1-64); "
		"printf '{\"format\":\"vmjob-image\",\"version\":1,\"sha256\":\"%s\","
		"\"virtual_bytes\":8388608,\"source\":\"x\",\"time\":1}' $sum > $d/image.json; "
		"chmod 444 $d/*; done; chown -R " ANNA_TEXT ":" ANNA_TEXT " images/" ANNA_TEXT
		"; touch shares/" ANNA_TEXT ".deb; chown " ANNA_TEXT " shares/" ANNA_TEXT ".deb";
	char file[512];
	struct vmj_error err;

	run_in(*state, "mkdir -p images/" ANNA_TEXT "/deb/1 images/public/deb/2; chmod 755 . "
		       "images/public/deb images/public/deb/2");
	snprintf(file, sizeof(file), "%s/images/" ANNA_TEXT "/deb/1/disk.qcow2",
		 (const char *)*state);
	assert_done(vmj_disk_empty(file, 8, ANNA, ANNA, &err), err);
	snprintf(file, sizeof(file), "%s/images/public/deb/2/disk.qcow2", (const char *)*state);
	assert_done(vmj_disk_empty(file, 8, 0, 0, &err), err);
	run_in(*state, describe);
}

static int make_world(void **state)
{
	struct vmj_error err;

	if (geteuid() != 0)
		return 0;
	umask(022);
	if (unit_make_dir(state) < 0)
		return -1;
	assert_done(vmj_storage_format(*state, "test", &err), err);
	make_images(state);
	return 0;
}

static int remove_world(void **state)
{
	return geteuid() == 0 ? unit_remove_dir(state) : 0;
}

#define FINDINGS_MAX 16
struct findings {
	struct vmj_finding items[FINDINGS_MAX];
	size_t n;
};

static void note(const struct vmj_finding *f, void *arg)
{
	struct findings *all = arg;

	assert_true(all->n < FINDINGS_MAX);
	assert_true(*f->what && *f->todo);
	all->items[all->n++] = *f;
}

enum { REPAIR = 1, DEEP = 2 };

/* As two hours later, so that nothing is young. */
static struct vmj_check_sum look(void **state, int how, struct findings *ret)
{
	struct vmj_storage_config storage = {.name = "test"};
	struct vmj_check c = {.storage = &storage,
			      .repair = how & REPAIR,
			      .deep = how & DEEP,
			      .ahead_s = 7200,
			      .found = note,
			      .arg = ret};
	struct vmj_check_sum sum;
	struct vmj_error err;

	strcpy(storage.path, *state);
	ret->n = 0;
	assert_done(vmj_storage_check_all(&c, &sum, &err), err);
	return sum;
}

static void assert_clean(void **state, int how, const char *when)
{
	struct findings f;

	look(state, how, &f);
	if (f.n)
		fail_msg("%s: %s: %s: %s", when, f.items[0].where, f.items[0].what,
			 f.items[0].todo);
}

static const struct damage {
	const char *how, *where, *what;
	enum vmj_severity severity;
	bool mended;
	int look;
} damages[] = {
	/* the mark and the folders */
	{"rm vmjob-domain.json", "vmjob-domain.json", "mark is missing", VMJ_ERROR, false, 0},
	{"echo x > vmjob-domain.json", "vmjob-domain.json", "damaged", VMJ_ERROR, false, 0},
	{"sed -i 's/:2/:9/' vmjob-domain.json", "vmjob-domain.json", "version 9", VMJ_ERROR, false,
	 0},
	{"sed -i 's/:2/:1/' vmjob-domain.json", "vmjob-domain.json", "version 1", VMJ_WARNING,
	 false, 0},
	{"sed -i 's/test/other/' vmjob-domain.json", "vmjob-domain.json", "\"other\"", VMJ_ERROR,
	 false, 0},
	{"rmdir hosts", "hosts", "missing", VMJ_ERROR, true, 0},
	{"chmod 777 leases", "leases", "mode 0777, not to 0 with 0700", VMJ_ERROR, true, 0},
	{"chown 12 volumes", "volumes", "belongs to 12:0", VMJ_ERROR, true, 0},
	{"chmod 777 images", "images", "mode 0777", VMJ_ERROR, true, 0},
	{"rmdir hosts; touch hosts", "hosts", "in the place of a directory", VMJ_ERROR, false, 0},
	{"rmdir hosts; ln -s leases hosts", "hosts", "in the place of a directory", VMJ_ERROR,
	 false, 0},
	{"touch .vmjob-domain.json.tmp-abc", ".vmjob-domain.json.tmp-abc", "did not end",
	 VMJ_WARNING, true, 0},
	{"mkdir lost+found", "lost+found", "not of vmjob", VMJ_NOTE, false, 0},
	{"touch \"$(printf 'a\\nb')\"", "a\\x0ab", "not of vmjob", VMJ_NOTE, false, 0},
	/* images */
	{"mkdir images/777", "images/777", "belongs to 0", VMJ_ERROR, false, 0},
	{"ln -s 54321 images/777", "images/777", "in the place of a user's directory", VMJ_ERROR,
	 false, 0},
	{"mkdir images/nobody", "images/nobody", "no user's", VMJ_NOTE, false, 0},
	{"chmod 777 images/54321", "images/54321", "mode 0777, not to 54321 with 0755", VMJ_ERROR,
	 true, 0},
	{"chmod g+w images/public", "images/public", "mode 0775", VMJ_ERROR, true, 0},
	{"mkdir images/54321/.tmp-1; echo x > images/54321/.tmp-1/disk.qcow2",
	 "images/54321/.tmp-1", "did not end", VMJ_WARNING, true, 0},
	{"rm images/54321/deb/1/image.json", "images/54321/deb/1", "image.json does not exist",
	 VMJ_ERROR, false, 0},
	{"echo x > images/54321/deb/1/image.json", "images/54321/deb/1", "damaged", VMJ_ERROR,
	 false, 0},
	{"rm images/public/deb/2/disk.qcow2", "images/public/deb/2", "disk.qcow2 does not exist",
	 VMJ_ERROR, false, 0},
	{"truncate -s 10 images/54321/deb/1/disk.qcow2", "images/54321/deb/1", "", VMJ_ERROR, false,
	 0},
	{"chown 9 images/54321/deb/1/disk.qcow2", "images/54321/deb/1", "another user", VMJ_ERROR,
	 false, 0},
	{"mkdir images/54321/empty", "images/54321/empty", "without a revision", VMJ_NOTE, false,
	 0},
	{"touch images/54321/file", "images/54321/file", "in the place of an image", VMJ_WARNING,
	 false, 0},
	{"mkdir images/54321/deb/01", "images/54321/deb/01", "no revision", VMJ_NOTE, false, 0},
	{"mkdir images/54321/.hidden", "images/54321/.hidden", "no image", VMJ_NOTE, false, 0},
	{"d=images/54321/deb/1/disk.qcow2; dd if=/dev/urandom of=$d bs=1 seek=200000 count=10 "
	 "conv=notrunc status=none",
	 "images/54321/deb/1", "checksum differs", VMJ_ERROR, false, DEEP},
	/* shares */
	{"rm -r images/54321/deb", "shares/54321.deb", "does not exist", VMJ_WARNING, true, 0},
	{"chown 9 shares/54321.deb", "shares/54321.deb", "did not make it", VMJ_WARNING, true, 0},
	{"touch shares/x", "shares/x", "marks no image", VMJ_NOTE, false, 0},
};

static void assert_found(const struct findings *f, const struct damage *d, bool mended)
{
	if (f->n != 1)
		fail_msg("%s: %zu findings, the last: %s: %s", d->how, f->n,
			 f->n ? f->items[f->n - 1].where : "-",
			 f->n ? f->items[f->n - 1].what : "-");
	if (strcmp(f->items[0].where, d->where) != 0 || !strstr(f->items[0].what, d->what))
		fail_msg("%s: %s: %s", d->how, f->items[0].where, f->items[0].what);
	assert_int_equal(f->items[0].mended, mended);
	if (!mended)
		assert_int_equal(f->items[0].severity, d->severity);
}

static void each_damage_is_named_and_mended(void **state)
{
	if (geteuid() != 0)
		skip();
	for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
		const struct damage *d = &damages[i];
		struct findings f;
		struct vmj_check_sum sum;

		assert_clean(state, d->look, "before");
		run_in(*state, d->how);
		sum = look(state, d->look, &f);
		assert_found(&f, d, false);
		assert_int_equal(sum.left[d->severity], 1);
		sum = look(state, d->look | REPAIR, &f);
		assert_found(&f, d, d->mended);
		assert_int_equal(sum.mended, d->mended);
		if (d->mended)
			assert_clean(state, d->look, d->how);
		assert_int_equal(remove_world(state) | make_world(state), 0);
	}
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
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_world, remove_world)
		TEST(each_damage_is_named_and_mended),
		TEST(the_young_are_left_alone),
		TEST(what_cannot_be_opened_is_an_error),
	};

	return cmocka_run_group_tests_name("check", tests, NULL, NULL);
}
