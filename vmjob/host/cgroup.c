/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where Slurm puts the tasks of job 5 (cgroup plugins of Slurm 22.05 to 26.05):
 *   v1  /sys/fs/cgroup/<controller>/slurm[_<node>]/uid_1000/job_5/step_batch[/task_0]
 *   v2  /sys/fs/cgroup/system.slice/[<node>_]slurmstepd.scope/job_5/step_batch/user/task_0
 * In a container either may have something before it. Users cannot make directories there, so a
 * path of this form is Slurm's word for the job.
 */
#include "vmjob/host/cgroup.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/file.h"
#include "vmjob/base/parse.h"

#define PROC_CGROUP_MAX 16384
#define CGROUP_MOUNT    "/sys/fs/cgroup"

struct reader {
	const char *root;
	pid_t task;
	uint32_t job;
	bool foreign; /* a path of Slurm's, but of another job */
	struct vmj_cgroups v1, v2;
};

static bool is_slurms_top(const char *part)
{
	size_t len = strlen(part), suffix = strlen("slurmstepd.scope");

	if (strcmp(part, "slurm") == 0 || strncmp(part, "slurm_", 6) == 0)
		return true;
	return len >= suffix && strcmp(part + len - suffix, "slurmstepd.scope") == 0 &&
	       (len == suffix || part[len - suffix - 1] == '_');
}

/* "job_5" → 5. */
static bool parse_job(const char *part, uint32_t *ret)
{
	uint64_t v;

	if (strncmp(part, "job_", 4) != 0 ||
	    vmj_parse_u64("job", part + 4, 1, UINT32_MAX, &v, NULL) < 0)
		return false;
	*ret = (uint32_t)v;
	return true;
}

/* -ENOENT: not below Slurm's; 0: *ret_job's, in a step. */
static int job_of_path(const char *path, uint32_t *ret_job)
{
	char copy[512];
	char *part, *rest = copy;
	enum { TOP, UID, STEP, DONE } at = TOP;

	if (strlen(path) >= sizeof(copy))
		return -ENOENT;
	strcpy(copy, path);
	while ((part = strsep(&rest, "/"))) {
		if (strcmp(part, "..") == 0)
			return -ENOENT; /* outside our cgroup namespace: no directory of ours */
		if (at == TOP && is_slurms_top(part))
			at = UID;
		else if (at == UID && parse_job(part, ret_job))
			at = STEP;
		else if (at == UID && strncmp(part, "uid_", 4) != 0)
			return -ENOENT;
		else if (at == STEP && strncmp(part, "step_", 5) != 0)
			return -ENOENT;
		else if (at == STEP)
			at = DONE;
	}
	return at == DONE ? 0 : -ENOENT;
}

static void add_path(struct vmj_cgroups *c, const char *root, const char *hierarchy,
		     const char *path)
{
	char *out = c->paths[c->n];

	if (c->n < VMJ_CGROUP_PATHS_MAX &&
	    (size_t)snprintf(out, sizeof(c->paths[0]), "%s" CGROUP_MOUNT "%s%s%s",
			     strcmp(root, "/") == 0 ? "" : root, *hierarchy ? "/" : "", hierarchy,
			     path) < sizeof(c->paths[0]))
		c->n++;
}

/* Where the unified hierarchy is mounted: at the top, or in a hybrid system beside v1's. */
static const char *unified_mount(const char *root)
{
	char probe[512];

	snprintf(probe, sizeof(probe), "%s" CGROUP_MOUNT "/cgroup.controllers", root);
	return access(probe, F_OK) == 0 ? "" : "unified";
}

/* "4:memory:/slurm/…", "1:name=systemd:/", "0::/…" */
static void read_line(struct reader *r, char *line)
{
	char *controllers = strchr(line, ':');
	char *path = controllers ? strchr(controllers + 1, ':') : NULL;
	uint32_t job;

	if (!path)
		return;
	*controllers++ = '\0';
	*path++ = '\0';
	if (job_of_path(path, &job) < 0)
		return;
	if (job != r->job) {
		r->foreign = true;
		return;
	}
	if (strncmp(controllers, "name=", 5) == 0)
		controllers += 5;
	if (*controllers)
		add_path(&r->v1, r->root, controllers, path);
	else
		add_path(&r->v2, r->root, unified_mount(r->root), path);
}

