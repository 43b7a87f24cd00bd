/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Volumes. Of one whose lease is held, files may change while we look: what seems wrong there is
 * looked at again, and only what is at rest is mended, by who may take leases.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/dir.h"
#include "vmjob/storage/check_private.h"
#include "vmjob/storage/layout.h"
#include "vmjob/storage/qemu_img.h"
#include "vmjob/storage/volume_tree.h"

struct user {
	struct vmj_checking *k;
	uid_t uid;
	bool sound; /* the directory's rights are right, so that volumes can be opened */
	char where[CHECK_PATH_MAX];
};

struct one {
	struct vmj_checking *k;
	uid_t uid;
	const char *name;
	const char *where;
	int dir;
	bool busy;  /* its lease is held */
	bool sound; /* as the user's */
	struct vmj_volume v;
	unsigned int n_orphans;
	char orphan[VMJ_NAME_MAX + 1]; /* one of them */
};

/* --- mending --------------------------------------------------------------------------------- */

void vmj_check_mend_volume(struct vmj_checking *k, uid_t uid, const char *name, const char *where,
			   const char *what)
{
	static const char todo[] = "`vmjob storage check --repair`, where an agent can be asked";
	const struct vmj_check *c = k->check;
	struct vmj_error err;

	if (!c->repair || !c->mend_volume)
		vmj_check_found(k, VMJ_WARNING, where, todo, "%s", what);
	else if (c->mend_volume(k->path, uid, name, c->arg, &err) < 0)
		vmj_check_found(k, VMJ_WARNING, where, err.text, "%s, and cannot be mended", what);
	else
		vmj_check_mended(k, where, "put right, under its lease", "%s", what);
}

/* --- layers ---------------------------------------------------------------------------------- */

/* Is the volume still as it was read? Else somebody has changed it while we looked. */
static bool is_unchanged(const struct one *o)
{
	struct vmj_volume now;

	return vmj_volume_load(o->dir, o->uid, o->name, &now, NULL) == 0 && now.next == o->v.next &&
	       now.n_layers == o->v.n_layers && now.n_snapshots == o->v.n_snapshots &&
	       now.pending.op == o->v.pending.op && strcmp(now.top, o->v.top) == 0;
}

