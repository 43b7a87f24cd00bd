/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>

#include "vmjob/agent/phase.h"

static void may(enum vmj_phase from, enum vmj_phase to)
{
	if (!vmj_phase_may_become(from, to))
		fail_msg("%s may not become %s", vmj_phase_name(from), vmj_phase_name(to));
}

static void may_not(enum vmj_phase from, enum vmj_phase to)
{
	if (vmj_phase_may_become(from, to))
		fail_msg("%s may become %s", vmj_phase_name(from), vmj_phase_name(to));
}

static void a_guest_s_life(void **state)
{
	may(VMJ_PHASE_PREPARING, VMJ_PHASE_PREPARED);
	may(VMJ_PHASE_PREPARED, VMJ_PHASE_RUNNING);
	may(VMJ_PHASE_RUNNING, VMJ_PHASE_PAUSED);
	may(VMJ_PHASE_PAUSED, VMJ_PHASE_RUNNING);
	may(VMJ_PHASE_RUNNING, VMJ_PHASE_STOPPING);
	may(VMJ_PHASE_STOPPING, VMJ_PHASE_ENDED);
	may(VMJ_PHASE_ENDED, VMJ_PHASE_RELEASING);
}

static void nothing_comes_back_to_life(void **state)
{
	static const enum vmj_phase dead[] = {VMJ_PHASE_REFUSED, VMJ_PHASE_ENDED,
					      VMJ_PHASE_RELEASING};
	static const enum vmj_phase alive[] = {VMJ_PHASE_PREPARED, VMJ_PHASE_RUNNING,
					       VMJ_PHASE_PAUSED, VMJ_PHASE_STOPPING};

	for (size_t i = 0; i < 3; i++)
		for (size_t j = 0; j < 4; j++)
			may_not(dead[i], alive[j]);
	may_not(VMJ_PHASE_STOPPING, VMJ_PHASE_RUNNING);
	may_not(VMJ_PHASE_STOPPING, VMJ_PHASE_PAUSED);
}

static void whatever_is_can_be_released(void **state)
{
	for (int p = 0; p < VMJ_PHASE_COUNT_; p++)
		may(p, VMJ_PHASE_RELEASING);
	for (int p = 0; p < VMJ_PHASE_RELEASING; p++)
		may_not(VMJ_PHASE_RELEASING, p);
}

static void what_is_alive_can_end(void **state)
{
	for (int p = 0; p < VMJ_PHASE_COUNT_; p++)
		assert_int_equal(vmj_phase_alive(p), vmj_phase_may_become(p, VMJ_PHASE_ENDED));
}

static void only_what_runs_is_suspended(void **state)
{
	struct vmj_guest g = {.job = 7, .phase = VMJ_PHASE_STOPPING};
	struct vmj_error err;

	assert_user_refused(vmj_phase_check(&g, VMJ_ACTION_SUSPEND, &err), err, EINVAL,
			    "guest 7 is stopping: it cannot be suspended");
	g.phase = VMJ_PHASE_RUNNING;
	assert_done(vmj_phase_check(&g, VMJ_ACTION_SUSPEND, &err), err);
	g.phase = VMJ_PHASE_PAUSED; /* again: no harm */
	assert_done(vmj_phase_check(&g, VMJ_ACTION_SUSPEND, &err), err);
	g.phase = VMJ_PHASE_PREPARED;
	assert_user_refused(vmj_phase_check(&g, VMJ_ACTION_RESUME, &err), err, EINVAL, "resumed");
}

static void a_refused_guest_is_not_run(void **state)
{
	assert_false(vmj_phase_allows(VMJ_PHASE_REFUSED, VMJ_ACTION_RUN));
	assert_false(vmj_phase_allows(VMJ_PHASE_PREPARING, VMJ_ACTION_RUN));
	assert_false(vmj_phase_allows(VMJ_PHASE_RELEASING, VMJ_ACTION_RUN));
	assert_true(vmj_phase_allows(VMJ_PHASE_ENDED, VMJ_ACTION_RUN)); /* to hear how */
}

