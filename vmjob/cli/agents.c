/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/cli/agents.h"

#include <errno.h>
#include <json-c/json.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/model/config.h"

#define THREADS_MAX  32
#define PORT_DEFAULT 6829

VMJ_DEFINE_CLEANUP(struct vmj_client *, vmj_client_close);

static pthread_once_t port_once = PTHREAD_ONCE_INIT;
static uint16_t port = PORT_DEFAULT;

/* A host from which one only submits need not have vmjob.conf. */
static void read_port(void)
{
	struct vmj_config *config = NULL;

	if (vmj_config_load(NULL, &config, NULL) == 0)
		port = config->agent_port;
	vmj_config_free(config);
}

static bool is_here(const char *host)
{
	char name[256] = "";
	size_t len;

	if (!strcmp(host, "localhost"))
		return true;
	if (gethostname(name, sizeof(name) - 1) < 0)
		return false;
	len = strcspn(name, ".");
	return !strncmp(host, name, len) && (host[len] == '\0' || !strcmp(host, name));
}

int vmj_agent_open(const char *host, int timeout_ms, struct vmj_client **ret, struct vmj_error *err)
{
	bool here = is_here(host);
	int rc;

	pthread_once(&port_once, read_port);
	rc = vmj_client_open(here ? NULL : host, port, timeout_ms, ret, err);
	if (rc < 0 && err && !strstr(err->text, host))
		vmj_fail_prefix(err, "%s", host);
	return rc;
}

int vmj_agent_call(const char *host, struct json_object *request, int timeout_ms,
		   struct json_object **ret, struct vmj_error *err)
{
	VMJ_CLEANUP(vmj_client_closep) struct vmj_client *client = NULL;
	int rc = vmj_agent_open(host, VMJ_AGENT_TIMEOUT_MS, &client, err);

	if (rc < 0)
		return rc;
	rc = vmj_client_call(client, request, timeout_ms, ret, err);
	if (rc < 0)
		vmj_fail_prefix(err, "%s", host);
	return rc;
}

/* Threads take numbers by `next` until none is left; each number is taken by one thread. */
struct each {
	size_t n;
	atomic_size_t next;
	void (*fn)(size_t i, void *arg);
	void *arg;
};

static void *take_some(void *arg)
{
	struct each *e = arg;

	for (size_t i; (i = atomic_fetch_add(&e->next, 1)) < e->n;)
		e->fn(i, e->arg);
	return NULL;
}

void vmj_agents_each(size_t n, void (*fn)(size_t i, void *arg), void *arg)
{
	struct each e = {.n = n, .fn = fn, .arg = arg};
	pthread_t threads[THREADS_MAX];
	size_t started = 0;

	while (started < THREADS_MAX && started + 1 < n &&
	       pthread_create(&threads[started], NULL, take_some, &e) == 0)
		started++;
	take_some(&e);
	while (started > 0)
		pthread_join(threads[--started], NULL);
}

/* The request goes to each thread as text, since json-c's objects are not for several threads. */
struct asking {
	const struct vmj_hosts *hosts;
	const char *request;
	int timeout_ms;
	struct vmj_answer *answers;
};

static void ask_one(size_t i, void *arg)
{
	struct asking *a = arg;
	struct vmj_answer *answer = &a->answers[i];
	struct json_object *request = json_tokener_parse(a->request);

	answer->rc = vmj_agent_call(a->hosts->names[i], request, a->timeout_ms, &answer->reply,
				    &answer->err);
	json_object_put(request);
}

int vmj_agents_ask(const struct vmj_hosts *hosts, struct json_object *request, int timeout_ms,
		   struct vmj_answer **ret, struct vmj_error *err)
{
	struct asking a = {.hosts = hosts, .timeout_ms = timeout_ms};

	a.request = json_object_to_json_string(request);
	a.answers = calloc(hosts->n + 1, sizeof(*a.answers));
	if (!a.answers)
		return vmj_fail(err, ENOMEM, "out of memory");
	vmj_agents_each(hosts->n, ask_one, &a);
	*ret = a.answers;
	return 0;
}

void vmj_answers_free(struct vmj_answer *answers, size_t n)
{
	for (size_t i = 0; answers && i < n; i++)
		json_object_put(answers[i].reply);
	free(answers);
}

struct json_object *vmj_request_new(const char *op)
{
	struct json_object *o = json_object_new_object();

	if (!o || json_object_object_add(o, "op", json_object_new_string(op)) < 0)
		abort();
	return o;
}

struct json_object *vmj_request_for_job(const char *op, uint32_t job)
{
	struct json_object *o = vmj_request_new(op);

	if (json_object_object_add(o, "job", json_object_new_int64(job)) < 0)
		abort();
	return o;
}
