/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finding the guests again: their records at start, their domains at each new connection. */
#include "vmjob/agent/guests.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmjob/agent/eventlog.h"
#include "vmjob/agent/op_snapshot.h"
#include "vmjob/agent/ops.h"
#include "vmjob/agent/pause.h"
#include "vmjob/agent/phase.h"
#include "vmjob/agent/ready.h"
#include "vmjob/agent/turn.h"
#include "vmjob/base/log.h"

/* --- records --------------------------------------------------------------------------------- */

static void record_found(uint32_t job, const struct vmj_guest *rec, const struct vmj_error *why,
			 void *arg)
{
	struct vmj_guests *g = arg;
	struct vmj_entry *e = vmj_guests_get(g, job);
	bool same_boot;

	if (!e)
		return;
	if (!rec) {
		vmj_log_warning("guest %u has no record that can be read, and is removed: %s", job,
				why->text);
		vmj_turn_release(e, NULL);
		return;
	}
	e->rec = *rec;
	e->known = true;
	same_boot = strcmp(rec->boot_id, e->agent->boot_id) == 0;
	vmj_log_info("guest %u is on record as %s%s", job, vmj_phase_name(rec->phase),
		     same_boot ? "" : ", from before the host's restart");
}

int vmj_guests_load(struct vmj_guests *g, const char *dir, struct vmj_error *err)
{
	return vmj_record_scan(dir, record_found, g, err);
}

/* --- domains --------------------------------------------------------------------------------- */

struct adopting {
	struct vmj_agent *agent;
	struct vmj_virt_info *infos;
	size_t n;
	int r;
	struct vmj_error err;
};

static void adopt_work(void *arg)
{
	struct adopting *a = arg;

	a->r = vmj_virt_list(a->agent->virt, &a->infos, &a->n, &a->err);
}

static enum vmj_domain_seen seen(const struct vmj_virt_info *info)
{
	if (!info || info->state == VMJ_VIRT_GONE)
		return VMJ_SEEN_NONE;
	return info->state == VMJ_VIRT_IS_PAUSED ? VMJ_SEEN_PAUSED : VMJ_SEEN_RUNNING;
}

static const struct vmj_virt_info *find_info(const struct adopting *a, uint32_t job)
{
	for (size_t i = 0; i < a->n; i++)
		if (a->infos[i].job == job)
			return &a->infos[i];
	return NULL;
}

static void adopt(struct vmj_entry *e, const struct vmj_virt_info *info)
{
	bool same_boot = strcmp(e->rec.boot_id, e->agent->boot_id) == 0;

	if (info && info->pid)
		e->rec.pid = info->pid;
	switch (vmj_phase_adopt(e->rec.phase, same_boot, seen(info))) {
	case VMJ_ADOPT_RESUMED:
		vmj_entry_resumed(e);
		break;
	case VMJ_ADOPT_LOST:
		vmj_entry_ended(e, VMJ_END_LOST);
		break;
	case VMJ_ADOPT_RELEASE:
		vmj_turn_release(e, NULL);
		break;
	case VMJ_ADOPT_KEEP:
	case VMJ_ADOPT_COUNT_:
		break;
	}
	if (info && info->io_error)
		vmj_entry_paused(e, VMJ_PAUSE_IO);
	if (e->rec.pause == VMJ_PAUSE_NONE) /* on record from the version before */
		e->rec.pause = info && info->io_error ? VMJ_PAUSE_IO : VMJ_PAUSE_USER;
	vmj_entry_stalled(e);
	if (info && same_boot && !e->busy)
		vmj_snapshots_recover(e);
	vmj_entry_settle_disks(e);
	if (e->busy || e->rec.phase != VMJ_PHASE_STOPPING || e->deadline)
		return;
	e->was_paused = seen(info) == VMJ_SEEN_PAUSED;
	vmj_entry_set_deadline(e, e->rec.request.grace_s);
	vmj_ops_press_power(e);
}

static void release_orphans(const struct adopting *a)
{
	for (size_t i = 0; i < a->n; i++) {
		struct vmj_entry *e = vmj_guests_get(a->agent->guests, a->infos[i].job);

		if (!e || e->known || e->busy || !STAILQ_EMPTY(&e->turns))
			continue;
		vmj_log_warning("guest %u runs without a record: it is destroyed", a->infos[i].job);
		vmj_turn_release(e, NULL);
	}
}

static void adopt_done(void *arg)
{
	struct adopting *a = arg;
	struct vmj_entry *e, *next;

	if (a->r < 0)
		vmj_log_warning("cannot look at the domains of this host: %s", a->err.text);
	for (e = a->r < 0 ? NULL : vmj_guests_first(a->agent->guests); e; e = next) {
		next = LIST_NEXT(e, link);
		if (e->known && !e->busy && e->in_adoption)
			adopt(e, find_info(a, e->rec.job));
	}
	if (a->r == 0)
		release_orphans(a);
	free(a->infos);
	free(a);
}

void vmj_guests_adopt(struct vmj_agent *agent)
{
	struct adopting *a = calloc(1, sizeof(*a));
	struct vmj_entry *e;

	if (!a)
		return;
	a->agent = agent;
	for (e = vmj_guests_first(agent->guests); e; e = LIST_NEXT(e, link))
		e->in_adoption = !e->busy;
	if (vmj_pool_submit(agent->pool, 0, adopt_work, adopt_done, a) < 0)
		free(a);
}
