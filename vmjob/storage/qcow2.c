/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/storage/qcow2.h"

#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmjob/storage/qcow2_format.h"
#include "vmjob/model/request.h"

enum {
	FEATURE_CORRUPT = 1 << 1,
	FEATURE_DATA_FILE = 1 << 2,
	FEATURES_KNOWN = 0x1f, /* dirty, corrupt, data file, compression type, extended L2 */
};

#define PROBE_SIZE  512
#define L1_PIECE    512
#define L1_LOOK_MAX (1u << 20) /* entries that are looked through */

/* What people have as image files but is no disk as it stands. */
static const struct {
	size_t offset, len;
	const char *magic, *name;
} foreign[] = {
	{0, 4, "KDMV", "VMDK"},
	{0, 4, "COWD", "VMDK"},
	{0, 8, "vhdxfile", "VHDX"},
	{0, 8, "conectix", "VHD"},
	{64, 4, "\x7f\x10\xda\xbe", "VDI"},
	{0, 4, "QED\0", "QED"},
	{0, 2, "\x1f\x8b", "gzip"},
	{0, 6,
	 "\xfd"
	 "7zXZ\0",
	 "xz"},
	{0, 4, "\x28\xb5\x2f\xfd", "zstd"},
	{0, 4, "PK\x03\x04", "zip"},
	{0, 6, "LUKS\xba\xbe", "LUKS"},
};

static int refuse_foreign(const char *buf, size_t len, const char *what, struct vmj_error *err)
{
	for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
		size_t offset = foreign[i].offset, n = foreign[i].len;

		if (offset + n <= len && memcmp(buf + offset, foreign[i].magic, n) == 0)
			return vmj_fail_user(err, EINVAL,
					     "%s is in the format %s, not qcow2 or raw: convert or "
					     "decompress it first (qemu-img convert -O qcow2)",
					     what, foreign[i].name);
	}
	return 0;
}

static int check_references(const struct qcow2_header *h, uint64_t incompatible, const char *what,
			    struct vmj_error *err)
{
	if (incompatible & FEATURE_DATA_FILE)
		return vmj_fail_user(err, EINVAL,
				     "%s keeps its data in another file, which an image must not: "
				     "make it whole with qemu-img convert",
				     what);
	if (h->crypt_method)
		return vmj_fail_user(err, EINVAL, "%s is encrypted, which vmjob cannot use", what);
	if (incompatible & FEATURE_CORRUPT)
		return vmj_fail_user(err, EINVAL,
				     "%s is marked as corrupt: repair it with qemu-img check -r "
				     "all, or import it anew",
				     what);
	if (incompatible & ~(uint64_t)FEATURES_KNOWN)
		return vmj_fail_user(err, EINVAL,
				     "%s uses qcow2 features (0x%llx) that are not known here",
				     what, (unsigned long long)incompatible);
	return 0;
}

static int read_backing(int fd, const struct qcow2_header *h, const char *what, char *ret,
			struct vmj_error *err)
{
	size_t len = be32toh(h->backing_size);
	uint64_t offset = be64toh(h->backing_offset);

	if (!h->backing_offset)
		len = 0;
	if (len >= VMJ_QCOW2_BACKING_MAX || offset > INT64_MAX - len ||
	    (len && pread(fd, ret, len, (off_t)offset) != (ssize_t)len) || memchr(ret, 0, len))
		return vmj_fail_user(err, EINVAL,
				     "%s is corrupt: its backing file's name is not in it", what);
	ret[len] = '\0';
	return 0;
}

static int check_backing(int fd, const struct qcow2_header *h, const char *backing,
			 const char *what, struct vmj_error *err)
{
	char name[VMJ_QCOW2_BACKING_MAX];
	int rc;

	if (!*backing && h->backing_offset)
		return vmj_fail_user(err, EINVAL,
				     "%s has a backing file, which it must not have: make it whole "
				     "with qemu-img convert",
				     what);
	rc = read_backing(fd, h, what, name, err);
	if (rc == 0 && strcmp(name, backing) != 0)
		return vmj_fail_user(err, EINVAL,
				     "%s does not have %s for its backing file any more: it was "
				     "changed by other means than vmjob",
				     what, backing);
	return rc;
}

static int check_header(const struct qcow2_header *h, size_t len, off_t file_size, const char *what,
			struct vmj_qcow2 *ret, struct vmj_error *err)
{
	uint32_t version = be32toh(h->version), bits = be32toh(h->cluster_bits);
	uint64_t size = be64toh(h->size), l1 = be64toh(h->l1_offset);
	uint64_t l1_end = l1 + 8ull * be32toh(h->l1_size);
	int rc;

