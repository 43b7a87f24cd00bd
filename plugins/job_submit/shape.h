/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pure: how large a job is on each node, as far as its description says. Public headers only. */
#ifndef VMJ_JOB_SUBMIT_SHAPE_H
#define VMJ_JOB_SUBMIT_SHAPE_H

#include <slurm/slurm.h>

#include "vmjob/policy/admission.h"

/* CPUs on each node: the most that any of these asks for, each NO_VAL where not given.
 *   tasks on a node (--ntasks-per-node, else -n over -N, rounded up) times -c
 *   --mincpus
 *   the job's least number of CPUs over -N, rounded up
 * With a range of nodes (-N 2-4) the smaller number counts, so that the guest is as large as it may
 * become. --exclusive and CR_Core may give the job more CPUs; the guest then has spare ones.
 *
 * Memory on each node in MiB: --mem, or --mem-per-cpu times the CPUs above; 0 where not given, and
 * for --mem=0 (all of the node's), which leaves the guest's size to --vm-memory. */
void vmj_job_shape(const job_desc_msg_t *job, struct vmj_job_shape *ret);

/* Memory of a description, given the CPUs on a node: MiB, 0 as above. */
uint64_t vmj_job_memory(uint64_t pn_min_memory, uint32_t cpus_per_node);

#endif
