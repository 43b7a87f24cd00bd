/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/storage/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/file.h"
#include "vmjob/base/spawn.h"
#include "vmjob/model/json.h"

#define DOMAIN_FORMAT "vmjob-domain"
#define DOMAIN_MAX    4096
#define DOMAIN_DEPTH  16
#define ANSWER_MS     15000

const struct vmj_domain_folder vmj_domain_folders[] = {
	{"images", 01777, 1}, /* users make their own folders, as in /tmp */
	{"images/public", 0755, 1}, {"shares", 01777, 2}, /* and their own markers */
	{"volumes", 0711, 2}, /* QEMU passes through it, to what it knows the name of */
	{"leases", 0700, 2},        {"hosts", 0700, 2},   {0},
};

bool vmj_domain_uid(const char *folder, uid_t *ret)
{
	uint64_t v;

	if (vmj_parse_u64("uid", folder, 0, (uid_t)-2, &v, NULL) < 0 ||
	    (folder[0] == '0' && folder[1]))
		return false;
	*ret = (uid_t)v;
	return true;
}

static int fail_damaged(const char *path, const struct vmj_error *why, struct vmj_error *err)
{
	return vmj_fail(err, EINVAL,
			"storage %s: its " VMJ_DOMAIN_FILE " is damaged (%s): bring it back from "
			"a backup, or remove it and run `vmjob storage format`",
			path, why->text);
}

/* What another version would not have comes after the version. */
int vmj_domain_parse(const char *path, const char *text, size_t len, struct vmj_domain_mark *ret,
		     struct vmj_error *err)
{
	vmj_autojson struct json_object *o = NULL;
	struct vmj_domain_mark m = {.version = 0};
	struct vmj_error why = {.code = 0};
	char format[sizeof(DOMAIN_FORMAT)];
	struct vmj_json in;
	uint32_t version = 0;

	if (vmj_json_parse(VMJ_DOMAIN_FILE, text, len, DOMAIN_DEPTH, &o, &why) < 0)
		return fail_damaged(path, &why, err);
	vmj_json_open(&in, o, "", &why);
	vmj_json_string(&in, "format", VMJ_NEEDED, format, sizeof(format));
	vmj_json_u32(&in, "version", VMJ_NEEDED, 1, UINT32_MAX, &version);
	if (in.rc == 0 && strcmp(format, DOMAIN_FORMAT) != 0)
		vmj_json_refuse(&in, "format", EINVAL, "it is not " DOMAIN_FORMAT);
	if (in.rc == 0 && version > VMJ_DOMAIN_VERSION)
		return vmj_fail(err, EPROTO,
				"storage %s has version %u of the layout, this vmjob knows %d: "
				"install the newer vmjob here",
				path, version, VMJ_DOMAIN_VERSION);
	vmj_json_string(&in, "name", VMJ_NEEDED, m.name, sizeof(m.name));
	vmj_json_string(&in, "uuid", VMJ_NEEDED, m.uuid, sizeof(m.uuid));
	if (in.rc == 0 && !vmj_name_valid(m.name))
		vmj_json_refuse(&in, "name", EINVAL, "it is not a name");
	if (vmj_json_close(&in) < 0)
		return fail_damaged(path, &why, err);
	m.version = version;
	*ret = m;
	return 0;
}

int vmj_domain_read(const char *path, struct vmj_domain_mark *ret, struct vmj_error *err)
{
	vmj_autoclose int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	vmj_autofree char *text = NULL;
	size_t len;
	int rc;

	if (dir < 0)
		return vmj_fail(err, errno, "storage %s cannot be opened: %m", path);
	rc = vmj_file_read(dir, VMJ_DOMAIN_FILE, DOMAIN_MAX, &text, &len, NULL);
	if (rc == -ENOENT)
		return vmj_fail(err, ENOENT,
				"storage %s has no " VMJ_DOMAIN_FILE
				": it is not mounted here, or `vmjob storage format` never made it "
				"a domain",
				path);
	if (rc < 0)
		return vmj_fail(err, -rc, "storage %s: cannot read " VMJ_DOMAIN_FILE ": %s", path,
				vmj_strerror(rc));
	return vmj_domain_parse(path, text, len, ret, err);
}

/* A server that has gone away keeps whoever asks waiting, for ever if it must. A process can be
 * made to stop waiting, a thread of the agent cannot. */
static int check_answers(const char *path, struct vmj_error *err)
{
	vmj_autofree char *file = NULL;
	struct vmj_error e = {.code = 0};

	if (asprintf(&file, "%s/" VMJ_DOMAIN_FILE, path) < 0)
		return vmj_fail(err, ENOMEM, "storage %s: out of memory", path);
	vmj_spawn(&(struct vmj_spawn){.argv = (const char *const[]){"head", "-c", "1", "--", file,
								    NULL},
				      .timeout_ms = ANSWER_MS},
		  &e);
	if (e.code == ETIMEDOUT)
		return vmj_fail(err, ETIMEDOUT, "storage %s does not answer within %d s", path,
				ANSWER_MS / 1000);
	return 0; /* what else is wrong, the caller will see */
}

/* A folder that others than root may write could not be trusted: anybody might forge leases. Those
 * that users write are sticky. */
static int check_folder(const char *path, int domain, const struct vmj_domain_folder *f,
			struct vmj_error *err)
{
	static const char mend[] = "`vmjob storage format` mends it";
	struct stat st;

