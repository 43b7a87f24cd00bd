/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the command asks of Slurm's own commands (squeue, sinfo, scontrol), which it finds by the
 * caller's PATH. No Slurm library: the commands are Slurm's stable interface across versions.
 */
#ifndef VMJ_CLI_SLURM_H
#define VMJ_CLI_SLURM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmjob/base/error.h"

struct vmj_job {
	uint32_t id;     /* as slurmd and the agents know it */
	char label[32];  /* as users know it: "42", "40_3" */
	char state[24];  /* "RUNNING", … */
	char reason[64]; /* why it waits */
	char user[64];
	char name[64];
	char comment[256]; /* AdminComment: job_submit's summary of the request */
	char *nodes;       /* hostlist expression; "" while it waits */
};

struct vmj_jobs {
	struct vmj_job *items;
	size_t n;
};
void vmj_jobs_done(struct vmj_jobs *jobs);

struct vmj_hosts {
	char **names; /* NULL-terminated */
	size_t n;
};
void vmj_hosts_done(struct vmj_hosts *hosts);
int vmj_hosts_add(struct vmj_hosts *hosts, const char *name, struct vmj_error *err);
/* "a,b,n[1-3]" → names; a Slurm expression is expanded by scontrol. */
int vmj_hosts_expand(const char *list, struct vmj_hosts *ret, struct vmj_error *err);

/* A job id as users type it (N or N_M); the one job, in any state that Slurm still knows. */
int vmj_job_find(const char *text, struct vmj_job *ret, struct vmj_error *err);
void vmj_job_done(struct vmj_job *job);
/* Does it have hosts on which its guests can be? */
bool vmj_job_placed(const struct vmj_job *job);
/* Was it submitted as a guest? (By the summary that job_submit puts in its AdminComment.) */
bool vmj_job_is_guest(const struct vmj_job *job);

/* Guest jobs that wait, run or complete: the caller's, or everybody's. */
int vmj_jobs_list(bool all, struct vmj_jobs *ret, struct vmj_error *err);
/* The hosts of all placed jobs, each once. */
int vmj_jobs_hosts(const struct vmj_jobs *jobs, struct vmj_hosts *ret, struct vmj_error *err);
/* squeue's output in our format (tests). */
int vmj_jobs_parse(char *output, struct vmj_jobs *ret, struct vmj_error *err);

struct vmj_node {
	char name[64];
	char state[32]; /* "idle", "mixed", "drained*", … */
	uint32_t cpus;
	uint64_t memory_mib;
	char reason[256];
};
/* list NULL: all nodes. *ret: array, caller's. */
int vmj_nodes_list(const char *list, struct vmj_node **ret, size_t *ret_n, struct vmj_error *err);
int vmj_nodes_parse(char *output, struct vmj_node **ret, size_t *ret_n, struct vmj_error *err);

/* Absolute path of a program in the caller's PATH, or `name` itself if it is not there. */
const char *vmj_program_find(const char *name, char *buf, size_t size);

#endif
