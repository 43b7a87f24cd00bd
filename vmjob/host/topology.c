/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hwloc's logical order of processing units is socket by socket, core by core, thread by thread,
 * whatever numbers the kernel gave them. It is Slurm's abstract order too ("block"), and the order
 * in which a guest's vCPUs fill its sockets, cores and threads. So the i-th vCPU belongs on the
 * i-th unit of the job, in that order.
 */
#include "vmjob/host/topology.h"

#include <errno.h>
#include <hwloc.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/parse.h"

#define CPU_MAX 65535 /* of a list; the kernel's own limit is 8192 */

struct vmj_topology {
	hwloc_topology_t hw;
};

static inline void bitmap_freep(hwloc_bitmap_t *b)
{
	hwloc_bitmap_free(*b);
}
#define auto_bitmap VMJ_CLEANUP(bitmap_freep)

int vmj_topology_load(const char *synthetic, struct vmj_topology **ret, struct vmj_error *err)
{
	struct vmj_topology *t = calloc(1, sizeof(*t));

	if (!t || hwloc_topology_init(&t->hw) < 0) {
		free(t);
		return vmj_fail(err, ENOMEM, "out of memory");
	}
	/* The agent itself may be confined to some CPUs. */
	hwloc_topology_set_flags(t->hw, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED);
	if ((synthetic && hwloc_topology_set_synthetic(t->hw, synthetic) < 0) ||
	    hwloc_topology_load(t->hw) < 0) {
		vmj_topology_free(t);
		return vmj_fail(err, EINVAL, "hwloc cannot load %s",
				synthetic ? synthetic : "this host's topology");
	}
	*ret = t;
	return 0;
}

void vmj_topology_free(struct vmj_topology *t)
{
	if (!t)
		return;
	hwloc_topology_destroy(t->hw);
	free(t);
}

unsigned int vmj_topology_pus(const struct vmj_topology *t)
{
	int n = hwloc_get_nbobjs_by_type(t->hw, HWLOC_OBJ_PU);

	return n > 0 ? (unsigned int)n : 0;
}

static bool parse_number(const char **p, unsigned int *ret)
{
	unsigned int v = 0;

	if (**p < '0' || **p > '9')
		return false;
	for (; **p >= '0' && **p <= '9'; (*p)++) {
		v = 10 * v + (unsigned int)(**p - '0');
		if (v > CPU_MAX)
			return false;
	}
	*ret = v;
	return true;
}

/* "0-3,8", "" too. *ret is the caller's. */
static int parse_list(const char *text, hwloc_bitmap_t *ret, struct vmj_error *err)
{
	auto_bitmap hwloc_bitmap_t b = hwloc_bitmap_alloc();
	const char *p = text;
	char quoted[80];

	if (!b)
		return vmj_fail(err, ENOMEM, "out of memory");
	while (*p) {
		unsigned int first, last;
		bool good = parse_number(&p, &first);

		last = first;
		if (good && *p == '-') {
			p++;
			good = parse_number(&p, &last) && last >= first;
		}
		if (good && *p == ',' && p[1])
			p++;
		else if (*p)
			good = false;
		if (!good)
			return vmj_fail(err, EINVAL, "\"%s\" is not a list of CPUs such as 0-3,8",
					vmj_quote(text, quoted, sizeof(quoted)));
		hwloc_bitmap_set_range(b, first, (int)last);
	}
	*ret = vmj_steal(b);
	return 0;
}

static int format_list(hwloc_const_bitmap_t b, char *ret, size_t size)
{
	int n = hwloc_bitmap_list_snprintf(ret, size, b);

	if (n >= 0 && (size_t)n < size)
		return 0;
	ret[0] = '\0';
	return -E2BIG;
}

int vmj_cpus_to_map(const char *cpus, unsigned char *ret_map, size_t size, struct vmj_error *err)
{
	auto_bitmap hwloc_bitmap_t b = NULL;
	int last, rc = parse_list(cpus, &b, err);
	unsigned int i;

	if (rc < 0)
		return rc;
	last = hwloc_bitmap_last(b);
	if (last < 0)
		return 0;
	if ((size_t)last / 8 >= size)
		return vmj_fail(err, ERANGE, "CPU %d is beyond what can be pinned to", last);
	memset(ret_map, 0, size);
	hwloc_bitmap_foreach_begin(i, b) ret_map[i / 8] |= (unsigned char)(1u << (i % 8));
	hwloc_bitmap_foreach_end();
	return last / 8 + 1;
}

int vmj_topology_from_slurm(const struct vmj_topology *t, const char *slurm_cpus, char *ret_cpus,
			    size_t size, struct vmj_error *err)
{
	auto_bitmap hwloc_bitmap_t abstract = NULL, os = hwloc_bitmap_alloc();
	unsigned int i;
	int rc;

	if (!os)
		return vmj_fail(err, ENOMEM, "out of memory");
	rc = parse_list(slurm_cpus, &abstract, err);
	if (rc < 0)
		return rc;
	hwloc_bitmap_foreach_begin(i, abstract)
	{
		hwloc_obj_t pu = hwloc_get_obj_by_type(t->hw, HWLOC_OBJ_PU, i);

		if (pu)
			hwloc_bitmap_set(os, pu->os_index);
	}
	hwloc_bitmap_foreach_end();
	if (format_list(os, ret_cpus, size) < 0)
		return vmj_fail(err, E2BIG, "the job's list of CPUs is too long");
	return 0;
}

