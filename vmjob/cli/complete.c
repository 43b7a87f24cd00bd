/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vmjob --complete WORD...: what may stand in the place of the last word, one a line; the shell
 * keeps what begins as the word does. Made from the verbs' own tables, so that it cannot go out of
 * date. A line "<file>" asks the shell for files. Silent on failure.
 */
#include <json-c/json.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/cli/agents.h"
#include "vmjob/cli/slurm.h"
#include "vmjob/cli/table.h"
#include "vmjob/cli/verb.h"
#include "vmjob/cli/volume_ask.h"
#include "vmjob/storage/image.h"
#include "vmjob/model/config.h"
#include "vmjob/model/request.h"

static void print_options(const struct vmj_verb *verb)
{
	for (const struct argp_option *o = verb->argp->options; o && o->name; o++)
		printf("--%s%s\n", o->name, o->arg ? "=" : "");
	puts("--help");
	if (verb != &vmj_verb_start)
		return;
	for (const struct vmj_option *o = vmj_options; o->name; o++)
		printf("--%s%s\n", o->name, o->arg && !o->optional ? "=" : "");
}

static void print_jobs(void)
{
	struct vmj_jobs jobs = {0};

	if (vmj_jobs_list(false, &jobs, NULL) < 0)
		return;
	for (size_t i = 0; i < jobs.n; i++)
		puts(jobs.items[i].label);
	vmj_jobs_done(&jobs);
}

static void print_hosts(void)
{
	vmj_autofree struct vmj_node *nodes = NULL;
	size_t n = 0;

	if (vmj_nodes_list(NULL, &nodes, &n, NULL) == 0)
		for (size_t i = 0; i < n; i++)
			puts(nodes[i].name);
}

/* Those of others with their owner before them. */
static void print_image(const struct vmj_image *image)
{
	struct passwd *owner = NULL;

	if (!image->public_ && image->owner != getuid())
		owner = getpwuid(image->owner);
	printf("%s%s%s\n", owner ? owner->pw_name : "", owner ? "/" : "", image->name);
}

static void print_images(void)
{
	vmj_autofree struct vmj_image *images = NULL;
	struct vmj_config *config = NULL;
	size_t n = 0;

	if (vmj_config_load(NULL, &config, NULL) == 0 && config->n_storages &&
	    vmj_image_list(config->storages[0].path, getuid(), &images, &n, NULL) == 0)
		for (size_t i = 0; i < n; i++)
			print_image(&images[i]);
	vmj_config_free(config);
}

static void print_storages(void)
{
	struct vmj_config *config = NULL;

	if (vmj_config_load(NULL, &config, NULL) == 0)
		for (unsigned int i = 0; i < config->n_storages; i++)
			puts(config->storages[i].name);
	vmj_config_free(config);
}

static void print_volumes(void)
{
	struct json_object *request = vmj_request_new("volume-list"), *answer = NULL, *rows;

	if (vmj_volume_ask(request, NULL, &answer, NULL) == 0) {
		rows = vmj_json_field(answer, "volumes");
		for (size_t i = 0; rows && i < json_object_array_length(rows); i++)
			puts(vmj_json_text(json_object_array_get_idx(rows, i), "name", ""));
	}
	json_object_put(answer);
	json_object_put(request);
}

static void print_words(enum vmj_word words)
{
	switch (words) {
	case VMJ_WORD_JOB:
		print_jobs();
		break;
	case VMJ_WORD_HOST:
		print_hosts();
		break;
	case VMJ_WORD_IMAGE:
		print_images();
		break;
	case VMJ_WORD_FILE:
		puts("<file>");
		break;
	case VMJ_WORD_STORAGE:
		print_storages();
		break;
	case VMJ_WORD_VOLUME:
		print_volumes();
		break;
	case VMJ_WORD_NONE:
		break;
	}
}

/* The words end in one of "--vm-user-data=" and a piece of a path, which the shell splits at "=".
 */
static bool is_file_argument(int argc, char **argv)
{
	int at = argc > 0 && strcmp(argv[argc - 1], "=") == 0 ? argc - 2 : argc - 3;

	if (at < 0 || strcmp(argv[at + 1], "=") != 0)
		return false;
	for (const struct vmj_option *o = vmj_options; o->name; o++)
		if (o->file && strncmp(argv[at], "--", 2) == 0 &&
		    strcmp(argv[at] + 2, o->name) == 0)
			return true;
	return false;
}

int vmj_complete(int argc, char **argv)
{
	const struct vmj_verb *const *table = vmj_verbs;
	const struct vmj_verb *verb = NULL;
	bool own = false; /* the verb takes words of its own, beside those of `table` if any */
	int i = 0;

	for (; table && i + 1 < argc; i++) {
		const struct vmj_verb *next = vmj_verb_find(table, argv[i]);

		if (!next && !own)
			return VMJ_EXIT_FAILED;
		verb = next ? next : verb;
		own = verb->run;
		table = next ? verb->sub : NULL;
	}
	if (table && !(own && argv[argc - 1][0] == '-'))
		for (; *table; table++)
			puts((*table)->name);
	if (!own)
		return VMJ_EXIT_DONE;
	if (is_file_argument(argc, argv))
		puts("<file>");
	else if (argc > 0 && argv[argc - 1][0] == '-')
		print_options(verb);
	else
		print_words(verb->words);
	return VMJ_EXIT_DONE;
}
