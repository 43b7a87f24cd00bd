/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/cli/target.h"

#include <errno.h>
#include <string.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/parse.h"

static int not_placed(const struct vmj_job *job, struct vmj_error *err)
{
	if (!strcmp(job->state, "PENDING"))
		return vmj_fail_user(err, EAGAIN,
				     "job %s still waits for a host (%s): see `squeue -j %s`, or "
				     "`scancel %s` to give it up",
				     job->label, job->reason, job->label, job->label);
	return vmj_fail_user(err, ESRCH, "job %s has ended (%s): `sacct -j %s` tells more",
			     job->label, job->state, job->label);
}

static int ask_slurm(const char *text, bool past, struct vmj_target *ret, struct vmj_error *err)
{
	VMJ_CLEANUP(vmj_job_done) struct vmj_job job = {0};
	int rc = vmj_job_find(text, &job, err);

	if (rc < 0)
		return rc;
	if (!vmj_job_placed(&job) && !(past && *job.nodes))
		return not_placed(&job, err);
	rc = vmj_hosts_expand(job.nodes, &ret->hosts, err);
	if (rc < 0)
		return rc;
	ret->job = job.id;
	return 0;
}

static int find(const char *job, const char *hosts, bool past, struct vmj_target *ret,
		struct vmj_error *err)
{
	struct vmj_target target = {0};
	uint64_t id;
	int rc;

	if (hosts && !strchr(job, '_')) {
		rc = vmj_parse_u64("the job id", job, 1, UINT32_MAX, &id, err);
		target.job = (uint32_t)id;
	} else {
		rc = ask_slurm(job, past, &target, err);
	}
	if (rc == 0 && hosts) {
		vmj_hosts_done(&target.hosts);
		rc = vmj_hosts_expand(hosts, &target.hosts, err);
	}
	if (rc == 0 && target.hosts.n == 0)
		rc = vmj_fail_user(err, EINVAL, "--host names no host");
	if (rc < 0) {
		vmj_target_done(&target);
		return rc;
	}
	*ret = target;
	return 0;
}

int vmj_target_find(const char *job, const char *hosts, struct vmj_target *ret,
		    struct vmj_error *err)
{
	return find(job, hosts, false, ret, err);
}

int vmj_target_find_past(const char *job, const char *hosts, struct vmj_target *ret,
			 struct vmj_error *err)
{
	return find(job, hosts, true, ret, err);
}

int vmj_target_find_one(const char *job, const char *hosts, struct vmj_target *ret,
			struct vmj_error *err)
{
	struct vmj_target target = {0};
	int rc = vmj_target_find(job, hosts, &target, err);

	if (rc < 0)
		return rc;
	if (target.hosts.n > 1) {
		rc = vmj_fail_user(err, EINVAL,
				   "job %s has guests on %zu hosts: choose one with --host, such "
				   "as --host=%s",
				   job, target.hosts.n, target.hosts.names[0]);
		vmj_target_done(&target);
		return rc;
	}
	*ret = target;
	return 0;
}

void vmj_target_done(struct vmj_target *target)
{
	vmj_hosts_done(&target->hosts);
}
