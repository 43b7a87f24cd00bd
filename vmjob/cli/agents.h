/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Asks the agents (vmjobd) of one host, or of many at once, with a time limit each. */
#ifndef VMJ_CLI_AGENTS_H
#define VMJ_CLI_AGENTS_H

#include "vmjob/base/error.h"
#include "vmjob/cli/slurm.h"
#include "vmjob/wire/client.h"

struct json_object;

#define VMJ_AGENT_TIMEOUT_MS 5000  /* to connect, and for an answer that needs no waiting */
#define VMJ_AGENT_WORK_MS    60000 /* for an answer that comes when something is done */

/* The host's own agent over the local socket if `host` is this one ("localhost" too), else by TCP
 * at the port that vmjob.conf names. Errors name the host. */
int vmj_agent_open(const char *host, int timeout_ms, struct vmj_client **ret,
		   struct vmj_error *err);
/* One request and its answer on a connection of its own. */
int vmj_agent_call(const char *host, struct json_object *request, int timeout_ms,
		   struct json_object **ret, struct vmj_error *err);

/* fn(i, arg) for each i < n, several at a time in threads of their own; returns when all are done.
 */
void vmj_agents_each(size_t n, void (*fn)(size_t i, void *arg), void *arg);

struct vmj_answer {
	int rc;
	struct json_object *reply; /* rc == 0 */
	struct vmj_error err;      /* rc < 0 */
};
/* The same request to all hosts in parallel; *ret has hosts->n answers in their order (free with
 * vmj_answers_free). Fails only for want of memory. */
int vmj_agents_ask(const struct vmj_hosts *hosts, struct json_object *request, int timeout_ms,
		   struct vmj_answer **ret, struct vmj_error *err);
void vmj_answers_free(struct vmj_answer *answers, size_t n);

/* {"op": OP}, and {"op": OP, "job": JOB}; caller's. Out of memory ends the program. */
struct json_object *vmj_request_new(const char *op);
struct json_object *vmj_request_for_job(const char *op, uint32_t job);

#endif
