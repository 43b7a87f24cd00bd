/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The header of a qcow2 file as on disk, big-endian: for qcow2*.c. */
#ifndef VMJ_STORAGE_QCOW2_FORMAT_H
#define VMJ_STORAGE_QCOW2_FORMAT_H

#include <stdint.h>

#define QCOW2_MAGIC                   \
	{                             \
		'Q', 'F', 'I', '\xfb' \
	}
#define QCOW2_BACKING_MAX 1023

struct qcow2_header {
	char magic[4];
	uint32_t version;
	uint64_t backing_offset;
	uint32_t backing_size;
	uint32_t cluster_bits;
	uint64_t size;
	uint32_t crypt_method;
	uint32_t l1_size;
	uint64_t l1_offset;
	uint64_t refcount_offset;
	uint32_t refcount_clusters;
	uint32_t n_snapshots;
	uint64_t snapshots_offset;
	uint64_t incompatible; /* version 2 ends before */
	uint64_t compatible;
	uint64_t autoclear;
	uint32_t refcount_order;
	uint32_t header_length;
} __attribute__((packed));
_Static_assert(sizeof(struct qcow2_header) == 104, "qcow2 header");

#endif
