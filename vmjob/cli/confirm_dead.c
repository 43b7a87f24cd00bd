/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vmjob host confirm-dead: an operator's word that a machine is off. */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/parse.h"
#include "vmjob/cli/agents.h"
#include "vmjob/cli/host.h"
#include "vmjob/model/config.h"
#include "vmjob/model/json.h"

VMJ_DEFINE_CLEANUP(struct vmj_config *, vmj_config_free);
#define vmj_autoconfig VMJ_CLEANUP(vmj_config_freep)

#define AGENTS_MAX 16 /* that are asked in turn until one answers */

struct options {
	const char *host, *storage, *agent;
	bool yes, force;
};

enum { OPT_STORAGE = 256, OPT_YES, OPT_FORCE };

static const struct argp_option table[] = {
	{"storage", OPT_STORAGE, "NAME", 0,
	 "Only in this storage of vmjob.conf (default: in all in which the host has registered)",
	 0},
	{"yes", OPT_YES, NULL, 0, "Do not ask: the machine is off for certain", 0},
	{"force", OPT_FORCE, NULL, 0,
	 "Also if the host renewed its record a moment ago: it has been switched off since", 0},
	{"host", 'H', "HOST", 0, "Ask this host's agent (default: this one's, else any other's)",
	 0},
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case OPT_STORAGE:
		o->storage = arg;
		return 0;
	case OPT_YES:
		o->yes = true;
		return 0;
	case OPT_FORCE:
		o->force = true;
		return 0;
	case 'H':
		o->agent = arg;
		return 0;
	case ARGP_KEY_ARG:
		if (o->host)
			argp_error(state, "one host at a time; \"%s\" is one too many", arg);
		o->host = arg;
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "which host? `vmjob storage show` lists those that are silent");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = table,
	.parser = parse,
	.args_doc = "HOST",
	.doc = "Says that a host is dead, so that others may take over its volumes (operators).\v"
	       "Only when the machine was switched off, or cut from the storage, for certain: two "
	       "hosts that write one volume destroy it. It counts for the boot that the host is in; "
	       "once started anew it is an ordinary host again. A host that was only "
	       "cut off and comes back ends its guests with volumes.",
};

/* false: not confirmed, and said so. */
static bool ask(const struct options *o)
{
	char answer[16] = "";

	if (o->yes)
		return true;
	if (!isatty(STDIN_FILENO)) {
		vmj_say("switch host %s off first; then say that it is off for certain by --yes",
			o->host);
		return false;
	}
	fprintf(stderr,
		"Is host %s switched off for certain? If it still runs, guests that are started "
		"elsewhere\non its volumes destroy them. Type yes to go on: ",
		o->host);
	if (fgets(answer, sizeof(answer), stdin) && strcmp(answer, "yes\n") == 0)
		return true;
	vmj_say("nothing was done");
	return false;
}

/* This host's agent, else the others' but the dead one's, until one has an opinion. */
static int ask_agents(const struct options *o, struct json_object *request, struct vmj_error *err)
{
	vmj_autofree struct vmj_node *nodes = NULL;
	const char *first = o->agent ? o->agent : "localhost";
	struct vmj_error other;
	size_t n = 0;
	int rc = vmj_agent_call(first, request, VMJ_AGENT_WORK_MS, NULL, err);

	if (rc == 0 || err->fault == VMJ_FAULT_USER || o->agent ||
	    vmj_nodes_list(NULL, &nodes, &n, NULL) < 0)
		return rc;
	for (size_t i = 0; i < n && i < AGENTS_MAX; i++) {
		if (strcmp(nodes[i].name, o->host) == 0)
			continue;
		rc = vmj_agent_call(nodes[i].name, request, VMJ_AGENT_WORK_MS, NULL, &other);
		if (rc < 0 && other.fault != VMJ_FAULT_USER)
			continue;
		if (rc < 0)
			*err = other;
		return rc;
	}
	return -err->code;
}

static int confirm(const struct options *o, const char *storage, struct vmj_error *err)
{
	vmj_autojson struct json_object *request = vmj_request_new("confirm-dead");

	vmj_json_put_string(request, "host", o->host);
	vmj_json_put_string(request, "storage", storage);
	vmj_json_put_bool(request, "force", o->force);
	return ask_agents(o, request, err);
}

/* In each storage; one in which it never registered counts only where there is no other. */
static int confirm_all(const struct options *o, const struct vmj_config *c, struct vmj_error *err)
{
	struct vmj_error unknown = {.code = 0};
	unsigned int done = 0;

	for (unsigned int i = 0; i < c->n_storages; i++) {
		const char *name = c->storages[i].name;
		int rc;

		if (o->storage && strcmp(o->storage, name) != 0)
			continue;
		rc = confirm(o, name, err);
		if (rc < 0 && (err->code != ENOENT || err->fault != VMJ_FAULT_USER))
			return rc;
		if (rc < 0) {
			unknown = *err;
			continue;
		}
		printf("%s is confirmed dead in storage %s: its volumes can be used\n", o->host,
		       name);
		done++;
	}
	if (!done && unknown.code)
		*err = unknown;
	return done || !unknown.code ? 0 : -unknown.code;
}

static int run(const struct vmj_verb *verb, int argc, char **argv)
{
	vmj_autoconfig struct vmj_config *config = NULL;
	const struct vmj_storage_config *one;
	struct options o = {0};
	struct vmj_error err;

	argp_parse(verb->argp, argc, argv, 0, NULL, &o);
	if (vmj_parse_name("host", o.host, &err) < 0 || vmj_config_load(NULL, &config, &err) < 0 ||
	    (o.storage && vmj_config_storage(config, o.storage, &one, &err) < 0))
		return vmj_say_failed(&err);
	if (!ask(&o))
		return VMJ_EXIT_USAGE;
	if (confirm_all(&o, config, &err) < 0)
		return vmj_say_failed(&err);
	return VMJ_EXIT_DONE;
}

const struct vmj_verb vmj_verb_confirm_dead = {
	.name = "confirm-dead",
	.summary = "say that a host is off, so that others may use its volumes",
	.argp = &argp,
	.words = VMJ_WORD_HOST,
	.run = run,
};
