/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sources: QEMU's block/{vmdk,vdi,vhdx,vpc}.c for what it would open; VMware's "Virtual Disk
 * Format 5.0"; Microsoft's "Virtual Hard Disk Image Format Specification". */
#include "vmjob/storage/disk_format.h"

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/spawn.h"
#include "vmjob/model/json.h"
#include "vmjob/model/request.h"
#include "vmjob/storage/qcow2.h"

#define SECTOR          512
#define VMDK_DESC_BYTES (20 * SECTOR) /* what QEMU searches for a parent's name */
#define INFO_DEPTH      16

static uint32_t le32_at(const char *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

static uint64_t le64_at(const char *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

static bool at(const char *buf, size_t offset, const char *magic, size_t len)
{
	return memcmp(buf + offset, magic, len) == 0;
}

/* The text inside a sparse VMDK. QEMU looks for a parent's name in it, wherever that stands. */
static int check_vmdk_text(const char *text, size_t len, const char *what, struct vmj_error *err)
{
	static const char parent[] = "parentFileNameHint", cid[] = "parentCID=";
	const char *found = memmem(text, len, cid, sizeof(cid) - 1);

	if (memmem(text, len, parent, sizeof(parent) - 1) ||
	    (found && (size_t)(text + len - found) >= sizeof(cid) + 7 &&
	     strncasecmp(found + sizeof(cid) - 1, "ffffffff", 8) != 0))
		return vmj_fail_user(
			err, EINVAL,
			"%s is a VMDK that needs a parent disk, which an image must not: "
			"make it whole first (vmware-vdiskmanager -r, or a clone)",
			what);
	return 0;
}

static int check_vmdk(int fd, const char *header, const char *what, struct vmj_error *err)
{
	uint64_t capacity = le64_at(header + 12), desc_offset = le64_at(header + 28);
	char text[VMDK_DESC_BYTES];
	ssize_t n;

	/* Capacity 0 makes QEMU take the text inside as a list of other files. */
	if (capacity == 0 || desc_offset != 1)
		return vmj_fail_user(
			err, EINVAL,
			"%s is a VMDK in several files, or one piece of it: make one "
			"file of it first (qemu-img convert -O qcow2 of its descriptor)",
			what);
	n = pread(fd, text, sizeof(text), SECTOR);
	if (n < 0)
		return vmj_fail(err, errno, "cannot read %s: %m", what);
	return check_vmdk_text(text, (size_t)n, what, err);
}

static int check_vdi(const char *header, const char *what, struct vmj_error *err)
{
	uint32_t type = le32_at(header + 76);

	if (type != 1 && type != 2)
		return vmj_fail_user(
			err, EINVAL,
			"%s is a VDI of type %u: only whole disks (dynamic or fixed) can "
			"be imported, no differences to another",
			what, type);
	return 0;
}

static int check_vpc(const char *footer, const char *what, struct vmj_error *err)
{
	uint32_t type;

	memcpy(&type, footer + 60, sizeof(type));
	type = be32toh(type);
	if (type != 2 && type != 3)
		return vmj_fail_user(
			err, EINVAL,
			"%s is a VHD of type %u: only whole disks (fixed or dynamic) can "
			"be imported, no differences to another",
			what, type);
	return 0;
}

/* A fixed VHD is raw data with a footer, which says how much data there is. */
static bool is_fixed_vpc(int fd, off_t size, char footer[SECTOR])
{
	uint64_t current;

	if (size <= SECTOR || pread(fd, footer, SECTOR, size - SECTOR) != SECTOR ||
	    !at(footer, 0, "conectix", 8))
		return false;
	memcpy(&current, footer + 48, sizeof(current));
	return be64toh(current) <= (uint64_t)size - SECTOR && be64toh(current) > 0;
}

static int probe_own(int fd, const char *what, struct vmj_disk_format *ret, struct vmj_error *err)
{
	struct vmj_qcow2 q = {0};
	bool qcow2;
	int rc = vmj_qcow2_probe(fd, what, &q, &qcow2, err);

	if (rc == 0)
		*ret = (struct vmj_disk_format){qcow2 ? "qcow2" : "raw", q.virtual_bytes};
	return rc;
}

int vmj_disk_format_probe(int fd, const char *what, struct vmj_disk_format *ret,
			  struct vmj_error *err)
{
	char buf[SECTOR] = {0}, footer[SECTOR];
	const char *name = NULL;
	struct stat st;
	int rc = 0;

	if (fstat(fd, &st) < 0)
		return vmj_fail(err, errno, "cannot look at %s: %m", what);
	if (S_ISREG(st.st_mode) && pread(fd, buf, sizeof(buf), 0) < 0)
		return vmj_fail(err, errno, "cannot read %s: %m", what);
	if (at(buf, 0, "# Disk DescriptorFile", 21))
		return vmj_fail_user(
			err, EINVAL,
			"%s is the description of a VMDK whose data are in other files: "
			"make one file of it first (qemu-img convert -O qcow2)",
			what);
	if (at(buf, 0, "KDMV", 4)) {
		name = "vmdk";
		rc = check_vmdk(fd, buf, what, err);
	} else if (at(buf, 64, "\x7f\x10\xda\xbe", 4)) {
		name = "vdi";
		rc = check_vdi(buf, what, err);
	} else if (at(buf, 0, "vhdxfile", 8)) {
		name = "vhdx";
	} else if (at(buf, 0, "conectix", 8)) {
		name = "vpc";
		rc = check_vpc(buf, what, err);
	} else if (S_ISREG(st.st_mode) && is_fixed_vpc(fd, st.st_size, footer)) {
		name = "vpc";
		rc = check_vpc(footer, what, err);
	}
	if (!name)
		return probe_own(fd, what, ret, err);
	if (rc == 0)
		*ret = (struct vmj_disk_format){name, 0};
	return rc;
}

enum vmj_packing vmj_packing_probe(int fd)
{
	char buf[SECTOR] = {0};

	if (pread(fd, buf, sizeof(buf), 0) < 8)
		return VMJ_PACKED_NOT;
	if (at(buf, 0, "\x1f\x8b", 2) ||
	    at(buf, 0,
	       "\xfd"
	       "7zXZ\0",
	       6) ||
	    at(buf, 0, "\x28\xb5\x2f\xfd", 4))
		return VMJ_PACKED_STREAM;
	return at(buf, 257, "ustar", 5) ? VMJ_PACKED_TAR : VMJ_PACKED_NOT;
}

int vmj_disk_format_ask(const char *file, const char *format, uint64_t *ret_bytes,
			struct vmj_error *err)
{
	const char *argv[] = {"qemu-img", "info", "--output=json", "-f", format, "--", file, NULL};
	vmj_autojson struct json_object *o = NULL;
	struct json_object *size, *backing;
	vmj_autofree char *text = NULL;
	struct vmj_spawn s = {.argv = argv, .ret_output = &text};
	struct vmj_error e = {.code = 0};
	int64_t bytes;
	int rc = vmj_spawn(&s, &e);

	if (rc == -EIO)
		return vmj_fail_user(err, EINVAL, "file \"%s\" is no whole %s: %s", file, format,
				     e.text);
	if (rc == 0)
		rc = vmj_json_parse("qemu-img info", text, strlen(text), INFO_DEPTH, &o, &e);
	if (rc < 0)
		return vmj_fail(err, e.code, "%s", e.text);
	bytes = json_object_object_get_ex(o, "virtual-size", &size) ? json_object_get_int64(size)
								    : 0;
	if (json_object_object_get_ex(o, "backing-filename", &backing))
		return vmj_fail_user(err, EINVAL,
				     "file \"%s\" needs another disk, which an image must not",
				     file);
	if (bytes <= 0 || (uint64_t)bytes > VMJ_DISK_MIB_MAX << 20)
		return vmj_fail_user(
			err, EINVAL,
			"file \"%s\" has a disk of %lld bytes: it must be 1 byte to %llu MiB", file,
			(long long)bytes, (unsigned long long)VMJ_DISK_MIB_MAX);
	*ret_bytes = (uint64_t)bytes;
	return 0;
}
