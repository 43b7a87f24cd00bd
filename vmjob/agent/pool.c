/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/agent/pool.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <systemd/sd-event.h>
#include <time.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"

#define THREADS_KEPT 4
#define THREADS_MAX  64
#define STACK_BYTES  (1u << 20)

struct task {
	STAILQ_ENTRY(task) link;
	void (*work)(void *arg);
	void (*done)(void *arg);
	void *arg;
};
STAILQ_HEAD(tasks, task);

/*
 * Invariants, under the mutex: a lane exists while it has tasks waiting or one at work. It is in
 * `ready` exactly when it has a task waiting and none at work, so a worker that takes a lane out of
 * `ready` owns it until it puts it back or frees it. Tasks of lane 0 get a lane object each.
 */
struct lane {
	STAILQ_ENTRY(lane) ready_link;
	LIST_ENTRY(lane) all_link;
	uint64_t key;
	bool at_work;
	unsigned int n;
	struct tasks tasks;
};

struct vmj_pool {
	pthread_mutex_t mutex;
	pthread_cond_t wake;   /* to workers */
	pthread_cond_t gone;   /* to vmj_pool_free() */
	LIST_HEAD(, lane) all; /* short: one for each guest that something is done about */
	STAILQ_HEAD(, lane) ready;
	unsigned int n_ready;
	struct tasks finished;
	unsigned int n_threads, n_idle;
	bool ending;
	int event_fd;
	sd_event_source *source;
};

static struct lane *find_lane(const struct vmj_pool *p, uint64_t key)
{
	struct lane *l;

	if (key)
		LIST_FOREACH (l, &p->all, all_link)
			if (l->key == key)
				return l;
	return NULL;
}

static struct lane *make_lane(struct vmj_pool *p, uint64_t key)
{
	struct lane *l = find_lane(p, key);

	if (l)
		return l;
	l = calloc(1, sizeof(*l));
	if (!l)
		return NULL;
	l->key = key;
	STAILQ_INIT(&l->tasks);
	LIST_INSERT_HEAD(&p->all, l, all_link);
	return l;
}

static void make_ready(struct vmj_pool *p, struct lane *l)
{
	STAILQ_INSERT_TAIL(&p->ready, l, ready_link);
	p->n_ready++;
}

static void settle_lane(struct vmj_pool *p, struct lane *l)
{
	l->at_work = false;
	if (l->n) {
		make_ready(p, l);
		return;
	}
	LIST_REMOVE(l, all_link);
	free(l);
}

/* Mutex held, but not while the task works. */
static void work_once(struct vmj_pool *p)
{
	struct lane *l = STAILQ_FIRST(&p->ready);
	struct task *t = STAILQ_FIRST(&l->tasks);
	uint64_t one = 1;

	STAILQ_REMOVE_HEAD(&p->ready, ready_link);
	p->n_ready--;
	STAILQ_REMOVE_HEAD(&l->tasks, link);
	l->n--;
	l->at_work = true;
	pthread_mutex_unlock(&p->mutex);
	t->work(t->arg);
	pthread_mutex_lock(&p->mutex);
	settle_lane(p, l);
	STAILQ_INSERT_TAIL(&p->finished, t, link);
	if (write(p->event_fd, &one, sizeof(one)) < 0)
		abort(); /* the counter cannot overflow, and the descriptor is ours */
}

static void *worker(void *arg)
{
	struct vmj_pool *p = arg;

	pthread_mutex_lock(&p->mutex);
	for (;;) {
		while (!p->ending && STAILQ_EMPTY(&p->ready) && p->n_threads <= THREADS_KEPT) {
			p->n_idle++;
			pthread_cond_wait(&p->wake, &p->mutex);
			p->n_idle--;
		}
		if (p->ending || STAILQ_EMPTY(&p->ready))
			break;
		work_once(p);
	}
	p->n_threads--;
	pthread_cond_signal(&p->gone);
	pthread_mutex_unlock(&p->mutex);
	return NULL;
}

/* Workers take no signals: those are the loop's. */
static int start_thread(struct vmj_pool *p)
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, old;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	r = pthread_create(&thread, &attr, worker, p);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r == 0)
		p->n_threads++;
	return -r;
}

