/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the disks of a request must keep to. */
#include "vmjob/model/request.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "vmjob/model/request-parts.h"

static const char *const kind_names[] = {
	[VMJ_DISK_SIZE] = "size",
	[VMJ_DISK_VOLUME] = "volume",
	[VMJ_DISK_IMAGE] = "image",
};
static_assert(sizeof(kind_names) / sizeof(kind_names[0]) == VMJ_DISK_COUNT_, "a name for each");

const char *vmj_disk_kind_name(enum vmj_disk_kind kind)
{
	return (unsigned int)kind < VMJ_DISK_COUNT_ ? kind_names[kind] : "?";
}

int vmj_request_check_size(const char *what, uint64_t mib, uint64_t min, uint64_t max,
			   struct vmj_error *err)
{
	char v[24], lo[24], hi[24];

	if (mib >= min && mib <= max)
		return 0;
	return vmj_fail_user(err, ERANGE, "%s: %s is out of bounds: give %s to %s", what,
			     vmj_format_size_mib(mib, v, sizeof(v)),
			     vmj_format_size_mib(min, lo, sizeof(lo)),
			     vmj_format_size_mib(max, hi, sizeof(hi)));
}

static int check_optional_name(const char *what, const char *name, struct vmj_error *err)
{
	return *name ? vmj_parse_name(what, name, err) : 0;
}

static int check_fresh(const struct vmj_disk_request *d, struct vmj_error *err)
{
	if (*d->storage || *d->name || *d->owner || d->revision || d->readonly)
		return vmj_fail_user(err, EINVAL,
				     "--vm-disk: a fresh disk has its size only: give no name and "
				     "no ro with size=");
	return vmj_request_check_size("--vm-disk", d->size_mib, 1, VMJ_DISK_MIB_MAX, err);
}

static int check_volume(const struct vmj_disk_request *d, struct vmj_error *err)
{
	int rc = vmj_parse_name("--vm-disk, volume", d->name, err);

	if (rc == 0)
		rc = check_optional_name("--vm-disk, storage before the :", d->storage, err);
	if (rc < 0)
		return rc;
	if (*d->owner || d->revision)
		return vmj_fail_user(err, EINVAL,
				     "--vm-disk: volume %s is the user's own and has no revisions: "
				     "leave owner and revision out",
				     d->name);
	return 0;
}

static int check_image(const struct vmj_disk_request *d, struct vmj_error *err)
{
	int rc = vmj_parse_name("--vm-disk, image", d->name, err);

	if (rc == 0)
		rc = check_optional_name("--vm-disk, image, owner before the /", d->owner, err);
	if (rc < 0)
		return rc;
	if (*d->storage)
		return vmj_fail_user(err, EINVAL,
				     "--vm-disk: image %s is not looked for in a storage: leave "
				     "%s out",
				     d->name, vmj_name_valid(d->storage) ? d->storage : "it");
	if (!d->readonly)
		return vmj_fail_user(err, EINVAL,
				     "--vm-disk: image %s can only be read: write image=%s,ro, or "
				     "make a volume from it (`vmjob volume create`)",
				     d->name, d->name);
	return 0;
}

int vmj_disk_request_check(const struct vmj_disk_request *d, struct vmj_error *err)
{
	if ((unsigned int)d->kind >= VMJ_DISK_COUNT_)
		return vmj_fail_user(err, EINVAL, "--vm-disk: give size, volume or image");
	if (d->kind == VMJ_DISK_SIZE)
		return check_fresh(d, err);
	if (d->size_mib)
		return vmj_fail_user(
			err, EINVAL, "--vm-disk: %s %s has a size of its own: leave size out",
			vmj_disk_kind_name(d->kind), vmj_name_valid(d->name) ? d->name : "given");
	return d->kind == VMJ_DISK_VOLUME ? check_volume(d, err) : check_image(d, err);
}

static bool is_volume(const struct vmj_disk_request *d, const char *storage, const char *name)
{
	return d->kind == VMJ_DISK_VOLUME && strcmp(d->name, name) == 0 &&
	       strcmp(d->storage, storage) == 0;
}

/* A volume has one place in one guest. */
static int check_once(const struct vmj_request *r, unsigned int i, struct vmj_error *err)
{
	const struct vmj_disk_request *d = &r->disks[i];

	if (*r->persistent && is_volume(d, r->persistent_storage, r->persistent))
		return vmj_fail_user(err, EINVAL,
				     "--vm-disk: volume %s is the root disk already, by "
				     "--vm-persistent: leave one of them out",
				     d->name);
	for (unsigned int a = 0; a < i; a++)
		if (is_volume(d, r->disks[a].storage, r->disks[a].name))
			return vmj_fail_user(err, EINVAL,
					     "--vm-disk: volume %s is given twice: a volume is one "
					     "disk of a guest",
					     d->name);
	return 0;
}

static int check_persistent(const struct vmj_request *r, struct vmj_error *err)
{
	int rc;

	if (!*r->persistent && *r->persistent_storage)
		return vmj_fail_user(err, EINVAL,
				     "--vm-persistent: a storage without a volume's name: give "
				     "[STORAGE:]NAME");
	rc = check_optional_name("--vm-persistent", r->persistent, err);
	return rc < 0 ? rc
		      : check_optional_name("--vm-persistent, storage before the :",
					    r->persistent_storage, err);
}

int vmj_request_check_disks(const struct vmj_request *r, struct vmj_error *err)
{
	int rc = check_persistent(r, err);

	if (rc < 0)
		return rc;
	if (r->n_disks > VMJ_DISKS_MAX)
		return vmj_fail_user(err, ERANGE,
				     "--vm-disk: %u disks are too many: give at most %d",
				     r->n_disks, VMJ_DISKS_MAX);
	for (unsigned int i = 0; i < r->n_disks; i++) {
		rc = vmj_disk_request_check(&r->disks[i], err);
		if (rc == 0)
			rc = check_once(r, i, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}
