/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What squeue and sinfo print, read. */
#include "tests/unit/unit.h"

#include <errno.h>

#include "vmjob/cli/slurm.h"

static void jobs_are_read(void **state)
{
	char output[] = "42|42|RUNNING|n1|alice|None|vm image=tiny@1 vcpus=2|my|job\n"
			"45|40_3|PENDING||alice|Resources||plain\n";
	struct vmj_jobs jobs;
	struct vmj_error err;

	assert_done(vmj_jobs_parse(output, &jobs, &err), err);
	assert_int_equal(jobs.n, 2);
	assert_int_equal(jobs.items[0].id, 42);
	assert_string_equal(jobs.items[0].nodes, "n1");
	assert_string_equal(jobs.items[0].name, "my|job");
	assert_true(vmj_job_is_guest(&jobs.items[0]));
	assert_true(vmj_job_placed(&jobs.items[0]));
	assert_string_equal(jobs.items[1].label, "40_3");
	assert_string_equal(jobs.items[1].reason, "Resources");
	assert_false(vmj_job_is_guest(&jobs.items[1]));
	assert_false(vmj_job_placed(&jobs.items[1]));
	vmj_jobs_done(&jobs);
}

/* A job's name is its user's to choose: nothing of it may reach the terminal as a control. */
static void names_are_made_harmless(void **state)
{
	char output[] = "42|42|RUNNING|n1|alice|None|vm image=a|\033]0;x\007\n";
	struct vmj_jobs jobs;

	assert_int_equal(vmj_jobs_parse(output, &jobs, NULL), 0);
	assert_string_equal(jobs.items[0].name, "?]0;x?");
	vmj_jobs_done(&jobs);
}

static void long_fields_are_cut(void **state)
{
	char output[4096] = "42|42|RUNNING|n1|alice|None|vm image=a|";
	struct vmj_jobs jobs;

	memset(output + strlen(output), 'x', 3000);
	assert_int_equal(vmj_jobs_parse(output, &jobs, NULL), 0);
	assert_int_equal(strlen(jobs.items[0].name), sizeof(jobs.items[0].name) - 1);
	vmj_jobs_done(&jobs);
}

static void broken_lines_are_refused(void **state)
{
	char short_[] = "42|42|RUNNING\n", number[] = "4x|42|RUNNING|n1|a|r|c|n\n";
	struct vmj_jobs jobs = {.n = 77};
	struct vmj_error err;

	assert_refused(vmj_jobs_parse(short_, &jobs, &err), err, EPROTO, "8 fields");
	assert_refused(vmj_jobs_parse(number, &jobs, &err), err, EINVAL, "4x");
	assert_int_equal(jobs.n, 77);
}

static void nodes_are_read_once(void **state)
{
	char output[] = "n1|idle|8|16000|none\nn1|idle|8|16000|none\n"
			"n2|drained*|4|8000|vmjob: libvirtd is down|again\n";
	struct vmj_node *nodes;
	struct vmj_error err;
	size_t n;

	assert_done(vmj_nodes_parse(output, &nodes, &n, &err), err);
	assert_int_equal(n, 2);
	assert_string_equal(nodes[0].reason, "");
	assert_int_equal(nodes[0].cpus, 8);
	assert_string_equal(nodes[1].state, "drained*");
	assert_int_equal(nodes[1].memory_mib, 8000);
	assert_string_equal(nodes[1].reason, "vmjob: libvirtd is down|again");
	free(nodes);
}

static void job_ids_are_checked(void **state)
{
	static const char *const wrong[] = {"",      "x",    "-1",          "4 2",    "42;reboot",
					    "42_",   "_1",   "42_x",        "42_1_2", "99999999999",
					    "42,43", "../1", "--states=all"};
	struct vmj_job job;
	struct vmj_error err;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_user_refused(vmj_job_find(wrong[i], &job, &err), err, EINVAL,
				    "is not a job id");
}

static void hosts_are_listed_once(void **state)
{
	struct vmj_hosts hosts;
	struct vmj_error err;

	assert_done(vmj_hosts_expand("n1,n2,n1", &hosts, &err), err);
	assert_int_equal(hosts.n, 2);
	assert_string_equal(hosts.names[1], "n2");
	assert_null(hosts.names[2]);
	vmj_hosts_done(&hosts);
	assert_user_refused(vmj_hosts_expand("n1,../x", &hosts, &err), err, EINVAL, "../x");
}

static void programs_are_found_in_path(void **state)
{
	char buf[256];

	setenv("PATH", "relative:/nonexistent:/bin:/usr/bin", 1);
	assert_string_equal(vmj_program_find("sh", buf, sizeof(buf)), "/bin/sh");
	assert_string_equal(vmj_program_find("no-such-program", buf, sizeof(buf)),
			    "no-such-program");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(jobs_are_read),
		cmocka_unit_test(names_are_made_harmless),
		cmocka_unit_test(long_fields_are_cut),
		cmocka_unit_test(broken_lines_are_refused),
		cmocka_unit_test(nodes_are_read_once),
		cmocka_unit_test(job_ids_are_checked),
		cmocka_unit_test(hosts_are_listed_once),
		cmocka_unit_test(programs_are_found_in_path),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
