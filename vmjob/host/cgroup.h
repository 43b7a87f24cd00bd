/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Joining QEMU to the cgroups of its job's step, cgroup v1 and v2 behind one interface (FACTS:
 * Slurm then confines, accounts and ends it). The target is read from /proc/TASK/cgroup of the
 * step's task; only paths below Slurm's own (…/slurm[stepd.scope]…/job_<id>/step_…) are accepted,
 * so that a user's process cannot lead QEMU elsewhere. `root` is "/" but for tests, which point it
 * at a recorded tree.
 */
#ifndef VMJ_HOST_CGROUP_H
#define VMJ_HOST_CGROUP_H

#include <stdint.h>
#include <sys/types.h>

#include "vmjob/base/error.h"

#define VMJ_CGROUP_PATHS_MAX 16

struct vmj_cgroups {
	int version; /* 1 or 2 */
	unsigned int n;
	char paths[VMJ_CGROUP_PATHS_MAX]
		  [512]; /* directories, absolute; in v1 the task's own (task_0 where it exists) */
};

/* The Slurm cgroups of process `task`, which must belong to `job`: -EPERM (user's fault) if it does
 * not. v2: the task's leaf. */
int vmj_cgroups_of_task(const char *root, pid_t task, uint32_t job, struct vmj_cgroups *ret,
			struct vmj_error *err);
/* Move the whole process (all threads) into each. Idempotent. */
int vmj_cgroups_join(const struct vmj_cgroups *c, pid_t pid, struct vmj_error *err);
/* The CPUs that the job may use (cpuset.cpus.effective / cpuset.cpus) as the kernel's list "0-3,8",
 * and NUMA nodes; "" where no cpuset. */
int vmj_cgroups_cpuset(const struct vmj_cgroups *c, char *ret_cpus, size_t cpus_size,
		       struct vmj_error *err);

#endif
