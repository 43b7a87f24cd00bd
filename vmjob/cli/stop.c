/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vmjob stop: ask guests to power off, or end them at once. */
#include <errno.h>
#include <json-c/json.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/parse.h"
#include "vmjob/cli/agents.h"
#include "vmjob/cli/feed.h"
#include "vmjob/cli/target.h"
#include "vmjob/cli/verb.h"
#include "vmjob/model/json.h"
#include "vmjob/model/request.h"

VMJ_DEFINE_CLEANUP(struct vmj_feed *, vmj_feed_free);

enum { KEY_GRACE = 0x100, KEY_WAIT };

#define LOOK_MS 5000 /* at the latest, while waiting for a guest's end */

struct options {
	bool force, wait;
	int64_t grace; /* seconds; -1: the guest's own */
	const char *hosts;
	char **jobs;
	int n_jobs;
};

static const struct argp_option table[] = {
	{"force", 'f', NULL, 0, "Destroy the guest now, as if its power were cut", 0},
	{"grace", KEY_GRACE, "TIME", 0,
	 "Destroy it if it still runs after TIME (default: what --vm-grace said)", 0},
	{"wait", KEY_WAIT, NULL, 0, "Wait until the guest is gone", 0},
	VMJ_OPTION_HOST,
	{0},
};

static void parse_grace(const char *text, struct options *o, struct argp_state *state)
{
	struct vmj_error err;
	uint64_t seconds;

	if (vmj_parse_time("--grace", text, VMJ_GRACE_MAX, &seconds, &err) < 0)
		argp_error(state, "%s", err.text);
	else
		o->grace = (int64_t)seconds;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case 'f':
		o->force = true;
		return 0;
	case KEY_GRACE:
		parse_grace(arg, o, state);
		return 0;
	case KEY_WAIT:
		o->wait = true;
		return 0;
	case 'H':
		o->hosts = arg;
		return 0;
	case ARGP_KEY_ARGS:
		o->jobs = state->argv + state->next;
		o->n_jobs = state->argc - state->next;
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "which job? `vmjob list` shows yours");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = table,
	.parser = parse,
	.args_doc = "JOB...",
	.doc = "Asks the guests of jobs to power off, as pressing their power button would.\v"
	       "A guest that still runs after its grace time is destroyed. The job ends with its "
	       "guest; `vmjob events JOB` shows how. To end a job that waits, or whatever "
	       "state it is in, use scancel.",
};

/* Does no host have the guest any more? An agent that is being restarted cannot tell. */
static bool is_gone(const struct vmj_target *target)
{
	vmj_autojson struct json_object *request = vmj_request_for_job("show", target->job);

	for (size_t i = 0; i < target->hosts.n; i++)
		if (vmj_agent_call(target->hosts.names[i], request, VMJ_AGENT_TIMEOUT_MS, NULL,
				   NULL) != -ENOENT)
			return false;
	return true;
}

/* Looks again whenever something has happened to it. */
static int wait_gone(const struct vmj_target *target, struct vmj_error *err)
{
	VMJ_CLEANUP(vmj_feed_freep) struct vmj_feed *feed = NULL;
	size_t unreachable;
	int rc = vmj_feed_open(&target->hosts, target->job, true, &feed, &unreachable, err);

	while (rc >= 0 && !is_gone(target)) {
		vmj_autojson struct json_object *entry = NULL;

		rc = vmj_feed_next(feed, LOOK_MS, &entry, err);
		if (rc == 0)
			return vmj_fail(err, ECONNRESET, "no agent tells any more how it ended");
		if (rc == -EAGAIN)
			rc = 0;
	}
	return rc < 0 ? rc : 0;
}

static struct json_object *make_request(uint32_t job, const struct options *o)
{
	struct json_object *request = vmj_request_for_job("stop", job);

	json_object_object_add(request, "force", json_object_new_boolean(o->force));
	if (o->grace >= 0)
		json_object_object_add(request, "grace", json_object_new_int64(o->grace));
	return request;
}

static int stop(const char *job, const struct options *o)
{
	vmj_autojson struct json_object *request = NULL;
	VMJ_CLEANUP(vmj_target_done) struct vmj_target target = {0};
	struct vmj_answer *answers = NULL;
	int result = VMJ_EXIT_DONE;
	struct vmj_error err;

	if (vmj_target_find(job, o->hosts, &target, &err) < 0)
		return vmj_say_failed(&err);
	request = make_request(target.job, o);
	if (vmj_agents_ask(&target.hosts, request, VMJ_AGENT_TIMEOUT_MS, &answers, &err) < 0)
		return vmj_say_failed(&err);
	for (size_t i = 0; i < target.hosts.n; i++)
		if (answers[i].rc < 0)
			result = vmj_say_failed(&answers[i].err);
	vmj_answers_free(answers, target.hosts.n);
	if (result == VMJ_EXIT_DONE && o->wait && wait_gone(&target, &err) < 0)
		return vmj_say_failed(&err);
	return result;
}

static int run(const struct vmj_verb *verb, int argc, char **argv)
{
	struct options o = {.grace = -1};
	int result = VMJ_EXIT_DONE;

	argp_parse(verb->argp, argc, argv, 0, NULL, &o);
	for (int i = 0; i < o.n_jobs; i++)
		if (stop(o.jobs[i], &o) != VMJ_EXIT_DONE)
			result = VMJ_EXIT_FAILED;
	return result;
}

const struct vmj_verb vmj_verb_stop = {
	.name = "stop",
	.summary = "shut guests down, or end them with --force",
	.argp = &argp,
	.words = VMJ_WORD_JOB,
	.run = run,
};
