/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of `vmjob volume` share. */
#ifndef VMJ_CLI_VOLUME_H
#define VMJ_CLI_VOLUME_H

#include "vmjob/cli/verb.h"

/* The command line of any of the verbs; each has its own table of options. */
struct vmj_volume_options {
	bool json, all, full, readonly;
	const char *size, *image, *snapshot, *storage; /* NULL: not given */
	const char *wanted_what;                       /* what the arguments are */
	unsigned int wanted, n; /* how many there must be, how many there are */
	const char *arguments[3];
};
error_t vmj_volume_options_parse(int key, char *arg, struct argp_state *state);

extern const struct vmj_verb vmj_volume_verb_list, vmj_volume_verb_show;

#endif
