/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The file, in clusters: 0 the header with the backing file's name; 1 the refcount table; 2 its one
 * block, which counts the clusters there are; 3… the L1 table, all zeros: nothing is allocated yet.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmjob/storage/qcow2.h"
#include "vmjob/storage/qcow2_format.h"
#include "vmjob/model/request.h"

#define CLUSTER_BITS   16
#define CLUSTER        (1u << CLUSTER_BITS)
#define L1_SPAN        ((uint64_t)CLUSTER / 8 * CLUSTER)  /* bytes of disk behind one L1 entry */
#define BACKING_FORMAT 0xe2792acau                        /* a header extension's type */
#define BACKING_OFFSET (sizeof(struct qcow2_header) + 24) /* two extensions of 16 and 8 bytes */

#define CLUSTERS_MAX 64
_Static_assert((VMJ_DISK_MIB_MAX << 20) / L1_SPAN * 8 / CLUSTER + 3 < CLUSTERS_MAX,
	       "the largest disk's clusters have a count each");

struct layout {
	uint64_t virtual_bytes;
	uint32_t l1_size, clusters;
};

static struct layout lay_out(uint64_t virtual_bytes)
{
	struct layout l = {.virtual_bytes = (virtual_bytes + 511) & ~511ull};

	l.l1_size = (uint32_t)((l.virtual_bytes + L1_SPAN - 1) / L1_SPAN);
	l.clusters = 3 + (l.l1_size * 8 + CLUSTER - 1) / CLUSTER;
	return l;
}

static void put_be32(unsigned char *p, uint32_t v)
{
	v = htobe32(v);
	memcpy(p, &v, sizeof(v));
}

static size_t make_header(const struct layout *l, const char *backing, unsigned char *buf)
{
	size_t name = backing ? strlen(backing) : 0;
	struct qcow2_header h = {
		.magic = QCOW2_MAGIC,
		.version = htobe32(3),
		.backing_offset = htobe64(backing ? BACKING_OFFSET : 0),
		.backing_size = htobe32((uint32_t)name),
		.cluster_bits = htobe32(CLUSTER_BITS),
		.size = htobe64(l->virtual_bytes),
		.l1_size = htobe32(l->l1_size),
		.l1_offset = htobe64(3 * CLUSTER),
		.refcount_offset = htobe64(CLUSTER),
		.refcount_clusters = htobe32(1),
		.refcount_order = htobe32(4),
		.header_length = htobe32(sizeof(h)),
	};

	memcpy(buf, &h, sizeof(h));
	if (!backing)
		return sizeof(h) + 8; /* the end of the extensions: zeros */
	put_be32(buf + sizeof(h), BACKING_FORMAT);
	put_be32(buf + sizeof(h) + 4, 5);
	memcpy(buf + sizeof(h) + 8, "qcow2", 5);
	memcpy(buf + BACKING_OFFSET, backing, name);
	return BACKING_OFFSET + name;
}

static int write_at(int fd, const void *data, size_t len, off_t offset)
{
	ssize_t n = pwrite(fd, data, len, offset);

	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -ENOSPC;
}

int vmj_qcow2_create(int fd, uint64_t virtual_bytes, const char *backing, struct vmj_error *err)
{
	unsigned char header[2048] = {0};
	struct layout l = lay_out(virtual_bytes);
	uint64_t block = htobe64(2 * CLUSTER);
	uint16_t counts[CLUSTERS_MAX];
	size_t len;
	int rc;

	if (virtual_bytes == 0 || virtual_bytes > VMJ_DISK_MIB_MAX << 20)
		return vmj_fail(err, ERANGE, "a disk cannot have %llu bytes",
				(unsigned long long)virtual_bytes);
	if (backing && strlen(backing) > QCOW2_BACKING_MAX)
		return vmj_fail(err, ENAMETOOLONG, "the path of the backing file is too long");
	for (size_t i = 0; i < CLUSTERS_MAX; i++)
		counts[i] = i < l.clusters ? htobe16(1) : 0;
	len = make_header(&l, backing, header);
	rc = ftruncate(fd, (off_t)l.clusters * CLUSTER) < 0 ? -errno : 0;
	if (rc == 0)
		rc = write_at(fd, &block, sizeof(block), CLUSTER);
	if (rc == 0)
		rc = write_at(fd, counts, sizeof(counts), 2 * CLUSTER);
	if (rc == 0)
		rc = write_at(fd, header, len, 0); /* last: without it, it is no disk */
	return rc < 0 ? vmj_fail(err, -rc, "cannot write a disk: %s", vmj_strerror(rc)) : 0;
}
