/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest's record, as the agent reads it from disk: what is accepted comes back the same. */
#include "fuzz.h"

#include "vmjob/model/guest.h"
#include "vmjob/model/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	vmj_autojson struct json_object *o = NULL, *again = NULL;
	struct vmj_guest g, back;
	struct vmj_error err = {0};

	if (vmj_json_parse("record", (const char *)data, size, 8, &o, &err) < 0 ||
	    vmj_guest_from_json(o, &g, &err) < 0) {
		must(err.code > 0 && *err.text);
		return 0;
	}
	must(vmj_request_check(&g.request, NULL) == 0);
	again = vmj_guest_to_json(&g);
	must(vmj_guest_from_json(again, &back, NULL) == 0);
	must(memcmp(&g, &back, sizeof(g)) == 0);
	return 0;
}
