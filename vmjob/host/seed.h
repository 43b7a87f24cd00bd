/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cloud-init's NoCloud seed: a FAT image labelled CIDATA with meta-data (instance-id,
 * local-hostname), network-config (version 2) and empty user-data. */
#ifndef VMJ_HOST_SEED_H
#define VMJ_HOST_SEED_H

#include "vmjob/model/config.h"
#include "vmjob/model/guest.h"

/* Host name of the guest: the job's name made fit for DNS is the caller's; here "vm<job>". file is
 * replaced; uid:gid, mode 0600. */
int vmj_seed_write(const struct vmj_config *c, const struct vmj_guest *guest, const char *file,
		   struct vmj_error *err);

#endif
