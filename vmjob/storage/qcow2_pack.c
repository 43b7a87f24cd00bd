/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. The checksum is to be computed while the file is written, so the file must
 * be written from its beginning to its end, never going back. All that describes it therefore comes
 * first: which clusters there will be is known from the source's holes before any data is read. The
 * file, in clusters:
 *
 *   0 header | refcount table | refcount blocks | L1 table | L2 tables | data, in the disk's order
 *
 * L2 tables are only there for the parts of the disk that have data; every cluster is used once.
 */
#include "vmjob/storage/qcow2_pack.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/storage/follow.h"
#include "vmjob/storage/qcow2_format.h"
#include "vmjob/storage/spool.h"

#define CLUSTER_BITS 16
#define CLUSTER      (1u << CLUSTER_BITS)
#define L2_ENTRIES   (CLUSTER / 8)
#define BLOCK_COUNTS (CLUSTER / 2) /* 16 bits each */
#define USED_ONCE    (1ull << 63)
#define VIRTUAL_MAX  (4ull << 40)
#define PIECE        (1u << 20)
#define SAMPLES      64
#define ZEROS_MAX    16 /* of the samples */

struct pack {
	const struct vmj_qcow2_pack *p;
	struct vmj_spool out;
	unsigned char *map;                     /* a bit for each cluster of the disk */
	uint64_t clusters, n_data;              /* of the disk; with data */
	uint64_t n_table, n_blocks, n_l1, n_l2; /* clusters of each kind */
	uint64_t total;                         /* of the file */
	unsigned char *buf;                     /* PIECE */
};

static void pack_done(struct pack *k)
{
	vmj_follow_cancel(k->out.follow);
	free(k->map);
	free(k->buf);
}

static bool has_data(const struct pack *k, uint64_t cluster)
{
	return k->map[cluster / 8] & (1u << cluster % 8);
}

static bool group_has_data(const struct pack *k, uint64_t group)
{
	uint64_t end = (group + 1) * L2_ENTRIES;

	for (uint64_t c = group * L2_ENTRIES; c < end && c < k->clusters; c++)
		if (has_data(k, c))
			return true;
	return false;
}

static uint64_t groups(const struct pack *k)
{
	return (k->clusters + L2_ENTRIES - 1) / L2_ENTRIES;
}

