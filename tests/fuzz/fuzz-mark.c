/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vmjob-domain.json: what is accepted names a domain and a version that is known. */
#include "fuzz.h"

#include "vmjob/storage/layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vmj_domain_mark m = {.version = 0};
	struct vmj_error err = {0};

	if (vmj_domain_parse("/srv", (const char *)data, size, &m, &err) < 0) {
		must(err.code > 0 && err.fault == VMJ_FAULT_HOST && m.version == 0);
		must(strncmp(err.text, "storage /srv", 12) == 0);
		return 0;
	}
	must(vmj_name_valid(m.name));
	must(m.version >= 1 && m.version <= VMJ_DOMAIN_VERSION);
	must(strnlen(m.uuid, sizeof(m.uuid)) < sizeof(m.uuid));
	return 0;
}