/* The job's units in logical order. *ret: the caller's; the number returned. */
static int units_of(const struct vmj_topology *t, const char *cpus, hwloc_obj_t **ret,
		    struct vmj_error *err)
{
	auto_bitmap hwloc_bitmap_t b = NULL;
	hwloc_obj_t *units, pu = NULL;
	int n = 0, rc = parse_list(cpus, &b, err);

	if (rc < 0)
		return rc;
	units = calloc(vmj_topology_pus(t) + 1, sizeof(*units));
	if (!units)
		return vmj_fail(err, ENOMEM, "out of memory");
	while ((pu = hwloc_get_next_obj_by_type(t->hw, HWLOC_OBJ_PU, pu)))
		if (hwloc_bitmap_isset(b, pu->os_index))
			units[n++] = pu;
	*ret = units;
	return n;
}

/* Of an ancestor of that type; -1 where there is none. */
static int ancestor_index(const struct vmj_topology *t, hwloc_obj_t pu, hwloc_obj_type_t type)
{
	hwloc_obj_t o = hwloc_get_ancestor_obj_by_type(t->hw, type, pu);

	return o ? (int)o->logical_index : -1;
}

/* NUMA nodes are beside the tree of CPUs in hwloc, not above. -1: none. */
static int node_of(const struct vmj_topology *t, hwloc_obj_t pu)
{
	int node = hwloc_bitmap_first(pu->nodeset);

	return node;
}

typedef int (*group_fn)(const struct vmj_topology *t, hwloc_obj_t pu);

static int package_of(const struct vmj_topology *t, hwloc_obj_t pu)
{
	return ancestor_index(t, pu, HWLOC_OBJ_PACKAGE);
}

static int core_of(const struct vmj_topology *t, hwloc_obj_t pu)
{
	return ancestor_index(t, pu, HWLOC_OBJ_CORE);
}

/* Into how many runs of equal length the first n units fall; 1 if they do not. */
static unsigned int equal_groups(const struct vmj_topology *t, hwloc_obj_t *units, unsigned int n,
				 group_fn group)
{
	unsigned int groups = 1, length;

	for (unsigned int i = 1; i < n; i++)
		groups += group(t, units[i]) != group(t, units[i - 1]);
	if (n % groups)
		return 1;
	length = n / groups;
	for (unsigned int i = 0; i < n; i++)
		if (group(t, units[i]) != group(t, units[i - i % length]))
			return 1;
	return groups;
}

/* Threads of a core, if each core came whole; else 1. */
static unsigned int whole_threads(const struct vmj_topology *t, hwloc_obj_t *units, unsigned int n)
{
	hwloc_obj_t core = hwloc_get_ancestor_obj_by_type(t->hw, HWLOC_OBJ_CORE, units[0]);
	unsigned int threads = core ? (unsigned int)hwloc_bitmap_weight(core->cpuset) : 1;

	if (threads < 2 || n % threads || equal_groups(t, units, n, core_of) * threads != n)
		return 1;
	return threads;
}

static void shape_cells(const struct vmj_topology *t, hwloc_obj_t *units, uint64_t memory_mib,
			struct vmj_shape *s)
{
	unsigned int cells = equal_groups(t, units, s->vcpus, node_of);
	unsigned int each = s->vcpus / cells;

	if (cells < 2 || cells > VMJ_CELLS_MAX || cells % s->sockets || memory_mib % cells)
		return;
	s->n_cells = cells;
	for (unsigned int i = 0; i < cells; i++)
		s->cells[i] = (struct vmj_cell){.first_vcpu = i * each,
						.n_vcpus = each,
						.memory_mib = memory_mib / cells,
						.host_node = node_of(t, units[i * each])};
}

int vmj_topology_shape(const struct vmj_topology *t, const char *cpus, uint32_t vcpus,
		       uint64_t memory_mib, struct vmj_shape *ret, struct vmj_error *err)
{
	struct vmj_shape s = {.vcpus = vcpus, .sockets = 1, .cores = vcpus, .threads = 1};
	vmj_autofree hwloc_obj_t *units = NULL;
	int n;

	if (vcpus == 0 || vcpus > VMJ_VCPUS_MAX)
		return vmj_fail_user(err, ERANGE, "a guest has 1 to %d vCPUs, not %" PRIu32,
				     VMJ_VCPUS_MAX, vcpus);
	n = units_of(t, cpus, &units, err);
	if (n < 0)
		return n;
	if ((uint32_t)n >= vcpus) {
		s.threads = whole_threads(t, units, vcpus);
		s.sockets = equal_groups(t, units, vcpus, package_of);
		s.cores = vcpus / s.sockets / s.threads;
		shape_cells(t, units, memory_mib, &s);
	}
	*ret = s;
	return 0;
}

int vmj_topology_pins(const struct vmj_topology *t, const char *cpus, const struct vmj_shape *shape,
		      char (*ret_pins)[64], char *ret_emulator, size_t emulator_size,
		      struct vmj_error *err)
{
	auto_bitmap hwloc_bitmap_t all = hwloc_bitmap_alloc();
	vmj_autofree hwloc_obj_t *units = NULL;
	int n;

	if (!all)
		return vmj_fail(err, ENOMEM, "out of memory");
	n = units_of(t, cpus, &units, err);
	if (n < 0)
		return n;
	for (int i = 0; i < n; i++)
		hwloc_bitmap_set(all, units[i]->os_index);
	for (uint32_t i = 0; i < shape->vcpus; i++)
		if ((uint32_t)n >= shape->vcpus)
			snprintf(ret_pins[i], sizeof(ret_pins[i]), "%u", units[i]->os_index);
		else
			format_list(all, ret_pins[i], sizeof(ret_pins[i])); /* too long: unpinned */
	format_list(all, ret_emulator, emulator_size);
	return 0;
}
