/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/storage/asuser.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The system call itself: glibc's setgroups() changes every thread of the process. */
static int set_thread_groups(int n, const gid_t *groups)
{
	return syscall(SYS_setgroups, n, groups) < 0 ? -errno : 0;
}

/* setfsuid() does not report failure; asking with an impossible value tells what is set. */
static bool identity_is(uid_t uid, gid_t gid)
{
	return (uid_t)setfsuid((uid_t)-1) == uid && (gid_t)setfsgid((gid_t)-1) == gid;
}

int vmj_asuser_begin(struct vmj_asuser *a, uid_t uid, gid_t gid)
{
	int rc;

	a->changed = false;
	if (geteuid() != 0 || uid == 0)
		return 0;
	a->n_groups = getgroups(VMJ_ASUSER_GROUPS_MAX, a->groups);
	if (a->n_groups < 0)
		return -errno;
	rc = set_thread_groups(0, NULL);
	if (rc < 0)
		return rc;
	a->changed = true;
	setfsgid(gid);
	setfsuid(uid);
	if (identity_is(uid, gid))
		return 0;
	vmj_asuser_end(a);
	return -EPERM;
}

void vmj_asuser_end(struct vmj_asuser *a)
{
	int saved = errno;

	if (!a->changed)
		return;
	setfsuid(0);
	setfsgid(getegid());
	if (!identity_is(0, getegid()) || set_thread_groups(a->n_groups, a->groups) < 0)
		abort();
	a->changed = false;
	errno = saved;
}
