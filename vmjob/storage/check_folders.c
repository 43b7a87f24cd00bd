/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The domain's mark and its own folders. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/dir.h"
#include "vmjob/storage/check_private.h"
#include "vmjob/storage/layout.h"

bool vmj_check_mark(struct vmj_checking *k)
{
	const struct vmj_storage_config *s = k->check->storage;
	struct vmj_domain_mark m;
	struct vmj_error err;
	int rc = vmj_domain_read(k->path, &m, &err);

	if (rc == -ENOENT) {
		vmj_check_found(k, VMJ_ERROR, VMJ_DOMAIN_FILE,
				"mount the storage; where it is mounted, `vmjob storage format` "
				"makes the mark anew and keeps all there is",
				"the mark is missing, so this is no domain");
		return false;
	}
	if (rc < 0) {
		vmj_check_found(k, VMJ_ERROR, VMJ_DOMAIN_FILE,
				"nothing else was looked at: mend this first", "%s", err.text);
		return false;
	}
	if (strcmp(m.name, s->name) != 0)
		vmj_check_found(k, VMJ_ERROR, VMJ_DOMAIN_FILE,
				"mount what belongs there, or call it so in vmjob.conf",
				"this is the domain \"%s\", and vmjob.conf calls it \"%s\"", m.name,
				s->name);
	if (m.version < VMJ_DOMAIN_VERSION)
		vmj_check_found(k, VMJ_WARNING, VMJ_DOMAIN_FILE,
				"`vmjob storage format` brings it up to this version",
				"the layout has version %u, for images only", m.version);
	k->version = m.version;
	return true;
}

static void check_folder(struct vmj_checking *k, const struct vmj_domain_folder *f)
{
	const struct vmj_check_rights rights = {
		.uid = geteuid(), .gid = (gid_t)-1, .mask = 07777, .want = f->mode};
	struct vmj_error err;
	struct stat st;

	if (fstatat(k->domain, f->name, &st, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT) {
		vmj_check_folder(k, k->domain, f->name, f->name, &rights);
		return;
	}
	if (!k->check->repair)
		vmj_check_found(k, VMJ_ERROR, f->name,
				"`vmjob storage check --repair` makes it, empty", "it is missing");
	else if (vmj_domain_make_folder(k->path, f, &err) < 0)
		vmj_check_found(k, VMJ_ERROR, f->name, err.text,
				"it is missing, and cannot be made");
	else
		vmj_check_mended(k, f->name, "made, empty", "it was missing");
}

static bool is_ours(const char *entry)
{
	for (const struct vmj_domain_folder *f = vmj_domain_folders; f->name; f++)
		if (strcmp(f->name, entry) == 0)
			return true;
	return strcmp(entry, VMJ_DOMAIN_FILE) == 0;
}

static int look_at(int dir, const char *entry, void *arg)
{
	struct vmj_checking *k = arg;

	if (!is_ours(entry) && !vmj_check_is_temporary(k, dir, entry, entry))
		vmj_check_found(k, VMJ_NOTE, entry, "vmjob leaves it alone", "it is not of vmjob");
	return 0;
}

void vmj_check_folders(struct vmj_checking *k)
{
	for (const struct vmj_domain_folder *f = vmj_domain_folders; f->name; f++)
		if (f->since <= k->version)
			check_folder(k, f);
	vmj_check_unreadable(k, "", vmj_dir_each(k->domain, ".", look_at, k));
}
