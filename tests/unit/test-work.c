/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Prepare, run and release over a host that the test plays: each step fails once, by whose fault
 * it may be, and the agent dies once after each; then nothing of the guest may be left, or what is
 * left must go with the next try or with the release.
 */
#include "work-world.h"

static void prepared_and_released(void **state)
{
	struct vmj_guest g;
	struct vmj_error err;

	prepare(*state);
	assert_done(vmj_record_read(*state, JOB, &g, &err), err);
	assert_int_equal(g.phase, VMJ_PHASE_PREPARED);
	assert_string_equal(g.image_path, "/srv/vmjob/images/tiny");
	release(*state);
	assert_nothing_left(*state, "after the release");
	release(*state); /* again: no harm */
	assert_nothing_left(*state, "after a second release");
}

static void prepared_twice_is_prepared_once(void **state)
{
	prepare(*state);
	prepare(*state);
	assert_int_equal(world.creates, 2); /* the first was destroyed: nobody ran it */
}

static const char *const prepare_calls[] = {
	"destroy", "storage", "image", "plan", "ports",  "take", "read", "recover",
	"verify",  "overlay", "disk",  "seed", "filter", "kvm",  "xml",  "create"};
#define N_CALLS (sizeof(prepare_calls) / sizeof(prepare_calls[0]))

/* A directory of the guest from before: it has to be cleared. */
static void leave_something(const char *dir)
{
	char path[VMJ_GUEST_PATH_MAX];
	struct vmj_error err;

	assert_done(vmj_mkdir_p(vmj_record_path(dir, JOB, NULL, path), 0711, &err), err);
}

static void what_was_never_made_is_not_cleared(void **state)
{
	world.fail_at = "destroy";
	world.fault = VMJ_FAULT_HOST;
	prepare(*state);
	world.fail_at = NULL;
	release(*state);
	assert_nothing_left(*state, "after the release");
}

static void a_failure_of_the_host_leaves_nothing(void **state)
{
	for (size_t i = 0; i < N_CALLS; i++) {
		struct vmj_work w = work(*state);
		struct vmj_error err;

		leave_something(*state);
		world.fail_at = prepare_calls[i];
		world.fault = VMJ_FAULT_HOST;
		assert_refused(vmj_work_prepare(&w, &err), err, EIO, prepare_calls[i]);
		assert_int_equal(err.fault, VMJ_FAULT_HOST);
		if (strcmp(prepare_calls[i], "destroy") == 0) {
			world.fail_at = NULL;
			release(*state);
		}
		assert_nothing_left(*state, prepare_calls[i]);
	}
}

static void a_failure_of_the_user_is_kept_for_the_step(void **state)
{
	for (size_t i = 1; i < N_CALLS; i++) {
		struct vmj_work w = work(*state);
		struct vmj_guest g;
		struct vmj_error err;

		world.fail_at = prepare_calls[i];
		world.fault = VMJ_FAULT_USER;
		assert_user_refused(vmj_work_prepare(&w, &err), err, ENOENT, prepare_calls[i]);
		assert_done(vmj_record_read(*state, JOB, &g, &err), err);
		assert_int_equal(g.phase, VMJ_PHASE_REFUSED);
		assert_non_null(strstr(g.failure, prepare_calls[i]));
		assert_false(world.domain || world.filter || there(*state, "disk.n1.qcow2") ||
			     there(*state, "seed.img"));
		release(*state);
		assert_nothing_left(*state, prepare_calls[i]);
	}
}

static void what_cannot_be_undone_is_on_record(void **state)
{
	struct vmj_work w = work(*state);
	struct vmj_guest g;
	struct vmj_error err;

	world.fail_at = "create";
	world.undo_fails = true;
	assert_refused(vmj_work_prepare(&w, &err), err, EIO, "create fails");
	assert_int_equal(w.leftovers, 4);
	assert_int_equal(leases_held(), 1);
	assert_done(vmj_record_read(*state, JOB, &g, &err), err);
	assert_int_equal(g.phase, VMJ_PHASE_RELEASING);
	world.undo_fails = false;
	release(*state);
	assert_nothing_left(*state, "after the release");
}

static void died(void)
{
}

static void death_at_any_step_of_prepare(void **state)
{
	for (const struct vmj_step *s = vmj_prepare_steps; s->name; s++) {
		struct vmj_work w = work(*state);

		vmj_steps_trap(s->name, died);
		assert_int_equal(vmj_work_prepare(&w, NULL), -ECANCELED);
		assert_true(there(*state, "guest.json"));
		vmj_steps_trap(NULL, NULL);
		prepare(*state); /* the prolog comes again */
		release(*state);
		assert_nothing_left(*state, s->name);

		vmj_steps_trap(s->name, died);
		assert_int_equal(vmj_work_prepare(&w, NULL), -ECANCELED);
		vmj_steps_trap(NULL, NULL);
		release(*state); /* or the epilog does at once */
		assert_nothing_left(*state, s->name);
	}
}

