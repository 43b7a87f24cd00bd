/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/cli/feed.h"

#include <errno.h>
#include <json-c/json.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/clock.h"
#include "vmjob/cli/agents.h"
#include "vmjob/cli/say.h"
#include "vmjob/cli/table.h"
#include "vmjob/model/json.h"

#define REOPEN_MS 2000 /* between tries to reach a lost agent while following */

struct source {
	const char *host;
	struct vmj_client *client; /* NULL: lost, or its log has ended */
	bool ended;
	int64_t seen; /* time of the last entry, microseconds: a reopened log begins from its start
		       */
	bool again;   /* reopened: skip what was seen */
	struct vmj_error err;
};

struct vmj_feed {
	struct vmj_hosts hosts;
	uint32_t job;
	bool follow;
	size_t n;
	struct source *sources;
	struct pollfd *polls;
};

static int open_source(const struct vmj_feed *feed, struct source *s)
{
	vmj_autojson struct json_object *request =
		feed->job ? vmj_request_for_job("events", feed->job) : vmj_request_new("events");
	struct vmj_client *client;
	int rc;

	json_object_object_add(request, "follow", json_object_new_boolean(feed->follow));
	rc = vmj_agent_open(s->host, VMJ_AGENT_TIMEOUT_MS, &client, &s->err);
	if (rc < 0)
		return rc;
	rc = vmj_client_call(client, request, VMJ_AGENT_TIMEOUT_MS, NULL, &s->err);
	if (rc < 0) {
		vmj_client_close(client);
		return vmj_fail_prefix(&s->err, "%s", s->host);
	}
	s->client = client;
	return 0;
}

static void open_one(size_t i, void *arg)
{
	struct vmj_feed *feed = arg;

	open_source(feed, &feed->sources[i]);
}

static int copy_hosts(const struct vmj_hosts *hosts, struct vmj_feed *feed, struct vmj_error *err)
{
	for (size_t i = 0; i < hosts->n; i++) {
		int rc = vmj_hosts_add(&feed->hosts, hosts->names[i], err);

		if (rc < 0)
			return rc;
	}
	feed->n = feed->hosts.n;
	feed->sources = calloc(feed->n + 1, sizeof(*feed->sources));
	feed->polls = calloc(feed->n + 1, sizeof(*feed->polls));
	if (!feed->sources || !feed->polls)
		return vmj_fail(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < feed->n; i++)
		feed->sources[i].host = feed->hosts.names[i];
	return 0;
}

int vmj_feed_open(const struct vmj_hosts *hosts, uint32_t job, bool follow, struct vmj_feed **ret,
		  size_t *ret_unreachable, struct vmj_error *err)
{
	struct vmj_feed *feed = calloc(1, sizeof(*feed));
	size_t unreachable = 0;
	int rc;

	if (!feed)
		return vmj_fail(err, ENOMEM, "out of memory");
	feed->job = job;
	feed->follow = follow;
	rc = copy_hosts(hosts, feed, err);
	if (rc < 0) {
		vmj_feed_free(feed);
		return rc;
	}
	vmj_agents_each(feed->n, open_one, feed);
	for (size_t i = 0; i < feed->n; i++)
		if (!feed->sources[i].client) {
			vmj_say("%s", feed->sources[i].err.text);
			feed->sources[i].ended = true;
			unreachable++;
		}
	*ret = feed;
	*ret_unreachable = unreachable;
	return 0;
}

void vmj_feed_free(struct vmj_feed *feed)
{
	if (!feed)
		return;
	for (size_t i = 0; feed->sources && i < feed->n; i++)
		vmj_client_close(feed->sources[i].client);
	free(feed->sources);
	free(feed->polls);
	vmj_hosts_done(&feed->hosts);
	free(feed);
}

static void lose(const struct vmj_feed *feed, struct source *s, const char *why)
{
	vmj_client_close(s->client);
	s->client = NULL;
	s->again = true;
	s->ended = !feed->follow;
	vmj_say("%s: lost its agent (%s)%s", s->host, why, feed->follow ? "; trying again" : "");
}

/* What this connection has for us: 1 and *ret, 0 nothing now. */
static int take(const struct vmj_feed *feed, struct source *s, struct json_object **ret)
{
	vmj_autojson struct json_object *o = NULL;
	vmj_autofree void *data = NULL;
	struct vmj_error err;
	const char *event;
	int64_t time;
	size_t len;
	int rc = vmj_client_receive(s->client, 0, &o, &data, &len, &err);

	if (rc == -EAGAIN)
		return 0;
	if (rc <= 0) {
		lose(feed, s, rc == 0 ? "it closed the connection" : err.text);
		return 0;
	}
	event = vmj_json_text(o, "event", "");
	if (!strcmp(event, "log-end")) {
		vmj_client_close(s->client);
		s->client = NULL;
		s->ended = true;
		return 0;
	}
	time = vmj_json_int(o, "time", 0);
	if (strcmp(event, "log") != 0 || (s->again && time <= s->seen))
		return take(feed, s, ret);
	s->seen = time;
	json_object_object_del(o, "event");
	json_object_object_add(o, "host", json_object_new_string(s->host));
	*ret = vmj_steal(o);
	return 1;
}

/* Wait until a connection has something; lost ones are opened anew from time to time. */
static int wait_some(struct vmj_feed *feed, int timeout_ms)
{
	bool lost = false;

	for (size_t i = 0; i < feed->n; i++) {
		struct source *s = &feed->sources[i];

		feed->polls[i] = (struct pollfd){.fd = s->client ? vmj_client_fd(s->client) : -1,
						 .events = POLLIN};
		lost |= !s->client && !s->ended;
	}
	if (lost && (timeout_ms < 0 || timeout_ms > REOPEN_MS))
		timeout_ms = REOPEN_MS;
	int n = poll(feed->polls, feed->n, timeout_ms);
	for (size_t i = 0; n == 0 && lost && i < feed->n; i++)
		if (!feed->sources[i].client && !feed->sources[i].ended)
			open_source(feed, &feed->sources[i]);
	return n;
}

int vmj_feed_next(struct vmj_feed *feed, int timeout_ms, struct json_object **ret,
		  struct vmj_error *err)
{
	int64_t deadline = vmj_clock_ms(CLOCK_MONOTONIC) + timeout_ms;

	for (;;) {
		bool open = false;
		int64_t left = -1;

		for (size_t i = 0; i < feed->n; i++)
			if (feed->sources[i].client && take(feed, &feed->sources[i], ret))
				return 1;
		for (size_t i = 0; i < feed->n; i++)
			open |= !feed->sources[i].ended;
		if (!open)
			return 0;
		if (timeout_ms >= 0)
			left = deadline - vmj_clock_ms(CLOCK_MONOTONIC);
		if (timeout_ms >= 0 && left <= 0)
			return vmj_fail(err, EAGAIN, "nothing happened within %d ms", timeout_ms);
		wait_some(feed, (int)left);
	}
}
