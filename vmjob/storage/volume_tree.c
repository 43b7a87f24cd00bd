/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/storage/volume_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/file.h"

#define RANDOM_LEN 17 /* "-" and 16 hex digits */

/* A directory that we own and nobody else may write: a descriptor. -ENOENT: err untouched. */
static int open_ours(int at, const char *name, struct vmj_error *err)
{
	vmj_autoclose int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 && errno == ENOENT)
		return -ENOENT;
	if (fd < 0 || fstat(fd, &st) < 0)
		return vmj_fail(err, errno, "cannot open volumes' directory %s: %m", name);
	if (st.st_uid != geteuid() || (st.st_mode & 022))
		return vmj_fail(err, EPERM,
				"volumes' directory %s belongs to user %u and has mode %04o: it "
				"must be root's, and writable by root only",
				name, (unsigned int)st.st_uid, (unsigned int)st.st_mode & 07777);
	return vmj_steal_fd(fd);
}

int vmj_volumes_open(const char *domain, struct vmj_error *err)
{
	vmj_autoclose int fd = open(domain, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int rc;

	if (strlen(domain) > VMJ_VOLUME_PATH_MAX - 2 * VMJ_VOLUME_FILE_MAX - VMJ_NAME_MAX - 32)
		return vmj_fail(err, ENAMETOOLONG, "storage %s: its path is too long", domain);
	if (fd < 0)
		return vmj_fail(err, errno, "storage %s cannot be opened: %m", domain);
	rc = open_ours(fd, "volumes", err);
	if (rc == -ENOENT)
		return vmj_fail(err, ENOENT,
				"storage %s has no volumes directory: it is not mounted here, or "
				"root has yet to run `vmjob storage format`",
				domain);
	return rc < 0 ? vmj_fail_prefix(err, "storage %s", domain) : rc;
}

int vmj_volumes_of_user(int volumes, uid_t uid, bool make, struct vmj_error *err)
{
	char name[16];
	int rc;

	snprintf(name, sizeof(name), "%u", (unsigned int)uid);
	rc = open_ours(volumes, name, err);
	if (rc != -ENOENT || !make)
		return rc;
	/* Whatever the umask. Another host may make it at the same time. */
	if ((mkdirat(volumes, name, 0711) < 0 && errno != EEXIST) ||
	    fchmodat(volumes, name, 0711, 0) < 0 || fsync(volumes) < 0)
		return vmj_fail(err, errno, "cannot make volumes' directory %s: %m", name);
	rc = open_ours(volumes, name, err);
	return rc == -ENOENT ? vmj_fail(err, ENOENT, "volumes' directory %s vanished", name) : rc;
}

int vmj_volume_dir_open(int user, const char *name, struct vmj_error *err)
{
	return open_ours(user, name, err);
}

static int load(int at, const char *file, uid_t uid, const char *name, struct vmj_volume *ret,
		struct vmj_error *err)
{
	vmj_autofree char *text = NULL;
	struct vmj_volume v;
	struct vmj_error e;
	size_t len;
	int rc;

	rc = vmj_file_read(at, file, VMJ_VOLUME_JSON_MAX, &text, &len, &e);
	if (rc == -ENOENT)
		return rc;
	if (rc == 0)
		rc = vmj_volume_parse(text, len, &v, &e);
	if (rc < 0)
		return vmj_fail(err, -rc, "volume \"%s\" of user %u: its " VOLUME_META ": %s", name,
				(unsigned int)uid, e.text);
	if (v.uid != uid || strcmp(v.name, name) != 0)
		return vmj_fail(err, EINVAL,
				"volume \"%s\" of user %u: its " VOLUME_META
				" is that of \"%s\" of user %u",
				name, (unsigned int)uid, v.name, (unsigned int)v.uid);
	*ret = v;
	return 0;
}

int vmj_volume_load(int dir, uid_t uid, const char *name, struct vmj_volume *ret,
		    struct vmj_error *err)
{
	return load(dir, VOLUME_META, uid, name, ret, err);
}

/* Only root makes directories in volumes/<uid>, so its entries are what they seem. */
int vmj_volume_load_in(int user, uid_t uid, const char *name, struct vmj_volume *ret,
		       struct vmj_error *err)
{
	char file[VMJ_NAME_MAX + sizeof("/" VOLUME_META)];

	snprintf(file, sizeof(file), "%s/" VOLUME_META, name);
	return load(user, file, uid, name, ret, err);
}

int vmj_volume_store(int dir, const struct vmj_volume *v, struct vmj_error *err)
{
	vmj_autofree char *text = NULL;
	struct vmj_error e;
	int rc = vmj_volume_check(v, &e);

	if (rc < 0) /* our own mistake, whoever asked */
		return vmj_fail(err, -rc, "volume \"%s\" cannot be written: %s", v->name, e.text);
	text = vmj_volume_format(v);
	if (!text)
		return vmj_fail(err, ENOMEM, "volume \"%s\": out of memory", v->name);
	rc = vmj_file_write_atomic(dir, VOLUME_META, text, strlen(text), 0600, err);
	return rc < 0 ? vmj_fail_prefix(err, "volume \"%s\"", v->name) : 0;
}

int vmj_volume_tmp_name(const char *prefix, const char *name, char ret[VOLUME_TMP_MAX],
			struct vmj_error *err)
{
	uint64_t r;

	if (getrandom(&r, sizeof(r), 0) != (ssize_t)sizeof(r))
		return vmj_fail(err, EIO, "there is no randomness to be had");
	snprintf(ret, VOLUME_TMP_MAX, "%s%s-%016" PRIx64, prefix, name, r);
	return 0;
}

bool vmj_volume_tmp_parse(const char *prefix, const char *entry, char ret[VMJ_NAME_MAX + 1])
{
	size_t skip = strlen(prefix), len = strlen(entry);

	if (strncmp(entry, prefix, skip) != 0 || len < skip + 1 + RANDOM_LEN ||
	    len > skip + VMJ_NAME_MAX + RANDOM_LEN || entry[len - RANDOM_LEN] != '-')
		return false;
	snprintf(ret, VMJ_NAME_MAX + 1, "%.*s", (int)(len - RANDOM_LEN - skip), entry + skip);
	return vmj_name_valid(ret);
}

int vmj_volume_not_there(const char *name, struct vmj_error *err)
{
	return vmj_fail_user(err, ENOENT,
			     "volume \"%s\" does not exist: vmjob volume list shows those that do",
			     name);
}

int vmj_volume_new_name(const char *name, uint32_t job, struct vmj_error *err)
{
	int rc = vmj_parse_name("the volume's name", name, err);

	if (rc == 0 && !job && strncmp(name, VMJ_JOB_VOLUME, strlen(VMJ_JOB_VOLUME)) == 0)
		return vmj_fail_user(err, EINVAL,
				     "\"%s\": names that begin with \"" VMJ_JOB_VOLUME
				     "\" are for volumes of jobs: choose another",
				     name);
	return rc;
}
