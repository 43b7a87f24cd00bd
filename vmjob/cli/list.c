/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vmjob list: the guests of the caller (or all), over all hosts where they have jobs. */
#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/cli/agents.h"
#include "vmjob/cli/table.h"
#include "vmjob/cli/verb.h"
#include "vmjob/cli/view.h"
#include "vmjob/model/json.h"

static const struct argp_option table[] = {
	VMJ_OPTION_ALL,
	VMJ_OPTION_HOST,
	VMJ_OPTION_JSON,
	{0},
};

static const struct argp argp = {
	.options = table,
	.parser = vmj_common_parser,
	.doc = "Lists your guests on all hosts, and those that wait for one.\v"
	       "A host that does not answer is named on standard error, its guests are shown with "
	       "the phase \"unknown\", and the exit code is 1.",
};

static const struct vmj_column columns[] = {
	{"JOB", "label", true, false, NULL},
	{"NAME", "name", false, true, NULL},
	{"USER", "user", false, false, NULL},
	{"PHASE", "phase", false, false, NULL},
	{"HOST", "host", false, true, NULL},
	{"VCPUS", "vcpus", true, false, NULL},
	{"MEMORY", "memory_mib", true, false, vmj_cell_mib},
	{"IMAGE", "image", false, true, NULL},
	{"ADDRESS", "addresses", false, false, vmj_cell_list},
	{"ELAPSED", "elapsed", true, false, vmj_cell_seconds},
	{"REASON", "reason", false, true, NULL},
	{0},
};

struct listing {
	struct vmj_jobs jobs;
	struct vmj_hosts hosts;
	struct json_object *guests, *unreachable;
};

static void listing_done(struct listing *l)
{
	vmj_jobs_done(&l->jobs);
	vmj_hosts_done(&l->hosts);
	json_object_put(l->guests);
	json_object_put(l->unreachable);
}

static const struct vmj_job *job_of(const struct listing *l, int64_t id)
{
	for (size_t i = 0; i < l->jobs.n; i++)
		if (l->jobs.items[i].id == id)
			return &l->jobs.items[i];
	return NULL;
}

static void add_guest(struct listing *l, const char *host, struct json_object *guest)
{
	struct json_object *row = vmj_view_guest(host, guest);
	const struct vmj_job *job = job_of(l, vmj_json_int(row, "job", 0));
	char label[24];

	snprintf(label, sizeof(label), "%" PRId64, vmj_json_int(row, "job", 0));
	if (job)
		vmj_view_add_job(row, job);
	else
		vmj_view_add_text(row, "label", label);
	json_object_array_add(l->guests, row);
}

static int ask_hosts(struct listing *l, struct vmj_error *err)
{
	vmj_autojson struct json_object *request = vmj_request_new("list");
	struct vmj_answer *answers = NULL;
	int rc = vmj_agents_ask(&l->hosts, request, VMJ_AGENT_TIMEOUT_MS, &answers, err);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < l->hosts.n; i++) {
		struct json_object *guests = vmj_json_field(answers[i].reply, "guests");

		if (answers[i].rc < 0)
			vmj_view_add_failed(l->unreachable, l->hosts.names[i], &answers[i].err);
		if (vmj_json_field(answers[i].reply, "truncated"))
			vmj_say("%s: has more guests than fit into its answer", l->hosts.names[i]);
		for (size_t k = 0; guests && k < json_object_array_length(guests); k++)
			add_guest(l, l->hosts.names[i], json_object_array_get_idx(guests, k));
	}
	vmj_answers_free(answers, l->hosts.n);
	return 0;
}

/* By label: tasks of an array that wait have one number. */
static bool shown(const struct listing *l, const char *label)
{
	for (size_t i = 0; i < json_object_array_length(l->guests); i++)
		if (!strcmp(vmj_json_text(json_object_array_get_idx(l->guests, i), "label", ""),
			    label))
			return true;
	return false;
}

/* What a job's guest is up to when no agent tells of it; NULL: not the caller's to see. */
static const char *phase_of(const struct listing *l, const struct vmj_job *job)
{
	struct passwd *me = getpwuid(getuid());

	if (!vmj_job_placed(job))
		return "waiting";
	if (json_object_array_length(l->unreachable))
		return "unknown";
	if (!me || strcmp(me->pw_name, job->user) != 0)
		return NULL;
	return strcmp(job->state, "COMPLETING") ? "starting" : "ending";
}

static void add_rest(struct listing *l)
{
	for (size_t i = 0; i < l->jobs.n; i++) {
		const struct vmj_job *job = &l->jobs.items[i];
		const char *phase = phase_of(l, job);

		if (phase && !shown(l, job->label))
			json_object_array_add(l->guests, vmj_view_job(job, phase));
	}
}

static int collect(struct listing *l, const struct vmj_common *o, struct vmj_error *err)
{
	int rc = 0;

	if (o->hosts) {
		rc = vmj_hosts_expand(o->hosts, &l->hosts, err);
	} else {
		rc = vmj_jobs_list(o->all, &l->jobs, err);
		if (rc == 0)
			rc = vmj_jobs_hosts(&l->jobs, &l->hosts, err);
	}
	if (rc == 0)
		rc = ask_hosts(l, err);
	if (rc == 0)
		add_rest(l);
	return rc;
}

static int print(const struct listing *l, bool json, struct vmj_error *err)
{
	vmj_autojson struct json_object *o = NULL;

	if (!json)
		return vmj_table_print(columns, l->guests, stdout, err);
	o = json_object_new_object();
	json_object_object_add(o, "guests", json_object_get(l->guests));
	json_object_object_add(o, "unreachable", json_object_get(l->unreachable));
	vmj_json_print(o, stdout);
	return 0;
}

static int run(const struct vmj_verb *verb, int argc, char **argv)
{
	VMJ_CLEANUP(listing_done)
	struct listing l = {.guests = json_object_new_array(),
			    .unreachable = json_object_new_array()};
	struct vmj_common o = {0};
	struct vmj_error err;

	argp_parse(verb->argp, argc, argv, 0, NULL, &o);
	if (collect(&l, &o, &err) < 0 || print(&l, o.json, &err) < 0)
		return vmj_say_failed(&err);
	return json_object_array_length(l.unreachable) ? VMJ_EXIT_FAILED : VMJ_EXIT_DONE;
}

const struct vmj_verb vmj_verb_list = {
	.name = "list",
	.summary = "list guests",
	.argp = &argp,
	.run = run,
};
