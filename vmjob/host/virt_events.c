/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. libvirt asks its caller for an event loop (virEventRegisterImpl): watches of
 * descriptors and periodic time-outs, which it adds, changes and removes from any thread, while
 * sd-event belongs to one thread. So the table below is what libvirt wants, under a lock; a change
 * marks its entry and wakes the loop through an eventfd, and the loop's thread brings sd-event into
 * line. Nothing of an entry is called once it is marked as removed; its memory and libvirt's own
 * (ff) are freed on the loop's thread, never within remove(), as libvirt demands.
 *
 * A descriptor may be closed and its number used anew before the loop comes to remove the watch, so
 * sd-event gets a duplicate that is ours.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "vmjob/host/virt_private.h"

struct entry {
	struct entry *next;
	int id;
	bool removed, dirty;
	sd_event_source *source; /* the loop's thread only */
	void *opaque;
	virFreeCallback ff;
	int fd, dup; /* dup -1: a time-out */
	int events;  /* VIR_EVENT_HANDLE_* */
	virEventHandleCallback on_fd;
	int interval_ms; /* -1: off */
	virEventTimeoutCallback on_time;
};

static struct {
	pthread_mutex_t lock;
	struct entry *entries;
	int next_id;
	sd_event *loop;
	int wake; /* eventfd */
	sd_event_source *wake_source;
	bool registered;
} impl = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = -1};

static void wake(void)
{
	if (impl.wake >= 0)
		eventfd_write(impl.wake, 1);
}

static struct entry *find(int id)
{
	for (struct entry *e = impl.entries; e; e = e->next)
		if (e->id == id && !e->removed)
			return e;
	return NULL;
}

static int add(struct entry *e)
{
	pthread_mutex_lock(&impl.lock);
	e->id = ++impl.next_id;
	e->dirty = true;
	e->next = impl.entries;
	impl.entries = e;
	wake();
	pthread_mutex_unlock(&impl.lock);
	return e->id;
}

static int add_handle(int fd, int events, virEventHandleCallback cb, void *opaque,
		      virFreeCallback ff)
{
	struct entry *e = calloc(1, sizeof(*e));

	if (!e)
		return -1;
	*e = (struct entry){.fd = fd, .events = events, .on_fd = cb, .opaque = opaque, .ff = ff};
	e->dup = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (e->dup < 0) {
		free(e);
		return -1;
	}
	return add(e);
}

static int add_timeout(int interval_ms, virEventTimeoutCallback cb, void *opaque,
		       virFreeCallback ff)
{
	struct entry *e = calloc(1, sizeof(*e));

	if (!e)
		return -1;
	*e = (struct entry){
		.dup = -1, .interval_ms = interval_ms, .on_time = cb, .opaque = opaque, .ff = ff};
	return add(e);
}

static void update(int id, int value)
{
	struct entry *e;

	pthread_mutex_lock(&impl.lock);
	e = find(id);
	if (e) {
		if (e->dup >= 0)
			e->events = value;
		else
			e->interval_ms = value;
		e->dirty = true;
		wake();
	}
	pthread_mutex_unlock(&impl.lock);
}

static int remove_entry(int id)
{
	struct entry *e;

	pthread_mutex_lock(&impl.lock);
	e = find(id);
	if (e) {
		e->removed = true;
		wake();
	}
	pthread_mutex_unlock(&impl.lock);
	return e ? 0 : -1;
}

static uint32_t to_epoll(int events)
{
	return (events & VIR_EVENT_HANDLE_READABLE ? EPOLLIN : 0) |
	       (events & VIR_EVENT_HANDLE_WRITABLE ? EPOLLOUT : 0);
}

static int from_epoll(uint32_t revents)
{
	return (revents & EPOLLIN ? VIR_EVENT_HANDLE_READABLE : 0) |
	       (revents & EPOLLOUT ? VIR_EVENT_HANDLE_WRITABLE : 0) |
	       (revents & EPOLLERR ? VIR_EVENT_HANDLE_ERROR : 0) |
	       (revents & EPOLLHUP ? VIR_EVENT_HANDLE_HANGUP : 0);
}

static bool is_removed(struct entry *e)
{
	bool removed;

	pthread_mutex_lock(&impl.lock);
	removed = e->removed;
	pthread_mutex_unlock(&impl.lock);
	return removed;
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	struct entry *e = arg;

	if (!is_removed(e))
		e->on_fd(e->id, e->fd, from_epoll(revents), e->opaque);
	return 0;
}

