/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Volumes of jobs go with their jobs, also where the host that should have removed them is gone. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/log.h"
#include "vmjob/storage/lease.h"
#include "vmjob/storage/volume_tree.h"

struct found {
	uid_t uid;
	uint32_t job;
	char name[VMJ_NAME_MAX + 1];
};

struct findings {
	struct found *items;
	size_t n;
};

static int find(const struct vmj_volume *v, void *arg)
{
	struct findings *f = arg;

	if (!v->job)
		return 0;
	if (f->n % 64 == 0) {
		struct found *more = realloc(f->items, (f->n + 64) * sizeof(*more));

		if (!more)
			return -ENOMEM;
		f->items = more;
	}
	f->items[f->n] = (struct found){.uid = v->uid, .job = v->job};
	memcpy(f->items[f->n++].name, v->name, sizeof(v->name));
	return 0;
}

/* Under its lease: 1, or 0 where somebody else has it or has removed it. */
static int collect(const char *domain, const struct vmj_lease_who *who, const struct found *f,
		   struct vmj_error *err)
{
	uint32_t epoch;
	int rc = vmj_lease_take(domain, f->uid, f->name, who, &epoch, err);

	if (rc == -EBUSY)
		return 0;
	if (rc < 0)
		return rc;
	rc = vmj_volume_remove(domain, f->uid, f->name, err);
	if (rc < 0 && rc != -ENOENT) {
		vmj_lease_release(domain, f->uid, f->name, who, NULL);
		return rc;
	}
	vmj_log_info("volume \"%s\" of user %u is removed: job %u has ended", f->name,
		     (unsigned int)f->uid, (unsigned int)f->job);
	rc = vmj_lease_drop(domain, f->uid, f->name, who, err);
	return rc < 0 ? rc : 1;
}

int vmj_volume_collect(const char *domain, const struct vmj_lease_who *who,
		       bool (*ended)(uint32_t job, void *arg), void *arg, unsigned int *ret_removed,
		       struct vmj_error *err)
{
	struct findings f = {.items = NULL};
	vmj_autofree struct found *items = NULL;
	unsigned int removed = 0;
	int rc = vmj_volume_each(domain, VMJ_ALL_USERS, find, &f, NULL, err);

	items = f.items;
	for (size_t i = 0; rc >= 0 && i < f.n; i++) {
		if (!ended(items[i].job, arg))
			continue;
		rc = collect(domain, who, &items[i], err);
		removed += rc > 0;
	}
	if (rc < 0)
		return rc;
	if (ret_removed)
		*ret_removed = removed;
	return 0;
}
