/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/storage/volume.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/dir.h"
#include "vmjob/storage/layout.h"
#include "vmjob/storage/volume_tree.h"

const char *const vmj_volume_points[] = {
	/* create */
	"volume.make", "volume.base", "volume.top", "volume.seal", "volume.commit",
	/* clone */
	"clone.make", "clone.link", "clone.copy", "clone.top", "clone.seal", "clone.source-top",
	"clone.commit-source", "clone.commit",
	/* resize */
	"resize.announce", "resize.grow", "resize.commit",
	/* remove */
	"volume.hide", "volume.gone", NULL};

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
	return rc == -ENOENT ? vmj_volume_not_there(name, err) : rc;
}

int vmj_volume_read(const char *domain, uid_t uid, const char *name, struct vmj_volume *ret,
		    struct vmj_error *err)
{
	vmj_autoclose int dir = vmj_volume_open(domain, uid, name, err);
	int rc;

	if (dir < 0)
		return dir;
	rc = vmj_volume_load(dir, uid, name, ret, err);
	return rc == -ENOENT ? vmj_volume_not_there(name, err) : rc;
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

int vmj_volume_verify(const char *domain, const struct vmj_volume *v, const char *from,
		      struct vmj_error *err)
{
	vmj_autoclose int dir = vmj_volume_open(domain, v->uid, v->name, err);

	return dir < 0 ? dir : vmj_chain_verify(dir, v, from, err);
}

int vmj_volume_lend(const char *domain, struct vmj_volume *v, gid_t gid, struct vmj_error *err)
{
	vmj_autoclose int dir = -1;
	struct vmj_volume lent = *v;
	int rc;

	if (v->gid == gid)
		return 0;
	dir = vmj_volume_open(domain, v->uid, v->name, err);
	if (dir < 0)
		return dir;
	if (fchown(dir, (uid_t)-1, gid) < 0)
		return vmj_fail(err, errno, "volume \"%s\": cannot let group %u pass: %m", v->name,
				(unsigned int)gid);
	lent.gid = gid;
	rc = vmj_volume_store(dir, &lent, err);
	if (rc == 0)
		*v = lent;
	return rc;
}

/* --- all of them ------------------------------------------------------------------------------ */

struct listing {
	uid_t uid;
	vmj_volume_fn fn;
	void *arg;
	unsigned int damaged;
};

static int list_volume(int user, const char *entry, void *arg)
{
	struct listing *l = arg;
	struct vmj_volume v;
	int rc;

	if (!vmj_name_valid(entry))
		return 0; /* one under way, or going */
	rc = vmj_volume_load_in(user, l->uid, entry, &v, NULL);
	if (rc == 0)
		return l->fn(&v, l->arg);
	l->damaged += rc != -ENOENT; /* removed just now */
	return 0;
}

static int list_user(int volumes, const char *entry, void *arg)
{
	struct listing *l = arg;
	vmj_autoclose int user = -1;

	if (!vmj_domain_uid(entry, &l->uid))
		return 0;
	user = vmj_volumes_of_user(volumes, l->uid, false, NULL);
	if (user < 0) {
		l->damaged += user != -ENOENT;
		return 0;
	}
	return vmj_dir_each(user, ".", list_volume, l);
}

int vmj_volume_each(const char *domain, uid_t uid, vmj_volume_fn fn, void *arg,
		    unsigned int *ret_damaged, struct vmj_error *err)
{
	struct listing l = {.uid = uid, .fn = fn, .arg = arg};
	vmj_autoclose int volumes = vmj_volumes_open(domain, err);
	char user[16];
	int rc;

	if (volumes < 0)
		return volumes;
	snprintf(user, sizeof(user), "%u", (unsigned int)uid);
	rc = uid == VMJ_ALL_USERS ? vmj_dir_each(volumes, ".", list_user, &l)
				  : list_user(volumes, user, &l);
	if (rc < 0)
		return vmj_fail(err, -rc, "storage %s: cannot list its volumes: %s", domain,
				vmj_strerror(rc));
	if (ret_damaged)
		*ret_damaged = l.damaged;
	return rc;
}

/* --- used ------------------------------------------------------------------------------------- */

static int add_file(int dir, const char *file, bool shared, uint64_t *sum)
{
	struct stat st;

	if (fstatat(dir, file, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (shared || st.st_nlink == 1)
		*sum += (uint64_t)st.st_blocks * 512;
	return 0;
}

int vmj_volume_used(const char *domain, const struct vmj_volume *v, uint64_t *ret,
		    struct vmj_error *err)
{
	vmj_autoclose int dir = vmj_volume_open(domain, v->uid, v->name, err);
	uint64_t sum = 0;
	int rc = 0;

	if (dir < 0)
		return dir;
	for (unsigned int i = 0; rc == 0 && i < v->n_layers; i++)
		rc = add_file(dir, v->layers[i].file, false, &sum);
	for (unsigned int i = 0; rc == 0 && i < v->n_snapshots; i++)
		rc = *v->snapshots[i].memory ? add_file(dir, v->snapshots[i].memory, false, &sum)
					     : 0;
	if (rc < 0)
		return vmj_fail(err, -rc, "volume \"%s\": cannot look at its files: %s", v->name,
				vmj_strerror(rc));
	*ret = sum;
	return 0;
}

int vmj_volume_stored(const char *domain, const struct vmj_volume *v, uint64_t *ret,
		      struct vmj_error *err)
{
	const char *chain[VMJ_CHAIN_MAX];
	vmj_autoclose int dir = -1;
	unsigned int n = 0;
	uint64_t sum = 0;
	int rc = vmj_volume_chain(v, NULL, chain, &n, err);

	if (rc < 0)
		return rc;
	dir = vmj_volume_open(domain, v->uid, v->name, err);
	if (dir < 0)
		return dir;
	for (unsigned int i = 0; rc == 0 && i < n; i++)
		rc = add_file(dir, chain[i], true, &sum);
	if (rc < 0)
		return vmj_fail(err, -rc, "volume \"%s\": cannot look at its files: %s", v->name,
				vmj_strerror(rc));
	*ret = sum < v->virtual_bytes ? sum : v->virtual_bytes;
	return 0;
}
