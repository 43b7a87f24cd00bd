/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vmjob-prolog and vmjob-epilog: what slurmd runs for every job of the cluster.
 *
 * A job without guest is let through at once: no library but libc, no file, no connection. Only for
 * a job that has a request is vmjob-prepare executed, which does the work. Arguments are not looked
 * at; the environment is slurmd's own (prefix SPANK_ keeps a user's variables harmless).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROGRAM VMJ_PKGLIBEXECDIR "/vmjob-prepare"

int main(void)
{
	if (!getenv("SPANK_VMJOB_REQUEST"))
		return EXIT_SUCCESS;
	execl(PROGRAM, "vmjob-prepare", VMJ_GATE, (char *)NULL);
	fprintf(stderr, "vmjob: cannot run %s: %s\n", PROGRAM, strerror(errno));
	return EXIT_FAILURE;
}
