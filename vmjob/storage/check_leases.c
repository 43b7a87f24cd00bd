/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Leases: of volumes that are not there, of hosts that nobody knows, and records that cannot be
 * read. None is ever removed here: the highest epoch is what keeps a volume from having two
 * writers. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmjob/base/dir.h"
#include "vmjob/storage/check_private.h"
#include "vmjob/storage/hosts.h"
#include "vmjob/storage/layout.h"
#include "vmjob/storage/lease.h"

bool vmj_check_is_busy(struct vmj_checking *k, uid_t uid, const char *volume)
{
	struct vmj_lease l;

	/* What cannot be judged is said where leases are looked at. */
	return vmj_lease_show(k->path, uid, volume, &l, NULL) < 0 || l.held;
}

static bool volume_exists(struct vmj_checking *k, uid_t uid, const char *name)
{
	char path[CHECK_PATH_MAX];
	struct stat st;

	snprintf(path, sizeof(path), "volumes/%u/%s", (unsigned int)uid, name);
	return fstatat(k->domain, path, &st, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
}

static void check_held(struct vmj_checking *k, const struct vmj_lease *l, bool exists,
		       const char *where)
{
	char holder[VMJ_LEASE_HOLDER_MAX], todo[256];
	struct vmj_host_record host;

	vmj_lease_holder(l, holder);
	if (vmj_host_read(k->path, l->host, &host, NULL) == -ENOENT) {
		snprintf(todo, sizeof(todo),
			 "start vmjobd on %s; where that host is gone for good, `vmjob host "
			 "confirm-dead %s`",
			 l->host, l->host);
		vmj_check_found(k, VMJ_ERROR, where, todo,
				"it is held by %s, a host without a record in the domain", holder);
	} else if (!exists && l->guest) {
		snprintf(todo, sizeof(todo), "see what that guest writes to, and end job %u",
			 l->job);
		vmj_check_found(k, VMJ_ERROR, where, todo,
				"it is held by %s, and the volume does not exist", holder);
	}
}

static void check_lease(struct vmj_checking *k, uid_t uid, const char *volume, const char *where)
{
	char holder[VMJ_LEASE_HOLDER_MAX], what[256];
	bool exists = volume_exists(k, uid, volume);
	struct vmj_error err;
	struct vmj_lease l;

	if (vmj_lease_show(k->path, uid, volume, &l, &err) < 0) {
		vmj_check_found(k, VMJ_ERROR, where,
				"the volume cannot be used: bring the record back from a backup; "
				"never remove the highest one",
				"%s", err.text);
		return;
	}
	if (l.held) {
		check_held(k, &l, exists, where);
		return;
	}
	if (!l.over)
		return;
	snprintf(what, sizeof(what), "it was held by %s, which is gone",
		 vmj_lease_holder(&l, holder));
	if (exists)
		vmj_check_found(k, VMJ_NOTE, where, "whoever uses the volume next takes it over",
				"%s", what);
	else
		vmj_check_mend_volume(k, uid, volume, where, what);
}

static int check_entry(int dir, const char *entry, void *arg)
{
	const struct vmj_check_rights rights = {
		.uid = geteuid(), .gid = (gid_t)-1, .mask = 07777, .want = 0700};
	struct vmj_checking *k = arg;
	const char *dot = strchr(entry, '.');
	char where[CHECK_PATH_MAX], number[16];
	uid_t uid;

	vmj_check_join(where, "leases", entry);
	snprintf(number, sizeof(number), "%.*s", dot ? (int)(dot - entry) : 0, entry);
	if (!dot || !vmj_domain_uid(number, &uid) || !vmj_name_valid(dot + 1))
		vmj_check_found(k, VMJ_NOTE, where, "vmjob leaves it alone",
				"it is no volume's lease");
	else if (vmj_check_folder(k, dir, entry, where, &rights))
		check_lease(k, uid, dot + 1, where);
	return 0;
}

void vmj_check_leases(struct vmj_checking *k)
{
	vmj_check_unreadable(k, "leases", vmj_dir_each(k->domain, "leases", check_entry, k));
}