static int make_map(struct pack *k)
{
	off_t size = (off_t)k->p->virtual_bytes, data = 0, hole;

	while (data < size && (data = lseek(k->p->from, data, SEEK_DATA)) >= 0) {
		hole = lseek(k->p->from, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		if (hole > size)
			hole = size;
		for (off_t c = data / CLUSTER; c * CLUSTER < hole; c++) {
			k->n_data += !has_data(k, (uint64_t)c);
			k->map[c / 8] |= (unsigned char)(1u << c % 8);
		}
		data = hole;
	}
	return data < 0 && errno != ENXIO ? -errno : 0;
}

static uint64_t divide_up(uint64_t n, uint64_t by)
{
	return (n + by - 1) / by;
}

/* What counts clusters needs clusters itself: until it is enough. */
static void lay_out(struct pack *k)
{
	uint64_t before;

	k->n_l1 = divide_up(groups(k) * 8, CLUSTER);
	for (uint64_t g = 0; g < groups(k); g++)
		k->n_l2 += group_has_data(k, g);
	k->n_blocks = k->n_table = 1;
	do {
		before = k->n_blocks + k->n_table;
		k->total = 1 + before + k->n_l1 + k->n_l2 + k->n_data;
		k->n_blocks = divide_up(k->total, BLOCK_COUNTS);
		k->n_table = divide_up(k->n_blocks * 8, CLUSTER);
	} while (before != k->n_blocks + k->n_table);
}

static int read_at(const struct pack *k, size_t len, off_t offset)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(k->p->from, k->buf + done, len - done, offset + (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	memset(k->buf + done, 0, len - done); /* beyond the end, or cut off meanwhile */
	return 0;
}

static bool is_zero(const unsigned char *p, size_t len)
{
	return p[0] == 0 && memcmp(p, p + 1, len - 1) == 0;
}

/* Whether many of the clusters that the source stores are zeros; a few of them tell. */
static int many_zeros(const struct pack *k)
{
	uint64_t step = k->n_data / SAMPLES + 1, seen = 0;
	int zeros = 0, rc;

	for (uint64_t c = 0; c < k->clusters; c++) {
		if (!has_data(k, c) || seen++ % step)
			continue;
		rc = read_at(k, CLUSTER, (off_t)(c * CLUSTER));
		if (rc < 0)
			return rc;
		zeros += is_zero(k->buf, CLUSTER);
	}
	return zeros > ZEROS_MAX;
}

/* The next clusters of the file. */
static int put(struct pack *k, size_t len)
{
	return vmj_spool_add(&k->out, (const char *)k->buf, len);
}

static int put_header(struct pack *k)
{
	struct qcow2_header h = {
		.magic = QCOW2_MAGIC,
		.version = htobe32(3),
		.cluster_bits = htobe32(CLUSTER_BITS),
		.size = htobe64((k->p->virtual_bytes + 511) & ~511ull),
		.l1_size = htobe32((uint32_t)groups(k)),
		.l1_offset = htobe64((1 + k->n_table + k->n_blocks) * CLUSTER),
		.refcount_offset = htobe64(CLUSTER),
		.refcount_clusters = htobe32((uint32_t)k->n_table),
		.refcount_order = htobe32(4),
		.header_length = htobe32(sizeof(h)),
	};

	memset(k->buf, 0, CLUSTER);
	memcpy(k->buf, &h, sizeof(h));
	return put(k, CLUSTER);
}

static int put_refcount_table(struct pack *k)
{
	for (uint64_t c = 0, block = 0; c < k->n_table; c++) {
		int rc;

		memset(k->buf, 0, CLUSTER);
		for (size_t e = 0; e < L2_ENTRIES && block < k->n_blocks; e++, block++) {
			uint64_t value = htobe64((1 + k->n_table + block) * CLUSTER);

			memcpy(k->buf + 8 * e, &value, sizeof(value));
		}
		rc = put(k, CLUSTER);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int put_counts(struct pack *k)
{
	const uint16_t one = htobe16(1);

	for (uint64_t block = 0; block < k->n_blocks; block++) {
		uint64_t left = k->total - block * BLOCK_COUNTS;
		int rc;

		memset(k->buf, 0, CLUSTER);
		for (uint64_t i = 0; i < BLOCK_COUNTS && i < left; i++)
			memcpy(k->buf + 2 * i, &one, sizeof(one));
		rc = put(k, CLUSTER);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int put_l1(struct pack *k)
{
	uint64_t next = (1 + k->n_table + k->n_blocks + k->n_l1) * CLUSTER, g = 0;

	for (uint64_t c = 0; c < k->n_l1; c++) {
		int rc;

		memset(k->buf, 0, CLUSTER);
		for (size_t e = 0; e < L2_ENTRIES && g < groups(k); e++, g++) {
			uint64_t value = htobe64(next | USED_ONCE);

			if (!group_has_data(k, g))
				continue;
			memcpy(k->buf + 8 * e, &value, sizeof(value));
			next += CLUSTER;
		}
		rc = put(k, CLUSTER);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int put_l2(struct pack *k)
{
	uint64_t next = (k->total - k->n_data) * CLUSTER;

	for (uint64_t g = 0; g < groups(k); g++) {
		int rc;

		if (!group_has_data(k, g))
			continue;
		memset(k->buf, 0, CLUSTER);
		for (uint64_t e = 0; e < L2_ENTRIES; e++) {
			uint64_t c = g * L2_ENTRIES + e, value = htobe64(next | USED_ONCE);

			if (c >= k->clusters || !has_data(k, c))
				continue;
			memcpy(k->buf + 8 * e, &value, sizeof(value));
			next += CLUSTER;
		}
		rc = put(k, CLUSTER);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int put_data(struct pack *k)
{
	uint64_t done = 0;

	for (uint64_t c = 0; c < k->clusters;) {
		uint64_t run = 0;
		int rc;

		while (c + run < k->clusters && run < PIECE / CLUSTER && has_data(k, c + run))
			run++;
		if (!run) {
			c++;
			continue;
		}
		rc = read_at(k, run * CLUSTER, (off_t)(c * CLUSTER));
		if (rc == 0)
			rc = put(k, run * CLUSTER);
		if (rc < 0)
			return rc;
		c += run;
		done += run;
		if (k->p->on_bytes)
			k->p->on_bytes(done * CLUSTER, k->n_data * CLUSTER, k->p->arg);
	}
	return 0;
}

static int put_all(struct pack *k)
{
	int rc = ftruncate(k->p->to, (off_t)(k->total * CLUSTER)) < 0 ? -errno : 0;

	if (rc == 0)
		rc = put_header(k);
	if (rc == 0)
		rc = put_refcount_table(k);
	if (rc == 0)
		rc = put_counts(k);
	if (rc == 0)
		rc = put_l1(k);
	if (rc == 0)
		rc = put_l2(k);
	if (rc == 0)
		rc = put_data(k);
	if (rc == 0 && fsync(k->p->to) < 0)
		rc = -errno;
	return rc;
}

int vmj_qcow2_pack(const struct vmj_qcow2_pack *p, char sha256[65], struct vmj_error *err)
{
	VMJ_CLEANUP(pack_done) struct pack k = {.p = p, .out = {.fd = p->to}};
	int rc;

	if (p->virtual_bytes > VIRTUAL_MAX)
		return 1;
	k.clusters = divide_up(p->virtual_bytes, CLUSTER);
	k.map = calloc(1, k.clusters / 8 + 1);
	k.buf = malloc(PIECE);
	if (!k.map || !k.buf)
		return vmj_fail(err, ENOMEM, "out of memory");
	rc = make_map(&k);
	if (rc == 0)
		rc = many_zeros(&k);
	if (rc < 0)
		return vmj_fail(err, -rc, "it cannot be read: %s", vmj_strerror(rc));
	if (rc > 0)
		return 1;
	lay_out(&k);
	k.out.follow = vmj_follow_start();
	if (!k.out.follow)
		return vmj_fail(err, ENOMEM, "cannot start a thread");
	rc = put_all(&k);
	if (rc == 0)
		rc = vmj_follow_end(vmj_steal(k.out.follow), sha256);
	return rc < 0 ? vmj_fail(err, -rc, "it cannot be stored: %s", vmj_strerror(rc)) : 0;
}
