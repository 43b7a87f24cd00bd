/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Records of leases, hosts and deaths, as any host may have left them in a domain: what is accepted
 * comes back the same. */
#include "fuzz.h"

#include "vmjob/storage/hosts_private.h"
#include "vmjob/storage/lease_files.h"

static void check_lease(const char *text, size_t len)
{
	vmj_autojson struct json_object *o = NULL;
	struct vmj_lease_record r, back;
	struct vmj_error err = {0};
	const char *again;

	if (vmj_lease_parse("lease", text, len, &r, &err) < 0) {
		must(err.code > 0 && *err.text);
		return;
	}
	o = vmj_lease_to_json(&r);
	again = json_object_to_json_string(o);
	must(vmj_lease_parse("lease", again, strlen(again), &back, NULL) == 0);
	must(strcmp(r.host, back.host) == 0 && strcmp(r.boot, back.boot) == 0);
	must(r.job == back.job && r.term == back.term && r.released == back.released);
}

static void check_host(const char *text, size_t len)
{
	vmj_autojson struct json_object *o = NULL;
	struct vmj_host_record r, back;
	struct vmj_error err = {0};
	const char *again;

	if (vmj_host_parse("n1", text, len, &r, &err) < 0) {
		must(err.code > 0 && *err.text);
		return;
	}
	o = vmj_host_to_json(&r);
	again = json_object_to_json_string(o);
	must(vmj_host_parse("n1", again, strlen(again), &back, NULL) == 0);
	must(strcmp(r.lease.boot, back.lease.boot) == 0 && r.lease.seq == back.lease.seq);
}

static void check_death(const char *text, size_t len)
{
	vmj_autojson struct json_object *o = NULL;
	struct vmj_death d, back;
	const char *again;

	if (vmj_death_parse("n1", text, len, &d, NULL) < 0)
		return;
	must(d.n_boots <= VMJ_DEATH_BOOTS_MAX);
	o = vmj_death_to_json("n1", &d);
	again = json_object_to_json_string(o);
	must(vmj_death_parse("n1", again, strlen(again), &back, NULL) == 0);
	must(d.n_boots == back.n_boots);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_lease((const char *)data, size);
	check_host((const char *)data, size);
	check_death((const char *)data, size);
	return 0;
}