static void death_at_any_step_of_release(void **state)
{
	for (const struct vmj_step *s = vmj_release_steps; s->name; s++) {
		struct vmj_work w;
		struct vmj_guest g;

		prepare(*state);
		w = work_on_record(*state);
		vmj_steps_trap(s->name, died);
		assert_int_equal(vmj_work_release(&w, NULL), -ECANCELED);
		vmj_steps_trap(NULL, NULL);
		if (s[1].name) { /* else the record has gone with the last step */
			assert_int_equal(vmj_record_read(*state, JOB, &g, NULL), 0);
			assert_int_equal(g.phase, VMJ_PHASE_RELEASING);
		}
		release(*state);
		assert_nothing_left(*state, s->name);
	}
}

static struct vmj_work prepared_work(const char *dir)
{
	struct vmj_work w = work(dir);
	struct vmj_error err;

	prepare(dir);
	assert_done(vmj_record_read(dir, JOB, &w.guest, &err), err);
	return w;
}

static void a_guest_is_joined_and_pinned_before_it_runs(void **state)
{
	struct vmj_work w = prepared_work(*state);
	struct vmj_error err;

	world.fail_at = "resume";
	assert_refused(vmj_work_run(&w, &err), err, EIO, "resume fails");
	assert_true(world.joined && world.pinned && !world.running);
	world.fail_at = "pin";
	w = prepared_work(*state);
	assert_refused(vmj_work_run(&w, &err), err, EIO, "pin fails");
	assert_false(world.running);
	world.fail_at = "join";
	w = prepared_work(*state);
	world.pinned = false;
	assert_refused(vmj_work_run(&w, &err), err, EIO, "join fails");
	assert_false(world.running || world.pinned);
}

static void death_at_any_step_of_run(void **state)
{
	for (const struct vmj_step *s = vmj_run_steps; s->name; s++) {
		struct vmj_work w = prepared_work(*state);
		struct vmj_error err;

		vmj_steps_trap(s->name, died);
		assert_int_equal(vmj_work_run(&w, NULL), -ECANCELED);
		vmj_steps_trap(NULL, NULL);
		w = work(*state);
		assert_done(vmj_record_read(*state, JOB, &w.guest, &err), err);
		assert_done(vmj_work_run(&w, &err), err); /* the step is back */
		assert_int_equal(w.guest.phase, VMJ_PHASE_RUNNING);
		assert_true(world.running && w.guest.start_us > 0);
		release(*state);
		assert_nothing_left(*state, s->name);
	}
}

static void a_paused_guest_stays_paused(void **state)
{
	struct vmj_work w = prepared_work(*state);
	struct vmj_error err;

	w.guest.phase = VMJ_PHASE_PAUSED;
	assert_done(vmj_work_run(&w, &err), err);
	assert_int_equal(w.guest.phase, VMJ_PHASE_PAUSED);
	assert_true(world.joined && !world.running);
}

static void a_guest_that_is_gone_is_not_run(void **state)
{
	struct vmj_work w = prepared_work(*state);
	struct vmj_error err;

	world.domain = false;
	assert_done(vmj_work_run(&w, &err), err);
	assert_true(w.gone);
	assert_false(world.joined);
}

#define IN_WORLD(f) cmocka_unit_test_setup_teardown(f, setup, unit_remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_WORLD(prepared_and_released),
		IN_WORLD(prepared_twice_is_prepared_once),
		IN_WORLD(what_was_never_made_is_not_cleared),
		IN_WORLD(a_failure_of_the_host_leaves_nothing),
		IN_WORLD(a_failure_of_the_user_is_kept_for_the_step),
		IN_WORLD(what_cannot_be_undone_is_on_record),
		IN_WORLD(death_at_any_step_of_prepare),
		IN_WORLD(death_at_any_step_of_release),
		IN_WORLD(a_guest_is_joined_and_pinned_before_it_runs),
		IN_WORLD(death_at_any_step_of_run),
		IN_WORLD(a_paused_guest_stays_paused),
		IN_WORLD(a_guest_that_is_gone_is_not_run),
	};
	int r = cmocka_run_group_tests_name("work", tests, NULL, NULL);

	vmj_topology_free(topology);
	return r;
}
