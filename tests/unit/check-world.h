/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Domains that are damaged: each damage must be named, at its place and only that, and where it is
 * safe be mended. */
#ifndef TESTS_CHECK_WORLD_H
#define TESTS_CHECK_WORLD_H

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

static int make_domain(void **state)
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

static int remove_domain(void **state)
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

/* Who mends volumes; NULL: nobody. */
static int (*mender)(const char *domain, uid_t uid, const char *name, void *arg,
		     struct vmj_error *err);

/* As two hours later, so that nothing is young. */
static struct vmj_check_sum look(void **state, int how, struct findings *ret)
{
	struct vmj_storage_config storage = {.name = "test"};
	struct vmj_check c = {.storage = &storage,
			      .repair = how & REPAIR,
			      .deep = how & DEEP,
			      .ahead_s = 7200,
			      .found = note,
			      .mend_volume = mender,
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

/* A shell's commands within the domain, or a function, and what is found then. */
struct damage {
	const char *how, *where, *what;
	enum vmj_severity severity;
	bool mended;
	int look;
	void (*make)(void **state);
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

static void check_damages(void **state, const struct damage *d, size_t n,
			  int (*make_world)(void **state))
{
	if (geteuid() != 0)
		skip();
	for (; n > 0; n--, d++) {
		struct findings f;
		struct vmj_check_sum sum;

		assert_clean(state, d->look, "before");
		if (d->make)
			d->make(state);
		else
			run_in(*state, d->how);
		sum = look(state, d->look, &f);
		assert_found(&f, d, false);
		assert_int_equal(sum.left[d->severity], 1);
		sum = look(state, d->look | REPAIR, &f);
		assert_found(&f, d, d->mended);
		assert_int_equal(sum.mended, d->mended);
		if (d->mended)
			assert_clean(state, d->look, d->how);
		assert_int_equal(remove_domain(state) | make_world(state), 0);
	}
}

#endif
