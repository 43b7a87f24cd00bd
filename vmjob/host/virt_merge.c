/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QEMU's block jobs: started here, and waited for by libvirt's event, which comes on the loop's
 * thread, while a worker waits. Now and then the worker looks itself: for the progress, and since
 * the event is lost when libvirtd goes meanwhile.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "vmjob/host/virt_private.h"
#include "vmjob/host/virt_snapshot.h"

#define LOOK_MS 500

/* Shared by the one who waits and libvirt's callback, freed by the last of them. */
struct watch {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned int refs;
	bool ended;
	char target[8];
};

static struct watch *watch_new(const char *target)
{
	struct watch *w = calloc(1, sizeof(*w));
	pthread_condattr_t attr;

	if (!w)
		return NULL;
	pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->changed, &attr);
	pthread_condattr_destroy(&attr);
	w->refs = 1;
	snprintf(w->target, sizeof(w->target), "%s", target);
	return w;
}

static void watch_unref(void *arg)
{
	struct watch *w = arg;
	bool last;

	pthread_mutex_lock(&w->lock);
	last = --w->refs == 0;
	pthread_mutex_unlock(&w->lock);
	if (!last)
		return;
	pthread_cond_destroy(&w->changed);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

static void on_block_job(virConnectPtr c, virDomainPtr d, const char *disk, int type, int status,
			 void *arg)
{
	struct watch *w = arg;

	if (strcmp(disk, w->target) != 0 || status == VIR_DOMAIN_BLOCK_JOB_READY)
		return;
	pthread_mutex_lock(&w->lock);
	w->ended = true;
	pthread_cond_signal(&w->changed);
	pthread_mutex_unlock(&w->lock);
}

/* The callback's id, or -1. */
static int watch_start(struct watch *w, virConnectPtr c, virDomainPtr d)
{
	int id;

	w->refs++;
	id = virConnectDomainEventRegisterAny(c, d, VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2,
					      VIR_DOMAIN_EVENT_CALLBACK(on_block_job), w,
					      watch_unref);
	if (id < 0)
		watch_unref(w);
	return id;
}

static bool wait_a_while(struct watch *w)
{
	struct timespec t;
	int rc = 0;
	bool ended;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_nsec += LOOK_MS * 1000000;
	t.tv_sec += t.tv_nsec / 1000000000;
	t.tv_nsec %= 1000000000;
	pthread_mutex_lock(&w->lock);
	while (!w->ended && rc == 0)
		rc = pthread_cond_timedwait(&w->changed, &w->lock, &t);
	ended = w->ended;
	pthread_mutex_unlock(&w->lock);
	return ended;
}

/* Until the disk has no job any more. */
static int wait_for_end(struct watch *w, virDomainPtr d, const struct vmj_virt_merge *m,
			struct vmj_error *err)
{
	virDomainBlockJobInfo info;
	bool ended = false;

	while (!ended) {
		int rc;

		ended = wait_a_while(w);
		rc = virDomainGetBlockJobInfo(d, m->target, &info, 0);
		if (rc < 0)
			return vmj_virt_fail(
				err, "cannot see what disk %s of guest vmjob-%" PRIu32 " does",
				m->target, m->job);
		if (rc == 0)
			return 0;
		if (m->progress && info.end)
			m->progress((double)info.cur / (double)info.end, m->arg);
	}
	return 0;
}

typedef int (*start_fn)(virDomainPtr d, const struct vmj_virt_merge *m);

static int start_commit(virDomainPtr d, const struct vmj_virt_merge *m)
{
	return virDomainBlockCommit(d, m->target, m->below, m->gone, 0, 0);
}

static int start_pull(virDomainPtr d, const struct vmj_virt_merge *m)
{
	return virDomainBlockRebase(d, m->target, m->below, 0, 0);
}

/* 1: gone from the chain, 0: not yet. */
static int is_gone(struct vmj_virt *v, const struct vmj_virt_merge *m, struct vmj_error *err)
{
	struct vmj_virt_chain chain;
	int rc = vmj_virt_chain(v, m->job, m->target, &chain, err);

	return rc < 0 ? rc : !vmj_virt_chain_has(&chain, m->gone);
}

/* libvirt 9.0 has its lock manager lock the file that takes the data in, and never unlock it. */
static int start_failed(const struct vmj_virt_merge *m, struct vmj_error *err)
{
	bool locked = virGetLastErrorCode() == VIR_ERR_RESOURCE_BUSY;
	int rc = vmj_virt_fail(err, "cannot merge layers of disk %s of guest vmjob-%" PRIu32,
			       m->target, m->job);

	if (!locked)
		return rc;
	if (err)
		err->code = EBUSY;
	return -EBUSY;
}

static int run(struct vmj_virt *v, const struct vmj_virt_merge *m, start_fn start,
	       struct vmj_error *err)
{
	auto_conn virConnectPtr c = NULL;
	auto_domain virDomainPtr d = NULL;
	struct watch *w;
	int id, rc = vmj_virt_connection(v, &c, err);

	if (rc == 0)
		rc = vmj_virt_lookup(v, m->job, &d, err);
	if (rc < 0)
		return rc;
	w = watch_new(m->target);
	if (!w)
		return vmj_fail(err, ENOMEM, "out of memory");
	id = watch_start(w, c, d);
	if (id < 0 || start(d, m) < 0)
		rc = start_failed(m, err);
	else
		rc = wait_for_end(w, d, m, err);
	if (id >= 0)
		virConnectDomainEventDeregisterAny(c, id);
	watch_unref(w);
	return rc;
}

static int merge(struct vmj_virt *v, const struct vmj_virt_merge *m, start_fn start,
		 struct vmj_error *err)
{
	int rc = is_gone(v, m, err);

	if (rc != 0)
		return rc < 0 ? rc : 0;
	rc = run(v, m, start, err);
	if (rc == 0)
		rc = is_gone(v, m, err);
	if (rc == 0)
		return vmj_fail(err, EIO,
				"QEMU ended the merge of %s in guest vmjob-%" PRIu32
				" before it was done (is the storage full?): nothing is lost, try "
				"again",
				m->gone, m->job);
	return rc < 0 ? rc : 0;
}

int vmj_virt_commit(struct vmj_virt *v, const struct vmj_virt_merge *m, struct vmj_error *err)
{
	return merge(v, m, start_commit, err);
}

int vmj_virt_pull(struct vmj_virt *v, const struct vmj_virt_merge *m, struct vmj_error *err)
{
	return merge(v, m, start_pull, err);
}

int vmj_virt_abort_merge(struct vmj_virt *v, uint32_t job, const char *target,
			 struct vmj_error *err)
{
	auto_domain virDomainPtr d = NULL;
	virDomainBlockJobInfo info;
	int rc = vmj_virt_lookup(v, job, &d, err);

	if (rc < 0)
		return rc;
	rc = virDomainGetBlockJobInfo(d, target, &info, 0);
	if (rc > 0)
		rc = virDomainBlockJobAbort(d, target, 0);
	if (rc < 0 && virDomainGetBlockJobInfo(d, target, &info, 0) != 0)
		return vmj_virt_fail(err, "cannot end what disk %s of guest vmjob-%" PRIu32 " does",
				     target, job);
	return 0;
}
