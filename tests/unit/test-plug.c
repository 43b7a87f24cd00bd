/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Volumes that come to and leave a guest that runs: whatever fails or dies when, afterwards a lease
 * is held if and only if the domain has the disk, and the record tells of it. */
#include "work-world.h"

#include "vmjob/agent/plug.h"

static struct vmj_work running(const char *dir)
{
	struct vmj_work w;

	prepare(dir);
	w = work_on_record(dir);
	w.guest.phase = VMJ_PHASE_RUNNING;
	world.running = true;
	return w;
}

static void plan(struct vmj_work *w)
{
	struct vmj_error err;

	add_volume(FIRST, "late", 10);
	assert_done(vmj_plug_plan(&w->guest, "default", "late", false, &err), err);
}

static bool held(void)
{
	return volume_of(FIRST, "late")->holder == JOB;
}

/* As the loop does. */
static void take_over(struct vmj_work *w)
{
	for (unsigned int i = 0; i < w->n_returned; i++) {
		struct vmj_guest_disk *d =
			vmj_guest_disk_of(&w->guest, w->returned[i].storage, w->returned[i].volume);

		if (d)
			vmj_guest_disk_forget(&w->guest, d);
	}
	w->n_returned = 0;
}

static struct vmj_guest_disk *late(struct vmj_work *w)
{
	return vmj_guest_disk_of(&w->guest, "default", "late");
}

static void settle(struct vmj_work *w)
{
	struct vmj_error err;

	assert_done(vmj_work_settle(w, &err), err);
	take_over(w);
}

static void attached_and_detached(void **state)
{
	struct vmj_work w = running(*state);
	struct vmj_guest g;
	struct vmj_error err;

	plan(&w);
	assert_done(vmj_work_attach(&w, &err), err);
	assert_true(held() && domain_has("late"));
	assert_done(vmj_record_read(*state, JOB, &g, &err), err);
	assert_int_equal(g.n_disks, 4);
	assert_string_equal(g.disks[3].path, FIRST "/volumes/1000/late/layer-1.qcow2");
	assert_string_equal(g.disks[3].target, "vdd");
	assert_int_equal(g.disks[3].epoch, 1);
	assert_true(g.disks[3].attached);
	assert_done(vmj_work_detach(&w, 3, &err), err);
	take_over(&w);
	assert_false(held() || domain_has("late"));
	assert_int_equal(w.guest.n_disks, 3);
	assert_int_equal(leases_held(), 1);
}

static void a_failure_anywhere_leaves_nothing(void **state)
{
	static const char *const calls[] = {"storage", "take",   "read",
					    "recover", "verify", "attach"};
	struct vmj_work w = running(*state);

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		struct vmj_error err;

		plan(&w);
		w.reached = 0;
		world.fail_at = calls[i];
		assert_refused(vmj_work_attach(&w, &err), err, EIO, calls[i]);
		world.fail_at = NULL;
		if (strcmp(calls[i], "storage") == 0) /* the undo could not reach it either */
			settle(&w);
		take_over(&w);
		assert_null(late(&w));
		assert_false(held() || domain_has("late"));
	}
}

static void a_lost_answer_is_found_out(void **state)
{
	struct vmj_work w = running(*state);
	struct vmj_error err;

	plan(&w);
	world.fail_at = "answer";
	assert_refused(vmj_work_attach(&w, &err), err, EIO, "answer fails");
	take_over(&w);
	assert_true(held() && domain_has("late") && late(&w));
	world.fail_at = NULL;
	settle(&w);
	assert_true(held() && late(&w));
	world.n_disks--; /* lets go by itself */
	settle(&w);
	assert_false(held() || late(&w));
}

static void died(void)
{
}

static void death_at_any_step_of_attach(void **state)
{
	for (const struct vmj_step *s = vmj_attach_steps; s->name; s++) {
		struct vmj_work w = running(*state);

		plan(&w);
		vmj_steps_trap(s->name, died);
		assert_int_equal(vmj_work_attach(&w, NULL), -ECANCELED);
		vmj_steps_trap(NULL, NULL);
		w = work_on_record(*state); /* the next agent adopts the guest */
		settle(&w);
		assert_int_equal(held(), domain_has("late"));
		assert_int_equal(held(), late(&w) != NULL);
		if (late(&w))
			assert_true(late(&w)->path[0] && late(&w)->epoch);
		release(*state);
		assert_nothing_left(*state, s->name);
	}
}

static void death_and_release_at_once(void **state)
{
	for (const struct vmj_step *s = vmj_attach_steps; s->name; s++) {
		struct vmj_work w = running(*state);

		plan(&w);
		vmj_steps_trap(s->name, died);
		assert_int_equal(vmj_work_attach(&w, NULL), -ECANCELED);
		vmj_steps_trap(NULL, NULL);
		release(*state);
		assert_nothing_left(*state, s->name);
	}
}

static void the_guest_decides_when_it_lets_go(void **state)
{
	struct vmj_work w = running(*state);
	struct vmj_error err;

	plan(&w);
	assert_done(vmj_work_attach(&w, &err), err);
	world.keeps_disks = true;
	assert_done(vmj_work_detach(&w, 3, &err), err);
	take_over(&w);
	assert_true(held() && late(&w));
	world.n_disks--; /* later */
	settle(&w);
	assert_false(held() || late(&w));
}

static void nothing_is_settled_without_a_domain(void **state)
{
	struct vmj_work w = running(*state);

	world.domain = false;
	world.process_lives = true;
	settle(&w);
	assert_int_equal(leases_held(), 1);
	assert_int_equal(w.guest.n_disks, 3);
	world.process_lives = false;
}

static void plans_that_are_refused(void **state)
{
	struct vmj_guest g = {.job = JOB};
	struct vmj_error err;
	char name[16];

	assert_user_refused(vmj_plug_plan(&g, "default", "a", false, &err), err, ENOTSUP,
			    "earlier version");
	g.n_disks = 1;
	strcpy(g.disks[0].target, "vda");
	for (int i = 0; i < VMJ_ATTACHED_MAX; i++) {
		snprintf(name, sizeof(name), "v%d", i);
		assert_done(vmj_plug_plan(&g, "default", name, i == 0, &err), err);
	}
	assert_true(g.disks[1].readonly);
	assert_string_equal(g.disks[4].target, "vde");
	assert_user_refused(vmj_plug_plan(&g, "default", "v2", false, &err), err, EEXIST,
			    "has volume \"v2\" already, as vdd");
	assert_user_refused(vmj_plug_plan(&g, "default", "more", false, &err), err, ENOSPC,
			    "no place left");
	vmj_guest_disk_forget(&g, &g.disks[2]);
	assert_done(vmj_plug_plan(&g, "default", "more", false, &err), err);
	assert_string_equal(g.disks[4].target, "vdc"); /* the place that became free */
}

#define IN_WORLD(f) cmocka_unit_test_setup_teardown(f, setup, unit_remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_WORLD(attached_and_detached),
		IN_WORLD(a_failure_anywhere_leaves_nothing),
		IN_WORLD(a_lost_answer_is_found_out),
		IN_WORLD(death_at_any_step_of_attach),
		IN_WORLD(death_and_release_at_once),
		IN_WORLD(the_guest_decides_when_it_lets_go),
		IN_WORLD(nothing_is_settled_without_a_domain),
		IN_WORLD(plans_that_are_refused),
	};
	int r = cmocka_run_group_tests_name("plug", tests, NULL, NULL);

	vmj_topology_free(topology);
	return r;
}
