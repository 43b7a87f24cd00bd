/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Against trees as Slurm leaves them: v1 as seen with 22.05.8 (Debian 12), v2 as its
 * src/plugins/cgroup/v2 makes them. */
#include "unit.h"

#include <errno.h>
#include <unistd.h>

#include "vmjob/host/cgroup.h"

#define TASK 4711
#define JOB  5

static void put(const char *root, const char *name, const char *text)
{
	vmj_autofree char *path = NULL, *dir = NULL;

	assert_true(asprintf(&path, "%s%s", root, name) > 0);
	dir = strndup(path, (size_t)(strrchr(path, '/') - path));
	assert_int_equal(vmj_mkdir_p(dir, 0755, NULL), 0);
	assert_int_equal(vmj_file_write_atomic(-1, path, text, strlen(text), 0644, NULL), 0);
}

static char *get(const char *root, const char *name)
{
	vmj_autofree char *path = NULL;
	char *text = NULL;

	assert_true(asprintf(&path, "%s%s", root, name) > 0);
	assert_int_equal(vmj_file_read(-1, path, 4096, &text, NULL, NULL), 0);
	return text;
}

#define V1_STEP "/slurm/uid_1000/job_5/step_batch"

static void make_v1(const char *root)
{
	put(root, "/proc/4711/cgroup",
	    "9:name=systemd:/\n8:pids:/\n6:freezer:" V1_STEP "\n5:devices:" V1_STEP "/task_0\n"
	    "4:memory:" V1_STEP "/task_0\n3:cpuset:" V1_STEP "\n2:cpu,cpuacct:" V1_STEP
	    "/task_0\n0::/\n");
	put(root, "/sys/fs/cgroup/freezer" V1_STEP "/cgroup.procs", "");
	put(root, "/sys/fs/cgroup/devices" V1_STEP "/task_0/cgroup.procs", "");
	put(root, "/sys/fs/cgroup/memory" V1_STEP "/task_0/cgroup.procs", "");
	put(root, "/sys/fs/cgroup/cpuset" V1_STEP "/cgroup.procs", "");
	put(root, "/sys/fs/cgroup/cpuset" V1_STEP "/cpuset.cpus", "0-1\n");
	put(root, "/sys/fs/cgroup/cpu,cpuacct" V1_STEP "/task_0/cgroup.procs", "");
}

static void test_v1(void **state)
{
	struct vmj_error err = {.code = 0};
	struct vmj_cgroups c;
	char cpus[64];

	make_v1(*state);
	assert_done(vmj_cgroups_of_task(*state, TASK, JOB, &c, &err), err);
	assert_int_equal(c.version, 1);
	assert_int_equal(c.n, 5);
	assert_done(vmj_cgroups_cpuset(&c, cpus, sizeof(cpus), &err), err);
	assert_string_equal(cpus, "0-1");
	put(*state, "/sys/fs/cgroup/cpuset" V1_STEP "/cpuset.effective_cpus", "1\n");
	assert_done(vmj_cgroups_cpuset(&c, cpus, sizeof(cpus), &err), err);
	assert_string_equal(cpus, "1");
}

static void test_v1_join(void **state)
{
	static const char *const files[] = {"/sys/fs/cgroup/freezer" V1_STEP "/cgroup.procs",
					    "/sys/fs/cgroup/devices" V1_STEP "/task_0/cgroup.procs",
					    "/sys/fs/cgroup/memory" V1_STEP "/task_0/cgroup.procs",
					    "/sys/fs/cgroup/cpuset" V1_STEP "/cgroup.procs",
					    "/sys/fs/cgroup/cpu,cpuacct" V1_STEP
					    "/task_0/cgroup.procs"};
	struct vmj_error err = {.code = 0};
	struct vmj_cgroups c;

	make_v1(*state);
	assert_done(vmj_cgroups_of_task(*state, TASK, JOB, &c, &err), err);
	assert_done(vmj_cgroups_join(&c, 999, &err), err);
	for (size_t i = 0; i < 5; i++) {
		vmj_autofree char *text = get(*state, files[i]);

		assert_string_equal(text, "999");
	}
}

#define V2_STEP "/system.slice/slurmstepd.scope/job_5/step_batch/user/task_0"

static void make_v2(const char *root, const char *path)
{
	vmj_autofree char *line = NULL, *procs = NULL, *cpus = NULL;

	assert_true(asprintf(&line, "0::%s\n", path) > 0);
	assert_true(asprintf(&procs, "/sys/fs/cgroup%s/cgroup.procs", path) > 0);
	assert_true(asprintf(&cpus, "/sys/fs/cgroup%s/cpuset.cpus.effective", path) > 0);
	put(root, "/proc/4711/cgroup", line);
	put(root, "/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n");
	put(root, procs, "");
	put(root, cpus, "2-3,7\n");
}

static void test_v2(void **state)
{
	struct vmj_error err = {.code = 0};
	vmj_autofree char *text = NULL;
	struct vmj_cgroups c;
	char cpus[64], tiny[4];

	make_v2(*state, V2_STEP);
	assert_done(vmj_cgroups_of_task(*state, TASK, JOB, &c, &err), err);
	assert_int_equal(c.version, 2);
	assert_int_equal(c.n, 1);
	assert_done(vmj_cgroups_cpuset(&c, cpus, sizeof(cpus), &err), err);
	assert_string_equal(cpus, "2-3,7");
	assert_refused(vmj_cgroups_cpuset(&c, tiny, sizeof(tiny), &err), err, E2BIG, "too long");
	assert_done(vmj_cgroups_join(&c, 999, &err), err);
	text = get(*state, "/sys/fs/cgroup" V2_STEP "/cgroup.procs");
	assert_string_equal(text, "999");
}