/* Only after this may the loop's thread look at the source again. */
static void arm(struct entry *e, int interval_ms)
{
	if (interval_ms >= 0) {
		sd_event_source_set_time_relative(e->source, (uint64_t)interval_ms * 1000);
		sd_event_source_set_enabled(e->source, SD_EVENT_ONESHOT);
	} else {
		sd_event_source_set_enabled(e->source, SD_EVENT_OFF);
	}
}

static int on_time(sd_event_source *s, uint64_t usec, void *arg)
{
	struct entry *e = arg;
	int interval_ms;

	pthread_mutex_lock(&impl.lock);
	interval_ms = e->removed ? -1 : e->interval_ms;
	pthread_mutex_unlock(&impl.lock);
	if (interval_ms < 0)
		return 0;
	arm(e, interval_ms); /* periodic; the callback may change it */
	e->on_time(e->id, e->opaque);
	return 0;
}

/* On the loop's thread, under the lock. */
static void apply(struct entry *e)
{
	e->dirty = false;
	if (e->dup < 0) {
		if (!e->source)
			sd_event_add_time_relative(impl.loop, &e->source, CLOCK_MONOTONIC,
						   UINT64_MAX / 4, 1000, on_time, e);
		if (e->source)
			arm(e, e->interval_ms);
		return;
	}
	if (!e->source)
		sd_event_add_io(impl.loop, &e->source, e->dup, to_epoll(e->events), on_io, e);
	else
		sd_event_source_set_io_events(e->source, to_epoll(e->events));
}

static void free_entries(struct entry *e)
{
	while (e) {
		struct entry *next = e->next;

		sd_event_source_disable_unref(e->source);
		vmj_close(e->dup);
		if (e->ff)
			e->ff(e->opaque);
		free(e);
		e = next;
	}
}

/* Bring sd-event into line. Returns the removed entries, unlinked; to be freed without the lock,
 * since ff may call libvirt and that us. */
static struct entry *settle(void)
{
	struct entry **link = &impl.entries, *gone = NULL;

	while (*link) {
		struct entry *e = *link;

		if (e->removed) {
			*link = e->next;
			e->next = gone;
			gone = e;
			continue;
		}
		if (e->dirty && impl.loop)
			apply(e);
		link = &e->next;
	}
	return gone;
}

static int on_wake(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	struct entry *gone;
	eventfd_t n;

	eventfd_read(fd, &n);
	pthread_mutex_lock(&impl.lock);
	gone = settle();
	pthread_mutex_unlock(&impl.lock);
	free_entries(gone);
	return 0;
}

int vmj_virt_events_start(sd_event *loop, struct vmj_error *err)
{
	int rc;

	if (impl.loop)
		return vmj_fail(err, EBUSY, "libvirt's event loop runs already");
	impl.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (impl.wake < 0)
		return vmj_fail(err, errno, "cannot make an eventfd: %m");
	rc = sd_event_add_io(loop, &impl.wake_source, impl.wake, EPOLLIN, on_wake, NULL);
	if (rc < 0) {
		impl.wake = vmj_close(impl.wake);
		return vmj_fail(err, -rc, "cannot watch an eventfd: %s", vmj_strerror(rc));
	}
	/* Before anything of libvirt's that it may change. */
	sd_event_source_set_priority(impl.wake_source, SD_EVENT_PRIORITY_IMPORTANT);
	impl.loop = sd_event_ref(loop);
	if (!impl.registered) {
		virEventRegisterImpl(add_handle, update, remove_entry, add_timeout, update,
				     remove_entry);
		impl.registered = true;
	}
	return 0;
}

void vmj_virt_events_stop(void)
{
	struct entry *gone;

	if (!impl.loop)
		return;
	pthread_mutex_lock(&impl.lock);
	gone = settle();
	for (struct entry *e = impl.entries; e; e = e->next) {
		e->source = sd_event_source_disable_unref(e->source); /* libvirt's leak, not ours */
		e->dirty = true;
	}
	impl.wake_source = sd_event_source_disable_unref(impl.wake_source);
	impl.wake = vmj_close(impl.wake);
	impl.loop = sd_event_unref(impl.loop);
	pthread_mutex_unlock(&impl.lock);
	free_entries(gone);
}
