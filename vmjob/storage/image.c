/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/storage/image.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/file.h"
#include "vmjob/storage/asuser.h"
#include "vmjob/storage/image_tree.h"

static int check_identity(uid_t uid, gid_t gid, struct vmj_asuser *a, struct vmj_error *err)
{
	int rc = vmj_asuser_begin(a, uid, gid);

	if (rc < 0)
		return vmj_fail(err, -rc, "cannot take the rights of user %u: %s",
				(unsigned int)uid, vmj_strerror(rc));
	return 0;
}

/* -ENOENT without a text when this owner has no image of that name. */
static int find_owned(const char *path, int images, uid_t uid, bool public_, const char *name,
		      uint32_t revision, struct vmj_image *ret, struct vmj_error *err)
{
	vmj_autoclose int owner = -1, dir = -1;
	bool squatted;
	int rc;

	owner = vmj_image_owner_open(images, uid, public_, &squatted, err);
	if (owner < 0)
		return owner;
	dir = openat(owner, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return errno == ENOENT ? -ENOENT : vmj_image_fail(err, errno, name, "it");
	if (revision == 0) {
		rc = vmj_image_latest(dir, &revision, err);
		if (rc < 0)
			return rc;
		if (revision == 0)
			return -ENOENT; /* an import that has not finished, or a removal */
	}
	return vmj_image_load(path, owner, uid, public_, name, revision, ret, err);
}

/* A user's name, or a number of one who has none here. */
static int find_user(const char *owner, uid_t *ret, struct vmj_error *err)
{
	struct passwd pw, *found = NULL;
	char buf[4096];
	uint64_t n;
	int rc;

	if (vmj_parse_u64("owner", owner, 0, UINT32_MAX - 1, &n, NULL) == 0) {
		*ret = (uid_t)n;
		return 0;
	}
	rc = vmj_parse_name("the image's owner", owner, err);
	if (rc < 0)
		return rc;
	rc = getpwnam_r(owner, &pw, buf, sizeof(buf), &found);
	if (found) {
		*ret = found->pw_uid;
		return 0;
	}
	if (rc == 0 || rc == ENOENT || rc == ESRCH)
		return vmj_fail_user(
			err, ENOENT,
			"image owner \"%s\": there is no such user: before the / stands "
			"the name of a user, or public",
			owner);
	return vmj_fail(err, rc, "cannot look up user \"%s\": %s", owner, vmj_strerror(rc));
}

/* What is not there and what is not for you look the same, so that nobody learns what others have.
 */
static int find_shared(const char *path, int images, const char *owner, const char *name,
		       uint32_t revision, struct vmj_image *ret, struct vmj_error *err)
{
	struct vmj_error e = {.code = 0};
	uid_t uid = 0;
	int rc = find_user(owner, &uid, err);

	if (rc < 0)
		return rc;
	rc = find_owned(path, images, uid, false, name, revision, ret, &e);
	if (rc == -ENOENT || rc == -EACCES)
		return vmj_fail_user(err, ENOENT,
				     "image \"%s/%s\" does not exist or is not shared with you: "
				     "vmjob image list shows those that are (guests have your user "
				     "and primary group)",
				     owner, name);
	if (rc < 0 && err)
		*err = e;
	return rc;
}

/* Own ones before public ones. */
static int find_any(const char *path, int images, uid_t uid, const char *name, uint32_t revision,
		    struct vmj_image *ret, struct vmj_error *err)
{
	struct vmj_error e = {.code = 0};
	int rc = find_owned(path, images, uid, false, name, revision, ret, &e);

	if (rc == -ENOENT && e.code == 0)
		rc = find_owned(path, images, uid, true, name, revision, ret, &e);
	if (rc == -ENOENT && e.code == 0)
		return vmj_fail_user(err, ENOENT,
				     "image \"%s\" does not exist, neither your own nor a public "
				     "one: vmjob image list shows those that do",
				     name);
	if (rc < 0 && err)
		*err = e;
	return rc;
}

static int find_public(const char *path, int images, const char *name, uint32_t revision,
		       struct vmj_image *ret, struct vmj_error *err)
{
	struct vmj_error e = {.code = 0};
	int rc = find_owned(path, images, 0, true, name, revision, ret, &e);

	if (rc == -ENOENT && e.code == 0)
		return vmj_fail_user(err, ENOENT,
				     "image \"public/%s\" does not exist: vmjob image list shows "
				     "those that do",
				     name);
	if (rc < 0 && err)
		*err = e;
	return rc;
}

int vmj_image_find(const char *path, const char *owner, const char *name, uint32_t revision,
		   uid_t uid, gid_t gid, struct vmj_image *ret, struct vmj_error *err)
{
	vmj_auto_asuser struct vmj_asuser user = {.changed = false};
	vmj_autoclose int images = -1;
	int rc;

	rc = vmj_parse_name("the image's name", name, err);
	if (rc == 0)
		rc = check_identity(uid, gid, &user, err);
	if (rc < 0)
		return rc;
	images = vmj_images_open(path, err);
	if (images < 0)
		return images;
	if (!owner || !owner[0])
		return find_any(path, images, uid, name, revision, ret, err);
	if (strcmp(owner, IMAGE_PUBLIC) == 0)
		return find_public(path, images, name, revision, ret, err);
	return find_shared(path, images, owner, name, revision, ret, err);
}

struct listing {
	const char *path;
	struct vmj_image *images;
	size_t n;
};

static int listing_add(struct listing *l, const struct vmj_image *img)
{
	if (l->n % 64 == 0) {
		struct vmj_image *more = realloc(l->images, (l->n + 64) * sizeof(*more));

		if (!more)
			return -ENOMEM;
		l->images = more;
	}
	l->images[l->n++] = *img;
	return 0;
}

typedef int (*entry_fn)(int dir, const char *entry, void *arg);

static int for_each_entry(int at, const char *name, entry_fn fn, void *arg)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	vmj_autoclosedir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	int rc = 0;

	if (!dir) {
		rc = -errno;
		vmj_close(fd);
		return rc;
	}
	while (rc == 0 && (e = readdir(dir)))
		rc = fn(fd, e->d_name, arg);
	return rc;
}

