/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pure: sorting what a job's control environment ("NAME=value" strings, job_desc.spank_job_env)
 * carries. Users can write anything into it.
 */
#ifndef VMJ_JOB_SUBMIT_CARRIER_H
#define VMJ_JOB_SUBMIT_CARRIER_H

#include <stdbool.h>

enum vmj_carried {
	VMJ_CARRIED_OTHER = 0, /* not ours */
	VMJ_CARRIED_REQUEST,   /* VMJOB_REQUEST=… */
	VMJ_CARRIED_USER_DATA, /* VMJOB_USER_DATA=… */
	VMJ_CARRIED_LITTER, /* ours, and not needed beyond this: VMJOB_*, Slurm's copies of --vm-*
			     */
	VMJ_CARRIED_FORGED, /* SPANK_VMJOB_*: would reach the prolog unchecked, for slurmd puts the
			     * prefix only where it is missing */
};

enum vmj_carried vmj_carried_kind(const char *entry); /* NULL: other */

/* Whether an entry of the job's own environment makes its task a guest's stand-in, or hands --vm-*
 * options or user data on. */
bool vmj_is_stand_in_variable(const char *entry);

#endif
