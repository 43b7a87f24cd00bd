/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who the names in vmjob.conf are. */
#include "vmjob/model/config.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "vmjob/base/cleanup.h"

#define ENTRY_MAX  (1u << 20) /* a group of many members has a long entry */
#define GROUPS_MAX 65536

static bool name_is_uid(const char *name, uid_t uid)
{
	vmj_autofree char *buf = malloc(ENTRY_MAX);
	struct passwd pw, *found = NULL;

	return buf && getpwnam_r(name, &pw, buf, ENTRY_MAX, &found) == 0 && found &&
	       pw.pw_uid == uid;
}

static bool group_id(const char *name, gid_t *ret)
{
	vmj_autofree char *buf = malloc(ENTRY_MAX);
	struct group gr, *found = NULL;

	if (!buf || getgrnam_r(name, &gr, buf, ENTRY_MAX, &found) != 0 || !found)
		return false;
	*ret = gr.gr_gid;
	return true;
}

/* All groups of the user (caller's); NULL if there is no such user. */
static gid_t *groups_of(uid_t uid, gid_t gid, int *ret_n)
{
	vmj_autofree char *buf = malloc(ENTRY_MAX);
	struct passwd pw, *found = NULL;
	gid_t *groups = NULL;
	int n = 64, room = 0;

	if (!buf || getpwuid_r(uid, &pw, buf, ENTRY_MAX, &found) != 0 || !found)
		return NULL;
	while (n > room && n <= GROUPS_MAX) { /* getgrouplist() tells how many there are */
		gid_t *more = reallocarray(groups, (size_t)n, sizeof(*groups));

		if (!more)
			break;
		groups = more;
		room = n;
		if (getgrouplist(pw.pw_name, gid, groups, &n) >= 0) {
			*ret_n = n;
			return groups;
		}
	}
	free(groups);
	return NULL;
}

static bool user_in_group(const char *name, uid_t uid, gid_t gid)
{
	vmj_autofree gid_t *groups = NULL;
	gid_t wanted;
	int n = 0;

	if (!group_id(name, &wanted))
		return false;
	if (wanted == gid)
		return true;
	groups = groups_of(uid, gid, &n);
	for (int i = 0; groups && i < n; i++)
		if (groups[i] == wanted)
			return true;
	return false;
}

static bool listed(char **words, uid_t uid, gid_t gid)
{
	for (size_t i = 0; words && words[i]; i++)
		if (words[i][0] == '@' ? user_in_group(words[i] + 1, uid, gid)
				       : name_is_uid(words[i], uid))
			return true;
	return false;
}

bool vmj_net_allows(const struct vmj_net_config *n, uid_t uid, gid_t gid)
{
	if (uid == 0 || !n->users || !n->users[0])
		return true;
	return listed(n->users, uid, gid);
}

bool vmj_config_operator(const struct vmj_config *c, uid_t uid)
{
	return uid == 0 || listed(c->operators, uid, (gid_t)-1);
}
