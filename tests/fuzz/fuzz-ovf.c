/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The texts of an OVA, which come from strangers: the first byte says which. */
#include "fuzz.h"

#include "vmjob/base/cleanup.h"
#include "vmjob/storage/ovf.h"

static void read_manifest(const char *text)
{
	struct vmj_manifest_sum sum = {.hex = ""};
	struct vmj_error err = {0};
	int rc = vmj_manifest_find(text, "disk.vmdk", &sum, &err);

	must(rc <= 1);
	if (rc < 0) {
		must(err.fault == VMJ_FAULT_USER && *err.text);
		return;
	}
	if (rc == 1)
		must(strspn(sum.hex, "0123456789abcdef") == strlen(sum.hex) &&
		     strlen(sum.hex) >= 40 && *sum.algorithm);
}

static void read_descriptor(const char *text, size_t len)
{
	struct vmj_error err = {0};
	struct vmj_ovf ovf;

	if (vmj_ovf_read(text, len, &ovf, &err) < 0) {
		must(err.fault == VMJ_FAULT_USER && *err.text);
		return;
	}
	must(ovf.n_disks >= 1 && ovf.n_disks <= VMJ_OVF_DISKS_MAX);
	for (unsigned int i = 0; i < ovf.n_disks; i++) {
		must(strnlen(ovf.disks[i], VMJ_OVF_FILE_MAX) < VMJ_OVF_FILE_MAX && *ovf.disks[i]);
		must(vmj_ovf_choose(&ovf, ovf.disks[i], &err) >= 0);
	}
	for (const char *c = ovf.meta.os; *c; c++)
		must(*c >= ' ' && *c <= '~');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	vmj_autofree char *text = NULL;

	if (size < 1)
		return 0;
	text = fuzz_text(data + 1, size - 1);
	if (data[0] == 'm')
		read_manifest(text);
	else
		read_descriptor(text, size - 1);
	return 0;
}
