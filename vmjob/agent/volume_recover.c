/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/agent/volume_recover.h"

#include <errno.h>
#include <stdlib.h>

#include "vmjob/agent/volume_task.h"
#include "vmjob/base/cleanup.h"
#include "vmjob/base/log.h"
#include "vmjob/storage/layout.h"

/* What leases of this host there are in one storage. */
struct look {
	struct vmj_agent *agent;
	struct vmj_settings *settings; /* a reference */
	const struct vmj_storage_config *storage;
	struct vmj_lease_own *own;
	size_t n;
	int rc;
	struct vmj_error err;
};

/* There may be no volume of this name: it had not appeared, or was going. */
static int recover_work(struct vmj_volume_task *t, struct vmj_error *err)
{
	const char *path = t->storage->path;
	int rc = vmj_volume_read(path, t->uid, t->name, &t->v, err);

	if (rc == -ENOENT)
		return 0;
	if (rc == 0)
		rc = vmj_volume_recover(path, &t->v, err);
	if (rc == 0)
		vmj_log_info(
			"volume \"%s\" of user %u: what an earlier start of the agent did with "
			"it is put right",
			t->name, (unsigned int)t->uid);
	return rc;
}

static const struct vmj_volume_kind recover_kind = {.need = VMJ_VOLUME_NEW, .work = recover_work};

static void look_work(void *arg)
{
	struct look *l = arg;
	const struct vmj_lease_who who = {
		.host = l->agent->host, .boot = l->agent->boot_id, .agent = l->agent->id};

	l->rc = vmj_storage_check_volumes(l->storage->path, &l->err);
	if (l->rc == 0)
		l->rc = vmj_lease_mine(l->storage->path, &who, &l->own, &l->n, &l->err);
}

static void look_free(struct look *l)
{
	vmj_settings_unref(l->settings);
	free(l->own);
	free(l);
}

static void look_done(void *arg)
{
	struct look *l = arg;

	if (l->rc < 0)
		vmj_log_warning("volumes of storage %s are not looked after now: %s",
				l->storage->name, l->err.text);
	for (size_t i = 0; l->rc == 0 && i < l->n; i++)
		if (!l->own[i].lease.guest && l->own[i].lease.state == VMJ_LEASE_LEFT)
			vmj_volume_task_own(l->agent, l->storage->name, l->own[i].uid,
					    l->own[i].volume, &recover_kind);
	look_free(l);
}

void vmj_volumes_recover(struct vmj_agent *a)
{
	const struct vmj_config *config = a->settings->config;

	for (unsigned int i = 0; i < config->n_storages; i++) {
		struct look *l = calloc(1, sizeof(*l));

		if (!l)
			return;
		l->agent = a;
		l->settings = vmj_settings_ref(a->settings);
		l->storage = &config->storages[i];
		if (vmj_pool_submit(a->pool, VMJ_LANE_STORAGE(i), look_work, look_done, l) < 0)
			look_free(l);
	}
}
