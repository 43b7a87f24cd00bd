/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/storage/follow.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/storage/digest.h"

#define PIECE (1u << 20)

struct vmj_follow {
	int fd, rc;
	pthread_t thread;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t more;
	uint64_t limit;
	bool ended, cancelled;
	char sha256[65]; /* the thread's until it is joined, like rc */
};

/* Up to where it may read now, once that is beyond `done` or the end has come. */
static uint64_t await_more(struct vmj_follow *f, uint64_t done)
{
	uint64_t limit;

	pthread_mutex_lock(&f->lock);
	while (f->limit <= done && !f->ended)
		pthread_cond_wait(&f->more, &f->lock);
	limit = f->cancelled ? done : f->limit;
	pthread_mutex_unlock(&f->lock);
	return limit;
}

static int read_all(struct vmj_follow *f, struct vmj_digest *d, char *buf)
{
	uint64_t done = 0, limit;

	while ((limit = await_more(f, done)) > done) {
		size_t len = limit - done < PIECE ? (size_t)(limit - done) : PIECE;
		ssize_t n = pread(f->fd, buf, len, (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		vmj_digest_add(d, buf, (size_t)n);
		done += (uint64_t)n;
	}
	return 0;
}

static void *run(void *arg)
{
	struct vmj_follow *f = arg;
	vmj_auto_digest struct vmj_digest *d = vmj_digest_new("SHA256");
	vmj_autofree char *buf = malloc(PIECE);
	char hex[VMJ_DIGEST_HEX_MAX];

	f->rc = d && buf ? read_all(f, d, buf) : -ENOMEM;
	if (f->rc == 0 && strlen(vmj_digest_end(d, hex)) == 64)
		memcpy(f->sha256, hex, sizeof(f->sha256));
	else if (f->rc == 0)
		f->rc = -EIO;
	return NULL;
}

struct vmj_follow *vmj_follow_start(int fd)
{
	struct vmj_follow *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->fd = fd;
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->more, NULL);
	if (pthread_create(&f->thread, NULL, run, f) == 0)
		return f;
	free(f);
	return NULL;
}

void vmj_follow_to(struct vmj_follow *f, uint64_t offset)
{
	pthread_mutex_lock(&f->lock);
	f->limit = offset;
	pthread_cond_signal(&f->more);
	pthread_mutex_unlock(&f->lock);
}

static int end(struct vmj_follow *f, bool cancelled, char ret[65])
{
	int rc;

	pthread_mutex_lock(&f->lock);
	f->ended = true;
	f->cancelled = cancelled;
	pthread_cond_signal(&f->more);
	pthread_mutex_unlock(&f->lock);
	pthread_join(f->thread, NULL);
	rc = f->rc;
	if (rc == 0 && ret)
		memcpy(ret, f->sha256, sizeof(f->sha256));
	pthread_cond_destroy(&f->more);
	pthread_mutex_destroy(&f->lock);
	free(f);
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
