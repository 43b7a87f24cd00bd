/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which storage domain a user means. */
#ifndef VMJ_CLI_DOMAIN_H
#define VMJ_CLI_DOMAIN_H

#include "vmjob/model/config.h"

/* name NULL: the first of vmjob.conf. */
int vmj_domain_find(const char *name, struct vmj_storage_config *ret, struct vmj_error *err);

/* A row for verbs' argp tables. */
#define VMJ_OPTION_STORAGE                                                                        \
	{                                                                                         \
		"storage", 's', "NAME", 0, "Storage domain (default: the first of vmjob.conf)", 0 \
	}

#endif
