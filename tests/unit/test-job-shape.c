/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How large a job is on each node, from its description; and what its environments may carry. */
#include "plugins/job_submit/carrier.h"
#include "plugins/job_submit/shape.h"
#include "tests/unit/unit.h"

/* As slurm_init_job_desc_msg() leaves them. */
#define NOT_GIVEN                                                                 \
	.min_nodes = NO_VAL, .num_tasks = NO_VAL, .cpus_per_task = NO_VAL16,      \
	.ntasks_per_node = NO_VAL16, .pn_min_cpus = NO_VAL16, .min_cpus = NO_VAL, \
	.pn_min_memory = NO_VAL64

#pragma GCC diagnostic ignored "-Woverride-init"
#ifdef __clang__
#pragma clang diagnostic ignored "-Winitializer-overrides"
#endif

static const struct {
	const char *what;
	job_desc_msg_t job;
	uint32_t nodes, cpus;
	uint64_t memory;
} shapes[] = {
	{"nothing asked", {NOT_GIVEN}, 1, 1, 0},
	{"-c 4", {NOT_GIVEN, .cpus_per_task = 4}, 1, 4, 0},
	{"-c 4 as sbatch sends it",
	 {NOT_GIVEN, .cpus_per_task = 4, .num_tasks = 1, .min_cpus = 4, .min_nodes = 1},
	 1,
	 4,
	 0},
	{"-n 6", {NOT_GIVEN, .num_tasks = 6, .min_cpus = 6}, 1, 6, 0},
	{"-n 2 -c 3", {NOT_GIVEN, .num_tasks = 2, .cpus_per_task = 3}, 1, 6, 0},
	{"-N 2 -n 3", {NOT_GIVEN, .min_nodes = 2, .num_tasks = 3}, 2, 2, 0},
	{"-N 4", {NOT_GIVEN, .min_nodes = 4}, 4, 1, 0},
	{"-N 2 --ntasks-per-node=3 -c 2",
	 {NOT_GIVEN, .min_nodes = 2, .ntasks_per_node = 3, .cpus_per_task = 2},
	 2,
	 6,
	 0},
	{"--ntasks-per-node wins over -n",
	 {NOT_GIVEN, .num_tasks = 8, .ntasks_per_node = 2},
	 1,
	 2,
	 0},
	{"--mincpus", {NOT_GIVEN, .pn_min_cpus = 5}, 1, 5, 0},
	{"least CPUs of the job", {NOT_GIVEN, .min_nodes = 3, .min_cpus = 10}, 3, 4, 0},
	{"zeros are not counts",
	 {NOT_GIVEN, .num_tasks = 0, .cpus_per_task = 0, .min_nodes = 0, .ntasks_per_node = 0},
	 1,
	 1,
	 0},
	{"infinite is not a count",
	 {NOT_GIVEN, .num_tasks = INFINITE, .cpus_per_task = INFINITE16},
	 1,
	 1,
	 0},
	{"too many to multiply",
	 {NOT_GIVEN, .num_tasks = 0xfffffff0, .cpus_per_task = 1000},
	 1,
	 UINT32_MAX,
	 0},
	{"--mem=512", {NOT_GIVEN, .pn_min_memory = 512}, 1, 1, 512},
	{"--mem=0", {NOT_GIVEN, .pn_min_memory = 0}, 1, 1, 0},
	{"--mem-per-cpu=100 -c 4",
	 {NOT_GIVEN, .cpus_per_task = 4, .pn_min_memory = MEM_PER_CPU | 100},
	 1,
	 4,
	 400},
	{"--mem-per-cpu, overflow",
	 {NOT_GIVEN, .cpus_per_task = 4, .pn_min_memory = MEM_PER_CPU | (INT64_MAX - 5)},
	 1,
	 4,
	 UINT64_MAX},
};

static void test_shapes(void **state)
{
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		struct vmj_job_shape got;

		vmj_job_shape(&shapes[i].job, &got);
		if (got.nodes != shapes[i].nodes || got.cpus_per_node != shapes[i].cpus ||
		    got.mem_per_node_mib != shapes[i].memory)
			fail_msg("%s: %u nodes, %u CPUs, %llu MiB", shapes[i].what, got.nodes,
				 got.cpus_per_node, (unsigned long long)got.mem_per_node_mib);
	}
}

static void test_carried(void **state)
{
	static const struct {
		const char *entry;
		enum vmj_carried kind;
	} cases[] = {
		{NULL, VMJ_CARRIED_OTHER},
		{"", VMJ_CARRIED_OTHER},
		{"PATH=/bin", VMJ_CARRIED_OTHER},
		{"X11VMJOB_REQUEST={}", VMJ_CARRIED_OTHER},
		{"SPANK_OTHER=1", VMJ_CARRIED_OTHER},
		{"VMJOB_REQUEST={}", VMJ_CARRIED_REQUEST},
		{"VMJOB_REQUEST=", VMJ_CARRIED_REQUEST},
		{"VMJOB_REQUEST", VMJ_CARRIED_LITTER},
		{"VMJOB_USER_DATA=", VMJ_CARRIED_USER_DATA},
		{"VMJOB_USER_DATA=IyEvYmluL3NoCg==", VMJ_CARRIED_USER_DATA},
		{"VMJOB_USER_DATA", VMJ_CARRIED_LITTER},
		{"VMJOB_USER_DATA2=a", VMJ_CARRIED_LITTER},
		{"VMJOB_REQUESTS={}", VMJ_CARRIED_LITTER},
		{"VMJOB_IMAGE=a", VMJ_CARRIED_LITTER},
		{"_SLURM_SPANK_OPTION_vmjob_vm_image=a", VMJ_CARRIED_LITTER},
		{"SPANK__SLURM_SPANK_OPTION_vmjob_vm_image=a", VMJ_CARRIED_LITTER},
		{"_SLURM_SPANK_OPTION_other_x=a", VMJ_CARRIED_OTHER},
		{"SPANK_VMJOB_REQUEST={}", VMJ_CARRIED_FORGED},
		{"SPANK_VMJOB_USER_DATA=a", VMJ_CARRIED_FORGED},
		{"SPANK_VMJOB_", VMJ_CARRIED_FORGED},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(vmj_carried_kind(cases[i].entry), cases[i].kind);
}

static void test_stand_in_variables(void **state)
{
	assert_true(vmj_is_stand_in_variable("SLURM_SPANK_VMJOB_REQUEST={}"));
	assert_true(vmj_is_stand_in_variable("SLURM_SPANK_VMJOB_USER_DATA=a"));
	assert_true(vmj_is_stand_in_variable("SLURM_SPANK__SLURM_SPANK_OPTION_vmjob_vm_net=lan"));
	assert_true(vmj_is_stand_in_variable("_SLURM_SPANK_OPTION_vmjob_vm_image=a"));
	assert_false(vmj_is_stand_in_variable("SLURM_SPANK_OTHER=1"));
	assert_false(vmj_is_stand_in_variable("VMJOB_IMAGE=a"));
	assert_false(vmj_is_stand_in_variable(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shapes),
		cmocka_unit_test(test_carried),
		cmocka_unit_test(test_stand_in_variables),
	};

	return cmocka_run_group_tests_name("job-shape", tests, NULL, NULL);
}
