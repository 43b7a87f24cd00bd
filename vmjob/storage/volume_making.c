/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A volume under way: in a directory of its own beside the volumes, which becomes one by a rename.
 * Renaming a directory over one that is not empty fails on every file system: of two that become
 * the same volume at once, one is too late. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmjob/base/dir.h"
#include "vmjob/base/file.h"
#include "vmjob/storage/volume_tree.h"

static int there_already(const char *name, struct vmj_error *err)
{
	return vmj_fail_user(err, EEXIST,
			     "volume \"%s\" exists already: choose another name, or remove it with "
			     "vmjob volume rm",
			     name);
}

static int make_directory(struct vmj_making *m, const struct vmj_volume *v, const char *guard,
			  struct vmj_error *err)
{
	int rc = vmj_volume_tmp_name(VOLUME_NEW, guard, m->tmp, err);

	if (rc < 0)
		return rc;
	if (mkdirat(m->user, m->tmp, 0700) < 0) {
		rc = -errno;
		m->tmp[0] = '\0';
		return vmj_fail(err, -rc, "volume \"%s\" cannot be made: %s", v->name,
				vmj_strerror(rc));
	}
	m->dir = vmj_volume_dir_open(m->user, m->tmp, err);
	if (m->dir < 0)
		return vmj_fail(err, EIO, "volume \"%s\": its directory cannot be opened", v->name);
	/* So that QEMU, with the user's group and no other, can pass. */
	if (fchown(m->dir, (uid_t)-1, v->gid) < 0 || fchmod(m->dir, 0710) < 0)
		return vmj_fail(err, errno, "volume \"%s\": its directory cannot be set up: %m",
				v->name);
	snprintf(m->path, sizeof(m->path), "%s/volumes/%u/%s", m->domain, (unsigned int)v->uid,
		 m->tmp);
	return 0;
}

static int count_one(int dir, const char *entry, void *arg)
{
	return ++*(unsigned int *)arg > VMJ_VOLUMES_MAX;
}

static int check_number(int user, struct vmj_error *err)
{
	unsigned int n = 0;
	int rc = vmj_dir_each(user, ".", count_one, &n);

	if (rc < 0)
		return vmj_fail(err, -rc, "cannot list volumes: %s", vmj_strerror(rc));
	if (n >= VMJ_VOLUMES_MAX)
		return vmj_fail_user(
			err, EDQUOT,
			"there are %d volumes of yours already, the most there can be: "
			"remove some with vmjob volume rm",
			VMJ_VOLUMES_MAX);
	return 0;
}

int vmj_making_begin(struct vmj_making *m, const char *domain, const struct vmj_volume *v,
		     const char *guard, struct vmj_error *err)
{
	vmj_autoclose int volumes = vmj_volumes_open(domain, err);
	struct stat st;
	int rc;

	if (volumes < 0)
		return volumes;
	m->domain = domain;
	m->user = vmj_volumes_of_user(volumes, v->uid, true, err);
	if (m->user < 0)
		return m->user;
	if (fstatat(m->user, v->name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return there_already(v->name, err);
	rc = check_number(m->user, err);
	return rc == 0 ? make_directory(m, v, guard, err) : rc;
}

int vmj_making_seal(struct vmj_making *m, const struct vmj_volume *v, struct vmj_error *err)
{
	return vmj_volume_store(m->dir, v, err); /* syncs the directory too */
}

int vmj_making_publish(struct vmj_making *m, const struct vmj_volume *v, struct vmj_error *err)
{
	if (renameat(m->user, m->tmp, m->user, v->name) < 0)
		return errno == ENOTEMPTY || errno == EEXIST
			       ? there_already(v->name, err)
			       : vmj_fail(err, errno, "volume \"%s\" cannot be made: %m", v->name);
	m->tmp[0] = '\0';
	if (fsync(m->user) < 0)
		return vmj_fail(err, errno, "volume \"%s\": its directory cannot be synced: %m",
				v->name);
	return 0;
}

void vmj_making_done(struct vmj_making *m)
{
	if (m->tmp[0])
		vmj_remove_tree(m->user, m->tmp, NULL);
	vmj_close(m->dir);
	vmj_close(m->user);
}
