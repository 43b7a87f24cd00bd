/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cloud-init's NoCloud seed: a FAT image labelled CIDATA with
 *
 *	meta-data	instance-id, local-hostname, public-keys
 *	network-config	version 2, each port by its MAC address
 *	user-data	the user's own, to the byte; without, an empty cloud-config
 *	vendor-data	ours: the submitting user with their ssh keys and sudo
 *
 * cloud-init merges vendor-data below user-data, so the user's word wins.
 */
#ifndef VMJ_HOST_SEED_H
#define VMJ_HOST_SEED_H

#include "vmjob/model/config.h"
#include "vmjob/model/guest.h"

/*
 * Host name: "vmjob-<job>", or the name of the volume that is the root disk, made fit for DNS. The
 * instance is one root disk's: the same in every job with that volume, and when a protected guest
 * starts anew elsewhere; else another for each start of a job.
 *
 * user_data: NULL: none; of what vmj_user_data_check() has passed. file is replaced; uid:gid, mode
 * 0600. All failures are the host's fault.
 */
int vmj_seed_write(const struct vmj_config *c, const struct vmj_guest *guest, const char *user_data,
		   const char *file, struct vmj_error *err);

#endif
