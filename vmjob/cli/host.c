/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vmjob host: the cluster's hosts as Slurm and their agents see them. */
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/cli/agents.h"
#include "vmjob/cli/host.h"
#include "vmjob/cli/table.h"
#include "vmjob/cli/verb.h"
#include "vmjob/cli/view.h"
#include "vmjob/model/json.h"

struct options {
	bool json;
	const char *hosts;
};

static const struct argp_option table[] = {
	VMJ_OPTION_JSON,
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case 'j':
		o->json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (o->hosts)
			argp_error(state,
				   "one list of hosts, such as n1,n2 or n[1-8]; \"%s\" is "
				   "one argument too many",
				   arg);
		o->hosts = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = table,
	.parser = parse,
	.args_doc = "[HOSTS]",
	.doc = "Lists hosts: their state in Slurm, and what their agents say.\v"
	       "HOSTS is a list as Slurm writes it, such as n1,n2 or n[1-8]. A host without an agent "
	       "runs no guests: AGENT says why it does not answer; the exit code is 1 then. "
	       "`vmjob host confirm-dead --help` is about hosts that are lost.",
};

static const struct vmj_column columns[] = {
	{"HOST", "host", false, false, NULL},
	{"STATE", "state", false, false, NULL},
	{"CPUS", "cpus", true, false, NULL},
	{"MEMORY", "memory_mib", true, false, vmj_cell_mib},
	{"GUESTS", "guests", true, false, NULL},
	{"VIRT", "virt", false, false, NULL},
	{"STORAGE", "storage", false, false, NULL},
	{"AGENT", "agent", false, false, NULL},
	{"REASON", "reason", false, true, NULL},
	{0},
};

static int64_t count_guests(struct json_object *host)
{
	struct json_object *phases = vmj_json_field(host, "guests");
	int64_t n = 0;

	if (!json_object_is_type(phases, json_type_object))
		return 0;
	json_object_object_foreach (phases, phase, count) {
		(void)phase;
		n += json_object_get_int64(count);
	}
	return n;
}

static const char *virt_of(struct json_object *host)
{
	if (!json_object_get_boolean(vmj_json_field(host, "libvirt")))
		return "down";
	return json_object_get_boolean(vmj_json_field(host, "kvm")) ? "kvm" : "qemu";
}

static const char *problem_of(struct json_object *storage, char buf[VMJ_CELL_MAX])
{
	const char *name = vmj_json_text(storage, "name", "?");
	const char *why = vmj_json_text(storage, "error", "it failed");

	snprintf(buf, VMJ_CELL_MAX, "%s: %s", name, why);
	return strncmp(why, "storage ", strlen("storage ")) ? buf : why;
}

/* "ok", or the first storage that is not, and why, or the first without much room. */
static const char *storage_of(struct json_object *host, char buf[VMJ_CELL_MAX])
{
	struct json_object *all = vmj_json_field(host, "storages");
	const char *state = "ok";

	for (size_t i = 0; all && i < json_object_array_length(all); i++) {
		struct json_object *storage = json_object_array_get_idx(all, i);

		if (!json_object_get_boolean(vmj_json_field(storage, "ok")))
			return problem_of(storage, buf);
		if (strcmp(vmj_json_text(storage, "space", "ok"), "ok") == 0 || state == buf)
			continue;
		snprintf(buf, VMJ_CELL_MAX, "%s: %s space", vmj_json_text(storage, "name", "?"),
			 vmj_json_text(storage, "space", ""));
		state = buf;
	}
	return state;
}

/* Slurm's columns, then the agent's word: its version, or its whole answer under "details". */
static struct json_object *host_row(const struct vmj_node *node, const struct vmj_answer *answer)
{
	struct json_object *row = json_object_new_object();
	struct json_object *host = vmj_json_field(answer->reply, "host");
	char buf[VMJ_CELL_MAX];

	vmj_view_add_text(row, "host", node->name);
	vmj_view_add_text(row, "state", node->state);
	vmj_view_add_int(row, "cpus", node->cpus);
	vmj_view_add_int(row, "memory_mib", (int64_t)node->memory_mib);
	vmj_view_add_text(row, "reason", node->reason);
	if (!host) {
		vmj_view_add_text(row, "agent", "no answer");
		vmj_view_add_text(row, "error", answer->err.text);
		return row;
	}
	vmj_view_add_text(row, "agent", vmj_json_text(host, "version", "up"));
	vmj_view_add_int(row, "guests", count_guests(host));
	vmj_view_add_text(row, "virt", virt_of(host));
	vmj_view_add_text(row, "storage", storage_of(host, buf));
	json_object_object_add(row, "details", json_object_get(host));
	return row;
}

static int print(struct json_object *rows, bool json, struct vmj_error *err)
{
	vmj_autojson struct json_object *o = NULL;

	if (!json)
		return vmj_table_print(columns, rows, stdout, err);
	o = json_object_new_object();
	json_object_object_add(o, "hosts", json_object_get(rows));
	vmj_json_print(o, stdout);
	return 0;
}

static int collect(const struct options *o, struct json_object *rows, size_t *ret_failed,
		   struct vmj_error *err)
{
	vmj_autojson struct json_object *request = vmj_request_new("host");
	VMJ_CLEANUP(vmj_hosts_done) struct vmj_hosts hosts = {0};
	vmj_autofree struct vmj_node *nodes = NULL;
	struct vmj_answer *answers = NULL;
	size_t n = 0, failed = 0;
	int rc = vmj_nodes_list(o->hosts, &nodes, &n, err);

	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = vmj_hosts_add(&hosts, nodes[i].name, err);
	if (rc == 0)
		rc = vmj_agents_ask(&hosts, request, VMJ_AGENT_TIMEOUT_MS, &answers, err);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < n; i++) {
		failed += answers[i].rc < 0;
		json_object_array_add(rows, host_row(&nodes[i], &answers[i]));
	}
	vmj_answers_free(answers, n);
	*ret_failed = failed;
	return 0;
}

static int run(const struct vmj_verb *verb, int argc, char **argv)
{
	vmj_autojson struct json_object *rows = json_object_new_array();
	struct options o = {0};
	struct vmj_error err;
	size_t failed = 0;

	argp_parse(verb->argp, argc, argv, 0, NULL, &o);
	if (collect(&o, rows, &failed, &err) < 0 || print(rows, o.json, &err) < 0)
		return vmj_say_failed(&err);
	return failed ? VMJ_EXIT_FAILED : VMJ_EXIT_DONE;
}

static const struct vmj_verb *const subs[] = {&vmj_verb_confirm_dead, NULL};

const struct vmj_verb vmj_verb_host = {
	.name = "host",
	.summary = "list hosts and their agents",
	.argp = &argp,
	.sub = subs,
	.words = VMJ_WORD_HOST,
	.run = run,
};
