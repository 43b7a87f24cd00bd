/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/cli/view.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "vmjob/base/parse.h"
#include "vmjob/cli/say.h"
#include "vmjob/cli/table.h"
#include "vmjob/model/request.h"

static void add(struct json_object *row, const char *key, struct json_object *value)
{
	if (!value || json_object_object_add(row, key, value) < 0)
		abort();
}

static struct json_object *new_row(void)
{
	struct json_object *row = json_object_new_object();

	if (!row)
		abort();
	return row;
}

void vmj_view_add_text(struct json_object *row, const char *key, const char *text)
{
	if (text && *text)
		add(row, key, json_object_new_string(text));
}

void vmj_view_add_int(struct json_object *row, const char *key, int64_t n)
{
	add(row, key, json_object_new_int64(n));
}

struct field {
	const char *key, *from;
};

/* Copy fields; what is missing, "" or 0 there stays out. */
static void copy(struct json_object *row, struct json_object *o, const struct field *f)
{
	for (; f->key; f++) {
		struct json_object *value = vmj_json_field(o, f->from);
		bool empty = json_object_is_type(value, json_type_string)
				     ? json_object_get_string_len(value) == 0
				     : !json_object_get_int64(value);

		if (value && !empty)
			add(row, f->key, json_object_get(value));
	}
}

static void add_image(struct json_object *row, struct json_object *request)
{
	const char *image = vmj_json_text(request, "image", NULL);
	int64_t revision = vmj_json_int(request, "revision", 0);
	char text[128];

	if (!image)
		return;
	if (revision)
		snprintf(text, sizeof(text), "%s@%" PRId64, image, revision);
	vmj_view_add_text(row, "image", revision ? text : image);
}

static void add_addresses(struct json_object *row, struct json_object *ports)
{
	struct json_object *all;

	if (!json_object_is_type(ports, json_type_array))
		return;
	all = json_object_new_array();
	for (size_t i = 0; i < json_object_array_length(ports); i++) {
		const char *address =
			vmj_json_text(json_object_array_get_idx(ports, i), "address", "");
		size_t len = strcspn(address, "/");

		if (len)
			json_object_array_add(all, json_object_new_string_len(address, (int)len));
	}
	add(row, "addresses", all);
}

/* Microseconds of the agent to seconds, and how long the guest has been up. */
static void add_times(struct json_object *row, struct json_object *guest)
{
	int64_t start = vmj_json_int(guest, "start_us", 0) / 1000000;
	int64_t end = vmj_json_int(guest, "end_us", 0) / 1000000;
	int64_t now = time(NULL);

	if (start > 0) {
		vmj_view_add_int(row, "started", start);
		vmj_view_add_int(row, "elapsed",
				 (end ? end : now) > start ? (end ? end : now) - start : 0);
	}
	if (end > 0)
		vmj_view_add_int(row, "ended", end);
}

struct json_object *vmj_view_guest(const char *host, struct json_object *guest)
{
	static const struct field known[] = {
		{"user", "user"},
		{"uid", "uid"},
		{"phase", "phase"},
		{"reason", "reason"},
		{"reason_text", "reason_text"},
		{"failure", "failure"},
		{"cpus", "cpus"},
		{"image_path", "image_path"},
		{"pid", "pid"},
		{0},
	};
	static const struct field asked[] = {
		{"vcpus", "vcpus"}, {"memory_mib", "memory"}, {"script", "script"},
		{"cpu", "cpu"},     {"grace_s", "grace"},     {0},
	};
	struct json_object *stats = vmj_json_field(guest, "stats");
	struct json_object *request = vmj_json_field(guest, "request");
	struct json_object *ports = vmj_json_field(guest, "ports");
	struct json_object *disks = vmj_json_field(guest, "disks");
	struct json_object *row = new_row();

	vmj_view_add_int(row, "job", vmj_json_int(guest, "job", 0));
	vmj_view_add_int(row, "restart", vmj_json_int(guest, "restart", 0));
	copy(row, guest, known);
	if (strcmp(vmj_json_text(guest, "end", "none"), "none") != 0)
		vmj_view_add_text(row, "end", vmj_json_text(guest, "end", ""));
	vmj_view_add_text(row, "host", host);
	add_image(row, request);
	copy(row, request, asked);
	add_addresses(row, ports);
	if (ports)
		add(row, "ports", json_object_get(ports));
	if (disks)
		add(row, "disks", json_object_get(disks));
	add_times(row, guest);
	if (stats)
		add(row, "stats", json_object_get(stats));
	return row;
}

/* What the summary of the request says, for a guest of which no agent tells. */
static void add_summary(struct json_object *row, const char *summary)
{
	char text[256], *save = NULL;
	uint64_t n;

	snprintf(text, sizeof(text), "%s", summary);
	for (char *w = strtok_r(text, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
		char *value = strchr(w, '=');

		if (!value)
			continue;
		*value++ = '\0';
		if (!strcmp(w, "image"))
			vmj_view_add_text(row, "image", value);
		if (!strcmp(w, "script"))
			vmj_view_add_text(row, "script", value);
		if (!strcmp(w, "vcpus") && !vmj_parse_u64(w, value, 1, VMJ_VCPUS_MAX, &n, NULL))
			vmj_view_add_int(row, "vcpus", (int64_t)n);
		if (!strcmp(w, "memory") &&
		    !vmj_parse_size_mib(w, value, 1, VMJ_MEMORY_MIB_MAX, &n, NULL))
			vmj_view_add_int(row, "memory_mib", (int64_t)n);
	}
}

struct json_object *vmj_view_job(const struct vmj_job *job, const char *phase)
{
	struct json_object *row = new_row();

	vmj_view_add_int(row, "job", job->id);
	vmj_view_add_text(row, "user", job->user);
	vmj_view_add_text(row, "phase", phase);
	vmj_view_add_text(row, "host", job->nodes);
	if (strcmp(job->reason, "None"))
		vmj_view_add_text(row, "reason", job->reason);
	add_summary(row, job->comment);
	vmj_view_add_job(row, job);
	return row;
}

void vmj_view_add_job(struct json_object *row, const struct vmj_job *job)
{
	vmj_view_add_text(row, "label", job->label);
	vmj_view_add_text(row, "name", job->name);
	vmj_view_add_text(row, "state", job->state);
	vmj_view_add_text(row, "summary", job->comment);
}

void vmj_view_add_failed(struct json_object *unreachable, const char *host,
			 const struct vmj_error *err)
{
	struct json_object *row = new_row();

	vmj_say("%s", err->text);
	vmj_view_add_text(row, "host", host);
	vmj_view_add_text(row, "error", err->text);
	json_object_array_add(unreachable, row);
}
