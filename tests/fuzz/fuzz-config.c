/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vmjob.conf: what is accepted keeps to its bounds and can admit a guest or refuse it. */
#include "fuzz.h"

#include "vmjob/base/cleanup.h"
#include "vmjob/model/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	vmj_autofree char *text = NULL;
	struct vmj_config *c = NULL;
	struct vmj_error err = {0};

	if (size > VMJ_CONFIG_FILE_MAX)
		return 0;
	text = fuzz_text(data, size);
	if (vmj_config_parse(text, "fuzz.conf", &c, &err) < 0) {
		must(err.code > 0 && err.fault == VMJ_FAULT_HOST && !c);
		must(strncmp(err.text, "fuzz.conf:", 10) == 0);
		return 0;
	}
	must(c->n_storages >= 1);
	for (unsigned int i = 0; i < c->n_storages; i++) {
		const struct vmj_storage_config *s = &c->storages[i];

		must(s->path[0] == '/' && s->kind < VMJ_STORAGE_COUNT_ && s->renew_s >= 1);
		must(s->critical <= s->low && s->low < 100);
		must(!s->limit_mib || s->quota_mib <= s->limit_mib);
	}
	must(c->default_memory_mib <= c->max_memory_mib);
	must(c->operators && c->operators[0]);
	must(!*c->default_network || vmj_config_network(c, c->default_network));
	for (unsigned int i = 0; i < c->n_networks; i++) {
		const struct vmj_net_config *n = &c->networks[i];

		must(n->kind < VMJ_NET_COUNT_ && vmj_name_valid(n->name));
		must(n->kind != VMJ_NET_BRIDGE || *n->bridge);
		must(n->kind != VMJ_NET_NAT || (n->prefix && n->gateway.s_addr));
	}
	vmj_config_free(c);
	return 0;
}
