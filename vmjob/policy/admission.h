/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pure: what a job_submit plugin decides about a request. No I/O, no clock, bounded time. */
#ifndef VMJ_POLICY_ADMISSION_H
#define VMJ_POLICY_ADMISSION_H

#include "vmjob/model/config.h"
#include "vmjob/model/request.h"

/*
 * Memory that QEMU needs beyond the guest's own, MiB:
 *
 *	fixed + memory * per_mille / 1000 + vcpus * per_vcpu		(rounded up)
 *
 * with defaults of 160, 8 and 4 (vmjob.conf, section overhead). fixed: QEMU itself, its device
 * models and, under TCG, a translation cache of 32 MiB; per_mille: page tables and dirty bitmaps;
 * per_vcpu: stacks and per-thread arenas.
 */
uint64_t vmj_overhead_mib(const struct vmj_config *c, uint64_t memory_mib, uint32_t vcpus);

/* What of the job matters here. */
struct vmj_job_shape {
	uint32_t nodes;            /* at least 1 */
	uint32_t cpus_per_node;    /* resolved from -c, -n, --ntasks-per-node; at least 1 */
	uint64_t mem_per_node_mib; /* --mem as asked; 0: not asked */
	bool has_script;           /* a batch job; salloc and srun have a command instead */
};

struct vmj_admission {
	struct vmj_request request; /* all defaults resolved but the image's revision */
	uint64_t job_mem_mib;       /* to be set as the job's memory per node: max(--mem, memory +
				       overhead) */
	bool requeue;               /* protected guests */
	char summary[VMJ_SUMMARY_MAX];
};

/*
 * Resolve defaults, check limits. Guest memory: --vm-memory, else --mem, else the default. vCPUs:
 * the job's CPUs on a node, whatever the request says (users can forge it). Script: --vm-script,
 * else the site's default for batch jobs, host for the command of salloc and srun. Volumes: of the
 * first storage where none is given; only for jobs of one node. Limits on disks count fresh ones.
 * Whether volumes and images are there is the host's to find out. Admitting what
 * was admitted changes nothing. Who may use a network is the agent's to check (it takes name
 * services). All failures are the user's fault.
 */
int vmj_admit(const struct vmj_config *c, const struct vmj_request *asked,
	      const struct vmj_job_shape *shape, struct vmj_admission *ret, struct vmj_error *err);

#endif
