/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "plugins/job_submit/carrier.h"
#include "vmjob/model/user-data.h"

#define OURS   "VMJOB_"
#define OPTION "_SLURM_SPANK_OPTION_vmjob_" /* spank of Slurm names them so */

static bool has_prefix(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

enum vmj_carried vmj_carried_kind(const char *entry)
{
	if (!entry)
		return VMJ_CARRIED_OTHER;
	if (has_prefix(entry, "SPANK_" OURS))
		return VMJ_CARRIED_FORGED;
	if (has_prefix(entry, VMJ_REQUEST_ENV "="))
		return VMJ_CARRIED_REQUEST;
	if (has_prefix(entry, VMJ_USER_DATA_ENV "="))
		return VMJ_CARRIED_USER_DATA;
	if (has_prefix(entry, OURS) || has_prefix(entry, OPTION) ||
	    has_prefix(entry, "SPANK_" OPTION))
		return VMJ_CARRIED_LITTER;
	return VMJ_CARRIED_OTHER;
}

bool vmj_is_stand_in_variable(const char *entry)
{
	return entry && (has_prefix(entry, "SLURM_SPANK_" OURS) ||
			 has_prefix(entry, "SLURM_SPANK_" OPTION) || has_prefix(entry, OPTION));
}
