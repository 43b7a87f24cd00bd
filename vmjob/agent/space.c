/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/agent/space.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-event.h>

#include "vmjob/agent/eventlog.h"
#include "vmjob/base/log.h"
#include "vmjob/base/parse.h"

/* One domain; kept while a worker has it, though vmjob.conf may not name it any more. */
struct space {
	LIST_ENTRY(space) link;
	struct vmj_spaces *all;
	struct vmj_storage_config storage; /* as it is now */
	bool asked;                        /* the rest but `room` is not to be touched */
	bool known;
	struct vmj_capacity room, seen;
	enum vmj_watermark mark;
	int r;
};

struct vmj_spaces {
	struct vmj_agent *agent;
	sd_event_source *timer;
	uint64_t period_us;
	LIST_HEAD(, space) list;
};

static const char *const texts[] = {
	[VMJ_WATERMARK_OK] = "has room again",
	[VMJ_WATERMARK_LOW] = "is low on space, no new disk is promised",
	[VMJ_WATERMARK_CRITICAL] = "is nearly full, guests will pause when it is",
};

static void tell(struct space *s, enum vmj_watermark mark)
{
	char room[24], size[24];

	vmj_format_bytes(s->room.free_bytes, room, sizeof(room));
	vmj_format_bytes(s->room.total_bytes, size, sizeof(size));
	vmj_log(mark == VMJ_WATERMARK_OK ? LOG_INFO : LOG_WARNING,
		"storage %s %s: %s of %s are free", s->storage.name, texts[mark], room, size);
	vmj_eventlog_add(s->all->agent->events, 0, 0, "storage", "storage %s %s: %s of %s are free",
			 s->storage.name, texts[mark], room, size);
}

static void ask_work(void *arg)
{
	struct space *s = arg;

	s->r = vmj_capacity_read(s->storage.path, &s->seen, NULL);
}

static void ask_done(void *arg)
{
	struct space *s = arg;
	enum vmj_watermark mark;

	s->asked = false;
	if (s->r < 0)
		return;
	s->room = s->seen;
	s->known = true;
	mark = vmj_watermark_next(&s->storage, s->mark, s->room.total_bytes, s->room.free_bytes);
	if (mark == s->mark)
		return;
	s->mark = mark;
	tell(s, mark);
}

static struct space *find(const struct vmj_spaces *all, const char *path)
{
	struct space *s;

	LIST_FOREACH (s, &all->list, link)
		if (strcmp(s->storage.path, path) == 0)
			return s;
	return NULL;
}

/* In a lane apart from those of reports and counts, which may be slow where this is not. */
static void ask(struct vmj_spaces *all, const struct vmj_storage_config *storage, uint64_t lane)
{
	struct space *s = find(all, storage->path);

	if (!s) {
		s = calloc(1, sizeof(*s));
		if (!s)
			return;
		s->all = all;
		s->storage = *storage;
		LIST_INSERT_HEAD(&all->list, s, link);
	}
	if (s->asked)
		return;
	s->storage = *storage;
	s->asked = vmj_pool_submit(all->agent->pool, lane, ask_work, ask_done, s) == 0;
}

/* Those that vmjob.conf does not name any more. */
static void forget(struct vmj_spaces *all)
{
	const struct vmj_config *c = all->agent->settings->config;
	struct space *s, *next;

	for (s = LIST_FIRST(&all->list); s; s = next) {
		bool named = false;

		next = LIST_NEXT(s, link);
		for (unsigned int i = 0; i < c->n_storages; i++)
			named |= strcmp(c->storages[i].path, s->storage.path) == 0;
		if (named || s->asked)
			continue;
		LIST_REMOVE(s, link);
		free(s);
	}
}

static int on_time(sd_event_source *source, uint64_t usec, void *arg)
{
	struct vmj_spaces *all = arg;
	const struct vmj_config *c = all->agent->settings->config;

	forget(all);
	for (unsigned int i = 0; i < c->n_storages; i++)
		ask(all, &c->storages[i], VMJ_LANE_STORAGE(3 * VMJ_CONFIG_ITEMS_MAX + i));
	sd_event_source_set_time(source, usec + all->period_us);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

int vmj_spaces_new(struct vmj_agent *a, uint64_t period_us, struct vmj_spaces **ret,
		   struct vmj_error *err)
{
	struct vmj_spaces *all = calloc(1, sizeof(*all));
	int r;

	if (!all)
		return vmj_fail(err, ENOMEM, "the agent has no memory left");
	all->agent = a;
	all->period_us = period_us;
	LIST_INIT(&all->list);
	r = sd_event_add_time_relative(a->loop, &all->timer, CLOCK_MONOTONIC, 0, period_us / 10,
				       on_time, all);
	if (r < 0) {
		free(all);
		return vmj_fail(err, -r, "cannot set a timer: %s", vmj_strerror(r));
	}
	*ret = all;
	return 0;
}

void vmj_spaces_free(struct vmj_spaces *all)
{
	struct space *s;

	if (!all)
		return;
	sd_event_source_disable_unref(all->timer);
	while ((s = LIST_FIRST(&all->list))) {
		LIST_REMOVE(s, link);
		free(s);
	}
	free(all);
}

bool vmj_spaces_find(const struct vmj_spaces *all, const char *path, struct vmj_capacity *ret_room,
		     enum vmj_watermark *ret_mark)
{
	const struct space *s = find(all, path);

	if (!s || !s->known)
		return false;
	*ret_room = s->room;
	*ret_mark = s->mark;
	return true;
}
