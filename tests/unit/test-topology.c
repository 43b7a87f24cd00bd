/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>

#include "vmjob/host/topology.h"

static struct vmj_topology *load(const char *synthetic)
{
	struct vmj_error err = {.code = 0};
	struct vmj_topology *t = NULL;

	assert_done(vmj_topology_load(synthetic, &t, &err), err);
	return t;
}

static struct vmj_shape shape(struct vmj_topology *t, const char *cpus, uint32_t vcpus,
			      uint64_t memory_mib)
{
	struct vmj_error err = {.code = 0};
	struct vmj_shape s;

	assert_done(vmj_topology_shape(t, cpus, vcpus, memory_mib, &s, &err), err);
	assert_int_equal(s.vcpus, vcpus);
	assert_int_equal(s.sockets * s.cores * s.threads, vcpus);
	return s;
}

static void assert_shape(struct vmj_shape s, uint32_t sockets, uint32_t cores, uint32_t threads,
			 unsigned int cells)
{
	assert_int_equal(s.sockets, sockets);
	assert_int_equal(s.cores, cores);
	assert_int_equal(s.threads, threads);
	assert_int_equal(s.n_cells, cells);
}

#define NODES2 "package:2 numa:1 core:4 pu:2" /* 16 units; 0-7 in package 0 */

static void test_this_host(void **state)
{
	struct vmj_topology *t = load(NULL);

	assert_true(vmj_topology_pus(t) > 0);
	assert_shape(shape(t, "", 3, 1024), 1, 3, 1, 0);
	vmj_topology_free(t);
	vmj_topology_free(NULL);
}

static void test_bad_synthetic(void **state)
{
	struct vmj_error err = {.code = 0};
	struct vmj_topology *t = NULL;

	assert_refused(vmj_topology_load("nonsense", &t, &err), err, EINVAL, "nonsense");
	assert_null(t);
}

static void test_flat(void **state)
{
	struct vmj_topology *t = load("package:1 core:4 pu:1");

	assert_int_equal(vmj_topology_pus(t), 4);
	assert_shape(shape(t, "0-3", 4, 1024), 1, 4, 1, 0);
	assert_shape(shape(t, "0-1", 4, 1024), 1, 4, 1, 0);     /* fewer CPUs than vCPUs */
	assert_shape(shape(t, "100-110", 2, 1024), 1, 2, 1, 0); /* none of this machine's */
	vmj_topology_free(t);
}

static void test_threads(void **state)
{
	struct vmj_topology *t = load(NODES2);

	assert_shape(shape(t, "0-3", 4, 1024), 1, 2, 2, 0);   /* two whole cores */
	assert_shape(shape(t, "0-2", 3, 1024), 1, 3, 1, 0);   /* one and a half */
	assert_shape(shape(t, "0,2,4", 3, 1024), 1, 3, 1, 0); /* one thread of each */
	assert_shape(shape(t, "0-7", 2, 1024), 1, 1, 2, 0);   /* the first two are one core */
	vmj_topology_free(t);
}

static void test_cells(void **state)
{
	struct vmj_topology *t = load(NODES2);
	struct vmj_shape s = shape(t, "0-15", 16, 4096);

	assert_shape(s, 2, 4, 2, 2);
	assert_int_equal(s.cells[0].first_vcpu, 0);
	assert_int_equal(s.cells[0].n_vcpus, 8);
	assert_int_equal(s.cells[1].first_vcpu, 8);
	assert_int_equal(s.cells[1].memory_mib, 2048);
	assert_int_equal(s.cells[0].host_node, 0);
	assert_int_equal(s.cells[1].host_node, 1);
	assert_shape(shape(t, "6-9", 4, 1024), 2, 1, 2, 2);
	assert_shape(shape(t, "6-9", 4, 1023), 2, 1, 2, 0);  /* memory does not divide */
	assert_shape(shape(t, "4-9", 6, 1024), 1, 3, 2, 0);  /* 4 and 2: CPUs do not either */
	assert_shape(shape(t, "0-15", 8, 1024), 1, 4, 2, 0); /* fit on one */
	vmj_topology_free(t);
}

static void test_nodes_within_a_package(void **state)
{
	struct vmj_topology *t = load("package:1 group:2 numa:1 core:2 pu:1");
	struct vmj_shape s = shape(t, "0-3", 4, 1024);

	assert_shape(s, 1, 4, 1, 2);
	assert_int_equal(s.cells[1].host_node, 1);
	vmj_topology_free(t);
}

