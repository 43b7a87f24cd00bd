/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hwloc: from the CPUs that Slurm gave a job to the shape of its guest, and the pins of its
 * threads. Pure over a loaded topology (tests load synthetic ones: "node:2 core:4 pu:2").
 */
#ifndef VMJ_HOST_TOPOLOGY_H
#define VMJ_HOST_TOPOLOGY_H

#include <stdint.h>

#include "vmjob/base/error.h"
#include "vmjob/model/request.h"

#define VMJ_CELLS_MAX 16

struct vmj_topology; /* wraps hwloc_topology_t */
int vmj_topology_load(const char *synthetic, struct vmj_topology **ret,
		      struct vmj_error *err); /* NULL: this host */
void vmj_topology_free(struct vmj_topology *t);
unsigned int vmj_topology_pus(const struct vmj_topology *t);

struct vmj_cell { /* a NUMA node of the guest */
	uint32_t first_vcpu, n_vcpus;
	uint64_t memory_mib;
	int host_node; /* -1: not bound */
};

struct vmj_shape {
	uint32_t vcpus, sockets, cores, threads; /* vcpus == sockets * cores * threads */
	unsigned int n_cells;                    /* 0: no NUMA in the guest */
	struct vmj_cell cells[VMJ_CELLS_MAX];
};

/* Shape for `vcpus` on the CPUs `cpus` (kernel list of OS indexes, "" not known: flat, one socket).
 * Threads only where whole cores were given; cells where the CPUs span NUMA nodes and the vCPUs and
 * memory divide among them. */
int vmj_topology_shape(const struct vmj_topology *t, const char *cpus, uint32_t vcpus,
		       uint64_t memory_mib, struct vmj_shape *ret, struct vmj_error *err);

/* Slurm's abstract CPU numbers (block order: socket, core, thread) to the kernel's list; numbers
 * beyond this machine's are dropped ("" if all are). */
int vmj_topology_from_slurm(const struct vmj_topology *t, const char *slurm_cpus, char *ret_cpus,
			    size_t size, struct vmj_error *err);

/* Pins: one host CPU list for each vCPU (its own PU, in shape order) and one for the emulator (all
 * the job's CPUs). With fewer CPUs than vCPUs: each vCPU gets the whole list. "": not pinned (no
 * CPUs known, or a list that does not fit). ret_pins: vcpus strings of 64 bytes, caller's array. */
int vmj_topology_pins(const struct vmj_topology *t, const char *cpus, const struct vmj_shape *shape,
		      char (*ret_pins)[64], char *ret_emulator, size_t emulator_size,
		      struct vmj_error *err);

/* The kernel's list "0-3,8" as a bit map, CPU 0 in the lowest bit of the first byte. Returns the
 * bytes used; 0 for an empty list. */
int vmj_cpus_to_map(const char *cpus, unsigned char *ret_map, size_t size, struct vmj_error *err);

#endif
