/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/agent/work.h"

#include <errno.h>
#include <stdlib.h>

#include "vmjob/agent/volumes.h"
#include "vmjob/base/cleanup.h"
#include "vmjob/base/clock.h"

#define CPU_LIST_MAX 1024

static int look_step(void *ctx, struct vmj_error *err)
{
	struct vmj_work *w = ctx;
	struct vmj_virt_info info;
	int r = w->adapters->virt_info(w->virt, w->guest.job, &info, err);

	if (r < 0)
		return r;
	if (info.state == VMJ_VIRT_GONE || info.state == VMJ_VIRT_IS_ENDING) {
		w->gone = true;
		return vmj_fail(err, ESRCH, "the domain of guest %u is gone", w->guest.job);
	}
	w->guest.pid = info.pid;
	return 0;
}

static int join_step(void *ctx, struct vmj_error *err)
{
	struct vmj_work *w = ctx;

	return w->adapters->cgroups_join(&w->cgroups, w->guest.pid, err);
}

/* The cgroup knows best which CPUs the job has; where it does not say, Slurm's list. */
static int job_cpus(const struct vmj_work *w, char *ret, size_t size, struct vmj_error *err)
{
	int r = w->adapters->cgroups_cpuset(&w->cgroups, ret, size, err);

	if (r < 0 || ret[0])
		return r;
	return vmj_topology_from_slurm(w->topology, w->guest.cpus, ret, size, err);
}

static int pin_step(void *ctx, struct vmj_error *err)
{
	struct vmj_work *w = ctx;
	const struct vmj_request *q = &w->guest.request;
	char cpus[CPU_LIST_MAX] = "", emulator[CPU_LIST_MAX] = "";
	vmj_autofree char(*pins)[64] = calloc(q->vcpus, sizeof(*pins));
	struct vmj_shape shape;
	int r;

	if (!pins)
		return vmj_fail(err, ENOMEM, "no memory for the pins of guest %u", w->guest.job);
	r = job_cpus(w, cpus, sizeof(cpus), err);
	if (r < 0 || !cpus[0])
		return r;
	r = vmj_topology_shape(w->topology, cpus, q->vcpus, q->memory_mib, &shape, err);
	if (r == 0)
		r = vmj_topology_pins(w->topology, cpus, &shape, pins, emulator, sizeof(emulator),
				      err);
	if (r < 0)
		return r;
	return w->adapters->virt_pin(w->virt, w->guest.job, q->vcpus, (const char(*)[64])pins,
				     emulator, err);
}

/* One that runs already needs no leave to go on. */
static int leases_step(void *ctx, struct vmj_error *err)
{
	struct vmj_work *w = ctx;

	return w->guest.phase == VMJ_PHASE_PREPARED ? vmj_guest_volumes_retake(w, err) : 0;
}

/* Before the resume: a record that says RUNNING of a paused guest makes the next `run` resume it,
 * one that says PREPARED of a running guest would hide it. */
static int running_step(void *ctx, struct vmj_error *err)
{
	struct vmj_work *w = ctx;

	if (!w->guest.start_us)
		w->guest.start_us = vmj_clock_us(CLOCK_REALTIME);
	if (w->guest.phase == VMJ_PHASE_PREPARED)
		w->guest.phase = VMJ_PHASE_RUNNING;
	return vmj_record_write(w->dir, &w->guest, err);
}

static int resume_step(void *ctx, struct vmj_error *err)
{
	struct vmj_work *w = ctx;

	if (w->guest.phase != VMJ_PHASE_RUNNING)
		return 0;
	return w->adapters->virt_resume(w->virt, w->guest.job, err);
}

/* Nothing is undone: a guest that could not be run stays as it is until its release. */
const struct vmj_step vmj_run_steps[] = {
	{"run.look", look_step, NULL},
	{"run.join", join_step, NULL},
	{"run.pin", pin_step, NULL},
	{"run.leases", leases_step, NULL},
	{"run.running", running_step, NULL},
	{"run.resume", resume_step, NULL},
	{.name = NULL},
};

int vmj_work_run(struct vmj_work *w, struct vmj_error *err)
{
	struct vmj_error why = {0};
	int r = vmj_steps_run(vmj_run_steps, w, NULL, &why);

	if (r < 0 && w->gone)
		return 0;
	if (r < 0 && err)
		*err = why;
	return r;
}