static bool is_there(const struct one *o, const char *file)
{
	struct stat st;

	return fstatat(o->dir, file, &st, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT ||
	       !is_unchanged(o);
}

/* false: one is missing. */
static bool check_files(struct one *o)
{
	char where[CHECK_PATH_MAX];
	bool all = true;

	for (unsigned int i = 0; i < o->v.n_layers; i++) {
		const char *file = o->v.layers[i].file;

		if (is_there(o, file))
			continue;
		all = false;
		vmj_check_found(o->k, VMJ_ERROR, vmj_check_join(where, o->where, file),
				"bring the file back from a backup, with its owner; without it the "
				"volume, or the snapshots over it, are lost",
				"a layer of the volume is missing");
	}
	for (unsigned int i = 0; i < o->v.n_snapshots; i++) {
		const char *file = o->v.snapshots[i].memory;

		if (!*file || is_there(o, file))
			continue;
		vmj_check_found(o->k, VMJ_ERROR, vmj_check_join(where, o->where, file),
				"bring the file back from a backup, or remove the snapshot",
				"the memory of snapshot \"%s\" is missing", o->v.snapshots[i].name);
	}
	return all;
}

/* A base is an image's file too, and its owner's. false: some are wrong, and are left so. */
static bool check_modes(struct one *o)
{
	unsigned int left = o->k->sum.left[VMJ_ERROR];
	char where[CHECK_PATH_MAX];

	for (unsigned int i = 0; i < o->v.n_layers; i++) {
		const char *file = o->v.layers[i].file;
		const struct vmj_check_rights rights = {.uid = o->v.uid,
							.gid = (gid_t)-1,
							.mask = 07777,
							.want = strcmp(file, o->v.top) == 0 ? 0600
											    : 0400};

		if (strcmp(file, VMJ_BASE_FILE) != 0)
			vmj_check_file(o->k, o->dir, file, vmj_check_join(where, o->where, file),
				       &rights);
	}
	return o->k->sum.left[VMJ_ERROR] == left;
}

/* From each end of the tree to the root. */
static void check_headers(struct one *o)
{
	struct vmj_error err;

	for (unsigned int i = 0; i < o->v.n_layers; i++) {
		const char *file = o->v.layers[i].file;

		if (vmj_volume_children(&o->v, file) > 0 ||
		    vmj_volume_verify(o->k->path, &o->v, file, &err) == 0 || !is_unchanged(o))
			continue;
		vmj_check_found(o->k, VMJ_ERROR, o->where,
				"guests are refused it: bring the layer back from a backup", "%s",
				err.text);
	}
}

static void check_deep(struct one *o)
{
	char path[VMJ_VOLUME_PATH_MAX], where[CHECK_PATH_MAX];
	struct vmj_error err;

	for (unsigned int i = 0; i < o->v.n_layers; i++) {
		const char *file = o->v.layers[i].file;
		struct vmj_qemu_img q = {.uid = o->v.uid, .gid = o->v.gid};

		vmj_volume_path(o->k->path, &o->v, file, path);
		q.argv =
			(const char *const[]){"qemu-img", "check", "-q", "-f", "qcow2", path, NULL};
		if (vmj_qemu_img_run(&q, &err) < 0)
			vmj_check_found(o->k, VMJ_ERROR, vmj_check_join(where, o->where, file),
					"copy the volume, and mend the copy with `qemu-img check "
					"-r all`; or go back to a snapshot",
					"qemu-img finds fault with it: %s", err.text);
	}
}

/* --- one volume ------------------------------------------------------------------------------ */

static bool is_named(const struct vmj_volume *v, const char *entry)
{
	if (strcmp(entry, VOLUME_META) == 0 || vmj_volume_layer(v, entry))
		return true;
	for (unsigned int i = 0; i < v->n_snapshots; i++)
		if (strcmp(v->snapshots[i].memory, entry) == 0)
			return true;
	return false;
}

static int count_orphan(int dir, const char *entry, void *arg)
{
	struct one *o = arg;

	if (!is_named(&o->v, entry)) {
		o->n_orphans++;
		vmj_quote(entry, o->orphan, sizeof(o->orphan));
	}
	return 0;
}

/* What only those change who hold the lease. */
static void check_at_rest(struct one *o)
{
	char what[128];
	int rc = vmj_dir_each(o->dir, ".", count_orphan, o);

	vmj_check_unreadable(o->k, o->where, rc);
	if (o->v.pending.op != VMJ_PENDING_NONE) {
		vmj_check_mend_volume(o->k, o->uid, o->name, o->where,
				      "it is in the middle of a change that did not end");
		return;
	}
	if (check_modes(o) && o->sound)
		check_headers(o);
	if (o->k->check->deep)
		check_deep(o);
	if (o->n_orphans == 0 || !is_unchanged(o))
		return;
	snprintf(what, sizeof(what), "%u file%s that the volume does not name, such as %s",
		 o->n_orphans, o->n_orphans == 1 ? "" : "s", o->orphan);
	vmj_check_mend_volume(o->k, o->uid, o->name, o->where, what);
}

static void check_rights(struct one *o, int user, gid_t gid)
{
	const struct vmj_check_rights rights = {
		.uid = geteuid(), .gid = gid, .mask = 07777, .want = 0710};
	const struct vmj_check_rights meta = {
		.uid = geteuid(), .gid = (gid_t)-1, .mask = 07777, .want = 0600};
	unsigned int left = o->k->sum.left[VMJ_ERROR];
	char where[CHECK_PATH_MAX];

	vmj_check_folder(o->k, user, o->name, o->where, &rights);
	vmj_check_file(o->k, o->dir, VOLUME_META, vmj_check_join(where, o->where, VOLUME_META),
		       &meta);
	o->sound &= o->k->sum.left[VMJ_ERROR] == left;
}

static void check_volume(struct one *o, int user)
{
	struct vmj_error err = {.code = 0};
	int rc = vmj_volume_load(o->dir, o->uid, o->name, &o->v, &err);

	if (rc == -ENOENT) {
		/* It may be going just now. */
		if (fstatat(user, o->name, &(struct stat){0}, AT_SYMLINK_NOFOLLOW) == 0)
			vmj_check_found(o->k, VMJ_ERROR, o->where,
					"bring volume.json back from a backup: it says how the "
					"layers belong together",
					"volume.json is missing");
		return;
	}
	if (rc < 0) {
		check_rights(o, user, (gid_t)-1);
		vmj_check_found(o->k, VMJ_ERROR, o->where, "bring volume.json back from a backup",
				"%s", err.text);
		return;
	}
	check_rights(o, user, o->v.gid);
	if (check_files(o) && !o->busy)
		check_at_rest(o);
}

static int check_entry(int dir, const char *entry, void *arg)
{
	struct user *u = arg;
	char where[CHECK_PATH_MAX], name[VMJ_NAME_MAX + 1];
	struct one o = {.k = u->k,
			.uid = u->uid,
			.name = entry,
			.where = where,
			.dir = -1,
			.sound = u->sound};
	struct stat st;

	vmj_check_join(where, u->where, entry);
	if (fstatat(dir, entry, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	if (vmj_volume_tmp_parse(VOLUME_NEW, entry, name) ||
	    vmj_volume_tmp_parse(VOLUME_GONE, entry, name)) {
		if (vmj_check_is_old(u->k, &st) && !vmj_check_is_busy(u->k, u->uid, name))
			vmj_check_mend_volume(u->k, u->uid, name, where,
					      "left by making or removing a volume");
		return 0;
	}
	if (!vmj_name_valid(entry) || !S_ISDIR(st.st_mode)) {
		vmj_check_found(u->k, VMJ_NOTE, where, "vmjob leaves it alone", "it is no volume");
		return 0;
	}
	o.busy = vmj_check_is_busy(u->k, u->uid, entry);
	o.dir = openat(dir, entry, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (o.dir < 0)
		vmj_check_unreadable(u->k, where, -errno);
	else
		check_volume(&o, dir);
	vmj_close(o.dir);
	return 0;
}

static int check_user(int dir, const char *entry, void *arg)
{
	const struct vmj_check_rights rights = {
		.uid = geteuid(), .gid = (gid_t)-1, .mask = 07777, .want = 0711};
	struct user u = {.k = arg};
	unsigned int left = u.k->sum.left[VMJ_ERROR];

	vmj_check_join(u.where, "volumes", entry);
	if (!vmj_domain_uid(entry, &u.uid))
		vmj_check_found(u.k, VMJ_NOTE, u.where, "vmjob leaves it alone",
				"it is no user's directory");
	else if (vmj_check_folder(u.k, dir, entry, u.where, &rights)) {
		u.sound = u.k->sum.left[VMJ_ERROR] == left;
		vmj_check_unreadable(u.k, u.where, vmj_dir_each(dir, entry, check_entry, &u));
	}
	return 0;
}

void vmj_check_volumes(struct vmj_checking *k)
{
	vmj_check_unreadable(k, "volumes", vmj_dir_each(k->domain, "volumes", check_user, k));
}