	if (fstatat(domain, f->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return vmj_fail(err, errno, "storage %s: its folder %s: %m: %s", path, f->name,
				mend);
	if (!S_ISDIR(st.st_mode))
		return vmj_fail(err, ENOTDIR,
				"storage %s: its folder %s is not a directory: remove it, then %s",
				path, f->name, mend);
	if (f->since == 1 || (f->mode & S_ISVTX))
		return 0;
	if ((st.st_uid != 0 && st.st_uid != geteuid()) || (st.st_mode & 022))
		return vmj_fail(err, EPERM,
				"storage %s: its folder %s can be written by others than root "
				"(owner %u, mode %04o): %s",
				path, f->name, (unsigned int)st.st_uid,
				(unsigned int)(st.st_mode & 07777), mend);
	return 0;
}

static int check_folders(const char *path, unsigned int version, struct vmj_error *err)
{
	vmj_autoclose int domain = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int rc = 0;

	if (domain < 0)
		return vmj_fail(err, errno, "storage %s cannot be opened: %m", path);
	for (const struct vmj_domain_folder *f = vmj_domain_folders; rc == 0 && f->name; f++)
		if (f->since <= version)
			rc = check_folder(path, domain, f, err);
	return rc;
}

static int check_domain(const char *path, unsigned int version, struct vmj_error *err)
{
	struct vmj_domain_mark m;
	int rc = check_answers(path, err);

	if (rc == 0)
		rc = vmj_domain_read(path, &m, err);
	if (rc == 0 && m.version < version)
		return vmj_fail(err, EPROTO,
				"storage %s has version %u of the layout, which holds images only: "
				"run `vmjob storage format` once, as root",
				path, m.version);
	return rc < 0 ? rc : check_folders(path, version, err);
}

int vmj_storage_check(const char *path, struct vmj_error *err)
{
	return check_domain(path, 1, err);
}

int vmj_storage_check_volumes(const char *path, struct vmj_error *err)
{
	return check_domain(path, 2, err);
}

int vmj_domain_make_folder(const char *path, const struct vmj_domain_folder *f,
			   struct vmj_error *err)
{
	vmj_autoclose int fd = -1;
	char dir[PATH_MAX];
	struct stat st;

	if ((size_t)snprintf(dir, sizeof(dir), "%s/%s", path, f->name) >= sizeof(dir))
		return vmj_fail(err, ENAMETOOLONG, "storage %s: its path is too long", path);
	if (mkdir(dir, f->mode & 0777) < 0 && errno != EEXIST)
		return vmj_fail(err, errno, "storage %s: cannot make %s: %m", path, dir);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 ||
	    (st.st_uid != geteuid() && fchown(fd, geteuid(), getegid()) < 0) ||
	    fchmod(fd, f->mode) < 0)
		return vmj_fail(err, errno, "storage %s: cannot set up %s: %m", path, dir);
	return 0;
}

static int new_uuid(char ret[37], struct vmj_error *err)
{
	vmj_autofree char *uuid = NULL;
	int rc = vmj_file_read(-1, "/proc/sys/kernel/random/uuid", 64, &uuid, NULL, err);

	if (rc == 0)
		snprintf(ret, 37, "%.36s", uuid);
	return rc;
}

static int write_mark(const char *path, const struct vmj_domain_mark *m, struct vmj_error *err)
{
	vmj_autojson struct json_object *o = json_object_new_object();
	vmj_autofree char *file = NULL;
	const char *text;

	if (!o || asprintf(&file, "%s/" VMJ_DOMAIN_FILE, path) < 0)
		return vmj_fail(err, ENOMEM, "storage %s: out of memory", path);
	vmj_json_put_string(o, "format", DOMAIN_FORMAT);
	vmj_json_put_u64(o, "version", VMJ_DOMAIN_VERSION);
	vmj_json_put_string(o, "name", m->name);
	vmj_json_put_string(o, "uuid", m->uuid);
	text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);
	return vmj_file_write_atomic(-1, file, text, strlen(text), 0644, err);
}

/* The mark as it is, or a new one of version 0. */
static int read_or_make(const char *path, const char *name, struct vmj_domain_mark *m,
			struct vmj_error *err)
{
	struct vmj_error e = {.code = 0};
	int rc = vmj_domain_read(path, m, &e);

	if (rc == 0 && strcmp(m->name, name) != 0)
		return vmj_fail(err, EEXIST, "storage %s is the domain \"%s\" already", path,
				m->name);
	if (rc == -ENOENT) {
		*m = (struct vmj_domain_mark){.version = 0};
		strcpy(m->name, name);
		return new_uuid(m->uuid, err);
	}
	if (rc < 0 && err)
		*err = e;
	return rc;
}

int vmj_storage_format(const char *path, const char *name, struct vmj_error *err)
{
	struct vmj_domain_mark m;
	int rc;

	rc = vmj_parse_name("the domain's name", name, err);
	if (rc == 0)
		rc = vmj_mkdir_p(path, 0755, err);
	if (rc == 0)
		rc = read_or_make(path, name, &m, err);
	for (const struct vmj_domain_folder *f = vmj_domain_folders; rc == 0 && f->name; f++)
		rc = vmj_domain_make_folder(path, f, err);
	if (rc < 0 || m.version == VMJ_DOMAIN_VERSION)
		return rc;
	return write_mark(path, &m, err); /* last: with it, all is there */
}
