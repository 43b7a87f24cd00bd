/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What differs between the versions of Slurm for plugins inside slurmctld (they need Slurm's source
 * tree). Included first: Slurm's headers want their config.h before anything else.
 */
#ifndef VMJ_PLUGINS_COMPAT_SLURMCTLD_H
#define VMJ_PLUGINS_COMPAT_SLURMCTLD_H

#include "config.h"

#include "slurm/slurm.h"
#include "slurm/slurm_errno.h"
#include "src/common/slurm_xlator.h"
#include "src/common/log.h"
#include "src/common/read_config.h"
#include "src/common/xmalloc.h"
#include "src/common/xstring.h"
#include "src/slurmctld/slurmctld.h"

/* job_modify() can say why since 23.02. Before, the sentence goes to slurmctld's log. */
#if SLURM_VERSION_NUMBER >= SLURM_VERSION_NUM(23, 2, 0)
#define VMJ_JOB_MODIFY_ERR_MSG   , char **err_msg
#define vmj_job_modify_say(text) (*err_msg = xstrdup(text))
#else
#define VMJ_JOB_MODIFY_ERR_MSG
#define vmj_job_modify_say(text) error("vmjob: %s", (text))
#endif

#endif
