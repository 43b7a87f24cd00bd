/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Verbs of the vmjob command: one file each, all in the table vmj_verbs[].
 *
 * A verb reads its own command line with argp, so that --help, --usage and the completion come
 * from the one table of options. Its result is the exit code: 0 done, 1 failed (one sentence on
 * standard error says what and what to do), 2 usage.
 */
#ifndef VMJ_CLI_VERB_H
#define VMJ_CLI_VERB_H

#include <argp.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmjob/base/error.h"
#include "vmjob/cli/say.h"

enum vmj_exit { VMJ_EXIT_DONE = 0, VMJ_EXIT_FAILED = 1, VMJ_EXIT_USAGE = 2 };

/* What the arguments of a verb are, for the completion. */
enum vmj_word {
	VMJ_WORD_NONE = 0,
	VMJ_WORD_JOB,
	VMJ_WORD_HOST,
	VMJ_WORD_IMAGE,
	VMJ_WORD_FILE,
	VMJ_WORD_STORAGE,
	VMJ_WORD_VOLUME
};

struct vmj_verb {
	const char *name;
	const char *summary;     /* one line for `vmjob --help` */
	const struct argp *argp; /* NULL for a verb with verbs of its own */
	/* Ends with NULL. With `run` too: the verb is its own where no name of these follows. */
	const struct vmj_verb *const *sub;
	enum vmj_word words;
	/* argv[0] is "vmjob VERB"; both are the verb's to change. */
	int (*run)(const struct vmj_verb *verb, int argc, char **argv);
};

extern const struct vmj_verb vmj_verb_start, vmj_verb_list, vmj_verb_show, vmj_verb_console,
	vmj_verb_stop, vmj_verb_reset, vmj_verb_host, vmj_verb_events, vmj_verb_image,
	vmj_verb_storage, vmj_verb_volume, vmj_verb_snapshot;
extern const struct vmj_verb *const vmj_verbs[]; /* all, ends with NULL */

const struct vmj_verb *vmj_verb_find(const struct vmj_verb *const *table, const char *name);
/* Find argv[1] in the table and run it; prefix is what was typed so far ("vmjob image"). */
int vmj_verb_dispatch(const struct vmj_verb *const *table, const char *prefix, int argc,
		      char **argv);

/* Rows for the verbs' argp tables. */
#define VMJ_OPTION_ALL                                                    \
	{                                                                 \
		"all", 'a', NULL, 0, "Guests of all users (operators)", 0 \
	}
#define VMJ_OPTION_JSON                                                                     \
	{                                                                                   \
		"json", 'j', NULL, 0, "Print JSON for programs; vmjob(1) lists the keys", 0 \
	}
#define VMJ_OPTION_HOST                                                                      \
	{                                                                                    \
		"host", 'H', "HOST[,HOST]", 0,                                               \
			"Ask the agents of these hosts, and not Slurm where the guest is", 0 \
	}

/* Options and the argument that several verbs have: --json, --host, --all, one JOB. A verb's argp
 * parser hands on what is not its own. */
enum vmj_takes_job { VMJ_JOB_NONE = 0, VMJ_JOB_OPTIONAL, VMJ_JOB_NEEDED };
struct vmj_common {
	enum vmj_takes_job takes;
	bool json, all;
	const char *hosts, *job; /* NULL: not given */
};
error_t vmj_common_parse(int key, char *arg, struct argp_state *state, struct vmj_common *c);
/* The parser of a verb that has no other options; its input is a struct vmj_common. */
error_t vmj_common_parser(int key, char *arg, struct argp_state *state);

/* hidden: `vmjob --complete WORD...` prints what may follow, one a line */
int vmj_complete(int argc, char **argv);

#endif