int vmj_cgroups_of_task(const char *root, pid_t task, uint32_t job, struct vmj_cgroups *ret,
			struct vmj_error *err)
{
	struct reader r = {
		.root = root, .task = task, .job = job, .v1 = {.version = 1}, .v2 = {.version = 2}};
	vmj_autofree char *text = NULL;
	char path[512];
	char *line, *rest;
	int rc;

	snprintf(path, sizeof(path), "%s/proc/%ld/cgroup", root, (long)task);
	rc = vmj_file_read(-1, path, PROC_CGROUP_MAX, &text, NULL, err);
	if (rc == -ENOENT || rc == -ESRCH)
		return vmj_fail_user(err, ESRCH, "process %ld is gone", (long)task);
	if (rc < 0)
		return rc;
	for (rest = text; (line = strsep(&rest, "\n"));)
		read_line(&r, line);
	if (r.foreign || (r.v1.n == 0 && r.v2.n == 0))
		return vmj_fail_user(err, EPERM,
				     "process %ld does not run in a step of job %" PRIu32,
				     (long)task, job);
	*ret = r.v1.n ? r.v1 : r.v2;
	return 0;
}

int vmj_cgroups_join(const struct vmj_cgroups *c, pid_t pid, struct vmj_error *err)
{
	char file[600], value[24];

	snprintf(value, sizeof(value), "%ld", (long)pid);
	for (unsigned int i = 0; i < c->n; i++) {
		int rc;

		snprintf(file, sizeof(file), "%s/cgroup.procs", c->paths[i]);
		rc = vmj_file_put(file, value, err);
		if (rc < 0)
			return vmj_fail_prefix(err, "QEMU cannot join its job's cgroup");
	}
	return 0;
}

/* In v1 a job's CPUs are in the hierarchy cpuset alone; in v2 each directory has them. */
static const char *cpuset_path(const struct vmj_cgroups *c)
{
	if (c->version == 2)
		return c->n ? c->paths[0] : NULL;
	for (unsigned int i = 0; i < c->n; i++) {
		const char *mount = strstr(c->paths[i], CGROUP_MOUNT "/");

		if (mount && strncmp(mount + strlen(CGROUP_MOUNT "/"), "cpuset", 6) == 0)
			return c->paths[i];
	}
	return NULL;
}

/* The nearest directory, from the task's up to its job's, that has the file: in v2 Slurm need not
 * have passed the controller all the way down. -ENOENT: none. */
static int find_upwards(const char *dir, const char *file, char *ret_path, size_t size)
{
	char at[512];
	char *slash;

	snprintf(at, sizeof(at), "%s", dir);
	while ((slash = strrchr(at, '/'))) {
		snprintf(ret_path, size, "%s/%s", at, file);
		if (access(ret_path, F_OK) == 0)
			return 0;
		if (strncmp(slash, "/job_", 5) == 0)
			break;
		*slash = '\0';
	}
	return -ENOENT;
}

int vmj_cgroups_cpuset(const struct vmj_cgroups *c, char *ret_cpus, size_t cpus_size,
		       struct vmj_error *err)
{
	const char *dir = cpuset_path(c);
	vmj_autofree char *text = NULL;
	char file[600];
	int rc;

	ret_cpus[0] = '\0';
	if (!dir)
		return 0;
	if (c->version == 2)
		rc = find_upwards(dir, "cpuset.cpus.effective", file, sizeof(file));
	else
		rc = find_upwards(dir, "cpuset.effective_cpus", file, sizeof(file));
	if (rc < 0 && c->version == 1)
		rc = find_upwards(dir, "cpuset.cpus", file, sizeof(file)); /* kernels before 4.2 */
	if (rc < 0)
		return 0; /* not confined to CPUs */
	rc = vmj_file_read(-1, file, 4096, &text, NULL, err);
	if (rc < 0)
		return rc;
	text[strcspn(text, "\n")] = '\0';
	if (strlen(text) >= cpus_size)
		return vmj_fail(err, E2BIG, "%s: the list of CPUs is too long", file);
	strcpy(ret_cpus, text);
	return 0;
}
