/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The directory domain itself: its mark and its layout. */
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
#include "vmjob/base/parse.h"
#include "vmjob/storage/layout.h"
#include "vmjob/model/json.h"

#define DOMAIN_FILE    "vmjob-domain.json"
#define DOMAIN_FORMAT  "vmjob-domain"
#define DOMAIN_VERSION 1
#define DOMAIN_MAX     4096
#define ANSWER_MS      15000

struct mark {
	char name[VMJ_NAME_MAX + 1];
};

static int parse_mark(const char *path, const char *text, struct mark *ret, struct vmj_error *err)
{
	vmj_autojson struct json_object *o = json_tokener_parse(text);
	struct json_object *format, *version, *name;

	if (!json_object_is_type(o, json_type_object) ||
	    !json_object_object_get_ex(o, "format", &format) ||
	    !json_object_is_type(format, json_type_string) ||
	    strcmp(json_object_get_string(format), DOMAIN_FORMAT) != 0 ||
	    !json_object_object_get_ex(o, "version", &version) ||
	    !json_object_object_get_ex(o, "name", &name) ||
	    !json_object_is_type(name, json_type_string) ||
	    !vmj_name_valid(json_object_get_string(name)))
		return vmj_fail(err, EINVAL, "storage %s: %s/" DOMAIN_FILE " is damaged", path,
				path);
	if (json_object_get_int64(version) != DOMAIN_VERSION)
		return vmj_fail(err, EPROTO,
				"storage %s has version %lld of the layout, this vmjob knows %d: "
				"install the newer vmjob here",
				path, (long long)json_object_get_int64(version), DOMAIN_VERSION);
	snprintf(ret->name, sizeof(ret->name), "%s", json_object_get_string(name));
	return 0;
}

static int read_mark(const char *path, struct mark *ret, struct vmj_error *err)
{
	vmj_autoclose int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	vmj_autofree char *text = NULL;
	int rc;

	if (dir < 0)
		return vmj_fail(err, errno, "storage %s cannot be opened: %m", path);
	rc = vmj_file_read(dir, DOMAIN_FILE, DOMAIN_MAX, &text, NULL, NULL);
	if (rc == -ENOENT)
		return vmj_fail(
			err, ENOENT,
			"storage %s has no " DOMAIN_FILE
			": it is not mounted here, or `vmjob image init` never made it a domain",
			path);
	if (rc < 0)
		return vmj_fail(err, -rc, "storage %s: cannot read " DOMAIN_FILE ": %s", path,
				vmj_strerror(rc));
	return parse_mark(path, text, ret, err);
}

/* A server that has gone away keeps whoever asks waiting, for ever if it must. A process can be
 * made to stop waiting, a thread of the agent cannot. */
static int check_answers(const char *path, struct vmj_error *err)
{
	vmj_autofree char *file = NULL;
	struct vmj_error e = {.code = 0};

	if (asprintf(&file, "%s/" DOMAIN_FILE, path) < 0)
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

int vmj_storage_check(const char *path, struct vmj_error *err)
{
	struct mark m;
	int rc = check_answers(path, err);

	if (rc == 0)
		rc = read_mark(path, &m, err);
	if (rc == 0) {
		vmj_autoclose int images = -1;
		vmj_autofree char *dir = NULL;

		if (asprintf(&dir, "%s/images", path) < 0)
			return vmj_fail(err, ENOMEM, "storage %s: out of memory", path);
		images = open(dir, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (images < 0)
			return vmj_fail(err, errno, "storage %s: its images directory: %m", path);
	}
	return rc;
}

/* A directory of exactly this mode, whatever the umask and whatever was there. */
static int make_directory(const char *path, const char *sub, mode_t mode, struct vmj_error *err)
{
	vmj_autoclose int fd = -1;
	char dir[PATH_MAX];
	struct stat st;

	if ((size_t)snprintf(dir, sizeof(dir), "%s/%s", path, sub) >= sizeof(dir))
		return vmj_fail(err, ENAMETOOLONG, "storage %s: its path is too long", path);
	if (mkdir(dir, 0755) < 0 && errno != EEXIST)
		return vmj_fail(err, errno, "storage %s: cannot make %s: %m", path, dir);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 ||
	    (st.st_uid != geteuid() && fchown(fd, geteuid(), getegid()) < 0) ||
	    fchmod(fd, mode) < 0)
		return vmj_fail(err, errno, "storage %s: cannot set up %s: %m", path, dir);
	return 0;
}

static int write_mark(const char *path, const char *name, struct vmj_error *err)
{
	vmj_autojson struct json_object *o = json_object_new_object();
	vmj_autofree char *uuid = NULL, *file = NULL;
	const char *text;
	int rc;

	rc = vmj_file_read(-1, "/proc/sys/kernel/random/uuid", 64, &uuid, NULL, err);
	if (rc < 0)
		return rc;
	uuid[strcspn(uuid, "\n")] = '\0';
	if (!o || asprintf(&file, "%s/" DOMAIN_FILE, path) < 0)
		return vmj_fail(err, ENOMEM, "storage %s: out of memory", path);
	json_object_object_add(o, "format", json_object_new_string(DOMAIN_FORMAT));
	json_object_object_add(o, "version", json_object_new_int(DOMAIN_VERSION));
	json_object_object_add(o, "name", json_object_new_string(name));
	json_object_object_add(o, "uuid", json_object_new_string(uuid));
	text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);
	return vmj_file_write_atomic(-1, file, text, strlen(text), 0644, err);
}

int vmj_storage_format(const char *path, const char *name, struct vmj_error *err)
{
	struct mark m;
	int rc;

	rc = vmj_parse_name("the domain's name", name, err);
	if (rc == 0)
		rc = vmj_mkdir_p(path, 0755, err);
	if (rc < 0)
		return rc;
	rc = read_mark(path, &m, err);
	if (rc == 0 && strcmp(m.name, name) != 0)
		return vmj_fail(err, EEXIST, "storage %s is the domain \"%s\" already", path,
				m.name);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	if (make_directory(path, "images", 01777, err) < 0 ||
	    make_directory(path, "images/public", 0755, err) < 0)
		return err ? -err->code : -EIO;
	return rc == 0 ? 0 : write_mark(path, name, err); /* the mark last: with it, all is there */
}
