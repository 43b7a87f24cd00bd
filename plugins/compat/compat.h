/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What differs between the versions of Slurm that vmjob is built against, 22.05 to 26.05, in one
 * place. Only public headers are needed here; compat/slurmctld.h is for plugins that need the
 * source tree.
 */
#ifndef VMJ_PLUGINS_COMPAT_H
#define VMJ_PLUGINS_COMPAT_H

#include <slurm/slurm.h>
#include <slurm/slurm_errno.h>

/* 22.05: hostlist_t is the pointer; since 23.11 it is the struct. */
#if SLURM_VERSION_NUMBER >= SLURM_VERSION_NUM(23, 11, 0)
typedef hostlist_t *vmj_hostlist;
#else
typedef hostlist_t vmj_hostlist;
#endif

#endif
