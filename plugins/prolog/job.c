/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "plugins/compat/compat.h"
#include "plugins/prolog/job.h"
#include "vmjob/base/parse.h"

#define REASON_MAX 256

static int read_number(const char *name, uint64_t max, uint64_t *ret, struct vmj_error *err)
{
	const char *text = getenv(name);

	if (!text)
		return vmj_fail(
			err, EINVAL,
			"%s is not in the environment: this is to be run by slurmd as Prolog or "
			"Epilog",
			name);
	return vmj_parse_u64(name, text, 0, max, ret, err);
}

static int read_text(const char *name, char *buf, size_t size, struct vmj_error *err)
{
	const char *text = getenv(name);

	if (!text || !*text || strlen(text) >= size)
		return vmj_fail(err, EINVAL, "%s in the environment is missing or too long", name);
	strcpy(buf, text);
	return 0;
}

/* The place of this node in the job's list; 0 where the list is not known. */
static uint32_t find_index(const char *node)
{
	const char *list = getenv("SLURM_JOB_NODELIST");
	vmj_hostlist hosts;
	int index;

	if (!list)
		list = getenv("SLURM_NODELIST");
	hosts = list ? slurm_hostlist_create(list) : NULL;
	if (!hosts)
		return 0;
	index = slurm_hostlist_find(hosts, node);
	slurm_hostlist_destroy(hosts);
	return index < 0 ? 0 : (uint32_t)index;
}

int vmj_slurm_job_from_env(struct vmj_slurm_job *ret, struct vmj_error *err)
{
	struct vmj_slurm_job job = {0};
	uint64_t id, uid, gid;
	int r;

	if ((r = read_number("SLURM_JOB_ID", UINT32_MAX - 1, &id, err)) < 0 ||
	    (r = read_number("SLURM_JOB_UID", UINT32_MAX - 1, &uid, err)) < 0 ||
	    (r = read_number("SLURM_JOB_GID", UINT32_MAX - 1, &gid, err)) < 0 ||
	    (r = read_text("SLURM_JOB_USER", job.user, sizeof(job.user), err)) < 0 ||
	    (r = read_text("SLURMD_NODENAME", job.node, sizeof(job.node), err)) < 0)
		return r;
	job.job = (uint32_t)id;
	job.uid = (uid_t)uid;
	job.gid = (gid_t)gid;
	job.node_index = find_index(job.node);
	*ret = job;
	return 0;
}

/* What slurmctld knows of the job; NULL with errno. Once a second for as long as told: a daemon
 * that is not there has no event to wait for. */
static job_info_msg_t *load(uint32_t job, int timeout_ms)
{
	static const struct timespec second = {.tv_sec = 1};
	job_info_msg_t *msg = NULL;

	while (slurm_load_job(&msg, job, SHOW_DETAIL) != SLURM_SUCCESS) {
		if ((timeout_ms -= 1000) <= 0)
			return NULL;
		nanosleep(&second, NULL);
	}
	return msg;
}

static const job_info_t *find_job(const job_info_msg_t *msg, uint32_t job)
{
	for (uint32_t i = 0; i < msg->record_count; i++)
		if (msg->job_array[i].job_id == job)
			return &msg->job_array[i];
	return NULL;
}

int vmj_slurm_job_load(struct vmj_slurm_job *job, int timeout_ms, struct vmj_error *err)
{
	job_info_msg_t *msg = load(job->job, timeout_ms);
	char cpus[sizeof(job->cpus)] = "";
	const job_info_t *info;
	bool found;

	if (!msg)
		return vmj_fail(err, EIO, "cannot ask slurmctld about job %u: %s", job->job,
				slurm_strerror(errno));
	info = find_job(msg, job->job);
	found = info && info->job_resrcs &&
		slurm_job_cpus_allocated_str_on_node(cpus, sizeof(cpus), info->job_resrcs,
						     job->node) == 0;
	if (found) {
		job->restart = info->restart_cnt;
		memcpy(job->cpus, cpus, sizeof(job->cpus));
	}
	slurm_free_job_info_msg(msg);
	return found ? 0
		     : vmj_fail(err, EIO, "slurmctld does not say which CPUs job %u has on %s",
				job->job, job->node);
}

int vmj_slurm_drain(const char *node, const char *why, struct vmj_error *err)
{
	char reason[REASON_MAX];
	update_node_msg_t msg;

	snprintf(reason, sizeof(reason), "vmjob: %s", why);
	slurm_init_update_node_msg(&msg);
	msg.node_names = (char *)node;
	msg.node_state = NODE_STATE_DRAIN;
	msg.reason = reason;
	if (slurm_update_node(&msg) != SLURM_SUCCESS)
		return vmj_fail(err, EIO, "cannot drain node %s: %s", node, slurm_strerror(errno));
	return 0;
}
