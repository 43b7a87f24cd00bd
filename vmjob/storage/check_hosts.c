/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Records of hosts: old ones, and those that cannot be read. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmjob/base/dir.h"
#include "vmjob/storage/check_private.h"
#include "vmjob/storage/hosts.h"

#define RECORD ".json"
#define DEATH  ".dead.json"

/* The host's name before `suffix`. */
static bool parse(const char *entry, const char *suffix, char ret[VMJ_NAME_MAX + 1])
{
	size_t len = strlen(entry), tail = strlen(suffix);

	if (len <= tail || len - tail > VMJ_NAME_MAX || strcmp(entry + len - tail, suffix) != 0)
		return false;
	memcpy(ret, entry, len - tail);
	ret[len - tail] = '\0';
	return vmj_name_valid(ret);
}

static void check_age(struct vmj_checking *k, const struct vmj_host_record *r, const char *where)
{
	char todo[256];

	if (r->dead) {
		vmj_check_found(k, VMJ_NOTE, where, "nothing: it counts again once it has booted",
				"the host is confirmed dead");
		return;
	}
	if (r->fresh)
		return;
	snprintf(todo, sizeof(todo),
		 "start vmjobd there; where the host is off for certain and others need its "
		 "volumes, `vmjob host confirm-dead %s`",
		 r->host);
	vmj_check_found(k, r->age_ms > CHECK_OLD_S * 1000ll ? VMJ_WARNING : VMJ_NOTE, where, todo,
			"the host has not renewed its record for %lld s",
			(long long)(r->age_ms / 1000));
}

static int check_entry(int dir, const char *entry, void *arg)
{
	struct vmj_checking *k = arg;
	char where[CHECK_PATH_MAX], host[VMJ_NAME_MAX + 1];
	struct vmj_host_record r;
	struct vmj_error err;
	int rc;

	vmj_check_join(where, "hosts", entry);
	if (vmj_check_is_temporary(k, dir, entry, where) || parse(entry, DEATH, host))
		return 0; /* a death is read with its host's record */
	if (!parse(entry, RECORD, host)) {
		vmj_check_found(k, VMJ_NOTE, where, "vmjob leaves it alone",
				"it is no host's record");
		return 0;
	}
	rc = vmj_host_read(k->path, host, &r, &err);
	if (rc == 0)
		check_age(k, &r, where);
	else if (rc != -ENOENT)
		vmj_check_found(k, VMJ_ERROR, where,
				"restart vmjobd on that host, which writes it anew; until then "
				"nobody can judge the host's leases",
				"%s", err.text);
	return 0;
}

void vmj_check_hosts(struct vmj_checking *k)
{
	vmj_check_unreadable(k, "hosts", vmj_dir_each(k->domain, "hosts", check_entry, k));
}
