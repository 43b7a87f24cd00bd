/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A job on several nodes has a guest on each. The batch task is on the first; it starts the
 * stand-ins of the others as one step, `srun … vmjob-step --guest-only`, which overlaps with
 * whatever the script starts, and has the job's whole memory and CPUs there.
 */
#ifndef VMJ_STEP_OTHERS_H
#define VMJ_STEP_OTHERS_H

#include <stdbool.h>

#include "vmjob/step/child.h"

/* Is this the batch task of a job of more than one node? From the environment. */
bool vmj_others_needed(void);

/* srun is told SIGUSR1 to end the guests in order (it forwards that; SIGTERM would kill the step).
 */
#define VMJ_OTHERS_STOP_SIGNAL SIGUSR1

int vmj_others_start(sd_event *event, vmj_child_ended_fn ended, void *arg, struct vmj_child **ret,
		     struct vmj_error *err);

#endif
