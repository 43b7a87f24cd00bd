/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. A thread of its own opens the connection, since that blocks, and opens it
 * again whenever it is lost; the loop's thread never waits for libvirtd. What must be told on the
 * loop's thread (connected or not) goes there through an eventfd; libvirt's events come there by
 * themselves, through virt_events.c. Everybody else takes the connection with a reference under
 * the lock.
 *
 * States: conn NULL → (connector opens) → conn set → (closed: callback, in any thread) → closed →
 * (connector drops it) → conn NULL.
 */
#include "vmjob/host/virt.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <systemd/sd-event.h>
#include <time.h>

#include "vmjob/base/clock.h"
#include "vmjob/base/log.h"
#include "vmjob/host/virt_private.h"

#define URI             "qemu:///system"
#define BACKOFF_MIN_MS  250
#define BACKOFF_MAX_MS  2000
#define KEEPALIVE_S     5
#define KEEPALIVE_COUNT 3
#define JOIN_S          2 /* libvirtd may hang while we wait for it to answer */
#define NOTES_MAX       64
#define REBOOT_US       (2 * 1000000ull) /* the firmware resets a second and a third time */

/* What is remembered of a guest from one event to the next. */
struct note {
	uint32_t job; /* 0: free */
	bool panicked;
	uint64_t reboot_us; /* CLOCK_MONOTONIC; 0: never */
};

struct vmj_virt {
	struct vmj_virt_ops ops;
	void *arg;
	pthread_t connector;
	int wake;
	sd_event_source *wake_source;
	struct note notes[NOTES_MAX]; /* the loop's thread */

	pthread_mutex_t lock;
	pthread_cond_t changed;
	virConnectPtr conn;
	bool closed, stopping;
	unsigned int generation; /* counts connections */
	unsigned int
		told; /* the loop's thread: the generation that on_connect(true) was for; 0: none */
};

int vmj_virt_fail(struct vmj_error *err, const char *fmt, ...)
{
	virErrorPtr last = virGetLastError();
	int code = EIO;
	char what[160];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	if (last && (last->domain == VIR_FROM_RPC || last->domain == VIR_FROM_REMOTE ||
		     last->code == VIR_ERR_INVALID_CONN || last->code == VIR_ERR_NO_CONNECT))
		code = ENOTCONN;
	else if (vmj_virt_gone())
		code = ENOENT;
	return vmj_fail(err, code, "%s: %s", what, virGetLastErrorMessage());
}

bool vmj_virt_gone(void)
{
	int code = virGetLastErrorCode();

	return code == VIR_ERR_NO_DOMAIN;
}

int vmj_virt_connection(struct vmj_virt *v, virConnectPtr *ret, struct vmj_error *err)
{
	int rc = 0;

	pthread_mutex_lock(&v->lock);
	if (!v->conn || v->closed || virConnectRef(v->conn) < 0)
		rc = -ENOTCONN;
	else
		*ret = v->conn;
	pthread_mutex_unlock(&v->lock);
	return rc < 0 ? vmj_fail(err, ENOTCONN, "libvirtd does not answer on this host") : 0;
}

int vmj_virt_lookup(struct vmj_virt *v, uint32_t job, virDomainPtr *ret, struct vmj_error *err)
{
	char name[VMJ_DOMAIN_NAME_MAX];
	auto_conn virConnectPtr c = NULL;
	int rc = vmj_virt_connection(v, &c, err);

	if (rc < 0)
		return rc;
	*ret = virDomainLookupByName(c, vmj_domain_name(job, name));
	return *ret ? 0 : vmj_virt_fail(err, "cannot find guest %s", name);
}

bool vmj_virt_connected(struct vmj_virt *v)
{
	bool is;

	pthread_mutex_lock(&v->lock);
	is = v->conn && !v->closed;
	pthread_mutex_unlock(&v->lock);
	return is;
}

/* Events, all on the loop's thread. */

static bool job_of(virDomainPtr d, uint32_t *ret)
{
	return vmj_domain_job(virDomainGetName(d), ret) == 0;
}

static void tell(struct vmj_virt *v, uint32_t job, enum vmj_virt_event event, enum vmj_end end)
{
	if (v->ops.on_event)
		v->ops.on_event(job, event, end, v->arg);
}

static struct note *find_note(struct vmj_virt *v, uint32_t job)
{
	for (size_t i = 0; i < NOTES_MAX; i++)
		if (v->notes[i].job == job)
			return &v->notes[i];
	return NULL;
}

/* A free one for a guest without; NULL when all are taken (then an event more is told). */
static struct note *take_note(struct vmj_virt *v, uint32_t job)
{
	struct note *n = find_note(v, job);

	if (!n)
		n = find_note(v, 0);
	if (n)
		n->job = job;
	return n;
}

static void drop_note(struct vmj_virt *v, uint32_t job)
{
	struct note *n = find_note(v, job);

	if (n)
		*n = (struct note){.job = 0};
}

/* A panic comes as CRASHED first, and then, by on_crash=destroy, as STOPPED: one end, told at the
 * second. */
