/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/agent/ready.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <systemd/sd-event.h>
#include <time.h>

struct waiter {
	LIST_ENTRY(waiter) link;
	sd_event_source *timer;
	void (*go)(void *arg);
	void *arg;
};

struct vmj_ready {
	sd_event *loop;
	bool connected;
	LIST_HEAD(, waiter) waiters;
};

int vmj_ready_new(sd_event *loop, struct vmj_ready **ret, struct vmj_error *err)
{
	struct vmj_ready *r = calloc(1, sizeof(*r));

	if (!r)
		return vmj_fail(err, ENOMEM, "no memory for the agent");
	r->loop = loop;
	LIST_INIT(&r->waiters);
	*ret = r;
	return 0;
}

static void take_out(struct waiter *w)
{
	LIST_REMOVE(w, link);
	sd_event_source_disable_unref(w->timer);
	free(w);
}

void vmj_ready_free(struct vmj_ready *r)
{
	if (!r)
		return;
	while (!LIST_EMPTY(&r->waiters))
		take_out(LIST_FIRST(&r->waiters));
	free(r);
}

bool vmj_ready(const struct vmj_ready *r)
{
	return r->connected;
}

static void let_go(struct waiter *w)
{
	void (*go)(void *arg) = w->go;
	void *arg = w->arg;

	take_out(w);
	go(arg);
}

void vmj_ready_set(struct vmj_ready *r, bool connected)
{
	r->connected = connected;
	while (r->connected && !LIST_EMPTY(&r->waiters))
		let_go(LIST_FIRST(&r->waiters));
}

static int on_timer(sd_event_source *s, uint64_t usec, void *arg)
{
	let_go(arg);
	return 0;
}

void vmj_ready_wait(struct vmj_ready *r, uint64_t timeout_us, void (*go)(void *arg), void *arg)
{
	struct waiter *w = r->connected ? NULL : calloc(1, sizeof(*w));

	if (w && sd_event_add_time_relative(r->loop, &w->timer, CLOCK_MONOTONIC, timeout_us, 0,
					    on_timer, w) >= 0) {
		w->go = go;
		w->arg = arg;
		LIST_INSERT_HEAD(&r->waiters, w, link);
		return;
	}
	free(w);
	go(arg);
}