	if (version != 2 && version != 3)
		return vmj_fail_user(err, EINVAL,
				     "%s is qcow2 of version %u, only 2 and 3 are known", what,
				     version);
	if (len < sizeof(*h) || bits < 9 || bits > 21 || l1_end < l1 ||
	    l1_end > (uint64_t)file_size || be64toh(h->refcount_offset) >= (uint64_t)file_size)
		return vmj_fail_user(err, EINVAL,
				     "%s is cut off or corrupt: its qcow2 header points beyond its "
				     "end (%lld bytes)",
				     what, (long long)file_size);
	rc = check_references(h, version == 3 ? be64toh(h->incompatible) : 0, what, err);
	if (rc < 0)
		return rc;
	if (size == 0 || size > VMJ_DISK_MIB_MAX << 20)
		return vmj_fail_user(
			err, EINVAL, "%s has a disk of %llu bytes: it must be 1 byte to %llu MiB",
			what, (unsigned long long)size, (unsigned long long)VMJ_DISK_MIB_MAX);
	ret->virtual_bytes = size;
	return 0;
}

/* What lies at the beginning of a regular file. */
static int read_start(int fd, const char *what, char buf[PROBE_SIZE], struct stat *ret_st,
		      ssize_t *ret_n, struct vmj_error *err)
{
	if (fstat(fd, ret_st) < 0)
		return vmj_fail(err, errno, "cannot look at %s: %m", what);
	if (!S_ISREG(ret_st->st_mode))
		return vmj_fail_user(err, EINVAL, "%s is not a regular file", what);
	*ret_n = pread(fd, buf, PROBE_SIZE, 0);
	if (*ret_n < 0)
		return vmj_fail(err, errno, "cannot read %s: %m", what);
	return 0;
}

static bool is_qcow2(const char *buf, ssize_t n)
{
	return n >= 4 && memcmp(buf, "QFI\xfb", 4) == 0;
}

static int probe_qcow2(int fd, const char *what, const char *backing, const char *buf, ssize_t n,
		       const struct stat *st, struct vmj_qcow2 *ret, struct vmj_error *err)
{
	struct vmj_qcow2 q = {0};
	struct qcow2_header h;
	int rc;

	memcpy(&h, buf, sizeof(h));
	rc = check_header(&h, (size_t)n, st->st_size, what, &q, err);
	if (rc == 0)
		rc = check_backing(fd, &h, backing, what, err);
	if (rc == 0)
		*ret = q;
	return rc;
}

int vmj_qcow2_probe_layer(int fd, const char *what, const char *backing, struct vmj_qcow2 *ret,
			  struct vmj_error *err)
{
	char buf[PROBE_SIZE] = {0};
	struct stat st;
	ssize_t n;
	int rc = read_start(fd, what, buf, &st, &n, err);

	if (rc < 0)
		return rc;
	if (!is_qcow2(buf, n))
		return vmj_fail_user(err, EINVAL,
				     "%s is not qcow2 any more: it was changed by other means than "
				     "vmjob",
				     what);
	return probe_qcow2(fd, what, backing, buf, n, &st, ret, err);
}

int vmj_qcow2_backing(int fd, const char *what, char ret[VMJ_QCOW2_BACKING_MAX],
		      struct vmj_error *err)
{
	struct qcow2_header h;

	if (pread(fd, &h, sizeof(h), 0) != (ssize_t)sizeof(h) || !is_qcow2(h.magic, sizeof(h)))
		return vmj_fail_user(err, EINVAL, "%s is not qcow2", what);
	return read_backing(fd, &h, what, ret, err);
}

int vmj_qcow2_probe(int fd, const char *what, struct vmj_qcow2 *ret, bool *ret_is_qcow2,
		    struct vmj_error *err)
{
	char buf[PROBE_SIZE] = {0};
	struct stat st;
	ssize_t n;
	int rc = read_start(fd, what, buf, &st, &n, err);

	if (rc < 0)
		return rc;
	if (is_qcow2(buf, n)) {
		rc = probe_qcow2(fd, what, "", buf, n, &st, ret, err);
		if (rc == 0)
			*ret_is_qcow2 = true;
		return rc;
	}
	rc = refuse_foreign(buf, (size_t)n, what, err);
	if (rc < 0)
		return rc;
	if (st.st_size == 0 || (uint64_t)st.st_size > VMJ_DISK_MIB_MAX << 20)
		return vmj_fail_user(
			err, EINVAL, "%s is %lld bytes long: a raw image has 1 byte to %llu MiB",
			what, (long long)st.st_size, (unsigned long long)VMJ_DISK_MIB_MAX);
	ret->virtual_bytes = (uint64_t)st.st_size;
	*ret_is_qcow2 = false;
	return 0;
}

bool vmj_qcow2_is_empty(int fd)
{
	struct qcow2_header h;
	uint64_t entries[L1_PIECE], offset;
	uint32_t left;

	if (pread(fd, &h, sizeof(h), 0) != (ssize_t)sizeof(h) || h.n_snapshots)
		return false;
	offset = be64toh(h.l1_offset);
	left = be32toh(h.l1_size);
	if (left > L1_LOOK_MAX || offset > INT64_MAX - 8ull * left)
		return false;
	while (left > 0) {
		uint32_t n = left < L1_PIECE ? left : L1_PIECE;

		if (pread(fd, entries, n * 8, (off_t)offset) != (ssize_t)n * 8)
			return false;
		for (uint32_t i = 0; i < n; i++)
			if (entries[i])
				return false;
		left -= n;
		offset += n * 8;
	}
	return true;
}
