/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is done to one guest. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "vmjob/base/file.h"
#include "vmjob/host/topology.h"
#include "vmjob/host/virt_private.h"

/* libvirt has no call for QEMU's pid; the file is where qemuProcess writes it since 2007. */
#define PID_FILE     "/run/libvirt/qemu/%s.pid"
#define CMDLINE_MAX  (256 << 10)
#define CPU_MAP_SIZE 1024 /* bytes: 8192 CPUs */

/* Is it the QEMU of this guest, rather than whatever got the pid after it? */
static bool is_qemu_of(pid_t pid, const char *name)
{
	vmj_autofree char *text = NULL;
	char path[64], mark[64];
	size_t len;

	snprintf(path, sizeof(path), "/proc/%ld/cmdline", (long)pid);
	if (vmj_file_read(-1, path, CMDLINE_MAX, &text, &len, NULL) < 0)
		return false;
	snprintf(mark, sizeof(mark), "guest=%s,", name);
	for (const char *arg = text; arg < text + len; arg += strlen(arg) + 1)
		if (strncmp(arg, mark, strlen(mark)) == 0)
			return true;
	return false;
}

bool vmj_virt_process_lives(pid_t pid, uint32_t job)
{
	char name[VMJ_DOMAIN_NAME_MAX];

	return pid > 0 && is_qemu_of(pid, vmj_domain_name(job, name));
}

/* 0: none. */
static pid_t pid_of(const char *name)
{
	vmj_autofree char *text = NULL;
	char path[128];
	uint64_t pid;

	snprintf(path, sizeof(path), PID_FILE, name);
	if (vmj_file_read(-1, path, 32, &text, NULL, NULL) < 0)
		return 0;
	text[strcspn(text, "\n")] = '\0';
	if (vmj_parse_u64("pid", text, 2, INT32_MAX, &pid, NULL) < 0 ||
	    !is_qemu_of((pid_t)pid, name))
		return 0;
	return (pid_t)pid;
}

static int state_of(virDomainPtr d, enum vmj_virt_state *ret, bool *ret_io_error)
{
	int state, reason;

	if (virDomainGetState(d, &state, &reason, 0) < 0)
		return -1;
	*ret_io_error = state == VIR_DOMAIN_PAUSED && reason == VIR_DOMAIN_PAUSED_IOERROR;
	switch (state) {
	case VIR_DOMAIN_PAUSED:
	case VIR_DOMAIN_PMSUSPENDED:
		*ret = VMJ_VIRT_IS_PAUSED;
		break;
	case VIR_DOMAIN_SHUTDOWN:
	case VIR_DOMAIN_CRASHED:
		*ret = VMJ_VIRT_IS_ENDING;
		break;
	case VIR_DOMAIN_SHUTOFF:
		*ret = VMJ_VIRT_GONE;
		break;
	default:
		*ret = VMJ_VIRT_IS_RUNNING;
	}
	return 0;
}

static void free_domains(virDomainPtr *doms, int n)
{
	for (int i = 0; i < n; i++)
		virDomainFree(doms[i]);
	free(doms);
}

int vmj_virt_list(struct vmj_virt *v, struct vmj_virt_info **ret, size_t *ret_n,
		  struct vmj_error *err)
{
	auto_conn virConnectPtr c = NULL;
	struct vmj_virt_info *list;
	virDomainPtr *doms = NULL;
	size_t used = 0;
	int n, rc;

	rc = vmj_virt_connection(v, &c, err);
	if (rc < 0)
		return rc;
	n = virConnectListAllDomains(c, &doms, VIR_CONNECT_LIST_DOMAINS_ACTIVE);
	if (n < 0)
		return vmj_virt_fail(err, "cannot list the guests");
	list = calloc((size_t)n + 1, sizeof(*list));
	for (int i = 0; list && i < n; i++) {
		struct vmj_virt_info *info = &list[used];

		if (vmj_domain_job(virDomainGetName(doms[i]), &info->job) < 0 ||
		    state_of(doms[i], &info->state, &info->io_error) < 0)
			continue; /* not ours, or gone meanwhile */
		info->pid = pid_of(virDomainGetName(doms[i]));
		used++;
	}
	free_domains(doms, n);
	if (!list)
		return vmj_fail(err, ENOMEM, "out of memory");
	*ret = list;
	*ret_n = used;
	return 0;
}

