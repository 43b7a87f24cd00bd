/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "plugins/job_submit/shape.h"

static uint32_t value32(uint32_t v, uint32_t otherwise)
{
	return v == NO_VAL || v == INFINITE || v == 0 ? otherwise : v;
}

static uint32_t value16(uint16_t v, uint32_t otherwise)
{
	return v == NO_VAL16 || v == INFINITE16 || v == 0 ? otherwise : v;
}

static uint32_t share(uint32_t n, uint32_t nodes)
{
	return n / nodes + (n % nodes ? 1 : 0);
}

static uint32_t at_least(uint64_t a, uint32_t b)
{
	return a > UINT32_MAX ? UINT32_MAX : a > b ? (uint32_t)a : b;
}

static uint32_t cpus_per_node(const job_desc_msg_t *job, uint32_t nodes)
{
	uint32_t tasks = share(value32(job->num_tasks, nodes), nodes);
	uint32_t per_task = value16(job->cpus_per_task, 1), cpus;

	tasks = value16(job->ntasks_per_node, tasks);
	cpus = at_least((uint64_t)tasks * per_task, 1);
	cpus = at_least(value16(job->pn_min_cpus, 1), cpus);
	return at_least(share(value32(job->min_cpus, 1), nodes), cpus);
}

uint64_t vmj_job_memory(uint64_t pn_min_memory, uint32_t cpus)
{
	uint64_t mib = pn_min_memory & ~MEM_PER_CPU;

	if (pn_min_memory == NO_VAL64)
		return 0;
	if (!(pn_min_memory & MEM_PER_CPU))
		return mib;
	return mib > UINT64_MAX / cpus ? UINT64_MAX : mib * cpus;
}

void vmj_job_shape(const job_desc_msg_t *job, struct vmj_job_shape *ret)
{
	uint32_t nodes = value32(job->min_nodes, 1);

	*ret = (struct vmj_job_shape){.nodes = nodes, .has_script = job->script != NULL};
	ret->cpus_per_node = cpus_per_node(job, nodes);
	ret->mem_per_node_mib = vmj_job_memory(job->pn_min_memory, ret->cpus_per_node);
}
