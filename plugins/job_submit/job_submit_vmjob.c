/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The job_submit plugin, in slurmctld.
 *
 * job_submit() finds the request in the job's control environment, checks it anew (a user can put
 * anything there), resolves it, and writes back what prolog, agent and step then rely on; it sets
 * the job's memory to what the guest and QEMU need. An ordinary job costs one look at that
 * environment, which is empty, and at the names in its own.
 *
 * job_modify() keeps a guest's job from becoming too small for it. Slurm calls it before it has
 * checked who asks, so it changes nothing.
 *
 * Both run under slurmctld's locks, and from 23.11 on in several threads at once: bounded time, no
 * input or output but the reading of vmjob.conf at start and after each `scontrol reconfigure`.
 */
#include "plugins/compat/slurmctld.h"

#include <pthread.h>

#include "plugins/job_submit/carrier.h"
#include "plugins/job_submit/shape.h"
#include "vmjob/base/cleanup.h"
#include "vmjob/model/config.h"
#include "vmjob/model/request.h"
#include "vmjob/model/user-data.h"
#include "vmjob/policy/admission.h"

#define EXPORT __attribute__((visibility("default")))

EXPORT const char plugin_name[] = "vmjob: virtual machines as jobs";
EXPORT const char plugin_type[] = "job_submit/vmjob";
EXPORT const uint32_t plugin_version = SLURM_VERSION_NUMBER;

/* What slurmctld looks up by name. */
EXPORT int init(void);
EXPORT int fini(void);
EXPORT int job_submit(job_desc_msg_t *job, uint32_t uid, char **err_msg);
EXPORT int job_modify(job_desc_msg_t *change, job_record_t *job,
		      uint32_t uid VMJ_JOB_MODIFY_ERR_MSG);

/* --- configuration --------------------------------------------------------------------------- */

static pthread_mutex_t config_lock = PTHREAD_MUTEX_INITIALIZER;
static struct vmj_config *config; /* NULL: could not be read; tried again with each guest */
static time_t config_time;        /* of the slurm.conf it was read with */

/* Under config_lock. A file that has become wrong leaves the former configuration in force. */
static int refresh_config(struct vmj_error *err)
{
	struct vmj_config *fresh;
	int r;

	if (config && config_time == slurm_conf.last_update)
		return 0;
	r = vmj_config_load(NULL, &fresh, err);
	if (r < 0 && !config)
		return r;
	if (r < 0) {
		error("vmjob: keeping the former configuration: %s", err->text);
	} else {
		vmj_config_free(config);
		config = fresh;
	}
	config_time = slurm_conf.last_update;
	return 0;
}

static int admit(const struct vmj_request *request, const struct vmj_job_shape *shape,
		 struct vmj_admission *ret, struct vmj_error *err)
{
	int r;

	pthread_mutex_lock(&config_lock);
	r = refresh_config(err);
	if (r == 0)
		r = vmj_admit(config, request, shape, ret, err);
	pthread_mutex_unlock(&config_lock);
	return r;
}

/* MiB that a job needs on each node for this guest. */
static int needed_memory(const struct vmj_request *request, uint64_t *ret, struct vmj_error *err)
{
	int r;

	pthread_mutex_lock(&config_lock);
	r = refresh_config(err);
	if (r == 0)
		*ret = request->memory_mib +
		       vmj_overhead_mib(config, request->memory_mib, request->vcpus);
	pthread_mutex_unlock(&config_lock);
	return r;
}

int init(void)
{
	struct vmj_error err;

	pthread_mutex_lock(&config_lock);
	if (refresh_config(&err) < 0)
		error("vmjob: jobs with a virtual machine will be refused: %s", err.text);
	pthread_mutex_unlock(&config_lock);
	return SLURM_SUCCESS;
}

int fini(void)
{
	vmj_config_free(config);
	config = NULL;
	return SLURM_SUCCESS;
}

/* --- the job's environments ------------------------------------------------------------------ */

/* Drop the entries that `is_unwanted` names. Slurm frees these arrays up to the first NULL. Returns
 * how many are left. */
static uint32_t drop_entries(char **env, uint32_t n, bool (*is_unwanted)(const char *entry))
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (is_unwanted(env[i]))
			xfree(env[i]);
		else
			env[kept++] = env[i];
	}
	for (uint32_t i = kept; i < n; i++)
		env[i] = NULL;
	return kept;
}

static bool is_litter(const char *entry)
{
	return vmj_carried_kind(entry) == VMJ_CARRIED_LITTER;
}

static bool is_user_data(const char *entry)
{
	return vmj_carried_kind(entry) == VMJ_CARRIED_USER_DATA;
}

