/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/log.h"
#include "vmjob/step/link.h"
#include "vmjob/model/json.h"
#include "vmjob/wire/client.h"

#define RETRY_US 200000

struct vmj_link {
	sd_event *event; /* borrowed: outlives the link */
	uint32_t job;
	const struct vmj_link_handler *handler;
	void *arg;
	struct vmj_client *client; /* NULL: not connected */
	sd_event_source *io, *retry;
	uint64_t give_up_us; /* CLOCK_MONOTONIC; set while not connected */
	unsigned int wanted; /* bits of enum vmj_link_op */
	int asked;           /* the operation whose answer is awaited; -1: none */
};

static const char *const op_names[VMJ_LINK_OP_COUNT_] = {
	[VMJ_LINK_RUN] = "run",       [VMJ_LINK_SHOW] = "show", [VMJ_LINK_SUSPEND] = "suspend",
	[VMJ_LINK_RESUME] = "resume", [VMJ_LINK_STOP] = "stop",
};

static void disconnect(struct vmj_link *l)
{
	l->io = sd_event_source_disable_unref(l->io);
	vmj_client_close(l->client);
	l->client = NULL;
}

static uint64_t now_us(struct vmj_link *l)
{
	uint64_t now = 0;

	sd_event_now(l->event, CLOCK_MONOTONIC, &now);
	return now;
}

/* Back to the start: everything that was under way is wanted again, after `run`. */
static void lose(struct vmj_link *l, const struct vmj_error *err)
{
	disconnect(l);
	if (l->asked >= 0)
		l->wanted |= 1u << l->asked;
	l->wanted |= 1u << VMJ_LINK_RUN;
	l->asked = -1;
	l->give_up_us = now_us(l) + VMJ_LINK_PATIENCE_S * 1000000ull;
	vmj_debug("link lost: %s", err->text);
	sd_event_source_set_time_relative(l->retry, RETRY_US);
	sd_event_source_set_enabled(l->retry, SD_EVENT_ONESHOT);
}

static int send_op(struct vmj_link *l, enum vmj_link_op op, struct vmj_error *err)
{
	vmj_autojson struct json_object *o = json_object_new_object();

	if (!o)
		return vmj_fail(err, ENOMEM, "out of memory");
	json_object_object_add(o, "op", json_object_new_string(op_names[op]));
	json_object_object_add(o, "job", json_object_new_int64(l->job));
	if (op == VMJ_LINK_STOP)
		json_object_object_add(o, "force", json_object_new_boolean(false));
	return vmj_client_send(l->client, o, err);
}

static void send_next(struct vmj_link *l)
{
	struct vmj_error err;
	int op;

	if (!l->client || l->asked >= 0 || !l->wanted)
		return;
	op = __builtin_ctz(l->wanted);
	if (send_op(l, op, &err) < 0) {
		lose(l, &err);
		return;
	}
	l->wanted &= ~(1u << op);
	l->asked = op;
}

static void take_answer(struct vmj_link *l, struct json_object *answer)
{
	struct json_object *ok = NULL, *code = NULL, *text = NULL;
	enum vmj_link_op op = l->asked;
	struct vmj_error err;

	if (l->asked < 0) {
		vmj_debug("the agent answered although nothing was asked");
		return;
	}
	l->asked = -1;
	json_object_object_get_ex(answer, "ok", &ok);
	if (json_object_get_boolean(ok)) {
		l->handler->answer(l->arg, op, answer);
		return;
	}
	json_object_object_get_ex(answer, "code", &code);
	json_object_object_get_ex(answer, "error", &text);
	vmj_fail(&err, json_object_get_int(code) > 0 ? json_object_get_int(code) : EIO, "%s",
		 text ? json_object_get_string(text) : "the agent refused without saying why");
	l->handler->refused(l->arg, op, &err);
}

static void take_frame(struct vmj_link *l, struct json_object *frame)
{
	if (json_object_object_get_ex(frame, "event", NULL))
		l->handler->event(l->arg, frame);
	else
		take_answer(l, frame);
}

/* All frames that are there. */
static int receive(struct vmj_link *l, struct vmj_error *err)
{
	while (l->client) {
		vmj_autojson struct json_object *frame = NULL;
		vmj_autofree void *data = NULL;
		size_t len = 0;
		int r = vmj_client_receive(l->client, 0, &frame, &data, &len, err);

		if (r == -EAGAIN)
			return 0;
		if (r == 0)
			return vmj_fail(err, ECONNRESET, "the agent closed the connection");
		if (r < 0)
			return r;
		if (frame)
			take_frame(l, frame);
	}
	return 0;
}

static int on_readable(sd_event_source *source, int fd, uint32_t revents, void *arg)
{
	struct vmj_link *l = arg;
	struct vmj_error err;

	if (receive(l, &err) < 0)
		lose(l, &err);
	send_next(l);
	return 0;
}

static int connect_now(struct vmj_link *l, struct vmj_error *err)
{
	int r = vmj_client_open(NULL, 0, 0, &l->client, err);

	if (r < 0)
		return r;
	r = sd_event_add_io(l->event, &l->io, vmj_client_fd(l->client), EPOLLIN, on_readable, l);
	if (r < 0) {
		disconnect(l);
		return vmj_fail(err, -r, "cannot watch the agent's connection: %s", strerror(-r));
	}
	return 0;
}

static int on_retry(sd_event_source *source, uint64_t usec, void *arg)
{
	struct vmj_link *l = arg;
	struct vmj_error err;

	if (connect_now(l, &err) == 0) {
		send_next(l);
	} else if (usec >= l->give_up_us) {
		l->handler->lost(l->arg, &err);
	} else {
		sd_event_source_set_time_relative(source, RETRY_US);
		sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	}
	return 0;
}

int vmj_link_start(sd_event *event, uint32_t job, const struct vmj_link_handler *handler, void *arg,
		   struct vmj_link **ret, struct vmj_error *err)
{
	struct vmj_link *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return vmj_fail(err, ENOMEM, "out of memory");
	*l = (struct vmj_link){
		.event = event,
		.job = job,
		.handler = handler,
		.arg = arg,
		.asked = -1,
		.wanted = 1u << VMJ_LINK_RUN,
	};
	l->give_up_us = now_us(l) + VMJ_LINK_PATIENCE_S * 1000000ull;
	r = sd_event_add_time_relative(event, &l->retry, CLOCK_MONOTONIC, 0, 0, on_retry, l);
	if (r < 0) {
		vmj_link_free(l);
		return vmj_fail(err, -r, "cannot set a timer: %s", strerror(-r));
	}
	*ret = l;
	return 0;
}

void vmj_link_ask(struct vmj_link *l, enum vmj_link_op op)
{
	if (op == VMJ_LINK_SUSPEND)
		l->wanted &= ~(1u << VMJ_LINK_RESUME);
	if (op == VMJ_LINK_RESUME)
		l->wanted &= ~(1u << VMJ_LINK_SUSPEND);
	l->wanted |= 1u << op;
	send_next(l);
}

void vmj_link_free(struct vmj_link *l)
{
	if (!l)
		return;
	disconnect(l);
	sd_event_source_disable_unref(l->retry);
	free(l);
}
