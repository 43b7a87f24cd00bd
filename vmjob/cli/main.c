/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vmjob: the command for what Slurm's own commands cannot say. */
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "vmjob/cli/verb.h"
#include "vmj-autoconf.h"

int main(int argc, char **argv)
{
	setlocale(LC_ALL, "");
	argp_err_exit_status = VMJ_EXIT_USAGE;
	if (argc > 1 && (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V"))) {
		puts("vmjob " PACKAGE_VERSION);
		return VMJ_EXIT_DONE;
	}
	if (argc > 1 && !strcmp(argv[1], "--complete"))
		return vmj_complete(argc - 2, argv + 2);
	return vmj_verb_dispatch(vmj_verbs, "vmjob", argc, argv);
}
