/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A lease's record: text. */
#include <errno.h>

#include "vmjob/model/json.h"
#include "vmjob/storage/hosts_private.h"
#include "vmjob/storage/lease_files.h"

#define FORMAT    "vmjob-lease"
#define VERSION   1
#define DEPTH_MAX 3

static const char *const what_names[] = {"work", "guest"};

struct json_object *vmj_lease_to_json(const struct vmj_lease_record *r)
{
	struct json_object *o = json_object_new_object();

	vmj_json_put_string(o, "format", FORMAT);
	vmj_json_put_u64(o, "version", VERSION);
	vmj_json_put_string(o, "host", r->host);
	vmj_json_put_string(o, "boot", r->boot);
	vmj_json_put_string(o, "agent", r->agent);
	vmj_json_put_string(o, "what", what_names[r->guest]);
	vmj_json_put_u64(o, "job", r->job);
	vmj_json_put_u64(o, "generation", r->generation);
	vmj_json_put_u64(o, "term", r->term);
	vmj_json_put_i64(o, "since", r->since);
	vmj_json_put_bool(o, "released", r->released);
	return o;
}

int vmj_lease_parse(const char *what, const char *text, size_t len, struct vmj_lease_record *ret,
		    struct vmj_error *err)
{
	vmj_autojson struct json_object *o = NULL;
	struct vmj_lease_record r = {.job = 0};
	struct vmj_error why = {.code = 0};
	struct vmj_json in;
	int kind = 0;

	if (vmj_json_parse("the record", text, len, DEPTH_MAX, &o, &why) < 0)
		return vmj_fail(err, EINVAL, "%s is damaged: %s", what, why.text);
	vmj_record_open(&in, o, FORMAT, VERSION, &why);
	vmj_record_name(&in, "host", r.host, sizeof(r.host));
	vmj_json_string(&in, "boot", VMJ_NEEDED, r.boot, sizeof(r.boot));
	vmj_json_string(&in, "agent", VMJ_NEEDED, r.agent, sizeof(r.agent));
	vmj_json_enum(&in, "what", VMJ_NEEDED, what_names, 2, &kind);
	vmj_json_u32(&in, "job", VMJ_NEEDED, 0, UINT32_MAX, &r.job);
	vmj_json_u64(&in, "generation", VMJ_NEEDED, 0, INT64_MAX, &r.generation);
	vmj_json_u64(&in, "term", VMJ_NEEDED, 0, INT64_MAX, &r.term);
	vmj_json_i64(&in, "since", VMJ_NEEDED, 0, INT64_MAX, &r.since);
	vmj_json_bool(&in, "released", VMJ_NEEDED, &r.released);
	if (vmj_json_close(&in) < 0)
		return vmj_fail(err, EINVAL, "%s is damaged: %s", what, why.text);
	r.guest = kind;
	*ret = r;
	return 0;
}
