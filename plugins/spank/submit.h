/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * At submit: options and variables in, request out.
 *
 * An option on the command line or in an #SBATCH line wins over its VMJOB_* variable; of options
 * that repeat, all are taken, in their order. The request goes into the job's control environment
 * as VMJOB_REQUEST, and user data beside it as VMJOB_USER_DATA, from where job_submit, prolog and
 * epilog have them.
 *
 * Nothing of this may reach a job that is submitted from inside a guest's job: the VMJOB_*
 * variables that were read, and what Slurm itself left of an outer job's options and request, are
 * removed from the environment of the submitting command, hence from the new job's. Inside an
 * allocation srun makes a step of a job that is what it is, so there the variables are ignored and
 * the options are refused.
 */
#ifndef VMJ_SPANK_SUBMIT_H
#define VMJ_SPANK_SUBMIT_H

#include <slurm/spank.h>

/* Register --vm-*. 0, or -1 after slurm_error(). Bad values end the submitting command with exit
 * code 1 and one sentence, from the options' callback or from vmj_submit_finish(). */
int vmj_submit_register(spank_t sp);
/* slurm_spank_init of sbatch, salloc, srun: register, and take the variables. */
int vmj_submit_init(spank_t sp);
/* slurm_spank_init_post_opt, once for each component of a heterogeneous job: check, and store the
 * request. */
int vmj_submit_finish(spank_t sp);

#endif