int vmj_pool_submit(struct vmj_pool *p, uint64_t lane, void (*work)(void *arg),
		    void (*done)(void *arg), void *arg)
{
	struct task *t = calloc(1, sizeof(*t));
	struct lane *l;
	int r = 0;

	if (!t)
		return -ENOMEM;
	*t = (struct task){.work = work, .done = done, .arg = arg};
	pthread_mutex_lock(&p->mutex);
	if (p->n_ready >= p->n_idle && p->n_threads < THREADS_MAX && start_thread(p) < 0 &&
	    !p->n_threads)
		r = -EAGAIN;
	l = r < 0 ? NULL : make_lane(p, lane);
	if (!l) {
		r = r < 0 ? r : -ENOMEM;
	} else {
		STAILQ_INSERT_TAIL(&l->tasks, t, link);
		t = NULL;
		if (l->n++ == 0 && !l->at_work)
			make_ready(p, l);
		pthread_cond_signal(&p->wake);
	}
	pthread_mutex_unlock(&p->mutex);
	free(t);
	return r;
}

unsigned int vmj_pool_load(struct vmj_pool *p, uint64_t lane)
{
	const struct lane *l;
	unsigned int n;

	pthread_mutex_lock(&p->mutex);
	l = find_lane(p, lane);
	n = l ? l->n + l->at_work : 0;
	pthread_mutex_unlock(&p->mutex);
	return n;
}

static int on_finished(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	struct vmj_pool *p = arg;
	struct tasks finished = STAILQ_HEAD_INITIALIZER(finished);
	struct task *t;
	uint64_t count;

	if (read(fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return -errno;
	pthread_mutex_lock(&p->mutex);
	STAILQ_CONCAT(&finished, &p->finished);
	pthread_mutex_unlock(&p->mutex);
	while ((t = STAILQ_FIRST(&finished))) {
		STAILQ_REMOVE_HEAD(&finished, link);
		t->done(t->arg);
		free(t);
	}
	return 0;
}

int vmj_pool_new(sd_event *loop, struct vmj_pool **ret, struct vmj_error *err)
{
	struct vmj_pool *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return vmj_fail(err, ENOMEM, "no memory for worker threads");
	pthread_mutex_init(&p->mutex, NULL);
	pthread_cond_init(&p->wake, NULL);
	pthread_cond_init(&p->gone, NULL);
	LIST_INIT(&p->all);
	STAILQ_INIT(&p->ready);
	STAILQ_INIT(&p->finished);
	p->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	r = p->event_fd < 0
		    ? -errno
		    : sd_event_add_io(loop, &p->source, p->event_fd, EPOLLIN, on_finished, p);
	if (r < 0) {
		vmj_pool_free(p);
		return vmj_fail(err, -r, "cannot set up worker threads: %s", vmj_strerror(r));
	}
	*ret = p;
	return 0;
}

static void drop_tasks(struct tasks *tasks)
{
	struct task *t;

	while ((t = STAILQ_FIRST(tasks))) {
		STAILQ_REMOVE_HEAD(tasks, link);
		free(t);
	}
}

static void drop_lanes(struct vmj_pool *p)
{
	struct lane *l;

	while ((l = LIST_FIRST(&p->all))) {
		LIST_REMOVE(l, all_link);
		drop_tasks(&l->tasks);
		free(l);
	}
}

/* Threads get a second to come back. One that does not still uses the pool when its call returns,
 * so the pool is then left to it. */
void vmj_pool_free(struct vmj_pool *p)
{
	struct timespec until;
	unsigned int left;

	if (!p)
		return;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec++;
	pthread_mutex_lock(&p->mutex);
	p->ending = true;
	pthread_cond_broadcast(&p->wake);
	while (p->n_threads)
		if (pthread_cond_timedwait(&p->gone, &p->mutex, &until) != 0)
			break;
	left = p->n_threads;
	pthread_mutex_unlock(&p->mutex);
	sd_event_source_disable_unref(p->source);
	if (left)
		return;
	drop_lanes(p);
	drop_tasks(&p->finished);
	vmj_close(p->event_fd);
	free(p);
}
