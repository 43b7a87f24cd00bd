/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "vmjob/base/point.h"
#include "vmjob/model/request.h"
#include "vmjob/storage/asuser.h"
#include "vmjob/storage/qcow2.h"
#include "vmjob/storage/volume_tree.h"

/* With the user's rights: what the user may not read, no volume of the user's is made of. */
static int open_image(const struct vmj_volume_spec *spec, struct vmj_error *err)
{
	vmj_auto_asuser struct vmj_asuser user = {.changed = false};
	const struct vmj_image *image = spec->image;
	vmj_autoclose int fd = -1;
	struct vmj_qcow2 q = {0};
	struct stat st;
	int rc = vmj_asuser_begin(&user, spec->uid, spec->gid);

	if (rc < 0)
		return vmj_fail(err, -rc, "cannot take the rights of user %u: %s",
				(unsigned int)spec->uid, vmj_strerror(rc));
	fd = open(image->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return vmj_fail_user(err, errno, "image \"%s\" cannot be opened: %m", image->name);
	rc = vmj_qcow2_probe_layer(fd, image->name, "", &q, err);
	if (rc < 0)
		return rc;
	if (st.st_uid != image->owner || q.virtual_bytes != image->virtual_bytes)
		return vmj_fail_user(err, EBUSY, "image \"%s\" has changed meanwhile: try again",
				     image->name);
	return vmj_steal_fd(fd);
}

/* A private image's file lies behind a directory that only its owner can pass. From now on it has
 * another name, in a directory that the owner's group can pass, too. One that has further names
 * already stays as it is: an image that is shared may be the same file. */
static int close_private(int fd, const struct vmj_volume_spec *spec, struct vmj_error *err)
{
	const struct vmj_image *image = spec->image;
	struct stat st;

	if (image->public_ || image->owner != spec->uid || image->share != VMJ_SHARE_NONE)
		return 0;
	if (fstat(fd, &st) < 0 || ((st.st_mode & 077) && st.st_nlink == 1 && fchmod(fd, 0400) < 0))
		return vmj_fail(err, errno, "image \"%s\": cannot set its mode: %m", image->name);
	return 0;
}

static int add_base(const struct vmj_volume_spec *spec, struct vmj_making *m, struct vmj_volume *v,
		    struct vmj_error *err)
{
	vmj_autoclose int fd = open_image(spec, err);
	int rc = fd < 0 ? fd : close_private(fd, spec, err);

	if (rc == 0)
		rc = vmj_layer_link(fd, spec->image->path, m->dir, m->path, v, VMJ_BASE_FILE, err);
	if (rc == 0)
		rc = vmj_volume_add_layer(v, VMJ_BASE_FILE, "", err);
	return rc;
}

static int add_top(const char *parent, struct vmj_making *m, struct vmj_volume *v,
		   struct vmj_error *err)
{
	int rc = vmj_volume_take_layer_name(v, v->top, err);

	if (rc == 0)
		rc = vmj_volume_add_layer(v, v->top, parent, err);
	return rc == 0 ? vmj_layer_make(m->dir, v, v->top, parent, v->virtual_bytes, err) : rc;
}

static int check_size(const struct vmj_volume_spec *spec, struct vmj_volume *v,
		      struct vmj_error *err)
{
	uint64_t least = spec->image ? spec->image->virtual_bytes : 1;
	uint64_t bytes = spec->bytes ? spec->bytes : least;

	if (!spec->image && !spec->bytes)
		return vmj_fail_user(err, EINVAL, "volume \"%s\": give a size or an image",
				     spec->name);
	if (bytes < least)
		return vmj_fail_user(err, ERANGE,
				     "volume \"%s\" cannot be smaller than its image \"%s\": give "
				     "at least %" PRIu64 "M",
				     spec->name, spec->image->name, spec->image->virtual_mib);
	if (bytes > VMJ_DISK_MIB_MAX << 20)
		return vmj_fail_user(err, ERANGE,
				     "volume \"%s\": %" PRIu64 " bytes are too many: at "
				     "most %lluT",
				     spec->name, bytes, VMJ_DISK_MIB_MAX >> 20);
	v->virtual_bytes = (bytes + 511) & ~511ull;
	return 0;
}

static int describe(const struct vmj_volume_spec *spec, struct vmj_volume *v, struct vmj_error *err)
{
	int rc = vmj_volume_new_name(spec->name, spec->job, err);

	if (rc < 0)
		return rc;
	*v = (struct vmj_volume){
		.uid = spec->uid,
		.gid = spec->gid,
		.time = time(NULL),
		.job = spec->job,
		.next = 1,
	};
	snprintf(v->name, sizeof(v->name), "%s", spec->name);
	if (spec->label)
		snprintf(v->image, sizeof(v->image), "%s", spec->label);
	else if (spec->image)
		snprintf(v->image, sizeof(v->image), "%s@%" PRIu32, spec->image->name,
			 spec->image->revision);
	return check_size(spec, v, err);
}

int vmj_volume_create(const struct vmj_volume_spec *spec, struct vmj_volume *ret,
		      struct vmj_error *err)
{
	vmj_auto_making struct vmj_making m = VMJ_MAKING_INIT;
	struct vmj_volume v;
	int rc = describe(spec, &v, err);

	if (rc == 0)
		rc = vmj_making_begin(&m, spec->domain, &v, v.name, err);
	if (rc < 0)
		return rc;
	vmj_point("volume.make");
	rc = spec->image ? add_base(spec, &m, &v, err) : 0;
	if (rc < 0)
		return rc;
	vmj_point("volume.base");
	rc = add_top(spec->image ? VMJ_BASE_FILE : "", &m, &v, err);
	if (rc < 0)
		return rc;
	vmj_point("volume.top");
	rc = vmj_making_seal(&m, &v, err);
	if (rc < 0)
		return rc;
	vmj_point("volume.seal");
	rc = vmj_making_publish(&m, &v, err);
	if (rc == 0) {
		vmj_point("volume.commit");
		*ret = v;
	}
	return rc;
}
