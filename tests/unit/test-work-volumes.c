/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Prepare and release of guests with volumes: which disk is what, whose fault it is when one cannot
 * be had, and that no lease is held by nobody, or given back too early. */
#include "work-world.h"

#define ROOT 0

static struct vmj_guest prepare_work(struct vmj_work *w)
{
	struct vmj_error err;
	struct vmj_guest g;

	assert_done(vmj_work_prepare(w, &err), err);
	assert_done(vmj_record_read(w->dir, JOB, &g, &err), err);
	return g;
}

static void assert_refused_by(struct vmj_work *w, const char *part)
{
	struct vmj_error err = {0};
	struct vmj_guest g;

	assert_true(vmj_work_prepare(w, &err) < 0);
	assert_int_equal(err.fault, VMJ_FAULT_USER);
	if (!strstr(err.text, part))
		fail_msg("\"%s\" does not contain \"%s\"", err.text, part);
	assert_done(vmj_record_read(w->dir, JOB, &g, &err), err);
	assert_int_equal(g.phase, VMJ_PHASE_REFUSED);
	assert_int_equal(g.n_disks, 0);
	assert_non_null(strstr(g.failure, part));
	assert_false(world.domain);
	for (unsigned int i = 0; i < VOLUMES_MAX; i++)
		assert_true(world.volumes[i].holder != JOB);
}

/* --- what the disks are ---------------------------------------------------------------------- */

static void a_volume_is_a_disk(void **state)
{
	struct vmj_work w = work(*state);
	struct vmj_guest g;
	const struct vmj_guest_disk *d = &g.disks[2];
	char path[VMJ_DISK_PATH_MAX];

	w.guest.request.disks[1].readonly = true;
	g = prepare_work(&w);
	assert_int_equal(g.n_disks, 3);
	assert_int_equal(d->kind, VMJ_GUEST_DISK_VOLUME);
	assert_string_equal(d->storage, "fast");
	assert_string_equal(d->volume, "data");
	assert_string_equal(d->serial, "data");
	assert_string_equal(d->target, "vdc");
	assert_string_equal(d->path, SECOND "/volumes/1000/data/layer-1.qcow2");
	assert_string_equal(vmj_guest_disk_link(d, 1, path),
			    SECOND "/volumes/1000/data/base.qcow2");
	assert_int_equal(vmj_guest_disk_links(d), 2);
	assert_true(d->readonly);
	assert_int_equal(d->epoch, 1);
	assert_memory_equal(&world.disks[2], d, sizeof(*d)); /* the domain's too */
}

static void an_image_is_a_disk_to_be_read(void **state)
{
	struct vmj_work w = work(*state);
	struct vmj_guest g;

	w.guest.request.disks[1] = (struct vmj_disk_request){
		.kind = VMJ_DISK_IMAGE, .name = "tools", .readonly = true};
	g = prepare_work(&w);
	assert_int_equal(g.disks[2].kind, VMJ_GUEST_DISK_IMAGE);
	assert_string_equal(g.disks[2].path, FIRST "/images/tools");
	assert_true(g.disks[2].readonly);
	assert_int_equal(leases_held(), 0);
}

static void an_image_is_looked_for_in_each_storage(void **state)
{
	struct vmj_work w = work(*state);
	struct vmj_guest g;

	world.no_image_at = FIRST;
	g = prepare_work(&w);
	assert_string_equal(g.image_path, SECOND "/images/tiny");
}

static void an_image_that_is_nowhere_is_the_users_fault(void **state)
{
	struct vmj_work w = work(*state);

	config.n_storages = 1;
	w.guest.request.n_disks = 0;
	world.no_image_at = FIRST;
	assert_refused_by(&w, "does not exist in " FIRST);
	config.n_storages = 2;
}

/* --- persistent roots ------------------------------------------------------------------------ */

static struct vmj_work persistent(const char *dir)
{
	struct vmj_work w = next_work(dir);

	w.guest.request.n_disks = 0;
	strcpy(w.guest.request.persistent, "web");
	strcpy(w.guest.request.persistent_storage, "fast");
	return w;
}

static void a_persistent_root_is_made_once(void **state)
{
	struct vmj_work w = persistent(*state);
	struct vmj_guest g = prepare_work(&w);
	struct fake_volume *v = volume_of(SECOND, "web");

	assert_int_equal(g.disks[ROOT].kind, VMJ_GUEST_DISK_VOLUME);
	assert_string_equal(g.disks[ROOT].serial, "vmjob-root");
	assert_string_equal(g.image_path, "");
	assert_true(v->exists);
	assert_int_equal(v->job, 0);
	assert_string_equal(v->image, "tiny@1");
	assert_int_equal(v->bytes, 1 << 30);
	assert_string_equal(w.note, "");
	release(*state);
	assert_nothing_left(*state, "after the first run");
	w = persistent(*state);
	world.fail_at = "image"; /* nobody needs it any more */
	prepare_work(&w);
	assert_int_equal(v->epoch, 2);
}