static void test_v2_without_cpuset(void **state)
{
	struct vmj_error err = {.code = 0};
	vmj_autofree char *path = NULL;
	struct vmj_cgroups c;
	char cpus[64] = "x";

	make_v2(*state, V2_STEP);
	assert_true(asprintf(&path, "%s/sys/fs/cgroup" V2_STEP "/cpuset.cpus.effective",
			     (char *)*state) > 0);
	assert_int_equal(unlink(path), 0);
	assert_done(vmj_cgroups_of_task(*state, TASK, JOB, &c, &err), err);
	assert_done(vmj_cgroups_cpuset(&c, cpus, sizeof(cpus), &err), err);
	assert_string_equal(cpus, "");
}

/* The controller was passed down to the step only. */
static void test_v2_cpuset_above(void **state)
{
	struct vmj_error err = {.code = 0};
	vmj_autofree char *path = NULL;
	struct vmj_cgroups c;
	char cpus[64];

	make_v2(*state, V2_STEP);
	assert_true(asprintf(&path, "%s/sys/fs/cgroup" V2_STEP "/cpuset.cpus.effective",
			     (char *)*state) > 0);
	assert_int_equal(unlink(path), 0);
	put(*state, "/sys/fs/cgroup/system.slice/slurmstepd.scope/cpuset.cpus.effective", "0-99\n");
	put(*state,
	    "/sys/fs/cgroup/system.slice/slurmstepd.scope/job_5/step_batch/cpuset.cpus.effective",
	    "4-5\n");
	assert_done(vmj_cgroups_of_task(*state, TASK, JOB, &c, &err), err);
	assert_done(vmj_cgroups_cpuset(&c, cpus, sizeof(cpus), &err), err);
	assert_string_equal(cpus, "4-5");
}

static void test_other_forms(void **state)
{
	static const char *const paths[] = {
		"/system.slice/n1_slurmstepd.scope/job_5/step_0/user/task_3",
		"/docker/ab12/system.slice/slurmstepd.scope/job_5/step_extern/user",
		"/slurm_n1/uid_0/job_5/step_4294967290"};

	for (size_t i = 0; i < 3; i++) {
		struct vmj_error err = {.code = 0};
		struct vmj_cgroups c;

		make_v2(*state, paths[i]);
		assert_done(vmj_cgroups_of_task(*state, TASK, JOB, &c, &err), err);
		assert_int_equal(c.n, 1);
	}
}

static void test_not_of_the_job(void **state)
{
	static const char *const paths[] = {
		"/system.slice/slurmstepd.scope/job_6/step_batch/user/task_0",
		"/user.slice/user-1000.slice/session-1.scope",
		"/",
		"/user.slice/job_5/step_batch",
		"/system.slice/myslurmstepd.scope/job_5/step_batch",
		"/system.slice/slurmstepd.scope/x/job_5/step_batch",
		"/system.slice/slurmstepd.scope/job_5",
		"/system.slice/slurmstepd.scope/job_5/x/step_batch",
		"/system.slice/slurmstepd.scope/job_05x/step_batch",
		"/system.slice/slurmstepd.scope/job_5/step_0/../../job_6/step_0",
		"/slurmy/uid_1/job_5/step_0",
		"/../slurm/uid_1/job_5/step_0"};

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		vmj_autofree char *line = NULL;
		struct vmj_error err = {.code = 0};
		struct vmj_cgroups c = {.n = 99};

		assert_true(asprintf(&line, "0::%s\n", paths[i]) > 0);
		put(*state, "/proc/4711/cgroup", line);
		assert_user_refused(vmj_cgroups_of_task(*state, TASK, JOB, &c, &err), err, EPERM,
				    "step of job 5");
		assert_int_equal(c.n, 99);
	}
}

/* One hierarchy of another job spoils all. */
static void test_two_jobs(void **state)
{
	struct vmj_error err = {.code = 0};
	struct vmj_cgroups c;

	put(*state, "/proc/4711/cgroup",
	    "4:memory:/slurm/uid_1/job_5/step_0\n3:cpuset:/slurm/uid_1/job_6/step_0\n");
	assert_user_refused(vmj_cgroups_of_task(*state, TASK, JOB, &c, &err), err, EPERM, "job 5");
}

static void test_gone(void **state)
{
	struct vmj_error err = {.code = 0};
	struct vmj_cgroups c;

	assert_user_refused(vmj_cgroups_of_task(*state, TASK, JOB, &c, &err), err, ESRCH, "4711");
	make_v2(*state, V2_STEP);
	assert_done(vmj_cgroups_of_task(*state, TASK, JOB, &c, &err), err);
	snprintf(c.paths[0], sizeof(c.paths[0]), "%s/none", (char *)*state);
	assert_refused(vmj_cgroups_join(&c, 999, &err), err, ENOENT, "cannot join");
}

static void test_garbage(void **state)
{
	struct vmj_error err = {.code = 0};
	struct vmj_cgroups c;
	char text[8192];
	uint64_t seed = 7;

	for (int round = 0; round < 200; round++) {
		for (size_t i = 0; i < sizeof(text) - 1; i++)
			text[i] = "0:/\njob_5slurm"[unit_random(&seed) % 14];
		text[sizeof(text) - 1] = '\0';
		put(*state, "/proc/4711/cgroup", text);
		assert_true(vmj_cgroups_of_task(*state, TASK, JOB, &c, &err) < 0);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, unit_make_dir, unit_remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_v1),
		TEST(test_v1_join),
		TEST(test_v2),
		TEST(test_v2_without_cpuset),
		TEST(test_v2_cpuset_above),
		TEST(test_other_forms),
		TEST(test_not_of_the_job),
		TEST(test_two_jobs),
		TEST(test_gone),
		TEST(test_garbage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
