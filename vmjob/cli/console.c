/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vmjob console: the guest's serial console on this terminal.
 *
 * One loop over standard input and the connection to the agent. The agent's restart ends the
 * connection, not the guest: the console says so and connects again, and a key still detaches
 * meanwhile. With input that is no terminal, its end ends the input only, so that
 * `vmjob console 42 < /dev/null` follows a console.
 */
#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/file.h"
#include "vmjob/cli/agents.h"
#include "vmjob/cli/table.h"
#include "vmjob/cli/target.h"
#include "vmjob/cli/terminal.h"
#include "vmjob/cli/verb.h"
#include "vmjob/model/json.h"

#define RECONNECT_MS     60000 /* how long a lost agent is tried */
#define RECONNECT_TRY_MS 1000

struct console {
	const char *host;
	uint32_t job;
	bool write, force, terminal;
	int escape;
	struct vmj_client *client;
	bool input_ended, told_read_only;
	bool refused; /* the agent answers, and there is no such guest for us */
};

enum { GO_ON = 0, DETACHED, ENDED, LOST }; /* what a piece of the loop found */

struct options {
	bool force, read_only;
	int escape;
	struct vmj_common common;
};

static const struct argp_option table[] = {
	{"escape", 'e', "KEY", 0, "The key that detaches: ^X, one character, or none (default: ^])",
	 0},
	{"force", 'f', NULL, 0, "Take over the right to write from who has it", 0},
	{"read-only", 'r', NULL, 0, "Look only", 0},
	VMJ_OPTION_HOST,
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;
	struct vmj_error err;

	switch (key) {
	case 'e':
		if (vmj_escape_parse(arg, &o->escape, &err) < 0)
			argp_error(state, "%s", err.text);
		return 0;
	case 'f':
		o->force = true;
		return 0;
	case 'r':
		o->read_only = true;
		return 0;
	default:
		return vmj_common_parse(key, arg, state, &o->common);
	}
}

static const struct argp argp = {
	.options = table,
	.parser = parse,
	.args_doc = "JOB",
	.doc = "Connects this terminal to the serial console of a job's guest; Ctrl-] detaches.\v"
	       "Any number can read a console, one can write: the first, until it detaches or another "
	       "takes over with --force. What the guest wrote before is shown first.",
};

/* A line of ours amid the guest's output. */
static void __attribute__((format(printf, 2, 3)))
tell(const struct console *c, const char *fmt, ...)
{
	va_list ap;

	fputs(c->terminal ? "\r\n[vmjob: " : "vmjob: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputs(c->terminal ? "]\r\n" : "\n", stderr);
}

static int ask(struct console *c, struct vmj_error *err)
{
	vmj_autojson struct json_object *request = vmj_request_for_job("console", c->job);

	json_object_object_add(request, "write", json_object_new_boolean(c->write));
	json_object_object_add(request, "force", json_object_new_boolean(c->write && c->force));
	return vmj_client_call(c->client, request, VMJ_AGENT_TIMEOUT_MS, NULL, err);
}

static int connect_agent(struct console *c, int timeout_ms, struct vmj_error *err)
{
	int rc = vmj_agent_open(c->host, timeout_ms, &c->client, err);

	if (rc < 0)
		return rc;
	rc = ask(c, err);
	if (rc == -EBUSY && !c->force) {
		tell(c, "%s (--force)", err->text);
		c->write = false;
		rc = ask(c, err);
	}
	if (rc < 0) {
		c->refused = rc == -ENOENT || rc == -EPERM;
		vmj_client_close(c->client);
		c->client = NULL;
	}
	return rc;
}

static int take_json(struct console *c, struct json_object *o)
{
	const char *event = vmj_json_text(o, "event", "");

	if (!strcmp(event, "console-end")) {
		tell(c, "%s", vmj_json_text(o, "text", "the guest has ended"));
		return ENDED;
	}
	if (!strcmp(event, "console-lost"))
		tell(c, "%" PRId64 " bytes are missing here: this terminal is too slow",
		     vmj_json_int(o, "bytes", 0));
	if (!strcmp(event, "console-read-only")) {
		c->write = false;
		c->force = false;
		tell(c, "another has taken over and writes now; you can look on");
	}
	return GO_ON;
}

