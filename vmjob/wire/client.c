/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/wire/client.h"

#include <errno.h>
#include <json-c/json.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/wire/connect.h"
#include "vmjob/wire/frame.h"
#include "vmjob/wire/munge.h"
#include "vmjob/wire/secure.h"

#define SEND_TIMEOUT_MS 30000
#define CHUNK           16384
#define KEPT_MAX        1024 /* frames that may come while an answer is awaited */

struct frame {
	STAILQ_ENTRY(frame) link;
	char type;
	size_t len;
	uint8_t payload[];
};
STAILQ_HEAD(frames, frame);

struct vmj_client {
	int fd;
	struct vmj_decoder *decoder;
	struct vmj_secure *secure; /* NULL on the local socket */
	struct frames kept;
	unsigned int n_kept;
	int64_t last_id;
	bool ended;
};

VMJ_DEFINE_CLEANUP(struct vmj_client *, vmj_client_close);

void vmj_client_close(struct vmj_client *c)
{
	struct frame *f;

	if (!c)
		return;
	while ((f = STAILQ_FIRST(&c->kept))) {
		STAILQ_REMOVE_HEAD(&c->kept, link);
		free(f);
	}
	vmj_close(c->fd);
	vmj_decoder_free(c->decoder);
	vmj_secure_free(c->secure);
	free(c);
}

int vmj_client_fd(const struct vmj_client *c)
{
	return c->fd;
}

/* --- bytes ----------------------------------------------------------------------------------- */

static int lost(struct vmj_error *err, int e)
{
	return vmj_fail(err, e, "the connection to vmjob's agent broke: %s", strerror(e));
}

static int write_all(struct vmj_client *c, const uint8_t *data, size_t len, struct vmj_error *err)
{
	int64_t deadline = vmj_deadline(SEND_TIMEOUT_MS);

	while (len) {
		ssize_t n = send(c->fd, data, len, MSG_NOSIGNAL);

		if (n >= 0) {
			data += n;
			len -= (size_t)n;
		} else if (errno == EAGAIN) {
			if (vmj_fd_wait(c->fd, POLLOUT, deadline) < 0)
				return lost(err, ETIMEDOUT);
		} else if (errno != EINTR) {
			return lost(err, errno);
		}
	}
	return 0;
}

static int flush_secure(struct vmj_client *c, struct vmj_error *err)
{
	struct vmj_buffer *out = vmj_secure_out(c->secure);
	int r = write_all(c, vmj_buffer_data(out), out->len, err);

	if (r == 0)
		vmj_buffer_consume(out, out->len);
	return r;
}

static int send_frame(struct vmj_client *c, char type, const void *payload, size_t len,
		      struct vmj_error *err)
{
	vmj_autofree uint8_t *frame = NULL;
	size_t size;
	int r = vmj_frame_encode(type, payload, len, &frame, &size);

	if (r < 0)
		return vmj_fail(err, -r, "cannot send a message of %zu bytes to vmjob's agent",
				len);
	if (!c->secure)
		return write_all(c, frame, size, err);
	r = vmj_secure_write(c->secure, frame, size, err);
	return r < 0 ? r : flush_secure(c, err);
}

static int feed(struct vmj_client *c, const uint8_t *data, size_t len, struct vmj_error *err)
{
	struct vmj_buffer *in;
	int r;

	if (!c->secure)
		return vmj_decoder_feed(c->decoder, data, len, err);
	r = vmj_secure_feed(c->secure, data, len, err);
	in = vmj_secure_in(c->secure);
	if (r == 0 && in->len) {
		r = vmj_decoder_feed(c->decoder, vmj_buffer_data(in), in->len, err);
		vmj_buffer_consume(in, in->len);
	}
	return r;
}

/* Read once what is there: 1 something came, 0 the end, -EAGAIN at the deadline. */
static int fill(struct vmj_client *c, int64_t deadline, struct vmj_error *err)
{
	uint8_t chunk[CHUNK];
	ssize_t n;
	int r;

	for (;;) {
		n = recv(c->fd, chunk, sizeof(chunk), 0);
		if (n >= 0)
			break;
		if (errno == EAGAIN) {
			r = vmj_fd_wait(c->fd, POLLIN, deadline);
			if (r == -EAGAIN)
				return vmj_fail(err, EAGAIN,
						"vmjob's agent did not answer in time");
			if (r < 0)
				return lost(err, -r);
		} else if (errno != EINTR) {
			return lost(err, errno);
		}
	}
	if (n > 0) {
		r = feed(c, chunk, (size_t)n, err);
		return r < 0 ? r : 1;
	}
	if (c->secure && vmj_secure_state(c->secure) != VMJ_SECURE_ENDED)
		return lost(err, ECONNRESET);
	c->ended = true;
	return 0;
}

