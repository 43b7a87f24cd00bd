/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vmjob-prepare prepare|release: prolog and epilog of a job that has a guest.
 *
 * prepare  has the agent make everything that the guest needs, paused.
 * release  has it end what still runs and remove everything.
 *
 * Whose fault decides the exit: the user's (an image that vanished) is 0, for the agent has noted
 * the sentence and the job's task will say it; the host's (no agent, no libvirtd, no storage)
 * drains the node with the sentence as its reason and exits with 1, so that Slurm requeues the job
 * elsewhere (SchedulerParameters=nohold_on_prolog_fail).
 */
#include <errno.h>
#include <json-c/json.h>
#include <slurm/slurm.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plugins/prolog/job.h"
#include "vmjob/base/cleanup.h"
#include "vmjob/base/clock.h"
#include "vmjob/base/log.h"
#include "vmjob/model/config.h"
#include "vmjob/model/json.h"
#include "vmjob/model/request.h"
#include "vmjob/model/user-data.h"
#include "vmjob/wire/client.h"

#define REQUEST_VARIABLE      "SPANK_" VMJ_REQUEST_ENV
#define USER_DATA_VARIABLE    "SPANK_" VMJ_USER_DATA_ENV
#define SLURMCTLD_PATIENCE_MS 60000

/* One verb of this program. */
struct verb {
	const char *name;
	int patience_ms; /* until an agent answers at all */
	int timeout_ms;  /* until the work is done */
	int (*fill)(struct json_object *o, struct vmj_slurm_job *job, struct vmj_error *err);
};

VMJ_DEFINE_CLEANUP(struct vmj_client *, vmj_client_close);

/* As it came: the agent looks at it, since users can write anything into it. */
static int add_user_data(struct json_object *o, struct vmj_error *err)
{
	const char *text = getenv(USER_DATA_VARIABLE);

	if (!text || strlen(text) >= VMJ_USER_DATA_TEXT_MAX)
		return vmj_fail_user(err, EINVAL,
				     "%s is not in the environment, or too long: the request has "
				     "user data",
				     USER_DATA_VARIABLE);
	json_object_object_add(o, "user_data", json_object_new_string(text));
	return 0;
}

static int add_request(struct json_object *o, struct vmj_error *err)
{
	const char *text = getenv(REQUEST_VARIABLE);
	struct vmj_request request;
	int r;

	if (!text)
		return vmj_fail_user(err, EINVAL, "%s is not in the environment", REQUEST_VARIABLE);
	r = vmj_request_parse(text, &request, err);
	if (r < 0)
		return r;
	json_object_object_add(o, "request", vmj_request_to_json(&request));
	return request.user_data[0] ? add_user_data(o, err) : 0;
}

static int fill_prepare(struct json_object *o, struct vmj_slurm_job *job, struct vmj_error *err)
{
	int r = vmj_slurm_job_load(job, SLURMCTLD_PATIENCE_MS, err);

	if (r < 0)
		return r;
	json_object_object_add(o, "restart", json_object_new_int64(job->restart));
	json_object_object_add(o, "uid", json_object_new_int64(job->uid));
	json_object_object_add(o, "gid", json_object_new_int64(job->gid));
	json_object_object_add(o, "user", json_object_new_string(job->user));
	json_object_object_add(o, "cpus", json_object_new_string(job->cpus));
	json_object_object_add(o, "node_index", json_object_new_int64(job->node_index));
	return add_request(o, err);
}

static int fill_release(struct json_object *o, struct vmj_slurm_job *job, struct vmj_error *err)
{
	return 0;
}

static const struct verb verbs[] = {
	{"prepare", 30000, 300000, fill_prepare},
	{"release", 60000, 300000, fill_release},
	{0},
};

/* The agent was restarted in the middle: it is asked again, for all operations are idempotent. */
static bool is_broken_link(int r)
{
	return r == -ECONNRESET || r == -EPIPE;
}

static int ask_agent(const struct verb *v, struct json_object *request, struct vmj_error *err)
{
	int64_t deadline = vmj_clock_ms(CLOCK_MONOTONIC) + v->timeout_ms, left;
	int r;

	do {
		VMJ_CLEANUP(vmj_client_closep) struct vmj_client *client = NULL;

		r = vmj_client_open(NULL, 0, v->patience_ms, &client, err);
		if (r < 0)
			return r;
		left = deadline - vmj_clock_ms(CLOCK_MONOTONIC);
		r = vmj_client_call(client, request, left > 0 ? (int)left : 0, NULL, err);
	} while (is_broken_link(r) && vmj_clock_ms(CLOCK_MONOTONIC) < deadline);
	return r;
}

static int do_verb(const struct verb *v, struct vmj_slurm_job *job, struct vmj_error *err)
{
	vmj_autojson struct json_object *o = json_object_new_object();
	int r;

	if (!o)
		return vmj_fail(err, ENOMEM, "out of memory");
	json_object_object_add(o, "op", json_object_new_string(v->name));
	json_object_object_add(o, "job", json_object_new_int64(job->job));
	r = v->fill(o, job, err);
	return r < 0 ? r : ask_agent(v, o, err);
}

/* Nobody listens, and there is no directory of the guest, which the agent makes before all else: it
 * need not be waited for, and the job goes on elsewhere at once. An agent that listens is asked
 * all the same, since it may be about to make one. */
static bool nothing_to_release(const struct vmj_slurm_job *job)
{
	VMJ_CLEANUP(vmj_client_closep) struct vmj_client *client = NULL;
	struct vmj_config *config;
	char path[512];

	if (vmj_client_open(NULL, 0, 0, &client, NULL) == 0 ||
	    vmj_config_load(NULL, &config, NULL) < 0)
		return false;
	snprintf(path, sizeof(path), "%s/guests/%u", config->scratch, job->job);
	vmj_config_free(config);
	return access(path, F_OK) < 0 && errno == ENOENT;
}

static const struct verb *find_verb(const char *name)
{
	for (const struct verb *v = verbs; v->name; v++)
		if (strcmp(v->name, name) == 0)
			return v;
	return NULL;
}

int main(int argc, char **argv)
{
	const struct verb *v = argc == 2 ? find_verb(argv[1]) : NULL;
	struct vmj_slurm_job job;
	struct vmj_error err, drain_err;

	vmj_log_init("vmjob-prepare", LOG_INFO);
	if (!v) {
		fprintf(stderr,
			"Usage: vmjob-prepare prepare|release (by slurmd's Prolog and Epilog)\n");
		return 2;
	}
	slurm_init(NULL);
	if (vmj_slurm_job_from_env(&job, &err) < 0) {
		vmj_log_err("%s", err.text);
		return EXIT_FAILURE;
	}
	if (v->fill == fill_release && nothing_to_release(&job))
		return EXIT_SUCCESS;
	if (do_verb(v, &job, &err) == 0)
		return EXIT_SUCCESS;
	vmj_log_err("job %u, %s: %s", job.job, v->name, err.text);
	if (err.fault == VMJ_FAULT_USER)
		return EXIT_SUCCESS;
	if (vmj_slurm_drain(job.node, err.text, &drain_err) < 0)
		vmj_log_err("%s", drain_err.text);
	return EXIT_FAILURE;
}