/* All frames that have come. */
static int take_output(struct console *c)
{
	for (;;) {
		vmj_autojson struct json_object *o = NULL;
		vmj_autofree void *data = NULL;
		size_t len;
		int rc = vmj_client_receive(c->client, 0, &o, &data, &len, NULL);

		if (rc == -EAGAIN)
			return GO_ON;
		if (rc <= 0)
			return LOST;
		if (data && vmj_write_full(STDOUT_FILENO, data, len) < 0)
			return DETACHED; /* the window is gone */
		if (o && take_json(c, o) == ENDED)
			return ENDED;
	}
}

static int send_input(struct console *c, const char *data, size_t len)
{
	if (len && !c->write && !c->told_read_only) {
		tell(c, "you cannot write here: another does, or --read-only was given");
		c->told_read_only = true;
	}
	if (!len || !c->write || !c->client)
		return GO_ON;
	return vmj_client_send_data(c->client, data, len, NULL) < 0 ? LOST : GO_ON;
}

static int take_input(struct console *c)
{
	char buf[4096], *key;
	ssize_t n = read(STDIN_FILENO, buf, sizeof(buf));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return GO_ON;
	if (n <= 0) {
		c->input_ended = true;
		return c->terminal ? DETACHED : GO_ON;
	}
	key = c->terminal && c->escape != VMJ_ESCAPE_NONE ? memchr(buf, c->escape, (size_t)n)
							  : NULL;
	if (!key)
		return send_input(c, buf, (size_t)n);
	send_input(c, buf, (size_t)(key - buf));
	return DETACHED;
}

/* The agent has gone away. Input is dropped meanwhile but for the key that detaches. */
static int reconnect(struct console *c)
{
	struct vmj_error err;

	vmj_client_close(c->client);
	c->client = NULL;
	tell(c, "lost the agent on %s; trying again for %d s", c->host, RECONNECT_MS / 1000);
	for (int left = RECONNECT_MS; left > 0; left -= RECONNECT_TRY_MS) {
		struct pollfd in = {.fd = c->input_ended ? -1 : STDIN_FILENO, .events = POLLIN};
		int rc = connect_agent(c, RECONNECT_TRY_MS, &err);

		if (rc == 0) {
			tell(c, "connected again");
			return GO_ON;
		}
		if (c->refused)
			break;
		if (poll(&in, 1, RECONNECT_TRY_MS) > 0 && take_input(c) == DETACHED)
			return DETACHED;
	}
	tell(c, "%s", err.text);
	return LOST;
}

static int serve(struct console *c)
{
	int found = GO_ON;

	while (found == GO_ON) {
		struct pollfd fds[] = {
			{.fd = c->input_ended ? -1 : STDIN_FILENO, .events = POLLIN},
			{.fd = vmj_client_fd(c->client), .events = POLLIN},
		};

		found = take_output(c); /* first: frames may have come with the answer */
		if (found == GO_ON && poll(fds, 2, -1) > 0 && fds[0].revents)
			found = take_input(c);
		if (found == LOST)
			found = reconnect(c);
	}
	return found;
}

static int run(const struct vmj_verb *verb, int argc, char **argv)
{
	VMJ_CLEANUP(vmj_target_done) struct vmj_target target = {0};
	struct options o = {.common.takes = VMJ_JOB_NEEDED};
	struct console c = {0};
	struct vmj_error err;
	char key[16];
	int found;

	vmj_escape_parse(VMJ_ESCAPE_DEFAULT, &o.escape, NULL);
	argp_parse(verb->argp, argc, argv, 0, NULL, &o);
	if (vmj_target_find_one(o.common.job, o.common.hosts, &target, &err) < 0)
		return vmj_say_failed(&err);
	c = (struct console){.host = target.hosts.names[0],
			     .job = target.job,
			     .write = !o.read_only,
			     .force = o.force,
			     .escape = o.escape};
	if (connect_agent(&c, VMJ_AGENT_TIMEOUT_MS, &err) < 0)
		return vmj_say_failed(&err);
	if (isatty(STDIN_FILENO)) {
		vmj_say("console of job %s on %s; %s detaches", o.common.job, c.host,
			vmj_escape_format(o.escape, key));
		if (vmj_terminal_raw(STDIN_FILENO, &err) < 0)
			return vmj_say_failed(&err);
		c.terminal = true;
	}
	found = serve(&c);
	vmj_client_close(c.client);
	if (found == DETACHED)
		tell(&c, "detached");
	vmj_terminal_restore();
	return found == LOST ? VMJ_EXIT_FAILED : VMJ_EXIT_DONE;
}

const struct vmj_verb vmj_verb_console = {
	.name = "console",
	.summary = "connect to a guest's serial console",
	.argp = &argp,
	.words = VMJ_WORD_JOB,
	.run = run,
};
