/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/agent/tail.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"

#define CHUNK      16384
#define CHUNKS_MAX 64 /* at once: then others have their turn, and inotify calls us again */

struct vmj_tail {
	void (*grew)(const uint8_t *data, size_t len, void *arg);
	void *arg;
	char path[512], dir[512];
	int fd; /* -1: not there yet */
	sd_event_source *file_watch, *dir_watch;
};

static int on_change(sd_event_source *s, const struct inotify_event *event, void *arg)
{
	vmj_tail_drain(arg);
	return 0;
}

static bool read_to_end(struct vmj_tail *t)
{
	uint8_t chunk[CHUNK];
	ssize_t n;

	for (unsigned int i = 0; t->fd >= 0 && i < CHUNKS_MAX; i++) {
		n = read(t->fd, chunk, sizeof(chunk));
		if (n <= 0)
			return true;
		t->grew(chunk, (size_t)n, t->arg);
	}
	return t->fd < 0;
}

/* The watch comes before the first read, so that nothing is appended unnoticed between. */
static int open_file(struct vmj_tail *t)
{
	vmj_autoclose int fd = open(t->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;
	int r;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return -EINVAL;
	t->file_watch = sd_event_source_disable_unref(t->file_watch);
	r = sd_event_add_inotify(sd_event_source_get_event(t->dir_watch), &t->file_watch, t->path,
				 IN_MODIFY, on_change, t);
	if (r < 0)
		return r;
	vmj_close(t->fd);
	t->fd = vmj_steal_fd(fd);
	return 0;
}

static bool is_replaced(const struct vmj_tail *t)
{
	struct stat named, opened;

	if (stat(t->path, &named) < 0)
		return false;
	return t->fd < 0 || fstat(t->fd, &opened) < 0 || opened.st_ino != named.st_ino ||
	       opened.st_dev != named.st_dev;
}

void vmj_tail_drain(struct vmj_tail *t)
{
	while (read_to_end(t) && is_replaced(t))
		if (open_file(t) < 0)
			return;
}

int vmj_tail_new(sd_event *loop, const char *path, size_t backlog,
		 void (*grew)(const uint8_t *data, size_t len, void *arg), void *arg,
		 struct vmj_tail **ret, struct vmj_error *err)
{
	struct vmj_tail *t = calloc(1, sizeof(*t));
	off_t size;
	char *slash;
	int r;

	if (!t)
		return vmj_fail(err, ENOMEM, "no memory to read %s", path);
	t->fd = -1;
	t->grew = grew;
	t->arg = arg;
	snprintf(t->path, sizeof(t->path), "%s", path);
	snprintf(t->dir, sizeof(t->dir), "%s", path);
	slash = strrchr(t->dir, '/');
	if (slash)
		*slash = '\0';
	r = sd_event_add_inotify(loop, &t->dir_watch, t->dir, IN_CREATE | IN_MOVED_TO | IN_ONLYDIR,
				 on_change, t);
	if (r >= 0)
		r = open_file(t);
	if (r < 0) {
		vmj_tail_free(t);
		return vmj_fail(err, -r, "cannot read %s: %s", path, vmj_strerror(r));
	}
	size = t->fd < 0 ? 0 : lseek(t->fd, 0, SEEK_END);
	if (t->fd >= 0)
		lseek(t->fd, size > (off_t)backlog ? size - (off_t)backlog : 0, SEEK_SET);
	vmj_tail_drain(t);
	*ret = t;
	return 0;
}

void vmj_tail_free(struct vmj_tail *t)
{
	if (!t)
		return;
	sd_event_source_disable_unref(t->file_watch);
	sd_event_source_disable_unref(t->dir_watch);
	vmj_close(t->fd);
	free(t);
}
