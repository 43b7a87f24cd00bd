/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Volumes, leases and hosts of a domain, damaged in each way. */
#include "check-world.h"

#include <sys/wait.h>

#include "vmjob/storage/hosts.h"
#include "vmjob/storage/lease.h"
#include "vmjob/storage/volume.h"

#define MIB  (1ull << 20)
#define DATA "volumes/" ANNA_TEXT "/data"

/* What a process knows of the host that it is goes with it: each is one of its own. */
struct actor {
	const char *domain;
	struct vmj_lease_who who;
	const char *volume;
	int (*act)(const struct actor *a, struct vmj_error *err);
};

static int perform(const struct actor *a, struct vmj_error *err)
{
	int pipefd[2], status, rc = -ECHILD;
	struct vmj_error e = {.code = 0};
	pid_t pid;

	assert_int_equal(pipe(pipefd), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		e.code = -a->act(a, &e);
		_exit(write(pipefd[1], &e, sizeof(e)) != sizeof(e));
	}
	close(pipefd[1]);
	assert_int_equal(vmj_read_full(pipefd[0], &e, sizeof(e)), sizeof(e));
	close(pipefd[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	rc = -e.code;
	if (rc < 0)
		*err = e;
	return rc;
}

static int renew(const struct actor *a, struct vmj_error *err)
{
	const struct vmj_host_self self = {
		.host = a->who.host, .boot = a->who.boot, .agent = a->who.agent};

	return vmj_host_renew(a->domain, &self, err);
}

static int take(const struct actor *a, struct vmj_error *err)
{
	uint32_t epoch;
	int rc = renew(a, err);

	return rc < 0 ? rc : vmj_lease_take(a->domain, ANNA, a->volume, &a->who, &epoch, err);
}

/* As an agent does. */
static int recover(const struct actor *a, struct vmj_error *err)
{
	struct vmj_volume v;
	int rc = take(a, err);

	if (rc == 0)
		rc = vmj_volume_sweep(a->domain, ANNA, a->volume, err);
	if (rc == 0 && vmj_volume_read(a->domain, ANNA, a->volume, &v, NULL) == 0)
		rc = vmj_volume_recover(a->domain, &v, err);
	return rc < 0 ? rc : vmj_lease_release(a->domain, ANNA, a->volume, &a->who, err);
}

static struct actor here(const char *domain, const char *volume,
			 int (*act)(const struct actor *a, struct vmj_error *err))
{
	return (struct actor){.domain = domain,
			      .who = {.host = "h1", .boot = "boot-1", .agent = "agent-1"},
			      .volume = volume,
			      .act = act};
}

static int mend(const char *domain, uid_t uid, const char *name, void *arg, struct vmj_error *err)
{
	struct actor a = here(domain, name, recover);

	assert_int_equal(uid, ANNA);
	return perform(&a, err);
}

/* volume NULL: the host is there, and no more. */
static void as_another(void **state, const char *boot, const char *volume, bool guest)
{
	const struct actor a = {.domain = *state,
				.who = {.host = "n9",
					.boot = boot,
					.agent = "agent-9",
					.guest = guest,
					.job = guest ? 42 : 0},
				.volume = volume,
				.act = volume ? take : renew};
	struct vmj_error err;

	assert_done(perform(&a, &err), err);
}

/* Anna's volume "data" over her image, and a linked clone of it; this host; a lease once taken. */
static int make_volumes(void **state)
{
	struct vmj_image image = {.name = "deb",
				  .revision = 1,
				  .owner = ANNA,
				  .virtual_mib = 8,
				  .virtual_bytes = 8 * MIB};
	struct vmj_volume_spec spec = {
		.name = "data", .uid = ANNA, .gid = ANNA, .image = &image, .bytes = 16 * MIB};
	struct vmj_volume_clone clone = {.to = "copy"};
	struct actor once = here(NULL, "data", recover);
	struct vmj_volume v, copy;
	struct vmj_error err;

	mender = mend;
	if (geteuid() != 0)
		return 0;
	if (make_domain(state) < 0)
		return -1;
	run_in(*state, "chmod 700 images/" ANNA_TEXT);
	once.domain = spec.domain = clone.domain = *state;
	snprintf(image.path, sizeof(image.path), "%s/images/" ANNA_TEXT "/deb/1/disk.qcow2",
		 (const char *)*state);
	assert_done(vmj_volume_create(&spec, &v, &err), err);
	run_in(*state, "qemu-io -f qcow2 -c 'write -P 1 0 64k' " DATA "/layer-1.qcow2 >&2");
	assert_done(vmj_volume_clone(&clone, &v, &copy, &err), err);
	assert_done(perform(&once, &err), err);
	return 0;
}

static void begin_resize(void **state)
{
	struct vmj_volume v;
	struct vmj_error err;

	assert_done(vmj_volume_read(*state, ANNA, "data", &v, &err), err);
	assert_done(vmj_volume_resize_begin(*state, &v, 32 * MIB, &err), err);
}

static void host_without_record(void **state)
{
	as_another(state, "boot-9", "data", true);
	run_in(*state, "rm hosts/n9.json");
}

static void guest_without_volume(void **state)
{
	as_another(state, "boot-9", "ghost", true);
}

static void dead_work_without_volume(void **state)
{
	as_another(state, "boot-8", "ghost", false);
	as_another(state, "boot-9", NULL, false);
}

static void dead_guest(void **state)
{
	as_another(state, "boot-8", "data", true);
	as_another(state, "boot-9", NULL, false);
}

static void old_host(void **state)
{
	as_another(state, "boot-9", NULL, false);
	run_in(*state, "touch -d '2 days ago' hosts/n9.json");
}

static void dead_host(void **state)
{
	struct vmj_error err;

	as_another(state, "boot-9", NULL, false);
	assert_done(vmj_host_confirm_dead(*state, "n9", "", "anna", true, &err), err);
}

static const struct damage damages[] = {
	/* volumes */
	{"chmod 777 " DATA, DATA, "mode 0777, not to 0 with 0710", VMJ_ERROR, true, 0, NULL},
	{"chgrp 9 " DATA, DATA, "belongs to 0:9", VMJ_ERROR, true, 0, NULL},
	{"chown 9 volumes/54321", "volumes/54321", "belongs to 9", VMJ_ERROR, true, 0, NULL},
	{"chmod 644 " DATA "/volume.json", DATA "/volume.json", "mode 0644", VMJ_ERROR, true, 0,
	 NULL},
	{"rm " DATA "/volume.json", DATA, "volume.json is missing", VMJ_ERROR, false, 0, NULL},
	{"echo x > " DATA "/volume.json", DATA, "volume.json", VMJ_ERROR, false, 0, NULL},
	{"sed -i 's/\"data\"/\"other\"/' " DATA "/volume.json", DATA, "", VMJ_ERROR, false, 0,
	 NULL},
	{"rm " DATA "/layer-1.qcow2", DATA "/layer-1.qcow2", "layer of the volume is missing",
	 VMJ_ERROR, false, 0, NULL},
	{"rm " DATA "/base.qcow2", DATA "/base.qcow2", "layer of the volume is missing", VMJ_ERROR,
	 false, 0, NULL},
	{"chmod 644 " DATA "/layer-2.qcow2", DATA "/layer-2.qcow2", "mode 0644", VMJ_ERROR, true, 0,
	 NULL},
	{"chown 9 " DATA "/layer-2.qcow2", DATA "/layer-2.qcow2", "belongs to 9", VMJ_ERROR, true,
	 0, NULL},
	{"touch " DATA "/layer-9.qcow2 " DATA "/x", DATA, "2 files that the volume does not name",
	 VMJ_WARNING, true, 0, NULL},
	{"qemu-img rebase -u -F qcow2 -b base.qcow2 " DATA "/layer-2.qcow2", DATA, "layer-2.qcow2",
	 VMJ_ERROR, false, 0, NULL},
	{"begin a resize", DATA, "in the middle of a change", VMJ_WARNING, true, 0, begin_resize},
	{"mkdir volumes/54321/.new-x-0123456789abcdef", "volumes/54321/.new-x-0123456789abcdef",
	 "left by making or removing", VMJ_WARNING, true, 0, NULL},
	{"mv " DATA " volumes/54321/.gone-data-0123456789abcdef",
	 "volumes/54321/.gone-data-0123456789abcdef", "left by making or removing", VMJ_WARNING,
	 true, 0, NULL},
	{"dd if=/dev/urandom of=" DATA "/layer-2.qcow2 bs=64k seek=2 count=1 conv=notrunc "
	 "status=none",
	 DATA "/layer-2.qcow2", "qemu-img finds fault", VMJ_ERROR, false, DEEP, NULL},
	{"mkdir volumes/nobody", "volumes/nobody", "no user's", VMJ_NOTE, false, 0, NULL},
	{"mkdir volumes/54321/.x", "volumes/54321/.x", "no volume", VMJ_NOTE, false, 0, NULL},
	/* leases */
	{"mkdir leases/x", "leases/x", "no volume's lease", VMJ_NOTE, false, 0, NULL},
	{"chmod 755 leases/54321.data", "leases/54321.data", "mode 0755", VMJ_ERROR, true, 0, NULL},
	{"for f in leases/54321.data/*; do echo x > $f; done", "leases/54321.data", "", VMJ_ERROR,
	 false, 0, NULL},
	{"a host without a record", "leases/54321.data", "job 42 on n9, a host without a record",
	 VMJ_ERROR, false, 0, host_without_record},
	{"a guest without a volume", "leases/54321.ghost", "the volume does not exist", VMJ_ERROR,
	 false, 0, guest_without_volume},
	{"dead work without a volume", "leases/54321.ghost", "work on n9, which is gone",
	 VMJ_WARNING, true, 0, dead_work_without_volume},
	{"a dead guest", "leases/54321.data", "job 42 on n9, which is gone", VMJ_NOTE, false, 0,
	 dead_guest},
	/* hosts */
	{"echo x > hosts/h1.json", "hosts/h1.json", "", VMJ_ERROR, false, 0, NULL},
	{"an old record", "hosts/n9.json", "has not renewed", VMJ_WARNING, false, 0, old_host},
	{"a dead host", "hosts/n9.json", "confirmed dead", VMJ_NOTE, false, 0, dead_host},
	{"touch hosts/x", "hosts/x", "no host's record", VMJ_NOTE, false, 0, NULL},
	{"touch hosts/.h1.json.tmp-1", "hosts/.h1.json.tmp-1", "did not end", VMJ_WARNING, true, 0,
	 NULL},
};

static void each_damage_is_named_and_mended(void **state)
{
	check_damages(state, damages, sizeof(damages) / sizeof(damages[0]), make_volumes);
}

/* A guest has it: what is in the middle of a change may be just that. */
static void what_is_in_use_is_left_alone(void **state)
{
	struct findings f;

	if (geteuid() != 0)
		skip();
	as_another(state, "boot-9", "data", true);
	as_another(state, "boot-9", "new", false);
	begin_resize(state);
	run_in(*state, "touch " DATA "/layer-9.qcow2; chmod 400 " DATA "/layer-2.qcow2; "
		       "mkdir volumes/54321/.new-new-0123456789abcdef");
	look(state, REPAIR | DEEP, &f);
	assert_int_equal(f.n, 0);
	run_in(*state, "test -e " DATA "/layer-9.qcow2");
	/* but a layer that is missing is missing */
	run_in(*state, "rm " DATA "/layer-1.qcow2");
	look(state, REPAIR, &f);
	assert_int_equal(f.n, 1);
	assert_string_equal(f.items[0].where, DATA "/layer-1.qcow2");
}

static void without_an_agent_volumes_are_not_mended(void **state)
{
	struct findings f;

	if (geteuid() != 0)
		skip();
	mender = NULL;
	begin_resize(state);
	look(state, REPAIR, &f);
	assert_int_equal(f.n, 1);
	assert_false(f.items[0].mended);
	assert_non_null(strstr(f.items[0].todo, "where an agent can be asked"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_volumes, remove_domain)
		TEST(each_damage_is_named_and_mended),
		TEST(what_is_in_use_is_left_alone),
		TEST(without_an_agent_volumes_are_not_mended),
	};

	return cmocka_run_group_tests_name("check-volumes", tests, NULL, NULL);
}