static void of_another_image_the_volume_counts(void **state)
{
	struct vmj_work w = persistent(*state);

	strcpy(add_volume(SECOND, "web", 10)->image, "debian12@3");
	prepare_work(&w);
	assert_non_null(strstr(w.note, "debian12@3"));
	assert_non_null(strstr(w.note, "not from image tiny"));
}

static void revisions_and_owners_tell_images_apart(void **state)
{
	static const struct {
		const char *image, *owner;
		uint32_t revision;
		bool same;
	} cases[] = {
		{"tiny@3", "", 0, true},          {"tiny@3", "", 3, true},
		{"tiny@3", "", 2, false},         {"tiny@31", "", 3, false},
		{"tinyx@3", "", 0, false},        {"anna/tiny@3", "", 0, false},
		{"anna/tiny@3", "anna", 0, true}, {"", "", 0, false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vmj_work w = persistent(*state);

		strcpy(add_volume(SECOND, "web", 10)->image, cases[i].image);
		strcpy(w.guest.request.image_owner, cases[i].owner);
		w.guest.request.revision = cases[i].revision;
		prepare_work(&w);
		if ((w.note[0] == '\0') != cases[i].same)
			fail_msg("case %zu: \"%s\"", i, w.note);
	}
}

/* --- protected guests ------------------------------------------------------------------------ */

static void a_protected_guest_is_found_again_elsewhere(void **state)
{
	struct vmj_work w = work(*state);
	struct vmj_guest g;

	w.guest.request.protected_ = true;
	g = prepare_work(&w);
	assert_string_equal(g.disks[0].volume, "job-7.0.0");
	assert_string_equal(g.disks[1].volume, "job-7.0.1");
	assert_string_equal(g.disks[0].storage, "default");
	assert_int_equal(volume_of(FIRST, "job-7.0.0")->job, JOB);
	assert_int_equal(volume_of(FIRST, "job-7.0.1")->bytes, 64 << 20);
	assert_int_equal(leases_held(), 3);
	release(*state);
	assert_nothing_left(*state, "after the first host");
	w = work(*state);
	w.guest.request.protected_ = true;
	w.guest.restart = 1;
	strcpy(w.guest.host, "n2");
	world.fail_at = "volume"; /* nothing is made anew */
	prepare_work(&w);
	assert_int_equal(volume_of(FIRST, "job-7.0.0")->epoch, 2);
}

/* --- refusals -------------------------------------------------------------------------------- */

static void a_volume_in_use_is_the_users_fault(void **state)
{
	struct vmj_work w = work(*state);
	struct fake_volume *v = volume_of(SECOND, "data");

	v->holder = 9;
	strcpy(v->host, "n2");
	strcpy(w.guest.request.persistent, "web"); /* taken before, and given back */
	assert_refused_by(&w, "volume \"data\" is in use by job 9 on n2");
	assert_int_equal(v->holder, 9);
	assert_int_equal(leases_held(), 1);
}

static void a_volume_that_is_missing_is_the_users_fault(void **state)
{
	struct vmj_work w = work(*state);

	strcpy(w.guest.request.disks[1].name, "nodata");
	assert_refused_by(&w, "volume \"nodata\" does not exist");
	assert_false(volume_of(SECOND, "nodata")->exists); /* no disk is made by asking for it */
}

/* vmj_request_check() refuses what is plainly so; that no storage means the first is known here. */
static void a_volume_twice_is_the_users_fault(void **state)
{
	struct vmj_work w = work(*state);

	add_volume(FIRST, "data", 10);
	w.guest.request.disks[1].storage[0] = '\0';
	strcpy(w.guest.request.persistent, "data");
	strcpy(w.guest.request.persistent_storage, "default");
	assert_refused_by(&w, "volume \"data\" is asked for twice");
	w = work(*state);

	strcpy(w.guest.request.persistent, "data"); /* of the default storage: another */
	prepare_work(&w);
}

static void a_full_storage_is_the_users_fault(void **state)
{
	struct vmj_work w = persistent(*state);

	world.fail_at = "quota";
	world.fault = VMJ_FAULT_USER;
	assert_refused_by(&w, "quota fails");
}

static void a_storage_out_of_reach_is_the_hosts_fault(void **state)
{
	struct vmj_work w = persistent(*state);
	struct vmj_error err;

	world.fail_at = "storage";
	world.fault = VMJ_FAULT_HOST;
	assert_refused(vmj_work_prepare(&w, &err), err, EIO, "storage fails");
	assert_int_equal(err.fault, VMJ_FAULT_HOST);
	world.fail_at = NULL;
	assert_nothing_left(*state, "after the failure");
}

/* Something of the storage is missing, but not the volume: it must not be made anew. */
static void damage_does_not_look_like_a_first_start(void **state)
{
	struct vmj_work w = persistent(*state);
	struct vmj_error err = {0};

	add_volume(SECOND, "web", 10);
	world.fail_at = "read";
	world.fault = VMJ_FAULT_HOST;
	assert_true(vmj_work_prepare(&w, &err) < 0);
	assert_int_equal(err.fault, VMJ_FAULT_HOST);
}

/* --- giving back ----------------------------------------------------------------------------- */

static void a_lease_that_cannot_be_given_back_stays_on_record(void **state)
{
	struct vmj_work w = work(*state);
	struct vmj_error err;

	prepare(*state);
	w = work_on_record(*state);
	world.fail_at = "return";
	world.fault = VMJ_FAULT_HOST;
	assert_refused(vmj_work_release(&w, &err), err, EIO, "return fails");
	assert_true(is_on_record("data"));
	world.fail_at = NULL;
	release(*state);
	assert_nothing_left(*state, "after the second release");
}

static void nothing_is_given_back_while_its_process_lives(void **state)
{
	struct vmj_work w;
	struct vmj_error err;

	prepare(*state);
	world.process_lives = true;
	w = work_on_record(*state);
	assert_refused(vmj_work_release(&w, &err), err, EBUSY, "still has process 42");
	assert_int_equal(leases_held(), 1);
	w = next_work(*state);
	assert_refused(vmj_work_prepare(&w, &err), err, EBUSY, "still has process 42");
	assert_int_equal(leases_held(), 1);
	world.process_lives = false;
	release(*state);
	assert_nothing_left(*state, "after its end");
}

/* Between prepare and run, or while it was made, others took the volume over by the rules. */
static void a_volume_lost_meanwhile_is_not_written(void **state)
{
	struct vmj_work w;
	struct vmj_error err;
	struct fake_volume *v = volume_of(SECOND, "data");

	prepare(*state);
	v->holder = 9;
	strcpy(v->host, "n2");
	w = work_on_record(*state);
	assert_user_refused(vmj_work_run(&w, &err), err, EBUSY, "in use by job 9 on n2");
	assert_false(world.running);
	release(*state);
	assert_int_equal(v->holder, 9);
	assert_false(world.domain);
}

static void what_the_last_run_had_attached_is_given_back(void **state)
{
	struct vmj_guest g;
	struct vmj_error err;
	struct fake_volume *v = add_volume(FIRST, "late", 10);

	prepare(*state);
	assert_done(vmj_record_read(*state, JOB, &g, &err), err);
	g.disks[g.n_disks++] = (struct vmj_guest_disk){.kind = VMJ_GUEST_DISK_VOLUME,
						       .storage = "default",
						       .volume = "late",
						       .target = "vdd"};
	assert_done(vmj_record_write(*state, &g, &err), err);
	v->holder = JOB;
	strcpy(v->host, "n1");
	prepare(*state);
	assert_int_equal(v->holder, 0);
	assert_int_equal(leases_held(), 1);
}

#define IN_WORLD(f) cmocka_unit_test_setup_teardown(f, setup, unit_remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_WORLD(a_volume_is_a_disk),
		IN_WORLD(an_image_is_a_disk_to_be_read),
		IN_WORLD(an_image_is_looked_for_in_each_storage),
		IN_WORLD(an_image_that_is_nowhere_is_the_users_fault),
		IN_WORLD(a_persistent_root_is_made_once),
		IN_WORLD(of_another_image_the_volume_counts),
		IN_WORLD(revisions_and_owners_tell_images_apart),
		IN_WORLD(a_protected_guest_is_found_again_elsewhere),
		IN_WORLD(a_volume_in_use_is_the_users_fault),
		IN_WORLD(a_volume_that_is_missing_is_the_users_fault),
		IN_WORLD(a_volume_twice_is_the_users_fault),
		IN_WORLD(a_full_storage_is_the_users_fault),
		IN_WORLD(a_storage_out_of_reach_is_the_hosts_fault),
		IN_WORLD(damage_does_not_look_like_a_first_start),
		IN_WORLD(a_lease_that_cannot_be_given_back_stays_on_record),
		IN_WORLD(nothing_is_given_back_while_its_process_lives),
		IN_WORLD(a_volume_lost_meanwhile_is_not_written),
		IN_WORLD(what_the_last_run_had_attached_is_given_back),
	};
	int r = cmocka_run_group_tests_name("work-volumes", tests, NULL, NULL);

	vmj_topology_free(topology);
	return r;
}
