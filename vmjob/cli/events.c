/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vmjob events: what happened to guests, and what happens now. */
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/cli/agents.h"
#include "vmjob/cli/feed.h"
#include "vmjob/cli/table.h"
#include "vmjob/cli/target.h"
#include "vmjob/cli/verb.h"
#include "vmjob/model/json.h"

VMJ_DEFINE_CLEANUP(struct vmj_feed *, vmj_feed_free);

struct options {
	bool follow;
	struct vmj_common common;
};

static const struct argp_option table[] = {
	{"follow", 'f', NULL, 0, "Go on with what happens, until interrupted", 0},
	VMJ_OPTION_ALL,
	VMJ_OPTION_HOST,
	{"json", 'j', NULL, 0, "Print one JSON object a line; vmjob(1) lists the keys", 0},
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case 'f':
		o->follow = true;
		return 0;
	default:
		return vmj_common_parse(key, arg, state, &o->common);
	}
}

static const struct argp argp = {
	.options = table,
	.parser = parse,
	.args_doc = "[JOB]",
	.doc = "Shows what happened to the guest of a job, or to all guests of yours.\v"
	       "\v"
	       "Agents keep the latest events, also of jobs that have ended; Slurm knows the hosts of "
	       "such a job for some minutes only, then name them with --host.",
};

static void print(struct json_object *entry, bool json)
{
	char buf[VMJ_CELL_MAX], number[24] = "-";
	int64_t job = vmj_json_int(entry, "job", 0); /* 0: of the host itself */

	if (job)
		snprintf(number, sizeof(number), "%" PRId64, job);
	if (json)
		puts(json_object_to_json_string_ext(entry, JSON_C_TO_STRING_PLAIN |
								   JSON_C_TO_STRING_NOSLASHESCAPE));
	else
		printf("%s %s %s %s %s\n",
		       vmj_time_format(vmj_json_int(entry, "time", 0) / 1000000, buf),
		       vmj_json_text(entry, "host", "-"), number, vmj_json_text(entry, "what", "-"),
		       vmj_json_text(entry, "text", ""));
	fflush(stdout);
}

static int by_time(const void *a, const void *b)
{
	struct json_object *const *x = a, *const *y = b;
	int64_t tx = vmj_json_int(*x, "time", 0), ty = vmj_json_int(*y, "time", 0);

	return (tx > ty) - (tx < ty);
}

/* History of several hosts in the order of time. */
static int print_sorted(struct vmj_feed *feed, bool json, struct vmj_error *err)
{
	vmj_autojson struct json_object *all = json_object_new_array();
	struct json_object *entry = NULL;
	int rc;

	while ((rc = vmj_feed_next(feed, VMJ_AGENT_WORK_MS, &entry, err)) > 0)
		json_object_array_add(all, entry);
	json_object_array_sort(all, by_time);
	for (size_t i = 0; i < json_object_array_length(all); i++)
		print(json_object_array_get_idx(all, i), json);
	return rc;
}

static int follow(struct vmj_feed *feed, bool json, struct vmj_error *err)
{
	struct json_object *entry = NULL;
	int rc;

	while ((rc = vmj_feed_next(feed, -1, &entry, err)) > 0) {
		print(entry, json);
		json_object_put(entry);
	}
	return rc;
}

/* The hosts of the job; without one, all on which the caller has guests. */
static int find_hosts(const struct vmj_common *o, struct vmj_target *ret, struct vmj_error *err)
{
	VMJ_CLEANUP(vmj_jobs_done) struct vmj_jobs jobs = {0};
	int rc;

	if (o->job)
		return vmj_target_find_past(o->job, o->hosts, ret, err);
	if (o->hosts)
		return vmj_hosts_expand(o->hosts, &ret->hosts, err);
	rc = vmj_jobs_list(o->all, &jobs, err);
	return rc < 0 ? rc : vmj_jobs_hosts(&jobs, &ret->hosts, err);
}

static int run(const struct vmj_verb *verb, int argc, char **argv)
{
	VMJ_CLEANUP(vmj_target_done) struct vmj_target target = {0};
	VMJ_CLEANUP(vmj_feed_freep) struct vmj_feed *feed = NULL;
	struct options o = {.common.takes = VMJ_JOB_OPTIONAL};
	struct vmj_error err;
	size_t unreachable;
	int rc;

	argp_parse(verb->argp, argc, argv, 0, NULL, &o);
	rc = find_hosts(&o.common, &target, &err);
	if (rc == 0)
		rc = vmj_feed_open(&target.hosts, target.job, o.follow, &feed, &unreachable, &err);
	if (rc == 0)
		rc = o.follow ? follow(feed, o.common.json, &err)
			      : print_sorted(feed, o.common.json, &err);
	if (rc < 0)
		return vmj_say_failed(&err);
	return unreachable ? VMJ_EXIT_FAILED : VMJ_EXIT_DONE;
}

const struct vmj_verb vmj_verb_events = {
	.name = "events",
	.summary = "show what happened to guests",
	.argp = &argp,
	.words = VMJ_WORD_JOB,
	.run = run,
};
