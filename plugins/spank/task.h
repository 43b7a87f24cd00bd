/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * In slurmstepd, as the job's user, just before the task is executed: put vmjob-step into the
 * task's place.
 *
 * Done for tasks whose environment has the request: the batch task, and the first task on each node
 * of a step (salloc, srun). Not for the extern step, nor for salloc's interactive shell, which is
 * the user's own. A job without guest costs one look at its environment.
 *
 * The program's name in the task's argument vector is replaced, rather than vmjob-step executed
 * from here: so all that slurmstepd does between this hook and execve() is done for a guest's job
 * too (TaskProlog, resource limits, SELinux context, TMPDIR). The vector is the task's own on 22.05
 * to 26.05, except with srun --multi-prog. What was to run goes on in two variables.
 */
#ifndef VMJ_SPANK_TASK_H
#define VMJ_SPANK_TASK_H

#include <slurm/spank.h>

/* 0, or -1 after slurm_error(): the job fails with the sentence in its output. */
int vmj_task_init(spank_t sp);

#endif
