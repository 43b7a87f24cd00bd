/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/storage/check.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/file.h"
#include "vmjob/base/parse.h"
#include "vmjob/storage/check_private.h"

static const char *const names[] = {
	[VMJ_NOTE] = "note",
	[VMJ_WARNING] = "warning",
	[VMJ_ERROR] = "error",
};
static_assert(sizeof(names) / sizeof(names[0]) == VMJ_SEVERITIES_, "a name for each");

const char *vmj_severity_name(enum vmj_severity s)
{
	return (unsigned int)s < VMJ_SEVERITIES_ ? names[s] : "?";
}

static void report(struct vmj_checking *k, struct vmj_finding *f, const char *where,
		   const char *todo, const char *fmt, va_list ap)
{
	vmj_quote(where, f->where, sizeof(f->where));
	vsnprintf(f->what, sizeof(f->what), fmt, ap);
	snprintf(f->todo, sizeof(f->todo), "%s", todo);
	if (f->mended)
		k->sum.mended++;
	else
		k->sum.left[f->severity]++;
	k->check->found(f, k->check->arg);
}

void vmj_check_found(struct vmj_checking *k, enum vmj_severity severity, const char *where,
		     const char *todo, const char *fmt, ...)
{
	struct vmj_finding f = {.severity = severity};
	va_list ap;

	va_start(ap, fmt);
	report(k, &f, where, todo, fmt, ap);
	va_end(ap);
}

void vmj_check_mended(struct vmj_checking *k, const char *where, const char *done, const char *fmt,
		      ...)
{
	struct vmj_finding f = {.severity = VMJ_WARNING, .mended = true};
	va_list ap;

	va_start(ap, fmt);
	report(k, &f, where, done, fmt, ap);
	va_end(ap);
}

void vmj_check_unreadable(struct vmj_checking *k, const char *where, int rc)
{
	if (rc < 0 && rc != -ENOENT && rc != -ENOTDIR && rc != -ELOOP)
		vmj_check_found(k, VMJ_ERROR, where, "look at the storage itself",
				"it cannot be read: %s", vmj_strerror(rc));
}

const char *vmj_check_join(char buf[CHECK_PATH_MAX], const char *dir, const char *entry)
{
	if (snprintf(buf, CHECK_PATH_MAX, "%s/%s", dir, entry) >= CHECK_PATH_MAX)
		strcpy(buf + CHECK_PATH_MAX - 4, "...");
	return buf;
}

bool vmj_check_is_old(const struct vmj_checking *k, const struct stat *st)
{
	return k->now - st->st_mtime > CHECK_OLD_S && k->now - st->st_ctime > CHECK_OLD_S;
}

/* The mode and owner of an open file, as they should be. */
static int set_rights(int at, const char *entry, const struct vmj_check_rights *r)
{
	vmj_autoclose int fd =
		openat(at, entry, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if ((st.st_uid != r->uid || (r->gid != (gid_t)-1 && st.st_gid != r->gid)) &&
	    fchown(fd, r->uid, r->gid) < 0)
		return -errno;
	return fchmod(fd, (st.st_mode & 07777 & ~r->mask) | r->want) < 0 ? -errno : 0;
}

static void check_rights(struct vmj_checking *k, int at, const char *entry, const char *where,
			 const struct stat *st, const struct vmj_check_rights *r)
{
	char what[128], want[64];

	if (st->st_uid == r->uid && (r->gid == (gid_t)-1 || st->st_gid == r->gid) &&
	    (st->st_mode & r->mask) == r->want)
		return;
	snprintf(what, sizeof(what), "it belongs to %u:%u with mode %04o", (unsigned int)st->st_uid,
		 (unsigned int)st->st_gid, (unsigned int)(st->st_mode & 07777));
	snprintf(want, sizeof(want), "%u with %04o", (unsigned int)r->uid,
		 (unsigned int)((st->st_mode & 07777 & ~r->mask) | r->want));
	if (k->check->repair && set_rights(at, entry, r) == 0)
		vmj_check_mended(k, where, "set right", "%s, not to %s", what, want);
	else
		vmj_check_found(k, VMJ_ERROR, where, "`vmjob storage check --repair` sets it right",
				"%s, not to %s", what, want);
}

bool vmj_check_folder(struct vmj_checking *k, int at, const char *entry, const char *where,
		      const struct vmj_check_rights *r)
{
	struct stat st;

	if (fstatat(at, entry, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		vmj_check_unreadable(k, where, -errno);
		return false;
	}
	if (!S_ISDIR(st.st_mode)) {
		vmj_check_found(k, VMJ_ERROR, where, "see what it is, and remove it",
				"it is in the place of a directory");
		return false;
	}
	check_rights(k, at, entry, where, &st, r);
	return true;
}

bool vmj_check_file(struct vmj_checking *k, int at, const char *entry, const char *where,
		    const struct vmj_check_rights *r)
{
	struct stat st;

	if (fstatat(at, entry, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		vmj_check_unreadable(k, where, -errno);
		return false;
	}
	if (!S_ISREG(st.st_mode)) {
		vmj_check_found(k, VMJ_ERROR, where, "see what it is, and remove it",
				"it is in the place of a file");
		return false;
	}
	check_rights(k, at, entry, where, &st, r);
	return true;
}

void vmj_check_leavings(struct vmj_checking *k, int at, const char *entry, const char *where,
			const char *what)
{
	struct vmj_error err = {.code = 0};

	if (!k->check->repair)
		vmj_check_found(k, VMJ_WARNING, where, "`vmjob storage check --repair` removes it",
				"%s", what);
	else if (vmj_remove_tree(at, entry, &err) < 0)
		vmj_check_found(k, VMJ_WARNING, where, err.text, "%s, and cannot be removed", what);
	else
		vmj_check_mended(k, where, "removed", "%s", what);
}

bool vmj_check_is_temporary(struct vmj_checking *k, int at, const char *entry, const char *where)
{
	struct stat st;

	if (entry[0] != '.' || !strstr(entry, ".tmp-"))
		return false;
	if (fstatat(at, entry, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT;
	if (!S_ISREG(st.st_mode))
		return false;
	if (vmj_check_is_old(k, &st))
		vmj_check_leavings(k, at, entry, where, "left by a write that did not end");
	return true;
}

static int open_domain(struct vmj_checking *k, struct vmj_error *err)
{
	struct timespec now;

	k->domain = open(k->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (k->domain < 0)
		return vmj_fail(err, errno, "storage %s: %s cannot be opened: %m",
				k->check->storage->name, k->path);
	clock_gettime(CLOCK_REALTIME, &now);
	k->now = now.tv_sec + k->check->ahead_s;
	return 0;
}

int vmj_storage_check_all(const struct vmj_check *c, struct vmj_check_sum *ret,
			  struct vmj_error *err)
{
	struct vmj_checking k = {.check = c, .path = c->storage->path, .domain = -1};
	int rc = open_domain(&k, err);

	if (rc < 0)
		return rc;
	if (vmj_check_mark(&k)) {
		vmj_check_folders(&k);
		vmj_check_images(&k);
		if (k.version >= 2) {
			vmj_check_volumes(&k);
			vmj_check_leases(&k);
			vmj_check_hosts(&k);
		}
	}
	vmj_close(k.domain);
	*ret = k.sum;
	return 0;
}