static void test_shape_refused(void **state)
{
	struct vmj_topology *t = load(NODES2);
	struct vmj_error err = {.code = 0};
	struct vmj_shape s;

	assert_user_refused(vmj_topology_shape(t, "0", 0, 1024, &s, &err), err, ERANGE, "not 0");
	assert_user_refused(vmj_topology_shape(t, "0", VMJ_VCPUS_MAX + 1, 1024, &s, &err), err,
			    ERANGE, "vCPUs");
	vmj_topology_free(t);
}

/* PUs whose OS numbers are not in logical order, as on most x86 machines: threads are numbered
 * after all cores. */
#define SPREAD "package:2 core:2 pu:2(indexes=0,4,1,5,2,6,3,7)"

static void test_from_slurm(void **state)
{
	struct vmj_topology *t = load(SPREAD);
	struct vmj_error err = {.code = 0};
	char cpus[64];

	assert_done(vmj_topology_from_slurm(t, "0-1", cpus, sizeof(cpus), &err), err);
	assert_string_equal(cpus, "0,4"); /* Slurm's first core */
	assert_done(vmj_topology_from_slurm(t, "4-7", cpus, sizeof(cpus), &err), err);
	assert_string_equal(cpus, "2-3,6-7"); /* its second socket */
	assert_done(vmj_topology_from_slurm(t, "6-20", cpus, sizeof(cpus), &err), err);
	assert_string_equal(cpus, "3,7");
	assert_done(vmj_topology_from_slurm(t, "8-15", cpus, sizeof(cpus), &err), err);
	assert_string_equal(cpus, "");
	assert_done(vmj_topology_from_slurm(t, "", cpus, sizeof(cpus), &err), err);
	assert_string_equal(cpus, "");
	vmj_topology_free(t);
}

static void test_pins(void **state)
{
	struct vmj_topology *t = load(SPREAD);
	struct vmj_error err = {.code = 0};
	char pins[4][64], emulator[64];
	struct vmj_shape s = shape(t, "0-1,4-5", 4, 1024);

	assert_shape(s, 1, 2, 2, 0);
	assert_done(vmj_topology_pins(t, "0-1,4-5", &s, pins, emulator, sizeof(emulator), &err),
		    err);
	assert_string_equal(pins[0], "0"); /* the guest's first core is one core of the host */
	assert_string_equal(pins[1], "4");
	assert_string_equal(pins[2], "1");
	assert_string_equal(pins[3], "5");
	assert_string_equal(emulator, "0-1,4-5");
	vmj_topology_free(t);
}

static void test_pins_of_few_cpus(void **state)
{
	struct vmj_topology *t = load(SPREAD);
	struct vmj_error err = {.code = 0};
	char pins[4][64], emulator[64];
	struct vmj_shape s = shape(t, "0,2", 4, 1024);

	assert_done(vmj_topology_pins(t, "0,2", &s, pins, emulator, sizeof(emulator), &err), err);
	for (size_t i = 0; i < 4; i++)
		assert_string_equal(pins[i], "0,2");
	assert_done(vmj_topology_pins(t, "", &s, pins, emulator, sizeof(emulator), &err), err);
	assert_string_equal(pins[3], "");
	assert_string_equal(emulator, "");
	vmj_topology_free(t);
}

static void test_maps(void **state)
{
	struct vmj_error err = {.code = 0};
	unsigned char map[4];

	assert_int_equal(vmj_cpus_to_map("0,9-10", map, sizeof(map), &err), 2);
	assert_memory_equal(map, "\x01\x06\0\0", 4);
	assert_int_equal(vmj_cpus_to_map("", map, sizeof(map), &err), 0);
	assert_int_equal(vmj_cpus_to_map("31", map, sizeof(map), &err), 4);
	assert_refused(vmj_cpus_to_map("32", map, sizeof(map), &err), err, ERANGE, "CPU 32");
}

static void test_bad_lists(void **state)
{
	static const char *const lists[] = {"0-",    "-1", ",",          "0,", "0,,1",
					    "3-1",   "a",  "0 1",        "0x", "99999",
					    "1-2-3", " 0", "4294967296", "0\n"};
	unsigned char map[8192];

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		struct vmj_error err = {.code = 0};

		assert_refused(vmj_cpus_to_map(lists[i], map, sizeof(map), &err), err, EINVAL,
			       "not a list of CPUs");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_this_host),     cmocka_unit_test(test_bad_synthetic),
		cmocka_unit_test(test_flat),          cmocka_unit_test(test_threads),
		cmocka_unit_test(test_cells),         cmocka_unit_test(test_nodes_within_a_package),
		cmocka_unit_test(test_shape_refused), cmocka_unit_test(test_from_slurm),
		cmocka_unit_test(test_pins),          cmocka_unit_test(test_pins_of_few_cpus),
		cmocka_unit_test(test_maps),          cmocka_unit_test(test_bad_lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