static enum vmj_end end_of(struct vmj_virt *v, uint32_t job, int detail)
{
	struct note *note = find_note(v, job);

	if (note && note->panicked)
		return VMJ_END_PANIC;
	switch (detail) {
	case VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN:
		return VMJ_END_POWEROFF;
	case VIR_DOMAIN_EVENT_STOPPED_CRASHED:
		return VMJ_END_PANIC;
	case VIR_DOMAIN_EVENT_STOPPED_DESTROYED:
		return VMJ_END_DESTROYED;
	default:
		return VMJ_END_KILLED; /* QEMU is gone without having said why */
	}
}

static int on_lifecycle(virConnectPtr c, virDomainPtr d, int event, int detail, void *arg)
{
	struct vmj_virt *v = arg;
	struct note *note;
	uint32_t job;

	if (!job_of(d, &job))
		return 0;
	switch (event) {
	case VIR_DOMAIN_EVENT_STARTED:
		drop_note(v, job);
		tell(v, job, VMJ_VIRT_STARTED, VMJ_END_NONE);
		break;
	case VIR_DOMAIN_EVENT_RESUMED:
		tell(v, job, VMJ_VIRT_RESUMED, VMJ_END_NONE);
		break;
	case VIR_DOMAIN_EVENT_SUSPENDED:
		tell(v, job,
		     detail == VIR_DOMAIN_EVENT_SUSPENDED_IOERROR ? VMJ_VIRT_PAUSED_IO
								  : VMJ_VIRT_PAUSED,
		     VMJ_END_NONE);
		break;
	case VIR_DOMAIN_EVENT_CRASHED:
		note = take_note(v, job);
		if (note)
			note->panicked = true;
		break;
	case VIR_DOMAIN_EVENT_STOPPED:
		tell(v, job, VMJ_VIRT_ENDED, end_of(v, job, detail));
		drop_note(v, job);
		break;
	}
	return 0;
}

static void on_reboot(virConnectPtr c, virDomainPtr d, void *arg)
{
	struct vmj_virt *v = arg;
	struct note *note;
	uint64_t before, now;
	uint32_t job;

	if (!job_of(d, &job))
		return;
	note = take_note(v, job);
	now = (uint64_t)vmj_clock_us(CLOCK_MONOTONIC);
	before = note ? note->reboot_us : 0;
	if (note)
		note->reboot_us = now;
	if (before == 0 || now - before > REBOOT_US)
		tell(v, job, VMJ_VIRT_REBOOTED, VMJ_END_NONE);
}

static void on_watchdog(virConnectPtr c, virDomainPtr d, int action, void *arg)
{
	uint32_t job;

	if (job_of(d, &job))
		tell(arg, job, VMJ_VIRT_WATCHDOG, VMJ_END_NONE);
}

static void on_agent(virConnectPtr c, virDomainPtr d, int state, int reason, void *arg)
{
	uint32_t job;

	if (job_of(d, &job))
		tell(arg, job,
		     state == VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED
			     ? VMJ_VIRT_AGENT_UP
			     : VMJ_VIRT_AGENT_DOWN,
		     VMJ_END_NONE);
}

static void on_removed(virConnectPtr c, virDomainPtr d, const char *alias, void *arg)
{
	uint32_t job;

	if (job_of(d, &job))
		tell(arg, job, VMJ_VIRT_DISK_REMOVED, VMJ_END_NONE);
}

/* In any thread. */
static void on_close(virConnectPtr c, int reason, void *arg)
{
	struct vmj_virt *v = arg;

	pthread_mutex_lock(&v->lock);
	v->closed = true;
	pthread_cond_signal(&v->changed);
	pthread_mutex_unlock(&v->lock);
	eventfd_write(v->wake, 1);
}

/* The connection's state is told as it is now; a loss and a return in between are told as both. */
static int on_wake(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	struct vmj_virt *v = arg;
	unsigned int now, before = v->told;
	eventfd_t n;

	eventfd_read(fd, &n);
	pthread_mutex_lock(&v->lock);
	now = v->conn && !v->closed ? v->generation : 0;
	v->told = now;
	pthread_mutex_unlock(&v->lock);
	if (now == before)
		return 0;
	memset(v->notes, 0, sizeof(v->notes)); /* their ends may have been missed */
	if (!v->ops.on_connect)
		return 0;
	if (before)
		v->ops.on_connect(false, v->arg);
	if (now)
		v->ops.on_connect(true, v->arg);
	return 0;
}

/* The connector. */

static int watch_domains(virConnectPtr c, struct vmj_virt *v)
{
	const struct {
		int id;
		virConnectDomainEventGenericCallback cb;
	} events[] = {
		{VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle)},
		{VIR_DOMAIN_EVENT_ID_REBOOT, VIR_DOMAIN_EVENT_CALLBACK(on_reboot)},
		{VIR_DOMAIN_EVENT_ID_WATCHDOG, VIR_DOMAIN_EVENT_CALLBACK(on_watchdog)},
		{VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_agent)},
		{VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, VIR_DOMAIN_EVENT_CALLBACK(on_removed)},
	};

	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
		if (virConnectDomainEventRegisterAny(c, NULL, events[i].id, events[i].cb, v, NULL) <
		    0)
			return -1;
	return 0;
}

