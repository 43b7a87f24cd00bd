/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The one change that writes into a file that volume.json names: it is announced there first, and
 * the top's header tells whether it has happened. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "vmjob/base/point.h"
#include "vmjob/model/request.h"
#include "vmjob/storage/qemu_img.h"
#include "vmjob/storage/volume_tree.h"

static int check_bytes(const struct vmj_volume *v, uint64_t bytes, struct vmj_error *err)
{
	char now[24];

	if (bytes > VMJ_DISK_MIB_MAX << 20)
		return vmj_fail_user(err, ERANGE,
				     "volume \"%s\": %" PRIu64 " bytes are too many: at most %lluT",
				     v->name, bytes, VMJ_DISK_MIB_MAX >> 20);
	if (bytes < v->virtual_bytes)
		return vmj_fail_user(err, ERANGE,
				     "volume \"%s\" can only grow: it has %s, and what lies behind "
				     "the new end would be lost",
				     v->name,
				     vmj_format_size_mib(v->virtual_bytes >> 20, now, sizeof(now)));
	return 0;
}

static int settle(int dir, struct vmj_volume *v, struct vmj_error *err)
{
	struct vmj_volume after = *v;
	uint64_t bytes = 0;
	vmj_autoclose int fd = vmj_layer_open(dir, v, v->top, &bytes, err);
	int rc;

	if (fd < 0)
		return fd;
	if (bytes == v->pending.bytes)
		after.virtual_bytes = bytes;
	after.pending = (struct vmj_pending){.op = VMJ_PENDING_NONE};
	rc = vmj_volume_store(dir, &after, err);
	if (rc == 0)
		*v = after;
	return rc;
}

int vmj_volume_resize_settle(const char *domain, struct vmj_volume *v, struct vmj_error *err)
{
	vmj_autoclose int dir = -1;

	if (v->pending.op != VMJ_PENDING_RESIZE)
		return 0;
	dir = vmj_volume_open(domain, v->uid, v->name, err);
	return dir < 0 ? dir : settle(dir, v, err);
}

int vmj_volume_resize_begin(const char *domain, struct vmj_volume *v, uint64_t bytes,
			    struct vmj_error *err)
{
	struct vmj_volume after;
	int rc = vmj_volume_resize_settle(domain, v, err);

	if (rc < 0)
		return rc;
	if (v->pending.op != VMJ_PENDING_NONE)
		return vmj_fail_user(
			err, EBUSY,
			"volume \"%s\": a snapshot of it is being made or removed: try "
			"again when that is done",
			v->name);
	rc = check_bytes(v, bytes, err);
	if (rc < 0)
		return rc;
	after = *v;
	after.pending =
		(struct vmj_pending){.op = VMJ_PENDING_RESIZE, .bytes = (bytes + 511) & ~511ull};
	if (after.pending.bytes == v->virtual_bytes)
		return 0;
	rc = vmj_volume_write(domain, &after, err);
	if (rc < 0)
		return rc;
	vmj_point("resize.announce");
	*v = after;
	return 0;
}

static int grow(const char *domain, const struct vmj_volume *v, struct vmj_error *err)
{
	char path[VMJ_VOLUME_PATH_MAX], bytes[24];
	const char *argv[] = {"qemu-img", "resize", "-q", "-f", "qcow2", "--", path, bytes, NULL};
	struct vmj_qemu_img q = {.argv = argv, .uid = v->uid, .gid = v->gid};
	int rc;

	vmj_volume_path(domain, v, v->top, path);
	snprintf(bytes, sizeof(bytes), "%" PRIu64, v->pending.bytes);
	rc = vmj_qemu_img_run(&q, err);
	return rc < 0 ? vmj_fail_prefix(err, "volume \"%s\" cannot grow", v->name) : 0;
}

int vmj_volume_resize(const char *domain, struct vmj_volume *v, uint64_t bytes,
		      struct vmj_error *err)
{
	int rc = vmj_volume_verify(domain, v, NULL, err), settled;

	if (rc == 0)
		rc = vmj_volume_resize_begin(domain, v, bytes, err);
	if (rc < 0 || v->pending.op == VMJ_PENDING_NONE)
		return rc;
	rc = grow(domain, v, err);
	vmj_point("resize.grow");
	settled = vmj_volume_resize_settle(domain, v, rc < 0 ? NULL : err);
	if (rc == 0 && settled == 0)
		vmj_point("resize.commit");
	return rc < 0 ? rc : settled;
}
