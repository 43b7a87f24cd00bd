/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vmjob show: all that is known of a job's guests. */
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/cli/agents.h"
#include "vmjob/cli/table.h"
#include "vmjob/cli/target.h"
#include "vmjob/cli/verb.h"
#include "vmjob/cli/view.h"
#include "vmjob/model/json.h"

static const struct argp_option table[] = {
	VMJ_OPTION_HOST,
	VMJ_OPTION_JSON,
	{0},
};

static const struct argp argp = {
	.options = table,
	.parser = vmj_common_parser,
	.args_doc = "JOB",
	.doc = "Shows all that is known of the guest of a job; of a job on several hosts, of each "
	       "guest.",
};

/* Lines for people: what to call it, and how to show it. */
static const struct vmj_column lines[] = {
	{"Job", "job", false, false, NULL},
	{"Restarts", "restart", false, false, NULL},
	{"User", "user", false, false, NULL},
	{"Host", "host", false, false, NULL},
	{"Phase", "phase", false, false, NULL},
	{"Reason", "reason", false, false, NULL},
	{"Why", "reason_text", false, false, NULL},
	{"End", "end", false, false, NULL},
	{"Failure", "failure", false, false, NULL},
	{"Image", "image", false, false, NULL},
	{"Image file", "image_path", false, false, NULL},
	{"vCPUs", "vcpus", false, false, NULL},
	{"Host CPUs", "cpus", false, false, NULL},
	{"CPU model", "cpu", false, false, NULL},
	{"Memory", "memory_mib", false, false, vmj_cell_mib},
	{"Script", "script", false, false, NULL},
	{"Grace", "grace_s", false, false, vmj_cell_seconds},
	{"Started", "started", false, false, vmj_cell_time},
	{"Ended", "ended", false, false, vmj_cell_time},
	{"Elapsed", "elapsed", false, false, vmj_cell_seconds},
	{"QEMU", "pid", false, false, NULL},
	{0},
};

static const char *cell_ns(struct json_object *value, char buf[VMJ_CELL_MAX])
{
	snprintf(buf, VMJ_CELL_MAX, "%.1f s", (double)json_object_get_int64(value) / 1e9);
	return buf;
}

static const char *cell_kib(struct json_object *value, char buf[VMJ_CELL_MAX])
{
	return vmj_bytes_format(json_object_get_int64(value) * 1024, buf);
}

static const struct vmj_column figures[] = {
	{"CPU time", "cpu_ns", false, false, cell_ns},
	{"Resident", "rss_kib", false, false, cell_kib},
	{"Read", "rd_bytes", false, false, vmj_cell_bytes},
	{"Written", "wr_bytes", false, false, vmj_cell_bytes},
	{"Received", "rx_bytes", false, false, vmj_cell_bytes},
	{"Sent", "tx_bytes", false, false, vmj_cell_bytes},
	{0},
};

static void print_port(struct json_object *port)
{
	struct json_object *forwards = vmj_json_field(port, "forwards");

	printf("%-12s %s  mac %s", "Network", vmj_json_text(port, "network", "-"),
	       vmj_json_text(port, "mac", "-"));
	if (*vmj_json_text(port, "address", ""))
		printf("  address %s", vmj_json_text(port, "address", ""));
	if (*vmj_json_text(port, "device", ""))
		printf("  device %s", vmj_json_text(port, "device", ""));
	putchar('\n');
	for (size_t i = 0; forwards && i < json_object_array_length(forwards); i++) {
		struct json_object *f = json_object_array_get_idx(forwards, i);

		printf("%-12s host's %s port %" PRId64 " to the guest's %" PRId64 "\n", "Forward",
		       json_object_get_boolean(vmj_json_field(f, "udp")) ? "udp" : "tcp",
		       vmj_json_int(f, "host", 0), vmj_json_int(f, "guest", 0));
	}
}

/* "vdb  volume data of storage default, 20G, 1.2G used, chain of 3, read-only" */
static void print_disk(struct json_object *disk)
{
	const char *volume = vmj_json_text(disk, "volume", ""), *end = "";
	int64_t chain = vmj_json_int(disk, "chain", 0);
	char buf[VMJ_CELL_MAX];

	printf("%-12s %s  %s", "Disk", vmj_json_text(disk, "target", "?"),
	       vmj_json_text(disk, "kind", "?"));
	if (*volume)
		printf(" %s of storage %s", volume, vmj_json_text(disk, "storage", "?"));
	if (vmj_json_int(disk, "size_bytes", 0))
		printf(", %s", vmj_bytes_format(vmj_json_int(disk, "size_bytes", 0), buf));
	if (vmj_json_field(disk, "used_bytes"))
		printf(", %s used", vmj_bytes_format(vmj_json_int(disk, "used_bytes", 0), buf));
	if (chain > 1)
		printf(", chain of %" PRId64, chain);
	if (json_object_get_boolean(vmj_json_field(disk, "readonly")))
		end = ", read-only";
	printf("%s\n", end);
}

static void print_guest(struct json_object *row)
{
	struct json_object *ports = vmj_json_field(row, "ports");
	struct json_object *disks = vmj_json_field(row, "disks");

	vmj_lines_print(lines, row, stdout);
	for (size_t i = 0; ports && i < json_object_array_length(ports); i++)
		print_port(json_object_array_get_idx(ports, i));
	for (size_t i = 0; disks && i < json_object_array_length(disks); i++)
		print_disk(json_object_array_get_idx(disks, i));
	vmj_lines_print(figures, vmj_json_field(row, "stats"), stdout);
}

static void print(struct json_object *rows, bool json)
{
	vmj_autojson struct json_object *o = NULL;

	if (json) {
		o = json_object_new_object();
		json_object_object_add(o, "guests", json_object_get(rows));
		vmj_json_print(o, stdout);
		return;
	}
	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		if (i)
			putchar('\n');
		print_guest(json_object_array_get_idx(rows, i));
	}
}

static int run(const struct vmj_verb *verb, int argc, char **argv)
{
	vmj_autojson struct json_object *rows = json_object_new_array();
	vmj_autojson struct json_object *request = NULL;
	VMJ_CLEANUP(vmj_target_done) struct vmj_target target = {0};
	struct vmj_answer *answers = NULL;
	struct vmj_common o = {.takes = VMJ_JOB_NEEDED};
	struct vmj_error err;
	int failed = 0;

	argp_parse(verb->argp, argc, argv, 0, NULL, &o);
	if (vmj_target_find(o.job, o.hosts, &target, &err) < 0)
		return vmj_say_failed(&err);
	request = vmj_request_for_job("show", target.job);
	if (vmj_agents_ask(&target.hosts, request, VMJ_AGENT_TIMEOUT_MS, &answers, &err) < 0)
		return vmj_say_failed(&err);
	for (size_t i = 0; i < target.hosts.n; i++) {
		if (answers[i].rc < 0)
			failed = vmj_say_failed(&answers[i].err);
		else
			json_object_array_add(
				rows, vmj_view_guest(target.hosts.names[i],
						     vmj_json_field(answers[i].reply, "guest")));
	}
	vmj_answers_free(answers, target.hosts.n);
	print(rows, o.json);
	return failed ? VMJ_EXIT_FAILED : VMJ_EXIT_DONE;
}

const struct vmj_verb vmj_verb_show = {
	.name = "show",
	.summary = "show all about a job's guest",
	.argp = &argp,
	.words = VMJ_WORD_JOB,
	.run = run,
};