static void adoption(void **state)
{
	static const struct {
		enum vmj_phase phase;
		enum vmj_domain_seen seen;
		enum vmj_adoption then;
	} cases[] = {
		{VMJ_PHASE_PREPARING, VMJ_SEEN_NONE, VMJ_ADOPT_KEEP}, /* the prolog comes again */
		{VMJ_PHASE_PREPARING, VMJ_SEEN_PAUSED, VMJ_ADOPT_KEEP},
		{VMJ_PHASE_REFUSED, VMJ_SEEN_NONE, VMJ_ADOPT_KEEP},
		{VMJ_PHASE_PREPARED, VMJ_SEEN_PAUSED, VMJ_ADOPT_KEEP},
		{VMJ_PHASE_PREPARED, VMJ_SEEN_NONE, VMJ_ADOPT_LOST},
		{VMJ_PHASE_RUNNING, VMJ_SEEN_RUNNING, VMJ_ADOPT_KEEP},
		{VMJ_PHASE_RUNNING, VMJ_SEEN_PAUSED, VMJ_ADOPT_KEEP}, /* the step resumes it */
		{VMJ_PHASE_RUNNING, VMJ_SEEN_NONE, VMJ_ADOPT_LOST},
		{VMJ_PHASE_PAUSED, VMJ_SEEN_PAUSED, VMJ_ADOPT_KEEP},
		{VMJ_PHASE_PAUSED, VMJ_SEEN_RUNNING, VMJ_ADOPT_RESUMED},
		{VMJ_PHASE_PAUSED, VMJ_SEEN_NONE, VMJ_ADOPT_LOST},
		{VMJ_PHASE_STOPPING, VMJ_SEEN_RUNNING, VMJ_ADOPT_KEEP},
		{VMJ_PHASE_STOPPING, VMJ_SEEN_NONE, VMJ_ADOPT_LOST},
		{VMJ_PHASE_ENDED, VMJ_SEEN_NONE, VMJ_ADOPT_KEEP},
		{VMJ_PHASE_RELEASING, VMJ_SEEN_RUNNING, VMJ_ADOPT_RELEASE},
		{VMJ_PHASE_RELEASING, VMJ_SEEN_NONE, VMJ_ADOPT_RELEASE},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (vmj_phase_adopt(cases[i].phase, true, cases[i].seen) != cases[i].then)
			fail_msg("case %zu: %s", i, vmj_phase_name(cases[i].phase));
	for (int p = 0; p < VMJ_PHASE_COUNT_; p++)
		assert_int_equal(vmj_phase_adopt(p, false, VMJ_SEEN_NONE), VMJ_ADOPT_RELEASE);
	assert_int_equal(vmj_phase_adopt(VMJ_PHASE_RUNNING, false, VMJ_SEEN_RUNNING),
			 VMJ_ADOPT_KEEP);
}

#define MIB (1ull << 20)
#define GIB (1ull << 30)

static void room_is_a_fiftieth_or_a_gib(void **state)
{
	assert_false(vmj_phase_room(0, 100 * MIB));
	assert_false(vmj_phase_room(MIB, 100 * MIB));
	assert_true(vmj_phase_room(2 * MIB, 100 * MIB));
	assert_false(vmj_phase_room(GIB - 1, 1000 * GIB));
	assert_true(vmj_phase_room(GIB, 1000 * GIB));
	assert_false(vmj_phase_room(0, 0));
}

static void jobs_that_are_over(void **state)
{
	assert_true(vmj_phase_job_over("JobId=7 JobName=a JobState=COMPLETED Reason=None\n"));
	assert_true(vmj_phase_job_over("JobId=7 JobState=NODE_FAIL\nJobId=8 JobState=CANCELLED\n"));
	assert_false(vmj_phase_job_over("JobId=7 JobState=COMPLETED\nJobId=8 JobState=PENDING\n"));
	assert_false(vmj_phase_job_over("JobId=7 JobState=COMPLETING Reason=None\n"));
	assert_false(vmj_phase_job_over("JobId=7 JobState=RUNNING Reason=None\n"));
	assert_false(vmj_phase_job_over("JobId=7 JobState=COMPLETEDX\n"));
	assert_false(vmj_phase_job_over("JobId=7 JobState=\n"));
	assert_false(
		vmj_phase_job_over("slurm_load_jobs error: Unable to contact slurm controller"));
	assert_false(vmj_phase_job_over(""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_guest_s_life),
		cmocka_unit_test(nothing_comes_back_to_life),
		cmocka_unit_test(whatever_is_can_be_released),
		cmocka_unit_test(what_is_alive_can_end),
		cmocka_unit_test(only_what_runs_is_suspended),
		cmocka_unit_test(a_refused_guest_is_not_run),
		cmocka_unit_test(adoption),
		cmocka_unit_test(room_is_a_fiftieth_or_a_gib),
		cmocka_unit_test(jobs_that_are_over),
	};

	return cmocka_run_group_tests_name("phase", tests, NULL, NULL);
}
