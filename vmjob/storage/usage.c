/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. A user's trees are images/<uid> and volumes/<uid>, walked without following
 * links and without leaving the file system. A file with one name is added at once; of one with
 * several, device and inode are kept in a search tree, so that it is added but once: in one search
 * tree for the user, in another for all.
 */
#include "vmjob/storage/usage.h"

#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/dir.h"
#include "vmjob/storage/layout.h"
#include "vmjob/storage/volume.h"

#define DEPTH_MAX 8 /* below a user's directory */
#define FULL      1 /* ends a walk: enough files */

struct inode {
	dev_t dev;
	ino_t ino;
};

struct walk {
	const char *path;
	int domain;
	dev_t dev; /* of the domain */
	/* Of the user whose trees are walked now. */
	uid_t uid;
	bool theirs; /* the directory is that user's or root's, not one that somebody else put there
		      */
	unsigned int depth;
	uint32_t n_files;
	struct vmj_usage *user;
	uint64_t *user_bytes; /* user->images_bytes or user->volumes_bytes */
	void *user_seen;      /* tsearch(3) of struct inode */
	/* Of all; NULL where only one user is asked for. */
	struct vmj_usage *all;
	uint64_t *all_bytes;
	void *all_seen;
};

static int compare_inodes(const void *a, const void *b)
{
	const struct inode *x = a, *y = b;

	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	return x->dev < y->dev ? -1 : x->dev > y->dev;
}

/* 1 the first time, 0 later, or -ENOMEM. */
static int see(void **seen, const struct stat *st)
{
	struct inode *i = malloc(sizeof(*i));
	void **node;

	if (!i)
		return -ENOMEM;
	*i = (struct inode){.dev = st->st_dev, .ino = st->st_ino};
	node = tsearch(i, seen, compare_inodes);
	if (node && *node == i)
		return 1;
	free(i);
	return node ? 0 : -ENOMEM;
}

static void forget(void **seen)
{
	tdestroy(*seen, free);
	*seen = NULL;
}

static int add_file(struct walk *w, const struct stat *st)
{
	uint64_t bytes = (uint64_t)st->st_blocks * 512;
	bool shared = st->st_nlink > 1;
	int counts = w->theirs;

	if (w->n_files++ == VMJ_USAGE_FILES_MAX) {
		w->user->cut = true;
		return FULL;
	}
	if (counts && shared)
		counts = st->st_uid == w->uid ? see(&w->user_seen, st) : 0;
	if (counts < 0)
		return counts;
	if (counts)
		*w->user_bytes += bytes;
	if (!w->all)
		return 0;
	counts = shared ? see(&w->all_seen, st) : 1;
	if (counts > 0)
		*w->all_bytes += bytes;
	return counts < 0 ? counts : 0;
}

/* What others remove meanwhile, or the caller may not see, is not counted. */
static bool is_nothing(int rc)
{
	return rc == -ENOENT || rc == -ESTALE || rc == -EACCES || rc == -ENOTDIR || rc == -ELOOP;
}

