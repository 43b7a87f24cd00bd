/* SPDX-License-Identifier: GPL-2.0-or-later */
/* To qcow2 in one pass, with the checksum of what is written: from raw, and from qcow2 that needs
 * no conversion. */
#ifndef VMJ_STORAGE_QCOW2_PACK_H
#define VMJ_STORAGE_QCOW2_PACK_H

#include <stdbool.h>
#include <stdint.h>

#include "vmjob/base/error.h"

struct vmj_qcow2_pack {
	int from, to;           /* a regular file; an empty one, readable too */
	uint64_t virtual_bytes; /* of the disk */
	void (*on_bytes)(uint64_t done, uint64_t total, void *arg); /* of data; NULL: none */
	void *arg;
};

/*
 * `to` is whole and durable on return, and *sha256 is of it. Clusters of 64 KiB; those of the
 * source's holes are not there, those of stored zeros are holes. The same source makes the same
 * file. Returns 1 where qemu-img does it better, `to` then untouched: a disk over 4 TiB, or one
 * that stores many zeros, which would have to be read for the checksum.
 */
int vmj_qcow2_pack(const struct vmj_qcow2_pack *p, char sha256[65], struct vmj_error *err);

/* The same for a qcow2 file that qemu-img check found sound: as it is, if it is as qemu-img would
 * make it but for the order of its clusters. Else 1: version 2, other clusters than 64 KiB,
 * snapshots, features, compressed clusters (`compressed` says so), or a file full of holes. */
int vmj_qcow2_copy(const struct vmj_qcow2_pack *p, bool compressed, char sha256[65],
		   struct vmj_error *err);

#endif