int vmj_virt_info(struct vmj_virt *v, uint32_t job, struct vmj_virt_info *ret,
		  struct vmj_error *err)
{
	struct vmj_virt_info info = {.job = job, .state = VMJ_VIRT_GONE};
	auto_domain virDomainPtr d = NULL;
	int rc = vmj_virt_lookup(v, job, &d, err);

	if (rc < 0 && rc != -ENOENT)
		return rc;
	if (d) {
		if (state_of(d, &info.state, &info.io_error) < 0 && !vmj_virt_gone())
			return vmj_virt_fail(err, "cannot see the state of guest vmjob-%" PRIu32,
					     job);
		info.pid = pid_of(virDomainGetName(d));
	}
	*ret = info;
	return 0;
}

/* What the user asked for and this host cannot give, rather than what is wrong with the host. */
static bool is_users_fault(void)
{
	virErrorPtr last = virGetLastError();

	if (!last)
		return false;
	if (last->code == VIR_ERR_RESOURCE_BUSY) /* another guest has the disk's lock */
		return true;
	if (last->domain == VIR_FROM_CPU || (last->message && strstr(last->message, "CPU model")))
		return true;
	return last->message && strstr(last->message, "Could not set up host forwarding rule");
}

int vmj_virt_create_paused(struct vmj_virt *v, const char *xml, pid_t *ret_pid,
			   struct vmj_error *err)
{
	auto_conn virConnectPtr c = NULL;
	auto_domain virDomainPtr d = NULL;
	pid_t pid;
	int rc = vmj_virt_connection(v, &c, err);

	if (rc < 0)
		return rc;
	d = virDomainCreateXML(c, xml, VIR_DOMAIN_START_PAUSED);
	if (!d) {
		rc = vmj_virt_fail(err, "libvirt cannot start the guest");
		if (err && is_users_fault())
			err->fault = VMJ_FAULT_USER;
		return rc;
	}
	pid = pid_of(virDomainGetName(d));
	if (pid == 0) {
		rc = vmj_fail(err, ESRCH, "guest %s ended as soon as it started",
			      virDomainGetName(d));
		virDomainDestroy(d);
		return rc;
	}
	*ret_pid = pid;
	return 0;
}

int vmj_virt_pin(struct vmj_virt *v, uint32_t job, uint32_t vcpus, const char (*pins)[64],
		 const char *emulator, struct vmj_error *err)
{
	unsigned char map[CPU_MAP_SIZE];
	auto_domain virDomainPtr d = NULL;
	int rc = vmj_virt_lookup(v, job, &d, err);

	for (uint32_t i = 0; rc >= 0 && i < vcpus; i++) {
		rc = vmj_cpus_to_map(pins[i], map, sizeof(map), err);
		if (rc > 0 && virDomainPinVcpuFlags(d, i, map, rc, VIR_DOMAIN_AFFECT_LIVE) < 0)
			rc = vmj_virt_fail(err,
					   "cannot pin vCPU %" PRIu32 " of guest vmjob-%" PRIu32
					   " to CPUs %s",
					   i, job, pins[i]);
	}
	if (rc < 0 || !emulator[0])
		return rc < 0 ? rc : 0;
	rc = vmj_cpus_to_map(emulator, map, sizeof(map), err);
	if (rc > 0 && virDomainPinEmulator(d, map, rc, VIR_DOMAIN_AFFECT_LIVE) < 0)
		rc = vmj_virt_fail(err, "cannot pin guest vmjob-%" PRIu32 " to CPUs %s", job,
				   emulator);
	return rc < 0 ? rc : 0;
}

typedef int (*state_fn)(virDomainPtr d);

/* Bring the guest into `wanted` unless it is; libvirt's calls refuse what is so already. */
static int change_state(struct vmj_virt *v, uint32_t job, enum vmj_virt_state wanted, state_fn fn,
			const char *what, struct vmj_error *err)
{
	auto_domain virDomainPtr d = NULL;
	enum vmj_virt_state now;
	bool io_error;
	int rc = vmj_virt_lookup(v, job, &d, err);

	if (rc < 0)
		return rc;
	if (state_of(d, &now, &io_error) == 0 && now == wanted)
		return 0;
	if (fn(d) < 0)
		return vmj_virt_fail(err, "cannot %s guest vmjob-%" PRIu32, what, job);
	return 0;
}

