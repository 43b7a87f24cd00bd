/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/agent/volume_lock.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

struct vmj_volume_lock {
	LIST_ENTRY(vmj_volume_lock) link;
	char key[];
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t freed = PTHREAD_COND_INITIALIZER;
static LIST_HEAD(, vmj_volume_lock) held = LIST_HEAD_INITIALIZER(held); /* a few */

static bool is_held(const char *key)
{
	struct vmj_volume_lock *l;

	LIST_FOREACH (l, &held, link)
		if (strcmp(l->key, key) == 0)
			return true;
	return false;
}

int vmj_volume_lock(const char *domain, uid_t uid, const char *volume, struct vmj_volume_lock **ret,
		    struct vmj_error *err)
{
	size_t size = strlen(domain) + strlen(volume) + 16;
	struct vmj_volume_lock *l = calloc(1, sizeof(*l) + size);

	if (!l)
		return vmj_fail(err, ENOMEM, "out of memory");
	snprintf(l->key, size, "%s %u %s", domain, (unsigned int)uid, volume);
	pthread_mutex_lock(&mutex);
	while (is_held(l->key))
		pthread_cond_wait(&freed, &mutex);
	LIST_INSERT_HEAD(&held, l, link);
	pthread_mutex_unlock(&mutex);
	*ret = l;
	return 0;
}

void vmj_volume_unlock(struct vmj_volume_lock *l)
{
	if (!l)
		return;
	pthread_mutex_lock(&mutex);
	LIST_REMOVE(l, link);
	pthread_cond_broadcast(&freed);
	pthread_mutex_unlock(&mutex);
	free(l);
}
