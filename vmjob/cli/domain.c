/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/cli/domain.h"

#include "vmjob/base/cleanup.h"

VMJ_DEFINE_CLEANUP(struct vmj_config *, vmj_config_free);

int vmj_domain_find(const char *name, struct vmj_storage_config *ret, struct vmj_error *err)
{
	VMJ_CLEANUP(vmj_config_freep) struct vmj_config *config = NULL;
	const struct vmj_storage_config *found;
	int rc = vmj_config_load(NULL, &config, err);

	if (rc == 0)
		rc = vmj_config_storage(config, name, &found, err);
	if (rc == 0)
		*ret = *found;
	return rc;
}
