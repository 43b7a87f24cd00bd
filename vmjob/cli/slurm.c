/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/cli/slurm.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/parse.h"
#include "vmjob/base/spawn.h"

#define HOSTS_MAX 65536

/* Fields of squeue and sinfo end with '|' (width 0: whole); free text comes last. */
#define SQUEUE_FORMAT \
	"JobID:0|,JobArrayID:0|,State:0|,NodeList:0|,UserName:0|,Reason:0|,admin_comment:0|,Name:0"
#define SQUEUE_FIELDS 8
#define SINFO_FORMAT  "%N|%T|%c|%m|%E"
#define SINFO_FIELDS  5

const char *vmj_program_find(const char *name, char *buf, size_t size)
{
	const char *dir = getenv("PATH");

	while (dir && *dir) {
		size_t len = strcspn(dir, ":");

		if (dir[0] == '/' &&
		    snprintf(buf, size, "%.*s/%s", (int)len, dir, name) < (int)size &&
		    access(buf, X_OK) == 0)
			return buf;
		dir += len + (dir[len] == ':');
	}
	return name;
}

static int run(const char *const *args, char **ret, struct vmj_error *err)
{
	const char *argv[16];
	char path[PATH_MAX];
	size_t n = 0;

	argv[n++] = vmj_program_find(args[0], path, sizeof(path));
	for (; args[n] && n < 15; n++)
		argv[n] = args[n];
	argv[n] = NULL;
	return vmj_spawn(&(struct vmj_spawn){.argv = argv, .ret_output = ret, .timeout_ms = 30000},
			 err);
}

/* Cut a line into exactly n fields; the last takes the rest. */
static bool split(char *line, char **fields, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		fields[i] = line;
		if (i + 1 == n)
			return true;
		line = strchr(line, '|');
		if (!line)
			return false;
		*line++ = '\0';
	}
	return true;
}

/* Copy for showing: control characters (a job's name may hold some) become '?'. */
static void put(char *to, size_t size, const char *from)
{
	size_t i;

	for (i = 0; from[i] && i + 1 < size; i++)
		to[i] = iscntrl((unsigned char)from[i]) ? '?' : from[i];
	to[i] = '\0';
}
#define PUT(field, from) put(field, sizeof(field), from)

void vmj_job_done(struct vmj_job *job)
{
	free(job->nodes);
	job->nodes = NULL;
}

void vmj_jobs_done(struct vmj_jobs *jobs)
{
	for (size_t i = 0; i < jobs->n; i++)
		vmj_job_done(&jobs->items[i]);
	free(jobs->items);
	*jobs = (struct vmj_jobs){0};
}

static int parse_job(char *line, struct vmj_job *ret, struct vmj_error *err)
{
	char *f[SQUEUE_FIELDS];
	uint64_t id;
	int rc;

	if (!split(line, f, SQUEUE_FIELDS))
		return vmj_fail(err, EPROTO, "squeue printed a line without %d fields: \"%s\"",
				SQUEUE_FIELDS, line);
	rc = vmj_parse_u64("the job id that squeue printed", f[0], 1, UINT32_MAX, &id, err);
	if (rc < 0)
		return rc;
	*ret = (struct vmj_job){.id = (uint32_t)id, .nodes = strdup(f[3])};
	if (!ret->nodes)
		return vmj_fail(err, ENOMEM, "out of memory");
	PUT(ret->label, f[1]);
	PUT(ret->state, f[2]);
	PUT(ret->user, f[4]);
	PUT(ret->reason, f[5]);
	PUT(ret->comment, f[6]);
	PUT(ret->name, f[7]);
	return 0;
}

