/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/policy/admission.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

uint64_t vmj_overhead_mib(const struct vmj_config *c, uint64_t memory_mib, uint32_t vcpus)
{
	/* No overflow: memory below 2^25, per_mille up to 1000, vCPUs and their share up to 2^10.
	 */
	uint64_t share = (memory_mib * c->overhead_per_mille + 999) / 1000;

	return c->overhead_fixed_mib + share + vcpus * c->overhead_per_vcpu_mib;
}

static int resolve_memory(const struct vmj_config *c, const struct vmj_job_shape *shape,
			  struct vmj_request *r, struct vmj_error *err)
{
	const char *from = "--vm-memory";
	char v[24], limit[24];

	if (!r->memory_mib && shape->mem_per_node_mib) {
		from = "--mem";
		r->memory_mib = shape->mem_per_node_mib;
	} else if (!r->memory_mib) {
		r->memory_mib = c->default_memory_mib;
	}
	vmj_format_size_mib(r->memory_mib, v, sizeof(v));
	if (r->memory_mib < VMJ_MEMORY_MIB_MIN)
		return vmj_fail_user(err, ERANGE,
				     "%s: %s is too little for a guest: give at least %s", from, v,
				     vmj_format_size_mib(VMJ_MEMORY_MIB_MIN, limit, sizeof(limit)));
	if (r->memory_mib > c->max_memory_mib)
		return vmj_fail_user(err, ERANGE,
				     "%s: a guest of %s is above this site's limit: give at most "
				     "%s",
				     from, v,
				     vmj_format_size_mib(c->max_memory_mib, limit, sizeof(limit)));
	return 0;
}

static int resolve_vcpus(const struct vmj_config *c, const struct vmj_job_shape *shape,
			 struct vmj_request *r, struct vmj_error *err)
{
	r->vcpus = shape->cpus_per_node ? shape->cpus_per_node : 1;
	if (r->vcpus <= c->max_vcpus)
		return 0;
	return vmj_fail_user(err, ERANGE,
			     "a guest of %" PRIu32
			     " vCPUs (the job's CPUs on a node) is above this site's limit: ask "
			     "for at most %" PRIu32 ", by -c or --ntasks-per-node",
			     r->vcpus, c->max_vcpus);
}

static int resolve_script(const struct vmj_config *c, const struct vmj_job_shape *shape,
			  struct vmj_request *r, struct vmj_error *err)
{
	if (r->script == VMJ_SCRIPT_GUEST)
		return vmj_fail_user(err, ENOTSUP,
				     "--vm-script=guest: this version runs no script inside the "
				     "guest: give host (it runs on the node, beside the guest) or "
				     "none (the job lives as long as the guest)");
	if (r->script == VMJ_SCRIPT_DEFAULT)
		r->script = shape->has_script ? c->default_script : VMJ_SCRIPT_HOST;
	return 0;
}

static const struct vmj_storage_config *find_storage(const struct vmj_config *c, const char *name)
{
	for (unsigned int i = 0; i < c->n_storages; i++)
		if (strcmp(c->storages[i].name, name) == 0)
			return &c->storages[i];
	return NULL;
}

/* "": the first of vmjob.conf. */
static int resolve_storage(const struct vmj_config *c, const char *what,
			   char storage[VMJ_NAME_MAX + 1], struct vmj_error *err)
{
	if (!*storage)
		strcpy(storage, c->storages[0].name);
	if (find_storage(c, storage))
		return 0;
	return vmj_fail_user(err, ENOENT,
			     "%s: there is no storage %s here: see `vmjob storage list`", what,
			     storage);
}

static int check_disk_limit(const struct vmj_config *c, const struct vmj_request *r,
			    struct vmj_error *err)
{
	char v[24], limit[24];
	uint64_t sum = 0;

	for (unsigned int i = 0; i < r->n_disks; i++)
		sum += r->disks[i].size_mib; /* of fresh ones; at most 16 of at most 2^26 */
	if (sum <= c->max_disk_mib)
		return 0;
	return vmj_fail_user(err, ERANGE,
			     "--vm-disk: %s in all are above this site's limit: give at most %s",
			     vmj_format_size_mib(sum, v, sizeof(v)),
			     vmj_format_size_mib(c->max_disk_mib, limit, sizeof(limit)));
}

/* Each node has a guest of its own, and a volume can be in one guest only. */
static int check_single(const struct vmj_job_shape *shape, const char *what, const char *volume,
			struct vmj_error *err)
{
	if (shape->nodes <= 1)
		return 0;
	return vmj_fail_user(err, EINVAL,
			     "%s: volume %s cannot be in %" PRIu32
			     " guests: ask for one node, or leave it out",
			     what, volume, shape->nodes);
}