/* The only entry of a kind; *ret NULL: there is none. */
static int find_entry(const job_desc_msg_t *job, enum vmj_carried kind, const char *name,
		      char ***ret, struct vmj_error *err)
{
	char **found = NULL;

	for (uint32_t i = 0; i < job->spank_job_env_size; i++) {
		if (vmj_carried_kind(job->spank_job_env[i]) != kind)
			continue;
		if (found)
			return vmj_fail_user(err, EPERM,
					     "the job's control environment has %s twice", name);
		found = &job->spank_job_env[i];
	}
	*ret = found;
	return 0;
}

/* The request's place in the control environment; *ret NULL: an ordinary job. */
static int find_request(const job_desc_msg_t *job, char ***ret, struct vmj_error *err)
{
	char **forged = NULL;
	int r = find_entry(job, VMJ_CARRIED_FORGED, "a SPANK_VMJOB_ variable", &forged, err);

	if (r == 0 && forged)
		r = vmj_fail_user(err, EPERM,
				  "the job's control environment has a SPANK_VMJOB_ variable: only "
				  "Slurm itself may set those");
	return r < 0 ? r : find_entry(job, VMJ_CARRIED_REQUEST, VMJ_REQUEST_ENV, ret, err);
}

/* The batch task is recognised by this variable, which sbatch sets, but other clients do not. */
static void mark_batch_task(job_desc_msg_t *job, const char *request)
{
	xrealloc(job->environment, sizeof(char *) * (job->env_size + 2)); /* and a NULL */
	job->environment[job->env_size++] =
		xstrdup_printf("SLURM_SPANK_%s=%s", VMJ_REQUEST_ENV, request);
}

/* The user data that the request has the digest of is there, and just that. */
static int check_user_data(const job_desc_msg_t *job, const struct vmj_request *request,
			   struct vmj_error *err)
{
	vmj_autofree char *data = NULL;
	char **entry = NULL;
	size_t len;
	int r;

	if (!request->user_data[0])
		return 0;
	r = find_entry(job, VMJ_CARRIED_USER_DATA, VMJ_USER_DATA_ENV, &entry, err);
	if (r == 0 && !entry)
		r = vmj_fail_user(err, EINVAL,
				  "the request has the digest of user data, and the job's control "
				  "environment has no %s",
				  VMJ_USER_DATA_ENV);
	if (r < 0)
		return r;
	return vmj_user_data_decode(*entry + strlen(VMJ_USER_DATA_ENV "="), request->user_data,
				    &data, &len, err);
}

/* User data that no request has the digest of is not carried on. */
static void drop_user_data(job_desc_msg_t *job)
{
	job->spank_job_env_size =
		drop_entries(job->spank_job_env, job->spank_job_env_size, is_user_data);
}

/* --- job_submit ------------------------------------------------------------------------------ */

/* What the description asks for beside the request, and what cannot be had together. */
static int check_company(const job_desc_msg_t *job, const struct vmj_job_shape *shape,
			 const struct vmj_request *request, struct vmj_error *err)
{
	if (job->mem_per_tres)
		return vmj_fail_user(
			err, EINVAL,
			"--mem-per-gpu cannot be used with --vm-image: give --vm-memory for the "
			"guest, or --mem for the whole job");
	if (request->vcpus > shape->cpus_per_node)
		return vmj_fail_user(
			err, EINVAL,
			VMJ_REQUEST_ENV
			": vcpus: %u are more than the job has CPUs on a node: ask for "
			"CPUs with -c",
			request->vcpus);
	for (unsigned int i = 0; job->array_inx && i < request->n_nets; i++)
		if (request->nets[i].mac[0])
			return vmj_fail_user(
				err, EINVAL,
				"--vm-net: mac=%s cannot be the address of every guest of a "
				"job array: leave it out",
				request->nets[i].mac);
	return 0;
}

static int resolve(const job_desc_msg_t *job, const char *json, struct vmj_admission *ret,
		   struct vmj_error *err)
{
	struct vmj_request request;
	struct vmj_job_shape shape;
	int r;

	r = vmj_request_parse(json, &request, err);
	if (r < 0) {
		vmj_fail_prefix(err, VMJ_REQUEST_ENV);
		return r;
	}
	vmj_job_shape(job, &shape);
	r = check_company(job, &shape, &request, err);
	if (r == 0)
		r = check_user_data(job, &request, err);
	if (r < 0)
		return r;
	return admit(&request, &shape, ret, err);
}

static void apply(job_desc_msg_t *job, char **entry, const struct vmj_admission *a, char *json)
{
	xfree(*entry);
	*entry = xstrdup_printf("%s=%s", VMJ_REQUEST_ENV, json);
	/* --mem=0 is the whole memory of each node: more than enough, or not to be had at all. */
	if (job->pn_min_memory != 0)
		job->pn_min_memory = a->job_mem_mib;
	if (a->requeue)
		job->requeue = 1;
	if (!job->admin_comment)
		job->admin_comment = xstrdup(a->summary);
	if (job->script)
		mark_batch_task(job, json);
}

