/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which guest a user means: a job, and the hosts on which its guests are. */
#ifndef VMJ_CLI_TARGET_H
#define VMJ_CLI_TARGET_H

#include "vmjob/cli/slurm.h"

struct vmj_target {
	uint32_t job;
	struct vmj_hosts hosts; /* at least one */
};

/* hosts NULL: Slurm is asked (a job that waits or has ended is an error that says so); else a list
 * as --host takes it, and Slurm is not asked, so that this works while slurmctld is down. */
int vmj_target_find(const char *job, const char *hosts, struct vmj_target *ret,
		    struct vmj_error *err);
/* The same, also of a job that has ended, as long as Slurm remembers it. */
int vmj_target_find_past(const char *job, const char *hosts, struct vmj_target *ret,
			 struct vmj_error *err);
/* The first, but exactly one host: with several, the error says to choose with --host. */
int vmj_target_find_one(const char *job, const char *hosts, struct vmj_target *ret,
			struct vmj_error *err);
void vmj_target_done(struct vmj_target *target);

#endif
