/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/storage/follow.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/storage/digest.h"

#define PIECE  (1u << 20)
#define PIECES 8

struct vmj_follow {
	pthread_t thread;
	struct vmj_digest *digest; /* the thread's, until it is joined */
	char *pieces[PIECES];      /* a ring: `first` and those behind it are the thread's */
	size_t lens[PIECES];
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t more, room;
	unsigned int first, full;
	bool ended, cancelled;
};

static bool await_more(struct vmj_follow *f)
{
	bool more;

	pthread_mutex_lock(&f->lock);
	while (!f->full && !f->ended)
		pthread_cond_wait(&f->more, &f->lock);
	more = f->full && !f->cancelled;
	pthread_mutex_unlock(&f->lock);
	return more;
}

static void *run(void *arg)
{
	struct vmj_follow *f = arg;

	while (await_more(f)) {
		vmj_digest_add(f->digest, f->pieces[f->first], f->lens[f->first]);
		pthread_mutex_lock(&f->lock);
		f->first = (f->first + 1) % PIECES;
		f->full--;
		pthread_cond_signal(&f->room);
		pthread_mutex_unlock(&f->lock);
	}
	return NULL;
}

static void follow_free(struct vmj_follow *f)
{
	for (unsigned int i = 0; i < PIECES; i++)
		free(f->pieces[i]);
	vmj_digest_free(f->digest);
	free(f);
}

static bool allocate(struct vmj_follow *f)
{
	bool all = (f->digest = vmj_digest_new("SHA256")) != NULL;

	for (unsigned int i = 0; i < PIECES; i++)
		all &= (f->pieces[i] = malloc(PIECE)) != NULL;
	return all;
}

struct vmj_follow *vmj_follow_start(void)
{
	struct vmj_follow *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->more, NULL);
	pthread_cond_init(&f->room, NULL);
	if (allocate(f) && pthread_create(&f->thread, NULL, run, f) == 0)
		return f;
	follow_free(f);
	return NULL;
}

/* The piece behind the full ones, once it is empty: ours until it counts as full. */
static unsigned int await_room(struct vmj_follow *f)
{
	unsigned int next;

	pthread_mutex_lock(&f->lock);
	while (f->full == PIECES)
		pthread_cond_wait(&f->room, &f->lock);
	next = (f->first + f->full) % PIECES;
	pthread_mutex_unlock(&f->lock);
	return next;
}

void vmj_follow_add(struct vmj_follow *f, const char *data, size_t len)
{
	while (len) {
		unsigned int next = await_room(f);
		size_t n = len < PIECE ? len : PIECE;

		memcpy(f->pieces[next], data, n);
		f->lens[next] = n;
		pthread_mutex_lock(&f->lock);
		f->full++;
		pthread_cond_signal(&f->more);
		pthread_mutex_unlock(&f->lock);
		data += n;
		len -= n;
	}
}

static int end(struct vmj_follow *f, bool cancelled, char ret[65])
{
	char hex[VMJ_DIGEST_HEX_MAX];
	int rc = 0;

	pthread_mutex_lock(&f->lock);
	f->ended = true;
	f->cancelled = cancelled;
	pthread_cond_signal(&f->more);
	pthread_mutex_unlock(&f->lock);
	pthread_join(f->thread, NULL);
	if (!cancelled && strlen(vmj_digest_end(f->digest, hex)) == 64)
		memcpy(ret, hex, 65);
	else if (!cancelled)
		rc = -EIO;
	pthread_cond_destroy(&f->room);
	pthread_cond_destroy(&f->more);
	pthread_mutex_destroy(&f->lock);
	follow_free(f);
	return rc;
}

int vmj_follow_end(struct vmj_follow *f, char ret[65])
{
	return end(f, false, ret);
}

void vmj_follow_cancel(struct vmj_follow *f)
{
	if (f)
		end(f, true, NULL);
}