/* --- opening --------------------------------------------------------------------------------- */

static int send_credential(struct vmj_client *c, struct vmj_error *err)
{
	vmj_autofree char *credential = NULL;
	const uint8_t *offer;
	size_t len;
	int r;

	r = vmj_secure_offer(c->secure, &offer, &len);
	if (r < 0)
		return vmj_fail(err, -r, "no credential is wanted now");
	r = vmj_munge_encode(offer, len, &credential, err);
	if (r == 0)
		r = vmj_secure_send_credential(c->secure, credential, err);
	return r < 0 ? r : flush_secure(c, err);
}

static int open_remote(struct vmj_client *c, const char *host, uint16_t port, int64_t deadline,
		       struct vmj_error *err)
{
	int r;

	c->fd = vmj_connect_tcp(host, port, deadline, err);
	if (c->fd < 0)
		return c->fd;
	c->secure = vmj_secure_new_client(host);
	if (!c->secure)
		return vmj_fail(err, EINVAL, "no secure connection can be made to host \"%s\"",
				host);
	while (vmj_secure_state(c->secure) != VMJ_SECURE_OPEN) {
		if (vmj_secure_state(c->secure) == VMJ_SECURE_CREDENTIAL)
			r = send_credential(c, err);
		else
			r = fill(c, deadline, err);
		if (r < 0)
			return r;
	}
	return flush_secure(c, err);
}

static int open_local(struct vmj_client *c, int64_t deadline, struct vmj_error *err)
{
	const char *path = getenv(VMJ_AGENT_SOCKET_ENV);

	c->fd = vmj_connect_local(path ? path : VMJ_RUNSTATEDIR "/vmjob/agent.sock", deadline, err);
	return c->fd < 0 ? c->fd : 0;
}

int vmj_client_open(const char *host, uint16_t port, int timeout_ms, struct vmj_client **ret,
		    struct vmj_error *err)
{
	VMJ_CLEANUP(vmj_client_closep) struct vmj_client *c = calloc(1, sizeof(*c));
	int64_t deadline = vmj_deadline(timeout_ms);
	int r;

	if (!c)
		return vmj_fail(err, ENOMEM, "no memory for a connection");
	c->fd = -1;
	STAILQ_INIT(&c->kept);
	c->decoder = vmj_decoder_new();
	if (!c->decoder)
		return vmj_fail(err, ENOMEM, "no memory for a connection");
	r = host ? open_remote(c, host, port, deadline, err) : open_local(c, deadline, err);
	if (r < 0)
		return r;
	*ret = vmj_steal(c);
	return 0;
}

/* --- frames ---------------------------------------------------------------------------------- */

int vmj_client_send(struct vmj_client *c, struct json_object *o, struct vmj_error *err)
{
	const char *text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);

	if (!text)
		return vmj_fail(err, ENOMEM, "no memory for a message");
	return send_frame(c, 'J', text, strlen(text), err);
}

int vmj_client_send_data(struct vmj_client *c, const void *data, size_t len, struct vmj_error *err)
{
	return send_frame(c, 'D', data, len, err);
}

/* The next frame off the wire, the caller's: 1, 0 at the end, or negative. */
static int next_frame(struct vmj_client *c, int64_t deadline, struct frame **ret,
		      struct vmj_error *err)
{
	const uint8_t *payload;
	struct frame *f;
	size_t len;
	char type;
	int r;

	while (!vmj_decoder_next(c->decoder, &type, &payload, &len)) {
		r = c->ended ? 0 : fill(c, deadline, err);
		if (r <= 0)
			return r;
	}
	f = malloc(sizeof(*f) + len);
	if (!f)
		return vmj_fail(err, ENOMEM, "no memory for a message of %zu bytes", len);
	f->type = type;
	f->len = len;
	memcpy(f->payload, payload, len);
	*ret = f;
	return 1;
}

static int frame_out(const struct frame *f, struct json_object **ret_json, void **ret_data,
		     size_t *ret_len, struct vmj_error *err)
{
	void *data;
	int r;

	if (f->type == 'J') {
		r = vmj_frame_json(f->payload, f->len, ret_json, err);
		if (r < 0)
			return r;
		*ret_data = NULL;
		*ret_len = 0;
		return 1;
	}
	data = malloc(f->len + 1);
	if (!data)
		return vmj_fail(err, ENOMEM, "no memory for %zu bytes", f->len);
	memcpy(data, f->payload, f->len);
	*ret_data = data;
	*ret_len = f->len;
	*ret_json = NULL;
	return 1;
}