int vmj_jobs_parse(char *output, struct vmj_jobs *ret, struct vmj_error *err)
{
	VMJ_CLEANUP(vmj_jobs_done) struct vmj_jobs jobs = {0};
	char *save = NULL;

	for (char *l = strtok_r(output, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		struct vmj_job job, *more;
		int rc = parse_job(l, &job, err);

		if (rc < 0)
			return rc;
		more = reallocarray(jobs.items, jobs.n + 1, sizeof(*more));
		if (!more) {
			vmj_job_done(&job);
			return vmj_fail(err, ENOMEM, "out of memory");
		}
		jobs.items = more;
		jobs.items[jobs.n++] = job;
	}
	*ret = jobs;
	jobs = (struct vmj_jobs){0};
	return 0;
}

static int check_id(const char *text, struct vmj_error *err)
{
	size_t digits = strspn(text, "0123456789"), rest = 0;
	char shown[64];

	if (text[digits] == '_')
		rest = 1 + strspn(text + digits + 1, "0123456789");
	if (digits >= 1 && digits <= 10 && rest != 1 && rest <= 11 && !text[digits + rest])
		return 0;
	return vmj_fail_user(
		err, EINVAL,
		"\"%s\" is not a job id: give a number as squeue prints it, or N_M for "
		"a task of an array",
		vmj_quote(text, shown, sizeof(shown)));
}

int vmj_job_find(const char *text, struct vmj_job *ret, struct vmj_error *err)
{
	VMJ_CLEANUP(vmj_jobs_done) struct vmj_jobs jobs = {0};
	vmj_autofree char *output = NULL;
	char arg[48];
	int rc = check_id(text, err);

	if (rc < 0)
		return rc;
	snprintf(arg, sizeof(arg), "--jobs=%s", text);
	rc = run((const char *[]){"squeue", "--noheader", "--states=all", arg,
				  "--Format=" SQUEUE_FORMAT, NULL},
		 &output, err);
	if (rc < 0 && err && strstr(err->text, "Invalid job id"))
		return vmj_fail_user(err, ESRCH,
				     "Slurm does not know a job %s any more (or not yet): `vmjob "
				     "list` shows yours, `sacct -j %s` the past",
				     text, text);
	if (rc < 0)
		return rc;
	rc = vmj_jobs_parse(output, &jobs, err);
	if (rc < 0)
		return rc;
	if (jobs.n == 0)
		return vmj_fail_user(err, ESRCH, "Slurm shows no job %s: `vmjob list` shows yours",
				     text);
	if (jobs.n > 1)
		return vmj_fail_user(err, EINVAL,
				     "%s is an array of jobs: name one of its tasks, such as %s",
				     text, jobs.items[0].label);
	*ret = jobs.items[0];
	jobs.items[0].nodes = NULL;
	return 0;
}

bool vmj_job_placed(const struct vmj_job *job)
{
	static const char *const states[] = {"RUNNING", "SUSPENDED", "COMPLETING", "CONFIGURING",
					     "STOPPED", "SIGNALING", "STAGE_OUT",  NULL};

	for (size_t i = 0; states[i]; i++)
		if (!strcmp(job->state, states[i]))
			return job->nodes && *job->nodes;
	return false;
}

bool vmj_job_is_guest(const struct vmj_job *job)
{
	return !strncmp(job->comment, "vm image=", strlen("vm image="));
}

int vmj_jobs_list(bool all, struct vmj_jobs *ret, struct vmj_error *err)
{
	VMJ_CLEANUP(vmj_jobs_done) struct vmj_jobs jobs = {0};
	vmj_autofree char *output = NULL;
	char user[32];
	size_t kept = 0;
	int rc;

	snprintf(user, sizeof(user), "--user=%u", (unsigned int)getuid());
	rc = run((const char *[]){"squeue", "--noheader", "--array", "--Format=" SQUEUE_FORMAT,
				  all ? NULL : user, NULL},
		 &output, err);
	if (rc < 0)
		return rc;
	rc = vmj_jobs_parse(output, &jobs, err);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < jobs.n; i++)
		if (vmj_job_is_guest(&jobs.items[i]))
			jobs.items[kept++] = jobs.items[i];
		else
			vmj_job_done(&jobs.items[i]);
	jobs.n = kept;
	*ret = jobs;
	jobs = (struct vmj_jobs){0};
	return 0;
}

void vmj_hosts_done(struct vmj_hosts *hosts)
{
	for (size_t i = 0; i < hosts->n; i++)
		free(hosts->names[i]);
	free(hosts->names);
	*hosts = (struct vmj_hosts){0};
}

int vmj_hosts_add(struct vmj_hosts *hosts, const char *name, struct vmj_error *err)
{
	vmj_autofree char *copy = strdup(name);
	char **more;
	int rc = vmj_parse_name("the host's name", name, err);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < hosts->n; i++)
		if (!strcmp(hosts->names[i], name))
			return 0;
	if (hosts->n >= HOSTS_MAX)
		return vmj_fail_user(err, E2BIG, "more than %d hosts: name fewer", HOSTS_MAX);
	more = reallocarray(hosts->names, hosts->n + 2, sizeof(*more));
	if (!more || !copy)
		return vmj_fail(err, ENOMEM, "out of memory");
	hosts->names = more;
	hosts->names[hosts->n++] = vmj_steal(copy);
	hosts->names[hosts->n] = NULL;
	return 0;
}

