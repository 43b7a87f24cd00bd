/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/storage/volume.h"

#include <errno.h>
#include <stdio.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/storage/volume_tree.h"

static int not_there(const char *name, struct vmj_error *err)
{
	return vmj_fail_user(err, ENOENT,
			     "volume \"%s\" does not exist: vmjob volume list shows those that do",
			     name);
}

int vmj_volume_open(const char *domain, uid_t uid, const char *name, struct vmj_error *err)
{
	vmj_autoclose int volumes = -1, user = -1;
	int rc = vmj_parse_name("the volume's name", name, err);

	if (rc < 0)
		return rc;
	volumes = vmj_volumes_open(domain, err);
	if (volumes < 0)
		return volumes;
	rc = user = vmj_volumes_of_user(volumes, uid, false, err);
	if (rc >= 0)
		rc = vmj_volume_dir_open(user, name, err);
	return rc == -ENOENT ? not_there(name, err) : rc;
}

int vmj_volume_read(const char *domain, uid_t uid, const char *name, struct vmj_volume *ret,
		    struct vmj_error *err)
{
	vmj_autoclose int dir = vmj_volume_open(domain, uid, name, err);
	int rc;

	if (dir < 0)
		return dir;
	rc = vmj_volume_load(dir, uid, name, ret, err);
	return rc == -ENOENT ? not_there(name, err) : rc;
}

int vmj_volume_write(const char *domain, const struct vmj_volume *v, struct vmj_error *err)
{
	vmj_autoclose int dir = vmj_volume_open(domain, v->uid, v->name, err);

	return dir < 0 ? dir : vmj_volume_store(dir, v, err);
}

const char *vmj_volume_path(const char *domain, const struct vmj_volume *v, const char *file,
			    char buf[VMJ_VOLUME_PATH_MAX])
{
	snprintf(buf, VMJ_VOLUME_PATH_MAX, "%s/volumes/%u/%s%s%s", domain, (unsigned int)v->uid,
		 v->name, file ? "/" : "", file ? file : "");
	return buf;
}
