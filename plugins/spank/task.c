/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <slurm/slurm.h>

#include "plugins/spank/task.h"
#include "vmjob/model/request.h"
#include "vmjob/step/names.h"

#define PROGRAM VMJ_PKGLIBEXECDIR "/vmjob-step"

static bool has_request(spank_t sp)
{
	char byte[2];
	spank_err_t rc = spank_getenv(sp, "SLURM_SPANK_" VMJ_REQUEST_ENV, byte, sizeof(byte));

	return rc == ESPANK_SUCCESS || rc == ESPANK_NOSPACE;
}

/* Is this the task that may stand for the guest on this node? */
static bool is_stand_in(spank_t sp, uint32_t *ret_step)
{
	uint32_t step = 0;
	int task = -1;

	if (spank_get_item(sp, S_JOB_STEPID, &step) != ESPANK_SUCCESS ||
	    spank_get_item(sp, S_TASK_ID, &task) != ESPANK_SUCCESS)
		return false;
	*ret_step = step;
	return task == 0 && step != SLURM_EXTERN_CONT && step != SLURM_INTERACTIVE_STEP;
}

/* What vmjob-step needs to know (vmjob/step/names.h). */
static spank_err_t tell(spank_t sp, uint32_t job, uint32_t step, const char *program)
{
	char text[16];
	spank_err_t rc;

	snprintf(text, sizeof(text), "%u", job);
	rc = spank_setenv(sp, VMJ_STEP_JOB_ENV, text, 1);
	if (rc == ESPANK_SUCCESS)
		rc = spank_setenv(sp, VMJ_STEP_PROGRAM_ENV, program, 1);
	if (rc == ESPANK_SUCCESS && step == SLURM_BATCH_SCRIPT)
		rc = spank_setenv(sp, VMJ_STEP_BATCH_ENV, "1", 1);
	return rc;
}

int vmj_task_init(spank_t sp)
{
	uint32_t job = 0, step = 0;
	int argc = 0;
	char **argv = NULL;

	if (!has_request(sp) || !is_stand_in(sp, &step))
		return 0;
	if (spank_get_item(sp, S_JOB_ID, &job) != ESPANK_SUCCESS ||
	    spank_get_item(sp, S_JOB_ARGV, &argc, &argv) != ESPANK_SUCCESS || argc < 1 ||
	    !argv[0]) {
		slurm_error("vmjob: slurmstepd does not say which job and program this task is");
		return -1;
	}
	if (tell(sp, job, step, argv[0]) != ESPANK_SUCCESS) {
		slurm_error("vmjob: cannot set the environment of vmjob-step");
		return -1;
	}
	argv[0] = strdup(PROGRAM); /* the process is about to become another: nobody frees it */
	if (!argv[0]) {
		slurm_error("vmjob: out of memory");
		return -1;
	}
	return 0;
}
