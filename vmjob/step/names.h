/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the SPANK plugin tells vmjob-step about the task whose place it takes. Removed from the
 * environment before that task is run. */
#ifndef VMJ_STEP_NAMES_H
#define VMJ_STEP_NAMES_H

#define VMJ_STEP_PROGRAM_ENV "VMJOB_STEP_PROGRAM" /* the task's own argv[0] */
#define VMJ_STEP_JOB_ENV     "VMJOB_STEP_JOB" /* job id; of the component in a heterogeneous job */
#define VMJ_STEP_BATCH_ENV   "VMJOB_STEP_BATCH" /* set: this is the batch task */

#endif
