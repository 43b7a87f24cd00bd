/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "vmjob/base/parse.h"
#include "vmjob/step/names.h"
#include "vmjob/step/others.h"

#define NODES_MAX 65536

static uint64_t number_of_nodes(void)
{
	const char *text = getenv("SLURM_JOB_NUM_NODES");
	uint64_t nodes = 1;

	if (text)
		vmj_parse_u64("SLURM_JOB_NUM_NODES", text, 1, NODES_MAX, &nodes, NULL);
	return nodes;
}

bool vmj_others_needed(void)
{
	return getenv(VMJ_STEP_BATCH_ENV) && number_of_nodes() > 1;
}

int vmj_others_start(sd_event *event, vmj_child_ended_fn ended, void *arg, struct vmj_child **ret,
		     struct vmj_error *err)
{
	char nodes[32], tasks[32];
	uint64_t n = number_of_nodes() - 1;
	char *argv[] = {
		"srun",
		"--overlap",
		"--mem=0",
		"--relative=1",
		nodes,
		tasks,
		"--ntasks-per-node=1",
		"--kill-on-bad-exit=0",
		"--wait=0",
		"--input=none",
		"--quiet",
		"--job-name=vmjob",
		VMJ_PKGLIBEXECDIR "/vmjob-step",
		"--guest-only",
		NULL,
	};

	snprintf(nodes, sizeof(nodes), "--nodes=%llu", (unsigned long long)n);
	snprintf(tasks, sizeof(tasks), "--ntasks=%llu", (unsigned long long)n);
	return vmj_child_start(event, argv, ended, arg, ret, err);
}