static virConnectPtr open_connection(struct vmj_virt *v)
{
	virConnectPtr c = virConnectOpen(URI);

	if (!c)
		return NULL;
	virConnectSetKeepAlive(c, KEEPALIVE_S, KEEPALIVE_COUNT);
	if (virConnectRegisterCloseCallback(c, on_close, v, NULL) == 0 && watch_domains(c, v) == 0)
		return c;
	virConnectClose(c);
	return NULL;
}

/* Under the lock, which is dropped meanwhile. */
static void wait_ms(struct vmj_virt *v, unsigned int ms)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += ms / 1000;
	t.tv_nsec += (long)(ms % 1000) * 1000000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000;
	}
	while (!v->stopping && pthread_cond_timedwait(&v->changed, &v->lock, &t) == 0)
		;
}

static virConnectPtr connect_with_backoff(struct vmj_virt *v)
{
	unsigned int ms = BACKOFF_MIN_MS;
	virConnectPtr c = NULL;

	while (!v->stopping) {
		v->closed = false;
		pthread_mutex_unlock(&v->lock);
		c = open_connection(v);
		if (!c)
			vmj_debug("libvirt: %s", virGetLastErrorMessage());
		pthread_mutex_lock(&v->lock);
		if (c)
			break;
		wait_ms(v, ms);
		ms = 2 * ms < BACKOFF_MAX_MS ? 2 * ms : BACKOFF_MAX_MS;
	}
	return c;
}

static void *connector_main(void *arg)
{
	struct vmj_virt *v = arg;
	virConnectPtr c;

	pthread_mutex_lock(&v->lock);
	while (!v->stopping) {
		c = v->conn = connect_with_backoff(v);
		if (!c)
			break;
		v->generation++;
		eventfd_write(v->wake, 1);
		while (!v->closed && !v->stopping)
			pthread_cond_wait(&v->changed, &v->lock);
		v->conn = NULL;
		pthread_mutex_unlock(&v->lock);
		virConnectUnregisterCloseCallback(c, on_close);
		virConnectClose(c);
		pthread_mutex_lock(&v->lock);
	}
	pthread_mutex_unlock(&v->lock);
	return NULL;
}

static void drop_error(void *arg, virErrorPtr e)
{
	/* libvirt would print each error; ours come with the calls. */
}

static int start(struct vmj_virt *v, sd_event *loop, struct vmj_error *err)
{
	pthread_condattr_t attr;
	int rc;

	pthread_mutex_init(&v->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&v->changed, &attr);
	pthread_condattr_destroy(&attr);
	v->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (v->wake < 0)
		return vmj_fail(err, errno, "cannot make an eventfd: %m");
	rc = sd_event_add_io(loop, &v->wake_source, v->wake, EPOLLIN, on_wake, v);
	if (rc < 0)
		return vmj_fail(err, -rc, "cannot watch an eventfd: %s", vmj_strerror(rc));
	virSetErrorFunc(NULL, drop_error);
	if (virInitialize() < 0)
		return vmj_virt_fail(err, "cannot start libvirt's library");
	rc = vmj_virt_events_start(loop, err);
	if (rc < 0)
		return rc;
	rc = pthread_create(&v->connector, NULL, connector_main, v);
	if (rc != 0) {
		vmj_virt_events_stop();
		return vmj_fail(err, rc, "cannot start a thread: %s", vmj_strerror(rc));
	}
	return 0;
}

int vmj_virt_new(sd_event *loop, const struct vmj_virt_ops *ops, void *arg, struct vmj_virt **ret,
		 struct vmj_error *err)
{
	struct vmj_virt *v = calloc(1, sizeof(*v));
	int rc;

	if (!v)
		return vmj_fail(err, ENOMEM, "out of memory");
	v->ops = *ops;
	v->arg = arg;
	rc = start(v, loop, err);
	if (rc < 0) {
		sd_event_source_disable_unref(v->wake_source);
		vmj_close(v->wake);
		free(v);
		return rc;
	}
	*ret = v;
	return 0;
}

void vmj_virt_free(struct vmj_virt *v)
{
	struct timespec t;

	if (!v)
		return;
	pthread_mutex_lock(&v->lock);
	v->stopping = true;
	pthread_cond_signal(&v->changed);
	pthread_mutex_unlock(&v->lock);
	v->wake_source = sd_event_source_disable_unref(v->wake_source);
	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += JOIN_S;
	if (pthread_timedjoin_np(v->connector, NULL, &t) != 0)
		return; /* it waits for a libvirtd that hangs, and needs v */
	vmj_virt_events_stop();
	vmj_close(v->wake);
	pthread_cond_destroy(&v->changed);
	pthread_mutex_destroy(&v->lock);
	free(v);
}
