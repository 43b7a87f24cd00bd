/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What belongs to nobody any more. Started on the loop's thread, done by workers.
 *
 * Leases of guests: at the agent's start, each storage is asked which of them this host holds. What
 * an earlier boot left is given back; those of guests that nobody knows go by a release of that
 * guest, after whatever still runs of it. A storage that does not answer is asked again.
 *
 * Volumes of jobs (protected guests): removed once Slurm says that the job has ended, some time
 * after a guest with such volumes was released, and after the agent's start. Any host does it for
 * all.
 */
#ifndef VMJ_AGENT_SWEEP_H
#define VMJ_AGENT_SWEEP_H

#include "vmjob/agent/agent.h"

struct vmj_sweep;
int vmj_sweep_new(struct vmj_agent *agent, struct vmj_sweep **ret, struct vmj_error *err);
void vmj_sweep_free(struct vmj_sweep *s);

void vmj_sweep_leases(struct vmj_agent *a);
void vmj_sweep_volumes_soon(struct vmj_agent *a);

#endif
