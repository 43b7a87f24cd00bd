/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of `vmjob start`, and sbatch's that is made of it (apart for the tests). */
#ifndef VMJ_CLI_START_H
#define VMJ_CLI_START_H

#include <stdbool.h>

#include "vmjob/base/error.h"
#include "vmjob/base/parse.h"

struct vmj_start {
	bool wait, json;
	char image[2 * VMJ_NAME_MAX + 32], name[VMJ_NAME_MAX + 32]; /* sbatch options; "": none */
	char **argv; /* sbatch's, ends with NULL; borrows from the arguments and from this struct */
};

/* args: what follows the verb, NULL-terminated. The struct must stay where it is. */
int vmj_start_parse(char **args, struct vmj_start *ret, struct vmj_error *err);
void vmj_start_done(struct vmj_start *s);

/* "42\n" or "42;cluster\n", as sbatch --parsable prints it. */
int vmj_start_job(const char *output, uint32_t *ret, struct vmj_error *err);

#endif