int vmj_client_receive(struct vmj_client *c, int timeout_ms, struct json_object **ret_json,
		       void **ret_data, size_t *ret_len, struct vmj_error *err)
{
	vmj_autofree struct frame *f = STAILQ_FIRST(&c->kept);
	int r;

	if (f) {
		STAILQ_REMOVE_HEAD(&c->kept, link);
		c->n_kept--;
	} else {
		r = next_frame(c, vmj_deadline(timeout_ms), &f, err);
		if (r <= 0)
			return r;
	}
	return frame_out(f, ret_json, ret_data, ret_len, err);
}

/* --- calls ----------------------------------------------------------------------------------- */

/* Is this frame the answer with our id? 1 with *ret, 0 it is something else, -ESTALE: the answer to
 * a call that was given up. */
static int is_answer(const struct frame *f, int64_t id, struct json_object **ret,
		     struct vmj_error *err)
{
	struct json_object *o = NULL, *v;
	int r;

	if (f->type != 'J')
		return 0;
	r = vmj_frame_json(f->payload, f->len, &o, err);
	if (r < 0)
		return r;
	if (!json_object_object_get_ex(o, "ok", NULL)) {
		json_object_put(o);
		return 0;
	}
	if (json_object_object_get_ex(o, "id", &v) && json_object_get_int64(v) != id) {
		json_object_put(o);
		return -ESTALE;
	}
	*ret = o;
	return 1;
}

struct waiting {
	int64_t id;
	int timeout_ms;
	vmj_event_fn on_event; /* NULL: events are kept */
	void *arg;
};

/* Other frames than events are dropped: nobody asked for them. */
static int pass_on(const struct waiting *w, const struct frame *f, struct vmj_error *err)
{
	struct json_object *o;
	int r;

	if (f->type != 'J')
		return 0;
	r = vmj_frame_json(f->payload, f->len, &o, err);
	if (r < 0)
		return r;
	w->on_event(o, w->arg);
	json_object_put(o);
	return 0;
}

static int await_answer(struct vmj_client *c, const struct waiting *w, struct json_object **ret,
			struct vmj_error *err)
{
	int64_t deadline = vmj_deadline(w->timeout_ms);

	for (;;) {
		vmj_autofree struct frame *f = NULL;
		int r = next_frame(c, deadline, &f, err);

		if (r == 0)
			return lost(err, ECONNRESET);
		if (r < 0)
			return r;
		r = is_answer(f, w->id, ret, err);
		if (r == 1)
			return 0;
		if (r == -ESTALE)
			continue;
		if (r == 0 && w->on_event) {
			r = pass_on(w, f, err);
			deadline = vmj_deadline(w->timeout_ms);
			if (r == 0)
				continue;
		}
		if (r < 0)
			return r;
		if (c->n_kept >= KEPT_MAX)
			return vmj_fail(err, ENOBUFS, "vmjob's agent sends events but no answer");
		STAILQ_INSERT_TAIL(&c->kept, f, link);
		f = NULL;
		c->n_kept++;
	}
}

static int refusal(struct json_object *answer, struct vmj_error *err)
{
	struct json_object *v;
	const char *text = "it does not say why";
	bool user = false;
	int code = EIO;

	if (json_object_object_get_ex(answer, "error", &v))
		text = json_object_get_string(v);
	if (json_object_object_get_ex(answer, "code", &v) && json_object_get_int(v) > 0)
		code = json_object_get_int(v);
	if (json_object_object_get_ex(answer, "fault", &v))
		user = strcmp(json_object_get_string(v), "user") == 0;
	return user ? vmj_fail_user(err, code, "%s", text) : vmj_fail(err, code, "%s", text);
}

int vmj_client_work(struct vmj_client *c, struct json_object *request, int timeout_ms,
		    vmj_event_fn on_event, void *arg, struct json_object **ret_answer,
		    struct vmj_error *err)
{
	struct waiting w = {
		.id = ++c->last_id, .timeout_ms = timeout_ms, .on_event = on_event, .arg = arg};
	struct json_object *answer = NULL, *ok;
	int r;

	json_object_object_add(request, "id", json_object_new_int64(w.id));
	r = vmj_client_send(c, request, err);
	if (r == 0)
		r = await_answer(c, &w, &answer, err);
	if (r < 0)
		return r;
	json_object_object_get_ex(answer, "ok", &ok);
	if (!json_object_get_boolean(ok)) {
		r = refusal(answer, err);
	} else if (ret_answer) {
		*ret_answer = answer;
		return 0;
	}
	json_object_put(answer);
	return r;
}

int vmj_client_call(struct vmj_client *c, struct json_object *request, int timeout_ms,
		    struct json_object **ret_answer, struct vmj_error *err)
{
	return vmj_client_work(c, request, timeout_ms, NULL, NULL, ret_answer, err);
}