static int resolve_disks(const struct vmj_config *c, const struct vmj_job_shape *shape,
			 struct vmj_request *r, struct vmj_error *err)
{
	int rc = check_disk_limit(c, r, err);

	for (unsigned int i = 0; rc == 0 && i < r->n_disks; i++) {
		struct vmj_disk_request *d = &r->disks[i];

		if (d->kind != VMJ_DISK_VOLUME)
			continue;
		rc = check_single(shape, "--vm-disk", d->name, err);
		if (rc == 0)
			rc = resolve_storage(c, "--vm-disk", d->storage, err);
	}
	if (rc == 0 && *r->persistent) {
		rc = check_single(shape, "--vm-persistent", r->persistent, err);
		if (rc == 0)
			rc = resolve_storage(c, "--vm-persistent", r->persistent_storage, err);
	}
	/* Two names of one volume may have become one. */
	return rc < 0 ? rc : vmj_request_check(r, err);
}

/* "lan, nat", or what to say when there are none. */
static const char *list_networks(const struct vmj_config *c, char *buf, size_t size)
{
	size_t at = 0;

	snprintf(buf, size, "there are none here");
	for (unsigned int i = 0; i < c->n_networks && at < size; i++)
		at += (size_t)snprintf(buf + at, size - at, "%s%s", i ? ", " : "this site has ",
				       c->networks[i].name);
	return buf;
}

static int check_net(const struct vmj_config *c, const struct vmj_job_shape *shape,
		     const struct vmj_net_request *n, struct vmj_error *err)
{
	const struct vmj_net_config *known = vmj_config_network(c, n->network);
	char names[256];

	if (!known)
		return vmj_fail_user(err, ENOENT, "--vm-net: there is no network %s: %s",
				     n->network, list_networks(c, names, sizeof(names)));
	if (n->n_forwards && known->kind != VMJ_NET_USER)
		return vmj_fail_user(err, EINVAL,
				     "--vm-net: network %s is of kind %s, where ports are not "
				     "forwarded: leave tcp= and udp= out, the guest has its own "
				     "address",
				     n->network, vmj_net_kind_name(known->kind));
	if (*n->mac && shape->nodes > 1)
		return vmj_fail_user(
			err, EINVAL,
			"--vm-net: network %s: mac=%s cannot be the address of %" PRIu32
			" guests: leave it out, or ask for one node",
			n->network, n->mac, shape->nodes);
	return 0;
}

static int resolve_nets(const struct vmj_config *c, const struct vmj_job_shape *shape,
			struct vmj_request *r, struct vmj_error *err)
{
	if (r->n_nets == 0 && !r->no_net && *c->default_network) {
		strcpy(r->nets[0].network, c->default_network);
		r->n_nets = 1;
	}
	for (unsigned int i = 0; i < r->n_nets; i++) {
		int rc = check_net(c, shape, &r->nets[i], err);

		if (rc < 0)
			return rc;
	}
	return 0;
}

static int resolve(const struct vmj_config *c, const struct vmj_job_shape *shape,
		   struct vmj_request *r, struct vmj_error *err)
{
	int rc;

	rc = resolve_memory(c, shape, r, err);
	if (rc == 0)
		rc = resolve_vcpus(c, shape, r, err);
	if (rc == 0)
		rc = resolve_script(c, shape, r, err);
	if (rc == 0)
		rc = resolve_disks(c, shape, r, err);
	if (rc == 0)
		rc = resolve_nets(c, shape, r, err);
	if (rc < 0)
		return rc;
	if (!*r->cpu)
		strcpy(r->cpu, c->default_cpu);
	if (!r->grace_s)
		r->grace_s = c->default_grace_s;
	return 0;
}

int vmj_admit(const struct vmj_config *c, const struct vmj_request *asked,
	      const struct vmj_job_shape *shape, struct vmj_admission *ret, struct vmj_error *err)
{
	struct vmj_admission a = {.request = *asked};
	uint64_t need;
	int rc;

	rc = vmj_request_check(asked, err);
	if (rc == 0)
		rc = resolve(c, shape, &a.request, err);
	if (rc < 0)
		return rc;
	need = a.request.memory_mib + vmj_overhead_mib(c, a.request.memory_mib, a.request.vcpus);
	a.job_mem_mib = need > shape->mem_per_node_mib ? need : shape->mem_per_node_mib;
	a.requeue = a.request.protected_;
	vmj_request_summary(&a.request, a.summary, sizeof(a.summary));
	*ret = a;
	return 0;
}
