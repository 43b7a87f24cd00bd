/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The options as typed. A line is a digit (which option) and its text: all lines change one
 * request. Each alone is refused in a sentence, or leaves a request that the check passes but for
 * what only several options together can break.
 */
#include "fuzz.h"

#include "vmjob/base/cleanup.h"
#include "vmjob/model/request.h"

static void one_alone(const struct vmj_option *o, const char *text)
{
	struct vmj_request r = {.image = "tiny"}, before = r;
	struct vmj_error err = {0};

	if (o->set(&r, text, &err) == 0)
		return;
	must(err.code > 0 && err.fault == VMJ_FAULT_USER && *err.text);
	must(memcmp(&r, &before, sizeof(r)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	vmj_autofree char *text = fuzz_text(data, size), *json = NULL, *again = NULL;
	struct vmj_request r = {.image = "tiny"}, back;
	char *save = NULL;
	size_t n = 0;

	while (vmj_options[n].name)
		n++;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		const struct vmj_option *o = &vmj_options[(unsigned int)(line[0] - '0') % n];

		one_alone(o, line + 1);
		vmj_option_set_env(o, &r, line + 1, NULL);
	}
	if (vmj_request_check(&r, NULL) < 0)
		return 0;
	json = vmj_request_format(&r);
	must(json && vmj_request_parse(json, &back, NULL) == 0);
	again = vmj_request_format(&back); /* the bytes behind a name's end may differ */
	must(again && strcmp(json, again) == 0);
	return 0;
}
