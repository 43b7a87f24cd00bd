/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images, and the markers of those that are shared. Users own their trees and may put anything
 * there, so only what is vmjob's is looked at, without following links.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/dir.h"
#include "vmjob/base/parse.h"
#include "vmjob/base/spawn.h"
#include "vmjob/storage/check_private.h"
#include "vmjob/storage/image_tree.h"
#include "vmjob/storage/layout.h"

#define DEEP_TIMEOUT_MS (24 * 3600 * 1000)

struct owner {
	struct vmj_checking *k;
	uid_t uid;
	bool public_;
	int dir; /* images/<uid> */
	char where[CHECK_PATH_MAX];
	const char *name; /* of the image at which we are */
	unsigned int n;   /* its revisions */
};

/* --- one revision ---------------------------------------------------------------------------- */

/* The file may be its user's: whatever reads it runs as that user. */
static void check_deep(struct owner *o, const struct vmj_image *img, const char *where)
{
	static const char todo[] = "import the image anew, and remove this revision";
	vmj_autofree char *sum = NULL;
	struct vmj_error err;
	struct vmj_spawn s = {.uid = img->owner, .timeout_ms = DEEP_TIMEOUT_MS, .ret_output = &sum};
	struct stat st;

	if (lstat(img->path, &st) < 0) {
		vmj_check_unreadable(o->k, where, -errno);
		return;
	}
	s.gid = st.st_gid;
	s.argv = (const char *const[]){"sha256sum", "--", img->path, NULL};
	if (vmj_spawn(&s, &err) < 0)
		vmj_check_found(o->k, VMJ_ERROR, where, todo, "its disk cannot be read: %s",
				err.text);
	else if (strlen(sum) < 64 || strncmp(sum, img->sha256, 64) != 0)
		vmj_check_found(o->k, VMJ_ERROR, where, todo,
				"its disk has changed since the import: the checksum differs");
	s.ret_output = NULL;
	s.argv = (const char *const[]){"qemu-img", "check", "-q", "-f", "qcow2", img->path, NULL};
	if (vmj_spawn(&s, &err) < 0)
		vmj_check_found(o->k, VMJ_ERROR, where, todo, "qemu-img finds fault with it: %s",
				err.text);
}

static int check_revision(int dir, const char *entry, void *arg)
{
	struct owner *o = arg;
	char named[CHECK_PATH_MAX], where[CHECK_PATH_MAX];
	struct vmj_image img;
	struct vmj_error err;
	uint64_t revision;

	vmj_check_join(where, vmj_check_join(named, o->where, o->name), entry);
	if (vmj_parse_u64("revision", entry, 1, UINT32_MAX, &revision, NULL) < 0 ||
	    entry[0] == '0') {
		if (!vmj_check_is_temporary(o->k, dir, entry, where))
			vmj_check_found(o->k, VMJ_NOTE, where, "vmjob leaves it alone",
					"it is no revision of an image");
		return 0;
	}
	o->n++;
	if (vmj_image_load(o->k->path, o->dir, o->uid, o->public_, o->name, (uint32_t)revision,
			   &img, &err) < 0)
		vmj_check_found(o->k, VMJ_ERROR, where,
				"its owner imports it anew, and removes this revision by `vmjob "
				"image rm`",
				"%s", err.text);
	else if (o->k->check->deep)
		check_deep(o, &img, where);
	return 0;
}

/* --- one owner ------------------------------------------------------------------------------- */

