/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/agent/work.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "vmjob/agent/disks.h"
#include "vmjob/agent/volumes.h"
#include "vmjob/base/cleanup.h"
#include "vmjob/base/log.h"

#define SEED    "seed.img"
#define CONSOLE "console.log"

static int write_record(struct vmj_work *w, enum vmj_phase phase, struct vmj_error *err)
{
	w->guest.phase = phase;
	return vmj_record_write(w->dir, &w->guest, err);
}

static const char *file_path(const struct vmj_work *w, const char *file, char *buf)
{
	return vmj_record_path(w->dir, w->guest.job, file, buf);
}

static int record_step(void *ctx, struct vmj_error *err)
{
	struct vmj_work *w = ctx;
	char dir[VMJ_GUEST_PATH_MAX];

	w->fresh = access(file_path(w, NULL, dir), F_OK) < 0 && errno == ENOENT;
	return write_record(w, VMJ_PHASE_PREPARING, err);
}

static int record_undo(void *ctx, struct vmj_error *err)
{
	struct vmj_work *w = ctx;

	return vmj_record_remove(w->dir, w->guest.job, err);
}

/* Destroys also the domain of an earlier run of the same job. */
static int destroy_domain(void *ctx, struct vmj_error *err)
{
	struct vmj_work *w = ctx;

	return w->adapters->virt_destroy(w->virt, w->guest.job, err);
}

static int remove_filter(void *ctx, struct vmj_error *err)
{
	struct vmj_work *w = ctx;

	return w->adapters->ports_unfilter(&w->guest, err);
}

/* Whatever is made of a guest has a directory from before it was made until after it is gone. What
 * the last run of the job had attached goes back. */
static int clear_step(void *ctx, struct vmj_error *err)
{
	struct vmj_work *w = ctx;
	int r = w->fresh ? 0 : destroy_domain(w, err);

	if (r == 0 && !w->fresh)
		r = remove_filter(w, err);
	if (r == 0)
		r = vmj_guest_volumes_return(w, err);
	if (r < 0)
		return r;
	w->guest.pid = 0;
	w->guest.n_disks = 0;
	return 0;
}

/* An overlay's image, for people. */
static int plan_step(void *ctx, struct vmj_error *err)
{
	struct vmj_work *w = ctx;
	int r = vmj_disks_plan(w, err);

	if (r == 0 && w->guest.disks[0].kind == VMJ_GUEST_DISK_OVERLAY)
		snprintf(w->guest.image_path, sizeof(w->guest.image_path), "%s",
			 w->guest.disks[0].base);
	return r;
}

static int ports_step(void *ctx, struct vmj_error *err)
{
	struct vmj_work *w = ctx;
	int r = w->adapters->ports_plan(w->config, &w->guest, w->node_index, err);

	if (r == 0)
		r = w->adapters->ports_check(w->config, &w->guest, err);
	for (unsigned int i = 0; r == 0 && i < w->guest.n_ports; i++) {
		const struct vmj_net_config *n =
			vmj_config_network(w->config, w->guest.ports[i].network);

		if (n && n->kind == VMJ_NET_NAT)
			r = w->adapters->virt_ensure_nat(w->virt, n, err);
	}
	return r < 0 ? r : write_record(w, VMJ_PHASE_PREPARING, err);
}

/* The record names them by now: ports_step has written it. */
static int volumes_step(void *ctx, struct vmj_error *err)
{
	return vmj_disks_take(ctx, err);
}

/* As long as there may be a domain, it may write. Also those of the job's last run, where clearing
 * failed: the record must not go without them. */
static int return_volumes(void *ctx, struct vmj_error *err)
{
	int r = destroy_domain(ctx, err);

	return r < 0 ? r : vmj_guest_volumes_return(ctx, err);
}

static int disks_step(void *ctx, struct vmj_error *err)
{
	return vmj_disks_make(ctx, err);
}

static int seed_step(void *ctx, struct vmj_error *err)
{
	struct vmj_work *w = ctx;
	char path[VMJ_GUEST_PATH_MAX];

	return w->adapters->seed_write(w->config, &w->guest, w->user_data, file_path(w, SEED, path),
				       err);
}

static int filter_step(void *ctx, struct vmj_error *err)
{
	struct vmj_work *w = ctx;

	return w->adapters->ports_filter(w->config, &w->guest, err);
}

static const char *cpu_model(const struct vmj_work *w)
{
	if (w->guest.request.cpu[0])
		return w->guest.request.cpu;
	return w->config->default_cpu[0] ? w->config->default_cpu : "host";
}