static int add_all(char *list, const char *separators, struct vmj_hosts *hosts,
		   struct vmj_error *err)
{
	char *save = NULL;

	for (char *h = strtok_r(list, separators, &save); h;
	     h = strtok_r(NULL, separators, &save)) {
		int rc = vmj_hosts_add(hosts, h, err);

		if (rc < 0)
			return rc;
	}
	return 0;
}

int vmj_hosts_expand(const char *list, struct vmj_hosts *ret, struct vmj_error *err)
{
	VMJ_CLEANUP(vmj_hosts_done) struct vmj_hosts hosts = {0};
	vmj_autofree char *copy = NULL;
	bool plain = !strchr(list, '[');
	int rc;

	if (plain)
		copy = strdup(list);
	else
		rc = run((const char *[]){"scontrol", "show", "hostnames", list, NULL}, &copy, err);
	if (!plain && rc < 0)
		return rc;
	if (!copy)
		return vmj_fail(err, ENOMEM, "out of memory");
	rc = add_all(copy, plain ? "," : "\n", &hosts, err);
	if (rc < 0)
		return rc;
	*ret = hosts;
	hosts = (struct vmj_hosts){0};
	return 0;
}

int vmj_jobs_hosts(const struct vmj_jobs *jobs, struct vmj_hosts *ret, struct vmj_error *err)
{
	vmj_autofree char *list = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&list, &len);

	if (!out)
		return vmj_fail(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < jobs->n; i++)
		if (vmj_job_placed(&jobs->items[i]))
			fprintf(out, "%s%s", ftell(out) ? "," : "", jobs->items[i].nodes);
	if (fclose(out) != 0)
		return vmj_fail(err, ENOMEM, "out of memory");
	return vmj_hosts_expand(list, ret, err);
}

static int parse_node(char *line, struct vmj_node *ret, struct vmj_error *err)
{
	char *f[SINFO_FIELDS];
	uint64_t cpus, memory;
	int rc;

	if (!split(line, f, SINFO_FIELDS))
		return vmj_fail(err, EPROTO, "sinfo printed a line without %d fields: \"%s\"",
				SINFO_FIELDS, line);
	rc = vmj_parse_u64("the CPUs that sinfo printed", f[2], 0, UINT32_MAX, &cpus, err);
	if (rc == 0)
		rc = vmj_parse_u64("the memory that sinfo printed", f[3], 0, UINT64_MAX >> 20,
				   &memory, err);
	if (rc < 0)
		return rc;
	*ret = (struct vmj_node){.cpus = (uint32_t)cpus, .memory_mib = memory};
	PUT(ret->name, f[0]);
	PUT(ret->state, f[1]);
	PUT(ret->reason, strcmp(f[4], "none") ? f[4] : "");
	return 0;
}

/* sinfo --Node prints a node once for each of its partitions, one after the other. */
int vmj_nodes_parse(char *output, struct vmj_node **ret, size_t *ret_n, struct vmj_error *err)
{
	vmj_autofree struct vmj_node *nodes = NULL;
	char *save = NULL;
	size_t n = 0;

	for (char *l = strtok_r(output, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		struct vmj_node node, *more;
		int rc = parse_node(l, &node, err);

		if (rc < 0)
			return rc;
		if (n && !strcmp(nodes[n - 1].name, node.name))
			continue;
		more = reallocarray(nodes, n + 1, sizeof(*more));
		if (!more)
			return vmj_fail(err, ENOMEM, "out of memory");
		nodes = more;
		nodes[n++] = node;
	}
	*ret = vmj_steal(nodes);
	*ret_n = n;
	return 0;
}

int vmj_nodes_list(const char *list, struct vmj_node **ret, size_t *ret_n, struct vmj_error *err)
{
	vmj_autofree char *output = NULL;
	int rc;

	rc = run((const char *[]){"sinfo", "--noheader", "--Node", "--format=" SINFO_FORMAT,
				  list ? "--nodes" : NULL, list, NULL},
		 &output, err);
	return rc < 0 ? rc : vmj_nodes_parse(output, ret, ret_n, err);
}