static int visit(int dir, const char *entry, void *arg)
{
	struct walk *w = arg;
	struct stat st;
	int rc;

	if (fstatat(dir, entry, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return is_nothing(-errno) ? 0 : -errno;
	if (S_ISREG(st.st_mode))
		return add_file(w, &st);
	if (!S_ISDIR(st.st_mode) || st.st_dev != w->dev || w->depth == DEPTH_MAX)
		return 0;
	w->depth++;
	rc = vmj_dir_each(dir, entry, visit, w);
	w->depth--;
	return is_nothing(rc) ? 0 : rc;
}

/* images/NAME or volumes/NAME; owner: of whom the directory must be to count for the user. */
static int walk_tree(struct walk *w, const char *kind, const char *name, uid_t owner)
{
	char folder[64];
	struct stat st;
	int rc;

	snprintf(folder, sizeof(folder), "%s/%s", kind, name);
	if (fstatat(w->domain, folder, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return is_nothing(-errno) ? 0 : -errno;
	w->theirs = st.st_uid == owner;
	w->depth = 0;
	rc = vmj_dir_each(w->domain, folder, visit, w);
	return is_nothing(rc) ? 0 : rc;
}

static int walk_user(struct walk *w, uid_t uid, struct vmj_usage *user, struct vmj_error *err)
{
	char name[16];
	int rc;

	snprintf(name, sizeof(name), "%u", (unsigned int)uid);
	w->uid = uid;
	w->user = user;
	w->n_files = 0;
	w->user_bytes = &user->images_bytes;
	w->all_bytes = w->all ? &w->all->images_bytes : NULL;
	rc = walk_tree(w, "images", name, uid);
	if (rc == 0 && uid == 0)
		rc = walk_tree(w, "images", "public", 0);
	w->user_bytes = &user->volumes_bytes;
	w->all_bytes = w->all ? &w->all->volumes_bytes : NULL;
	if (rc == 0)
		rc = walk_tree(w, "volumes", name, geteuid()); /* the agent made it */
	forget(&w->user_seen);
	if (rc < 0)
		return vmj_fail(err, -rc, "storage %s: cannot look at the files of user %s: %s",
				w->path, name, vmj_strerror(rc));
	return 0;
}

static int begin(struct walk *w, const char *path, struct vmj_error *err)
{
	struct stat st;

	*w = (struct walk){.path = path, .domain = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC)};
	if (w->domain < 0 || fstat(w->domain, &st) < 0)
		return vmj_fail(err, errno, "storage %s cannot be opened: %m", path);
	w->dev = st.st_dev;
	return 0;
}

static void end(struct walk *w)
{
	forget(&w->user_seen);
	forget(&w->all_seen);
	vmj_close(w->domain);
}

int vmj_usage_user(const char *path, uid_t uid, struct vmj_usage *ret, struct vmj_error *err)
{
	struct vmj_usage user = {.cut = false};
	VMJ_CLEANUP(end) struct walk w;
	int rc = begin(&w, path, err);

	if (rc == 0)
		rc = walk_user(&w, uid, &user, err);
	if (rc == 0)
		*ret = user;
	return rc;
}

struct users {
	struct vmj_usage_of *items;
	size_t n;
};

static int add_user(int dir, const char *entry, void *arg)
{
	struct users *u = arg;
	uid_t uid = 0; /* "public" */

	if (!vmj_domain_uid(entry, &uid) && strcmp(entry, "public") != 0)
		return 0;
	if (u->n >= VMJ_USAGE_USERS_MAX)
		return -E2BIG;
	if (u->n % 64 == 0) {
		struct vmj_usage_of *more = realloc(u->items, (u->n + 64) * sizeof(*more));

		if (!more)
			return -ENOMEM;
		u->items = more;
	}
	u->items[u->n++] = (struct vmj_usage_of){.uid = uid};
	return 0;
}

static int compare_users(const void *a, const void *b)
{
	const struct vmj_usage_of *x = a, *y = b;

	return x->uid < y->uid ? -1 : x->uid > y->uid;
}

static int find_users(const struct walk *w, struct users *u, struct vmj_error *err)
{
	size_t n = 0;
	int rc = vmj_dir_each(w->domain, "images", add_user, u);

	if (rc == 0)
		rc = vmj_dir_each(w->domain, "volumes", add_user, u);
	if (rc < 0 && rc != -ENOENT) /* version 1 has no volumes */
		return vmj_fail(err, -rc, "storage %s: cannot list its users: %s", w->path,
				vmj_strerror(rc));
	if (u->n)
		qsort(u->items, u->n, sizeof(*u->items), compare_users);
	for (size_t i = 0; i < u->n; i++)
		if (n == 0 || u->items[n - 1].uid != u->items[i].uid)
			u->items[n++] = u->items[i];
	u->n = n;
	return 0;
}

int vmj_usage_all(const char *path, struct vmj_usage_of **ret, size_t *ret_n,
		  struct vmj_usage *ret_total, struct vmj_error *err)
{
	struct vmj_usage total = {.cut = false};
	struct users users = {.n = 0};
	VMJ_CLEANUP(end) struct walk w;
	int rc = begin(&w, path, err);

	if (rc == 0)
		rc = find_users(&w, &users, err);
	w.all = &total;
	for (size_t i = 0; rc == 0 && i < users.n; i++) {
		rc = walk_user(&w, users.items[i].uid, &users.items[i].usage, err);
		total.cut |= users.items[i].usage.cut;
	}
	if (rc < 0) {
		free(users.items);
		return rc;
	}
	*ret = users.items;
	*ret_n = users.n;
	*ret_total = total;
	return 0;
}

struct promises {
	struct vmj_usage_of *users;
	size_t n;
	struct vmj_usage *total;
};

static int add_promise(const struct vmj_volume *v, void *arg)
{
	struct promises *p = arg;
	struct vmj_usage_of key = {.uid = v->uid}, *user;

	user = p->n ? bsearch(&key, p->users, p->n, sizeof(key), compare_users) : NULL;
	if (user) {
		user->usage.promised_bytes += v->virtual_bytes;
		user->usage.n_volumes++;
	}
	p->total->promised_bytes += v->virtual_bytes;
	p->total->n_volumes++;
	return 0;
}

int vmj_usage_promised(const char *path, struct vmj_usage_of *users, size_t n,
		       struct vmj_usage *total, struct vmj_error *err)
{
	struct promises p = {.users = users, .n = n, .total = total};

	return vmj_volume_each(path, VMJ_ALL_USERS, add_promise, &p, NULL, err);
}

int vmj_capacity_read(const char *path, struct vmj_capacity *ret, struct vmj_error *err)
{
	struct statvfs v;

	if (statvfs(path, &v) < 0)
		return vmj_fail(err, errno, "storage %s: cannot ask for its free space: %m", path);
	ret->total_bytes = (uint64_t)v.f_blocks * v.f_frsize;
	ret->free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
	return 0;
}

static int read_user(const struct vmj_storage_config *s, uid_t uid, uint64_t *ret,
		     struct vmj_error *err)
{
	struct vmj_usage usage;
	int rc = vmj_usage_user(s->path, uid, &usage, err);

	if (rc == 0 && usage.cut)
		return vmj_fail_user(err, EDQUOT,
				     "storage %s: you have more than %d files in it, too many to "
				     "count: remove what vmjob did not put there",
				     s->name, VMJ_USAGE_FILES_MAX);
	if (rc == 0)
		*ret = usage.images_bytes + usage.volumes_bytes;
	return rc;
}

static int read_all(const struct vmj_storage_config *s, uint64_t *ret, struct vmj_error *err)
{
	vmj_autofree struct vmj_usage_of *users = NULL;
	struct vmj_usage total;
	size_t n;
	int rc = vmj_usage_all(s->path, &users, &n, &total, err);

	if (rc == 0)
		*ret = total.images_bytes + total.volumes_bytes;
	return rc;
}

int vmj_quota_admit(const struct vmj_storage_config *s, uid_t uid, uint64_t new_bytes,
		    struct vmj_error *err)
{
	struct vmj_quota_state now = {.user_bytes = 0};
	struct vmj_capacity room;
	int rc = vmj_capacity_read(s->path, &room, err);

	if (rc == 0 && s->quota_mib && uid != 0)
		rc = read_user(s, uid, &now.user_bytes, err);
	if (rc == 0 && s->limit_mib)
		rc = read_all(s, &now.all_bytes, err);
	if (rc < 0)
		return rc;
	now.total_bytes = room.total_bytes;
	now.free_bytes = room.free_bytes;
	return vmj_quota_decide(s, uid, &now, new_bytes, err);
}