static int submit_guest(job_desc_msg_t *job, char **entry, struct vmj_error *err)
{
	struct vmj_admission admission;
	char *json;
	int r;

	r = resolve(job, *entry + strlen(VMJ_REQUEST_ENV "="), &admission, err);
	if (r < 0)
		return r;
	json = vmj_request_format(&admission.request);
	if (!json)
		return vmj_fail(err, ENOMEM, "out of memory");
	apply(job, entry, &admission, json);
	free(json);
	if (!admission.request.user_data[0])
		drop_user_data(job);
	return 0;
}

int job_submit(job_desc_msg_t *job, uint32_t uid, char **err_msg)
{
	struct vmj_error err;
	char **entry = NULL;
	int r;

	job->env_size = drop_entries(job->environment, job->env_size, vmj_is_stand_in_variable);
	job->spank_job_env_size =
		drop_entries(job->spank_job_env, job->spank_job_env_size, is_litter);
	r = find_request(job, &entry, &err);
	if (r == 0 && entry)
		r = submit_guest(job, entry, &err);
	if (r == 0 && !entry)
		drop_user_data(job);
	if (r == 0)
		return SLURM_SUCCESS;
	*err_msg = xstrdup(err.text);
	return err.code;
}

/* --- job_modify ------------------------------------------------------------------------------ */

/* The resolved request of a job that is there already; false: an ordinary job. */
static bool request_of(const job_record_t *job, struct vmj_request *ret)
{
	for (uint32_t i = 0; i < job->spank_job_env_size; i++)
		if (vmj_carried_kind(job->spank_job_env[i]) == VMJ_CARRIED_REQUEST)
			return vmj_request_parse(job->spank_job_env[i] +
							 strlen(VMJ_REQUEST_ENV "="),
						 ret, NULL) == 0;
	return false;
}

static int check_memory(const job_desc_msg_t *change, const struct vmj_request *request,
			struct vmj_error *err)
{
	uint64_t asked, needed = 0;
	int r;

	/* not a change, or all of the node's */
	if (change->pn_min_memory == NO_VAL64 || change->pn_min_memory == 0)
		return 0;
	r = needed_memory(request, &needed, err);
	if (r < 0)
		return r;
	asked = vmj_job_memory(change->pn_min_memory, request->vcpus);
	if (asked >= needed)
		return 0;
	return vmj_fail_user(
		err, EINVAL,
		"the job's guest needs %llu MiB on each node, more than %llu: cancel the job "
		"and submit a smaller one",
		(unsigned long long)needed, (unsigned long long)asked);
}

static bool asks_for_cpus(const job_desc_msg_t *change)
{
	return change->min_cpus != NO_VAL || change->num_tasks != NO_VAL ||
	       change->cpus_per_task != NO_VAL16 || change->ntasks_per_node != NO_VAL16 ||
	       change->pn_min_cpus != NO_VAL16 || change->min_nodes != NO_VAL;
}

/* The job as it will be: the change over what there is. */
static uint32_t cpus_after(const job_desc_msg_t *change, const job_record_t *job)
{
	job_desc_msg_t d = *change;
	struct vmj_job_shape shape;

	if (job->details) {
		if (d.min_nodes == NO_VAL)
			d.min_nodes = job->details->min_nodes;
		if (d.min_cpus == NO_VAL)
			d.min_cpus = job->details->min_cpus;
		if (d.num_tasks == NO_VAL)
			d.num_tasks = job->details->num_tasks;
		if (d.cpus_per_task == NO_VAL16)
			d.cpus_per_task = job->details->cpus_per_task;
		if (d.ntasks_per_node == NO_VAL16)
			d.ntasks_per_node = job->details->ntasks_per_node;
		if (d.pn_min_cpus == NO_VAL16)
			d.pn_min_cpus = (uint16_t)job->details->pn_min_cpus;
	}
	vmj_job_shape(&d, &shape);
	return shape.cpus_per_node;
}

static int check_cpus(const job_desc_msg_t *change, const job_record_t *job,
		      const struct vmj_request *request, struct vmj_error *err)
{
	uint32_t cpus;

	if (!asks_for_cpus(change))
		return 0;
	cpus = cpus_after(change, job);
	if (cpus >= request->vcpus)
		return 0;
	return vmj_fail_user(
		err, EINVAL,
		"the job's guest has %u processors and %u CPUs on a node are too few: cancel "
		"the job and submit a smaller one",
		request->vcpus, cpus);
}

int job_modify(job_desc_msg_t *change, job_record_t *job, uint32_t uid VMJ_JOB_MODIFY_ERR_MSG)
{
	struct vmj_request request;
	struct vmj_error err;

	if (!request_of(job, &request))
		return SLURM_SUCCESS;
	if (check_memory(change, &request, &err) == 0 &&
	    check_cpus(change, job, &request, &err) == 0)
		return SLURM_SUCCESS;
	vmj_job_modify_say(err.text);
	return err.code;
}
