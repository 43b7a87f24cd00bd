/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The readers of single values: bounds hold, nothing is touched on failure, names are names. */
#include "fuzz.h"

#include "vmjob/base/cleanup.h"
#include "vmjob/base/parse.h"
#include "vmjob/model/guest.h"

#define UNTOUCHED 0xdeadbeefcafef00du

static void check_bounds(int rc, uint64_t v, uint64_t min, uint64_t max)
{
	must(rc <= 0);
	must(rc == 0 ? v >= min && v <= max : v == UNTOUCHED);
}

static void check_name(const char *text)
{
	if (!vmj_name_valid(text))
		return;
	must(*text && strlen(text) <= VMJ_NAME_MAX && *text != '.' && *text != '-');
	must(!strpbrk(text, "/\\ \t\n'\"<>&;$`|*?~%=,:@") && !strstr(text, ".."));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	vmj_autofree char *text = fuzz_text(data, size);
	uint64_t n = UNTOUCHED, mib = UNTOUCHED, s = UNTOUCHED, back;
	char quoted[40], name[VMJ_DOMAIN_NAME_MAX];
	uint32_t job;
	int rc;

	rc = vmj_parse_u64("n", text, 5, 1u << 30, &n, NULL);
	check_bounds(rc, n, 5, 1u << 30);
	rc = vmj_parse_size_mib("s", text, 2, 1u << 30, &mib, NULL);
	check_bounds(rc, mib, 2, 1u << 30);
	rc = vmj_parse_time("t", text, 1u << 30, &s, NULL);
	check_bounds(rc, s, 0, 1u << 30);
	check_name(text);
	vmj_quote(text, quoted, sizeof(quoted));
	must(strlen(quoted) < sizeof(quoted) && !strpbrk(quoted, "\"'\n\x1b"));
	if (mib != UNTOUCHED) {
		vmj_format_size_mib(mib, quoted, sizeof(quoted));
		must(vmj_parse_size_mib("s", quoted, 0, UINT64_MAX, &back, NULL) == 0);
		must(back == mib);
	}
	if (vmj_domain_job(text, &job) == 0)
		must(strcmp(vmj_domain_name(job, name), text) == 0);
	if (vmj_mac_valid(text))
		must(strlen(text) == 17);
	return 0;
}
