/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/cli/verb.h"

#include <stdio.h>
#include <string.h>

#include "vmjob/base/parse.h"

const struct vmj_verb *const vmj_verbs[] = {
	&vmj_verb_start,
	&vmj_verb_list,
	&vmj_verb_show,
	&vmj_verb_console,
	&vmj_verb_stop,
	&vmj_verb_reset,
	&vmj_verb_host,
	&vmj_verb_events,
	&vmj_verb_image,
	&vmj_verb_storage,
	&vmj_verb_volume,
	&vmj_verb_snapshot,
	NULL,
};

static void print_verbs(FILE *out, const struct vmj_verb *const *table, const char *prefix)
{
	fprintf(out, "Usage: %s VERB [OPTION...] [ARGUMENT...]\n\n", prefix);
	for (; *table; table++)
		fprintf(out, "  %-9s %s\n", (*table)->name, (*table)->summary);
	fprintf(out, "\n%s VERB --help tells more; so does the manual page vmjob(1).\n", prefix);
}

const struct vmj_verb *vmj_verb_find(const struct vmj_verb *const *table, const char *name)
{
	for (; *table; table++)
		if (!strcmp((*table)->name, name))
			return *table;
	return NULL;
}

int vmj_verb_dispatch(const struct vmj_verb *const *table, const char *prefix, int argc,
		      char **argv)
{
	char name[64], shown[64];

	if (argc < 2) {
		print_verbs(stderr, table, prefix);
		return VMJ_EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		print_verbs(stdout, table, prefix);
		return VMJ_EXIT_DONE;
	}
	const struct vmj_verb *verb = vmj_verb_find(table, argv[1]);
	if (!verb) {
		vmj_say("there is no verb \"%s\": `%s --help` lists them",
			vmj_quote(argv[1], shown, sizeof(shown)), prefix);
		return VMJ_EXIT_USAGE;
	}
	snprintf(name, sizeof(name), "%s %s", prefix, verb->name);
	if (verb->sub && (!verb->run || (argc > 2 && vmj_verb_find(verb->sub, argv[2]))))
		return vmj_verb_dispatch(verb->sub, name, argc - 1, argv + 1);
	argv[1] = name;
	return verb->run(verb, argc - 1, argv + 1);
}

static error_t take_job(char *arg, struct argp_state *state, struct vmj_common *c)
{
	if (c->takes == VMJ_JOB_NONE)
		argp_error(state, "\"%s\" is one argument too many", arg);
	else if (c->job)
		argp_error(state, "one job at a time; \"%s\" is one too many", arg);
	c->job = arg;
	return 0;
}

error_t vmj_common_parse(int key, char *arg, struct argp_state *state, struct vmj_common *c)
{
	switch (key) {
	case 'j':
		c->json = true;
		return 0;
	case 'a':
		c->all = true;
		return 0;
	case 'H':
		c->hosts = arg;
		return 0;
	case ARGP_KEY_ARG:
		return take_job(arg, state, c);
	case ARGP_KEY_NO_ARGS:
		if (c->takes == VMJ_JOB_NEEDED)
			argp_error(state, "which job? `vmjob list` shows yours");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

error_t vmj_common_parser(int key, char *arg, struct argp_state *state)
{
	return vmj_common_parse(key, arg, state, state->input);
}
