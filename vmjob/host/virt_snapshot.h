/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Snapshots and merges on disks of guests that run, through libvirt; as all of virt.h: blocking,
 * thread-safe, ENOTCONN without a connection. Files are named by their paths. libvirt keeps no
 * notes of these snapshots, and touches no file's owner: the disks' labels say so, and new links of
 * a chain inherit it.
 */
#ifndef VMJ_HOST_VIRT_SNAPSHOT_H
#define VMJ_HOST_VIRT_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>

#include "vmjob/base/error.h"
#include "vmjob/model/guest-disk.h"

struct vmj_virt;

struct vmj_virt_overlay {
	const char *target; /* "vda" */
	const char *file;   /* an empty layer over the disk's top, which the guest's user may write
			     */
};

/* Switch the disks to their overlays, all at the same moment or none. Where the guest's agent
 * answers, its file systems are frozen for that moment; *ret_quiesced tells. After a failure look
 * at the chains: the answer may have been lost. */
int vmj_virt_snapshot(struct vmj_virt *v, uint32_t job, const struct vmj_virt_overlay *overlays,
		      unsigned int n, bool *ret_quiesced, struct vmj_error *err);

/* The files of a disk as QEMU has them open, the top first. -ENOENT: no such domain, or no such
 * disk. */
struct vmj_virt_chain {
	unsigned int n;
	char files[VMJ_DISK_LINKS_MAX][VMJ_DISK_PATH_MAX];
};
int vmj_virt_chain(struct vmj_virt *v, uint32_t job, const char *target, struct vmj_virt_chain *ret,
		   struct vmj_error *err);
bool vmj_virt_chain_has(const struct vmj_virt_chain *c, const char *file);

/* Taking one file out of a disk's chain while the guest runs. */
struct vmj_virt_merge {
	uint32_t job;
	const char *target;
	const char *gone;  /* leaves the chain; not the disk's top */
	const char *below; /* under it; NULL: nothing. A commit puts the data there */
	void (*progress)(double fraction, void *arg); /* NULL: none */
	void *arg;
};
/* Commit: into the file below. Pull: into the disk's top, of which `gone` is the backing file. Both
 * wait for the end. Whether it was done, the chain tells; gone already is success. */
/* EBUSY: not as long as this guest runs (doc/decisions/merges-and-locks.md). */
int vmj_virt_commit(struct vmj_virt *v, const struct vmj_virt_merge *m, struct vmj_error *err);
int vmj_virt_pull(struct vmj_virt *v, const struct vmj_virt_merge *m, struct vmj_error *err);

/* End a job that an earlier start of ours left running on the disk; none: success. */
int vmj_virt_abort_merge(struct vmj_virt *v, uint32_t job, const char *target,
			 struct vmj_error *err);

#endif
