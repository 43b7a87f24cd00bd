/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The SPANK plugin: --vm-* on sbatch, srun and salloc, and the guest's stand-in in the job.
 *
 * This file only routes by context. submit.c turns options and VMJOB_* variables into the request
 * (in sbatch, salloc, srun); task.c puts vmjob-step in the place of the job's task (in slurmstepd).
 *
 * Prolog and epilog hooks are left out on purpose: with them slurmd would run `slurmstepd spank
 * prolog` for every job of the cluster. vmjob-prolog and vmjob-epilog do that part.
 */
#include <slurm/spank.h>

#include "plugins/spank/submit.h"
#include "plugins/spank/task.h"

#pragma GCC visibility push(default)

SPANK_PLUGIN(vmjob, 1)

int slurm_spank_init(spank_t sp, int ac, char **av)
{
	switch (spank_context()) {
	case S_CTX_ALLOCATOR:
	case S_CTX_LOCAL:
		return vmj_submit_init(sp);
	case S_CTX_REMOTE:
		/* slurmstepd complains about options that it does not know. */
		return vmj_submit_register(sp);
	default:
		return 0;
	}
}

int slurm_spank_init_post_opt(spank_t sp, int ac, char **av)
{
	switch (spank_context()) {
	case S_CTX_ALLOCATOR:
	case S_CTX_LOCAL:
		return vmj_submit_finish(sp);
	default:
		return 0;
	}
}

int slurm_spank_task_init(spank_t sp, int ac, char **av)
{
	return vmj_task_init(sp);
}

#pragma GCC visibility pop