struct owner_listing {
	struct listing *l;
	int owner_dir;
	uid_t uid;
	bool public_;
	const char *name;
};

static int list_revision(int dir, const char *entry, void *arg)
{
	struct owner_listing *o = arg;
	struct vmj_image img;
	uint64_t revision;

	if (vmj_parse_u64("revision", entry, 1, UINT32_MAX, &revision, NULL) < 0)
		return 0;
	if (o->l->n >= IMAGE_LIST_MAX)
		return -E2BIG;
	/* What cannot be read or is damaged is not an image that the user can use. */
	if (vmj_image_load(o->l->path, o->owner_dir, o->uid, o->public_, o->name,
			   (uint32_t)revision, &img, NULL) < 0)
		return 0;
	return listing_add(o->l, &img);
}

static int list_name(int dir, const char *entry, void *arg)
{
	struct owner_listing *o = arg;
	int rc;

	if (!vmj_name_valid(entry))
		return 0;
	o->name = entry;
	rc = for_each_entry(dir, entry, list_revision, o);
	return rc == -ENOMEM || rc == -E2BIG ? rc : 0;
}

static int list_owned(struct listing *l, int images, uid_t uid, bool public_, struct vmj_error *err)
{
	struct owner_listing o = {.l = l, .uid = uid, .public_ = public_};
	vmj_autoclose int owner = -1;
	bool squatted;
	int rc;

	owner = vmj_image_owner_open(images, uid, public_, &squatted, err);
	if (owner == -ENOENT)
		return 0;
	if (owner < 0)
		return owner;
	o.owner_dir = owner;
	rc = for_each_entry(owner, ".", list_name, &o);
	if (rc < 0)
		return vmj_fail(err, -rc, "storage %s: cannot list its images: %s", l->path,
				vmj_strerror(rc));
	return 0;
}

static int compare_images(const void *a, const void *b)
{
	const struct vmj_image *x = a, *y = b;
	int by_name = strcmp(x->name, y->name);

	if (by_name)
		return by_name;
	if (x->public_ != y->public_)
		return x->public_ ? 1 : -1;
	return x->revision < y->revision ? -1 : x->revision > y->revision;
}

int vmj_image_list(const char *path, uid_t uid, struct vmj_image **ret, size_t *ret_n,
		   struct vmj_error *err)
{
	struct listing l = {.path = path};
	vmj_autoclose int images = vmj_images_open(path, err);
	int rc;

	if (images < 0)
		return images;
	rc = list_owned(&l, images, uid, false, err);
	if (rc == 0)
		rc = list_owned(&l, images, uid, true, err);
	if (rc < 0) {
		free(l.images);
		return rc;
	}
	if (l.n)
		qsort(l.images, l.n, sizeof(*l.images), compare_images);
	*ret = l.images;
	*ret_n = l.n;
	return 0;
}

/* Out of sight by one rename, then away. */
static int remove_entry(int owner, int from, const char *entry, struct vmj_error *err)
{
	char tmp[64];

	snprintf(tmp, sizeof(tmp), IMAGE_TMP "rm-%ld-%s", (long)getpid(),
		 strlen(entry) < 32 ? entry : "name");
	if (renameat(from, entry, owner, tmp) < 0)
		return errno == ENOENT ? -ENOENT
				       : vmj_fail(err, errno, "cannot remove %s: %m", entry);
	return vmj_remove_tree(owner, tmp, err);
}

static int remove_owned(int owner, const char *name, uint32_t revision, struct vmj_error *err)
{
	vmj_autoclose int dir = -1;
	char sub[16];
	int rc;

	if (revision == 0)
		return remove_entry(owner, owner, name, err);
	dir = openat(owner, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return errno == ENOENT ? -ENOENT : vmj_image_fail(err, errno, name, "it");
	snprintf(sub, sizeof(sub), "%" PRIu32, revision);
	rc = remove_entry(owner, dir, sub, err);
	if (rc == 0 && unlinkat(owner, name, AT_REMOVEDIR) < 0 && errno != ENOTEMPTY &&
	    errno != EEXIST && errno != ENOENT)
		return vmj_fail(err, errno, "cannot remove the directory of image \"%s\": %m",
				name);
	return rc;
}

int vmj_image_remove(const char *path, const char *name, uint32_t revision, bool public_,
		     struct vmj_error *err)
{
	vmj_autoclose int images = -1, owner = -1;
	struct vmj_error e = {.code = 0};
	bool squatted;
	int rc;

	rc = vmj_parse_name("the image's name", name, err);
	if (rc < 0)
		return rc;
	images = vmj_images_open(path, err);
	if (images < 0)
		return images;
	rc = owner = vmj_image_owner_open(images, geteuid(), public_, &squatted, &e);
	if (rc >= 0)
		rc = remove_owned(owner, name, revision, &e);
	if (rc == -ENOENT && e.code == 0)
		return vmj_fail_user(err, ENOENT,
				     revision ? "you have no image \"%s\" of revision %" PRIu32
					      : "you have no image \"%s\"",
				     name, revision);
	if (rc < 0 && err)
		*err = e;
	return rc < 0 ? rc : 0;
}
