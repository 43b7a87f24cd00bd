/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What prolog and epilog need of Slurm: the job as it is on this node, and a way to say that the
 * node is not well. */
#ifndef VMJ_PROLOG_JOB_H
#define VMJ_PROLOG_JOB_H

#include <stdint.h>
#include <sys/types.h>

#include "vmjob/base/error.h"

struct vmj_slurm_job {
	uint32_t job, restart, node_index;
	uid_t uid;
	gid_t gid;
	char node[64]; /* NodeName of this host */
	char user[64];
	char cpus[256]; /* allocated here, as Slurm numbers them ("0-3,8"); "" not known */
};

/* From the environment that slurmd gives prolog and epilog: all but restart and cpus. */
int vmj_slurm_job_from_env(struct vmj_slurm_job *ret, struct vmj_error *err);

/* Ask slurmctld for the rest, again for timeout_ms while it does not answer (it may be starting
 * anew). -EIO: it does not, or does not know the job. */
int vmj_slurm_job_load(struct vmj_slurm_job *job, int timeout_ms, struct vmj_error *err);

/* Drain this node, with "vmjob: <why>" as the reason that an administrator sees. */
int vmj_slurm_drain(const char *node, const char *why, struct vmj_error *err);

#endif
