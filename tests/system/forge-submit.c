/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Submits a batch job as no sbatch would: with any control environment, and without the SPANK
 * plugin. What a user who wants more than a request allows can do with libslurm.
 *
 *   forge-submit [-c NAME=VALUE]... [-e NAME=VALUE]... [-m MIB] [-s SCRIPT]
 *     -c  into the job's control environment (what spank_job_control_setenv() fills)
 *     -e  into the job's own environment
 *
 * Prints the job's id and exits with 0, or prints what slurmctld said and exits with 1.
 */
#include <errno.h>
#include <slurm/slurm.h>
#include <slurm/slurm_errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ENTRIES_MAX 64

struct forgery {
	char *control[ENTRIES_MAX], *environment[ENTRIES_MAX + 1];
	uint32_t n_control, n_environment;
	const char *memory, *script;
};

static int usage(void)
{
	fprintf(stderr,
		"Usage: forge-submit [-c NAME=VALUE]... [-e NAME=VALUE]... [-m MIB] [-s SCRIPT]\n");
	return 2;
}

static int parse(int argc, char **argv, struct forgery *f)
{
	int c;

	f->environment[f->n_environment++] = "PATH=/usr/bin:/bin";
	while ((c = getopt(argc, argv, "c:e:m:s:")) >= 0) {
		if (c == 'c' && f->n_control < ENTRIES_MAX)
			f->control[f->n_control++] = optarg;
		else if (c == 'e' && f->n_environment < ENTRIES_MAX)
			f->environment[f->n_environment++] = optarg;
		else if (c == 'm')
			f->memory = optarg;
		else if (c == 's')
			f->script = optarg;
		else
			return -1;
	}
	return optind == argc ? 0 : -1;
}

static void describe(const struct forgery *f, job_desc_msg_t *job)
{
	slurm_init_job_desc_msg(job);
	job->name = "forged";
	job->user_id = getuid();
	job->group_id = getgid();
	job->work_dir = "/tmp";
	job->min_nodes = 1;
	job->script = (char *)(f->script ? f->script : "#!/bin/sh\nexit 0\n");
	job->environment = (char **)f->environment;
	job->env_size = f->n_environment;
	job->spank_job_env = (char **)f->control;
	job->spank_job_env_size = f->n_control;
	if (f->memory)
		job->pn_min_memory = strtoull(f->memory, NULL, 10);
}

int main(int argc, char **argv)
{
	struct forgery f = {0};
	submit_response_msg_t *answer = NULL;
	job_desc_msg_t job;
	int e;

	if (parse(argc, argv, &f) < 0)
		return usage();
	slurm_init(NULL);
	describe(&f, &job);
	if (slurm_submit_batch_job(&job, &answer) == SLURM_SUCCESS && answer) {
		printf("%u\n", answer->job_id);
		return 0;
	}
	e = errno;
	if (answer && answer->job_submit_user_msg)
		printf("%s\n", answer->job_submit_user_msg);
	printf("refused: %s\n", slurm_strerror(e));
	return 1;
}
