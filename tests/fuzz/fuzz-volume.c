/* SPDX-License-Identifier: GPL-2.0-or-later */
/* volume.json, which root trusts: what is accepted has passed the check, comes back the same, and
 * every chain in it ends. */
#include "fuzz.h"

#include "vmjob/base/cleanup.h"
#include "vmjob/storage/volume.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	vmj_autofree char *text = NULL, *again = NULL;
	struct vmj_volume v, back;
	struct vmj_error err = {0};
	const char *chain[VMJ_CHAIN_MAX];
	unsigned int n = 0;

	if (vmj_volume_parse((const char *)data, size, &v, &err) < 0) {
		must(err.code > 0 && err.fault == VMJ_FAULT_USER && *err.text);
		return 0;
	}
	must(vmj_volume_check(&v, NULL) == 0);
	text = vmj_volume_format(&v);
	must(text && vmj_volume_parse(text, strlen(text), &back, NULL) == 0);
	again = vmj_volume_format(&back);
	must(again && strcmp(text, again) == 0);
	for (unsigned int i = 0; i < v.n_layers; i++) {
		must(!strchr(v.layers[i].file, '/') && v.layers[i].file[0] != '.');
		must(vmj_volume_chain(&v, v.layers[i].file, chain, &n, NULL) == 0);
		must(n > 0 && n <= VMJ_CHAIN_MAX);
		must(!*vmj_volume_layer(&v, chain[n - 1])->parent);
	}
	return 0;
}