static int guest_shape(const struct vmj_work *w, struct vmj_shape *ret, struct vmj_error *err)
{
	const struct vmj_request *q = &w->guest.request;
	char cpus[sizeof(w->guest.cpus)] = "";
	int r = vmj_topology_from_slurm(w->topology, w->guest.cpus, cpus, sizeof(cpus), err);

	return r < 0 ? r : vmj_topology_shape(w->topology, cpus, q->vcpus, q->memory_mib, ret, err);
}

/* The names of the guest's files and of its networks' bridges, as the XML wants them. */
struct names {
	char seed[VMJ_GUEST_PATH_MAX], console[VMJ_GUEST_PATH_MAX];
	char bridges[VMJ_NETS_MAX][16];
};

static void name_files(const struct vmj_work *w, struct names *n, struct vmj_domain_spec *spec)
{
	for (unsigned int i = 0; i < w->guest.n_disks; i++)
		spec->direct_io[i] = vmj_disks_direct(&w->guest.disks[i]);
	spec->seed = file_path(w, SEED, n->seed);
	spec->console_log = file_path(w, CONSOLE, n->console);
	for (unsigned int i = 0; i < w->guest.n_ports; i++) {
		const struct vmj_net_config *net =
			vmj_config_network(w->config, w->guest.ports[i].network);

		spec->bridges[i] = net ? vmj_net_bridge(net, n->bridges[i]) : NULL;
	}
}

static int domain_step(void *ctx, struct vmj_error *err)
{
	struct vmj_work *w = ctx;
	struct vmj_domain_spec spec = {.guest = &w->guest, .cpu = cpu_model(w)};
	vmj_autofree struct names *names = calloc(1, sizeof(*names));
	vmj_autofree char *xml = NULL;
	struct vmj_shape shape;
	int r;

	if (!names)
		return vmj_fail(err, ENOMEM, "no memory for the domain of guest %u", w->guest.job);
	r = guest_shape(w, &shape, err);
	if (r == 0)
		r = w->adapters->virt_has_kvm(w->virt, &spec.kvm, err);
	if (r < 0)
		return r;
	spec.shape = &shape;
	name_files(w, names, &spec);
	r = w->adapters->domain_xml(&spec, &xml, err);
	if (r == 0)
		r = vmj_guest_volumes_retake(w, err);
	return r < 0 ? r : w->adapters->virt_create_paused(w->virt, xml, &w->guest.pid, err);
}

static int prepared_step(void *ctx, struct vmj_error *err)
{
	return write_record(ctx, VMJ_PHASE_PREPARED, err);
}

/* Disks and seed need no undo of their own: they are in the directory that record_undo removes. */
const struct vmj_step vmj_prepare_steps[] = {
	{"prepare.record", record_step, record_undo},
	{"prepare.clear", clear_step, return_volumes},
	{"prepare.plan", plan_step, NULL},
	{"prepare.ports", ports_step, NULL},
	{"prepare.volumes", volumes_step, return_volumes},
	{"prepare.disks", disks_step, NULL},
	{"prepare.seed", seed_step, NULL},
	{"prepare.filter", filter_step, remove_filter},
	{"prepare.domain", domain_step, destroy_domain},
	{"prepare.prepared", prepared_step, NULL},
	{.name = NULL},
};

/* But for the last run's process and volumes, which are not given back yet. */
static void forget_run(struct vmj_guest *g)
{
	g->n_ports = 0;
	g->pause = VMJ_PAUSE_NONE;
	g->end = VMJ_END_NONE;
	g->start_us = g->end_us = 0;
	g->failure[0] = '\0';
	g->image_path[0] = '\0';
}

/* What is left on record after a failure: the user's refusal, or leavings to be removed later. */
static void record_failure(struct vmj_work *w, const struct vmj_error *why)
{
	struct vmj_error err;

	if (why->fault == VMJ_FAULT_HOST && !w->leftovers)
		return;
	if (!w->leftovers) {
		forget_run(&w->guest);
		w->guest.pid = 0;
		w->guest.n_disks = 0;
	}
	snprintf(w->guest.failure, sizeof(w->guest.failure), "%s", why->text);
	if (write_record(w, w->leftovers ? VMJ_PHASE_RELEASING : VMJ_PHASE_REFUSED, &err) < 0)
		vmj_log_warning("guest %u: %s", w->guest.job, err.text);
}

int vmj_work_prepare(struct vmj_work *w, struct vmj_error *err)
{
	struct vmj_error why = {0};
	int r;

	forget_run(&w->guest);
	r = vmj_steps_run(vmj_prepare_steps, w, &w->leftovers, &why);
	if (r == 0 || r == -ECANCELED)
		return r;
	record_failure(w, &why);
	if (err)
		*err = why;
	return r;
}
