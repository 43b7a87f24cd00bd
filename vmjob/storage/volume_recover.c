/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a crash left of a volume, and the removal of one. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmjob/base/dir.h"
#include "vmjob/base/file.h"
#include "vmjob/base/point.h"
#include "vmjob/storage/snapshot_files.h"
#include "vmjob/storage/volume_tree.h"

/* --- orphans ---------------------------------------------------------------------------------- */

static bool is_named(const struct vmj_volume *v, const char *entry)
{
	if (strcmp(entry, VOLUME_META) == 0 || vmj_volume_layer(v, entry))
		return true;
	for (unsigned int i = 0; i < v->n_snapshots; i++)
		if (strcmp(v->snapshots[i].memory, entry) == 0)
			return true;
	return strcmp(v->pending.file, entry) == 0 ||
	       strcmp(v->pending.snapshot.memory, entry) == 0;
}

static int drop_orphan(int dir, const char *entry, void *arg)
{
	if (is_named(arg, entry) || unlinkat(dir, entry, 0) == 0 || errno == ENOENT)
		return 0;
	return -errno;
}

int vmj_volume_recover(const char *domain, struct vmj_volume *v, struct vmj_error *err)
{
	vmj_autoclose int dir = -1;
	int rc = vmj_snapshot_recover(domain, v, err);

	if (rc == 0)
		rc = vmj_volume_resize_settle(domain, v, err);
	if (rc < 0)
		return rc;
	dir = vmj_volume_open(domain, v->uid, v->name, err);
	if (dir < 0)
		return dir;
	rc = vmj_dir_each(dir, ".", drop_orphan, v);
	if (rc < 0)
		return vmj_fail(err, -rc,
				"volume \"%s\": cannot remove what is left over in it: %s", v->name,
				vmj_strerror(rc));
	return 0;
}

/* --- removal ---------------------------------------------------------------------------------- */

static int open_user(const char *domain, uid_t uid, struct vmj_error *err)
{
	vmj_autoclose int volumes = vmj_volumes_open(domain, err);

	return volumes < 0 ? volumes : vmj_volumes_of_user(volumes, uid, false, err);
}

int vmj_volume_remove(const char *domain, uid_t uid, const char *name, struct vmj_error *err)
{
	struct vmj_error e = {.code = 0};
	vmj_autoclose int user = -1;
	char tmp[VOLUME_TMP_MAX];
	int rc = vmj_parse_name("the volume's name", name, err);

	if (rc == 0)
		rc = vmj_volume_tmp_name(VOLUME_GONE, name, tmp, err);
	if (rc < 0)
		return rc;
	rc = user = open_user(domain, uid, &e);
	if (rc == -ENOENT && !e.code)
		return vmj_volume_not_there(name, err);
	if (rc < 0)
		return vmj_fail(err, e.code, "%s", e.text);
	if (renameat(user, name, user, tmp) < 0)
		return errno == ENOENT
			       ? vmj_volume_not_there(name, err)
			       : vmj_fail(err, errno, "volume \"%s\" cannot be removed: %m", name);
	if (fsync(user) < 0)
		return vmj_fail(err, errno, "volume \"%s\": its directory cannot be synced: %m",
				name);
	vmj_point("volume.hide");
	rc = vmj_remove_tree(user, tmp, err);
	vmj_point("volume.gone");
	return rc;
}

struct sweep {
	const char *name;
	struct vmj_error *err;
};

static int sweep_entry(int user, const char *entry, void *arg)
{
	struct sweep *s = arg;
	char name[VMJ_NAME_MAX + 1];

	if ((!vmj_volume_tmp_parse(VOLUME_NEW, entry, name) &&
	     !vmj_volume_tmp_parse(VOLUME_GONE, entry, name)) ||
	    strcmp(name, s->name) != 0)
		return 0;
	return vmj_remove_tree(user, entry, s->err);
}

int vmj_volume_sweep(const char *domain, uid_t uid, const char *name, struct vmj_error *err)
{
	struct vmj_error e = {.code = 0};
	struct sweep s = {.name = name, .err = &e};
	vmj_autoclose int user = open_user(domain, uid, &e);
	int rc = user == -ENOENT && !e.code ? 0 : user;

	if (user >= 0)
		rc = vmj_dir_each(user, ".", sweep_entry, &s);
	if (rc < 0)
		return vmj_fail(err, -rc, "volume \"%s\": cannot remove what is left of it: %s",
				name, e.code ? e.text : vmj_strerror(rc));
	return 0;
}
