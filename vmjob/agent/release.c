/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/agent/volumes.h"

static int mark_step(void *ctx, struct vmj_error *err)
{
	struct vmj_work *w = ctx;

	w->guest.phase = VMJ_PHASE_RELEASING;
	return vmj_record_write(w->dir, &w->guest, err);
}

static int destroy_step(void *ctx, struct vmj_error *err)
{
	struct vmj_work *w = ctx;

	return w->adapters->virt_destroy(w->virt, w->guest.job, err);
}

static int filter_step(void *ctx, struct vmj_error *err)
{
	struct vmj_work *w = ctx;

	return w->adapters->ports_unfilter(&w->guest, err);
}

static int files_step(void *ctx, struct vmj_error *err)
{
	struct vmj_work *w = ctx;

	return vmj_record_remove(w->dir, w->guest.job, err);
}

/* The domain is gone. */
static int volumes_step(void *ctx, struct vmj_error *err)
{
	return vmj_guest_volumes_return(ctx, err);
}

/* A release only goes forward: what failed is tried again by the epilog, or at the next start. */
const struct vmj_step vmj_release_steps[] = {
	{"release.mark", mark_step, NULL},     {"release.destroy", destroy_step, NULL},
	{"release.filter", filter_step, NULL}, {"release.volumes", volumes_step, NULL},
	{"release.files", files_step, NULL},   {.name = NULL},
};

int vmj_work_release(struct vmj_work *w, struct vmj_error *err)
{
	return vmj_steps_run(vmj_release_steps, w, NULL, err);
}
