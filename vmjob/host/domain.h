/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a guest's record to libvirt's domain XML. Pure; libxml2 writes it, so nothing of a user's
 * reaches XML unescaped, and what XML cannot hold (control characters, broken UTF-8) is refused.
 *
 * Room to grow: as many vCPUs again can be plugged in while it runs (not with NUMA cells), in
 * sockets of their own, and VMJ_ATTACHED_MAX disks.
 */
#ifndef VMJ_HOST_DOMAIN_H
#define VMJ_HOST_DOMAIN_H

#include <stdbool.h>

#include "vmjob/host/topology.h"
#include "vmjob/model/guest.h"

struct vmj_domain_spec {
	const struct vmj_guest *guest; /* its disks and ports too */
	const struct vmj_shape *shape;
	bool kvm;        /* else TCG, with a bounded translation cache */
	const char *cpu; /* "host", "max" or a model's name; never NULL */
	/* For each disk, vmj_disk_can_direct() of all its files: cache none; else writeback. */
	bool direct_io[VMJ_GUEST_DISKS_MAX];
	const char *seed;                  /* FAT image labelled CIDATA, read-only; NULL: none */
	const char *console_log;           /* written by virtlogd */
	const char *bridges[VMJ_NETS_MAX]; /* for each port: bridge's name, or NULL for user-mode,
					      with the forwards of the guest's port */
};

#define VMJ_DOMAIN_XMLNS     "urn:vmjob:guest:1" /* of the metadata */
#define VMJ_DOMAIN_VCPUS_MAX 255                 /* more would need an IOMMU */

/* *ret is the caller's. q35, virtio, guest agent channel, pvpanic, optional i6300esb, balloon with
 * statistics, rng, serial console with log, DAC label of the job's user, on_crash destroy, uuid and
 * metadata <vmjob:guest job= user=> made from the record. */
int vmj_domain_xml(const struct vmj_domain_spec *spec, char **ret, struct vmj_error *err);

#endif