int vmj_virt_resume(struct vmj_virt *v, uint32_t job, struct vmj_error *err)
{
	return change_state(v, job, VMJ_VIRT_IS_RUNNING, virDomainResume, "resume", err);
}

int vmj_virt_suspend(struct vmj_virt *v, uint32_t job, struct vmj_error *err)
{
	return change_state(v, job, VMJ_VIRT_IS_PAUSED, virDomainSuspend, "suspend", err);
}

/* Holds its own reference of the domain, and with it of the connection. */
static void *ask_agent(void *arg)
{
	virDomainPtr d = arg;

	virDomainShutdownFlags(d, VIR_DOMAIN_SHUTDOWN_GUEST_AGENT);
	virDomainFree(d);
	return NULL;
}

/* A guest may not listen to its power button and yet have an agent; most have none, which is no
 * failure. libvirt waits for the end of the guest, up to a minute, whatever its time-out for
 * agents: the caller must be free to destroy it before. */
static void ask_agent_aside(virDomainPtr d)
{
	pthread_attr_t attr;
	pthread_t thread;

	if (virDomainRef(d) < 0)
		return;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &attr, ask_agent, d) != 0)
		virDomainFree(d);
	pthread_attr_destroy(&attr);
}

int vmj_virt_shutdown(struct vmj_virt *v, uint32_t job, struct vmj_error *err)
{
	auto_domain virDomainPtr d = NULL;
	int rc = vmj_virt_lookup(v, job, &d, err);

	if (rc < 0)
		return rc;
	if (virDomainShutdownFlags(d, VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN) < 0)
		return vmj_virt_fail(err, "cannot shut down guest vmjob-%" PRIu32, job);
	ask_agent_aside(d);
	return 0;
}

int vmj_virt_reset(struct vmj_virt *v, uint32_t job, struct vmj_error *err)
{
	auto_domain virDomainPtr d = NULL;
	int rc = vmj_virt_lookup(v, job, &d, err);

	if (rc < 0)
		return rc;
	if (virDomainReset(d, 0) < 0)
		return vmj_virt_fail(err, "cannot reset guest vmjob-%" PRIu32, job);
	return 0;
}

int vmj_virt_destroy(struct vmj_virt *v, uint32_t job, struct vmj_error *err)
{
	auto_domain virDomainPtr d = NULL;
	int rc = vmj_virt_lookup(v, job, &d, err);

	if (rc == -ENOENT)
		return 0;
	if (rc < 0)
		return rc;
	/* A transient domain that has just ended is either unknown or "not running". */
	if (virDomainDestroy(d) < 0 && !vmj_virt_gone() &&
	    virGetLastErrorCode() != VIR_ERR_OPERATION_INVALID)
		return vmj_virt_fail(err, "cannot destroy guest vmjob-%" PRIu32, job);
	return 0;
}

int vmj_virt_set_time(struct vmj_virt *v, uint32_t job, struct vmj_error *err)
{
	auto_domain virDomainPtr d = NULL;
	struct timespec t;
	int rc = vmj_virt_lookup(v, job, &d, err);

	if (rc < 0)
		return rc;
	clock_gettime(CLOCK_REALTIME, &t);
	if (virDomainSetTime(d, t.tv_sec, (unsigned int)t.tv_nsec, 0) < 0)
		return vmj_virt_fail(err, "cannot set the clock of guest vmjob-%" PRIu32, job);
	return 0;
}

int vmj_virt_set_vcpus(struct vmj_virt *v, uint32_t job, uint32_t vcpus, struct vmj_error *err)
{
	auto_domain virDomainPtr d = NULL;
	int rc = vmj_virt_lookup(v, job, &d, err);

	if (rc < 0)
		return rc;
	if (virDomainSetVcpusFlags(d, vcpus, VIR_DOMAIN_AFFECT_LIVE) < 0)
		return vmj_virt_fail(err, "cannot give guest vmjob-%" PRIu32 " %" PRIu32 " vCPUs",
				     job, vcpus);
	return 0;
}
