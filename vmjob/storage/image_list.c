/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/dir.h"
#include "vmjob/storage/image_share.h"
#include "vmjob/storage/image_tree.h"

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
	rc = vmj_dir_each(dir, entry, list_revision, o);
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
	rc = vmj_dir_each(owner, ".", list_name, &o);
	if (rc < 0)
		return vmj_fail(err, -rc, "storage %s: cannot list its images: %s", l->path,
				vmj_strerror(rc));
	return 0;
}

int vmj_image_list_owned(const char *path, uid_t uid, bool public_, struct vmj_image **ret,
			 size_t *ret_n, struct vmj_error *err)
{
	struct listing l = {.path = path};
	vmj_autoclose int images = vmj_images_open(path, err);
	int rc = images < 0 ? images : list_owned(&l, images, uid, public_, err);

	if (rc < 0) {
		free(l.images);
		return rc;
	}
	*ret = l.images;
	*ret_n = l.n;
	return 0;
}

struct share_listing {
	struct listing *l;
	int images;
	uid_t uid; /* who asks */
};

/* A marker counts only if it is the image's owner's, and what it names only if it can be opened. */
static int list_share(int shares, const char *entry, void *arg)
{
	const struct share_listing *s = arg;
	struct owner_listing o = {.l = s->l};
	vmj_autoclose int owner = -1;
	bool squatted;
	int rc;

	if (!vmj_image_share_marker(shares, entry, &o.uid, &o.name) || o.uid == s->uid)
		return 0;
	owner = vmj_image_owner_open(s->images, o.uid, false, &squatted, NULL);
	if (owner < 0)
		return 0;
	o.owner_dir = owner;
	rc = list_name(owner, o.name, &o);
	return rc == -ENOMEM || rc == -E2BIG ? rc : 0;
}

static int list_shares(struct listing *l, int images, uid_t uid, struct vmj_error *err)
{
	struct share_listing s = {.l = l, .images = images, .uid = uid};
	int rc = vmj_dir_each(images, "../" IMAGE_SHARES, list_share, &s);

	if (rc == -ENOENT) /* a domain of version 1 */
		return 0;
	if (rc < 0)
		return vmj_fail(err, -rc, "storage %s: cannot list what is shared: %s", l->path,
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
	if (x->owner != y->owner)
		return x->owner < y->owner ? -1 : 1;
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
	if (rc == 0)
		rc = list_shares(&l, images, uid, err);
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
