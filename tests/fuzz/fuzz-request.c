/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Request JSON: what is accepted has passed the check, and comes back the same from its own text.
 */
#include "fuzz.h"

#include "vmjob/base/cleanup.h"
#include "vmjob/model/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	vmj_autofree char *json = fuzz_text(data, size), *out = NULL;
	struct vmj_request r, back;
	struct vmj_error err = {0};
	char summary[VMJ_SUMMARY_MAX];

	if (vmj_request_parse(json, &r, &err) < 0) {
		must(err.code > 0 && err.fault == VMJ_FAULT_USER && *err.text);
		return 0;
	}
	must(vmj_request_check(&r, NULL) == 0);
	out = vmj_request_format(&r);
	must(out && vmj_request_parse(out, &back, NULL) == 0);
	must(memcmp(&r, &back, sizeof(r)) == 0);
	must(strncmp(vmj_request_summary(&r, summary, sizeof(summary)), "vm image=", 9) == 0);
	return 0;
}