/* An import that is under way holds a lock. */
static bool is_alive(int dir, const char *entry)
{
	char lock[CHECK_PATH_MAX];
	vmj_autoclose int fd = openat(dir, vmj_check_join(lock, entry, IMAGE_LOCK),
				      O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0;
}

static void check_import(struct owner *o, int dir, const char *entry, const char *where)
{
	struct stat st;

	if (fstatat(dir, entry, &st, AT_SYMLINK_NOFOLLOW) == 0 && vmj_check_is_old(o->k, &st) &&
	    !is_alive(dir, entry))
		vmj_check_leavings(o->k, dir, entry, where,
				   "left by an import or a removal that did not end");
}

static int check_name(int dir, const char *entry, void *arg)
{
	struct owner *o = arg;
	char where[CHECK_PATH_MAX];
	int rc;

	vmj_check_join(where, o->where, entry);
	if (strncmp(entry, IMAGE_TMP, strlen(IMAGE_TMP)) == 0) {
		check_import(o, dir, entry, where);
		return 0;
	}
	if (!vmj_name_valid(entry)) {
		vmj_check_found(o->k, VMJ_NOTE, where, "vmjob leaves it alone", "it is no image");
		return 0;
	}
	o->name = entry;
	o->n = 0;
	rc = vmj_dir_each(dir, entry, check_revision, o);
	if (rc == -ENOTDIR || rc == -ELOOP)
		vmj_check_found(o->k, VMJ_WARNING, where, "its owner removes it",
				"it is in the place of an image's directory");
	else if (rc < 0)
		vmj_check_unreadable(o->k, where, rc);
	else if (o->n == 0)
		vmj_check_found(o->k, VMJ_NOTE, where,
				"its owner's next import of that name uses it",
				"an image without a revision");
	return 0;
}

/* images/<uid> of somebody else is no danger to that user's images, but in the way of imports. */
static bool check_owner(struct vmj_checking *k, int dir, const char *entry, const char *where,
			uid_t uid)
{
	const struct vmj_check_rights rights = {.uid = uid, .gid = (gid_t)-1, .mask = 022};
	struct stat st;

	if (fstatat(dir, entry, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		vmj_check_unreadable(k, where, -errno);
		return false;
	}
	if (!S_ISDIR(st.st_mode) || st.st_uid != uid) {
		vmj_check_found(k, VMJ_ERROR, where,
				"see what it is, and move it away: user's imports fail until then",
				"it is in the place of a user's directory, and belongs to %u",
				(unsigned int)st.st_uid);
		return false;
	}
	return vmj_check_folder(k, dir, entry, where, &rights);
}

static int check_user(int dir, const char *entry, void *arg)
{
	struct owner o = {.k = arg, .public_ = strcmp(entry, "public") == 0};
	int rc;

	vmj_check_join(o.where, "images", entry);
	if (!o.public_ && !vmj_domain_uid(entry, &o.uid)) {
		vmj_check_found(o.k, VMJ_NOTE, o.where, "vmjob leaves it alone",
				"it is no user's directory");
		return 0;
	}
	if (!o.public_ && !check_owner(o.k, dir, entry, o.where, o.uid))
		return 0;
	o.dir = openat(dir, entry, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (o.dir < 0) {
		vmj_check_unreadable(o.k, o.where, -errno);
		return 0;
	}
	rc = vmj_dir_each(o.dir, ".", check_name, &o);
	vmj_close(o.dir);
	vmj_check_unreadable(o.k, o.where, rc);
	return 0;
}

/* --- shares ---------------------------------------------------------------------------------- */

static int check_share(int dir, const char *entry, void *arg)
{
	struct vmj_checking *k = arg;
	const char *dot = strchr(entry, '.');
	char where[CHECK_PATH_MAX], image[CHECK_PATH_MAX], number[16];
	struct stat st;
	uid_t uid;

	vmj_check_join(where, "shares", entry);
	snprintf(number, sizeof(number), "%.*s", dot ? (int)(dot - entry) : 0, entry);
	if (!dot || !vmj_domain_uid(number, &uid) || !vmj_name_valid(dot + 1)) {
		vmj_check_found(k, VMJ_NOTE, where, "vmjob leaves it alone",
				"it marks no image as shared");
		return 0;
	}
	if (fstatat(dir, entry, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	if (st.st_uid != uid) {
		vmj_check_leavings(k, dir, entry, where,
				   "it marks an image as shared whose owner did not make it");
		return 0;
	}
	snprintf(image, sizeof(image), "images/%s/%s", number, dot + 1);
	if (fstatat(k->domain, image, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
		vmj_check_leavings(k, dir, entry, where,
				   "it marks an image as shared that does not exist");
	return 0;
}

void vmj_check_images(struct vmj_checking *k)
{
	vmj_check_unreadable(k, "images", vmj_dir_each(k->domain, "images", check_user, k));
	vmj_check_unreadable(k, "shares", vmj_dir_each(k->domain, "shares", check_share, k));
}
