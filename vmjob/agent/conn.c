/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/agent/conn.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>
#include <time.h>

#include "vmjob/agent/pool.h"
#include "vmjob/base/cleanup.h"
#include "vmjob/base/log.h"
#include "vmjob/wire/frame.h"
#include "vmjob/wire/munge.h"
#include "vmjob/wire/secure.h"

#define FIRST_REQUEST_US (10 * 1000000ull)
#define IDLE_US          (120 * 1000000ull)
#define ACCURACY_US      1000000ull
#define READ_CHUNK       16384
#define OUT_MAX          (1u << 20)   /* then the client is dropped */
#define OUT_DATA_MAX     (256u << 10) /* then data is skipped */

struct credential_check;

struct vmj_conn {
	const struct vmj_conn_env *env;
	struct vmj_peer peer;
	int fd;
	bool closed;
	bool closing; /* after what is queued has gone out */
	bool resume;  /* frames may be waiting in the decoder: come round even if nothing is new */
	sd_event_source *io, *timer, *reaper;
	struct vmj_decoder *decoder;
	struct vmj_secure *secure;      /* NULL: local */
	struct credential_check *check; /* at work */
	struct vmj_buffer out;          /* local only; remote: the secure stream's */
	LIST_HEAD(, vmj_call) calls;
	unsigned int n_calls;
	LIST_HEAD(, vmj_attachment) attachments;
};

/* --- closing --------------------------------------------------------------------------------- */

static void check_forget(struct vmj_conn *c);

static void release_memory(struct vmj_conn *c)
{
	sd_event_source_disable_unref(c->io);
	sd_event_source_disable_unref(c->timer);
	sd_event_source_disable_unref(c->reaper);
	vmj_close(c->fd);
	vmj_decoder_free(c->decoder);
	vmj_secure_free(c->secure);
	vmj_buffer_done(&c->out);
	free(c);
}

static int on_reap(sd_event_source *s, void *arg)
{
	release_memory(arg);
	return 0;
}

void vmj_conn_close(struct vmj_conn *c)
{
	struct vmj_attachment *a;
	struct vmj_call *call;

	if (c->closed)
		return;
	c->closed = true;
	check_forget(c);
	c->io = sd_event_source_disable_unref(c->io);
	c->timer = sd_event_source_disable_unref(c->timer);
	c->fd = vmj_close(c->fd);
	while ((call = LIST_FIRST(&c->calls))) {
		LIST_REMOVE(call, link);
		call->conn = NULL;
	}
	while ((a = LIST_FIRST(&c->attachments))) {
		vmj_conn_detach(a);
		a->closed(a);
	}
	c->env->on_closed(c, c->env->arg);
	sd_event_add_defer(c->env->loop, &c->reaper, on_reap, c);
}

void vmj_conn_free(struct vmj_conn *c)
{
	vmj_conn_close(c);
	release_memory(c);
}

const struct vmj_peer *vmj_conn_peer(const struct vmj_conn *c)
{
	return &c->peer;
}

void vmj_conn_attach(struct vmj_conn *c, struct vmj_attachment *a)
{
	a->conn = c;
	LIST_INSERT_HEAD(&c->attachments, a, link);
}

void vmj_conn_detach(struct vmj_attachment *a)
{
	if (!a->conn)
		return;
	LIST_REMOVE(a, link);
	a->conn = NULL;
}

/* --- output ---------------------------------------------------------------------------------- */

static struct vmj_buffer *out_buffer(const struct vmj_conn *c)
{
	return c->secure ? vmj_secure_out(c->secure) : (struct vmj_buffer *)&c->out;
}

/* A client that asks without reading the answers waits for itself. */
static bool may_take(const struct vmj_conn *c)
{
	return !c->closed && !c->closing && c->n_calls < VMJ_CONN_CALLS_MAX &&
	       out_buffer(c)->len < OUT_DATA_MAX;
}

static void update_events(struct vmj_conn *c)
{
	bool read_on = may_take(c);
	bool write_on = out_buffer(c)->len || c->resume;
	uint32_t events = (read_on ? EPOLLIN : 0) | (write_on ? EPOLLOUT : 0);

	if (!c->closed)
		sd_event_source_set_io_events(c->io, events);
}

/* What the socket takes now; the rest when it says so. */
static void flush(struct vmj_conn *c)
{
	struct vmj_buffer *out = out_buffer(c);

	while (!c->closed && out->len) {
		ssize_t n = send(c->fd, vmj_buffer_data(out), out->len, MSG_NOSIGNAL);

		if (n >= 0)
			vmj_buffer_consume(out, (size_t)n);
		else if (errno == EAGAIN)
			break;
		else if (errno != EINTR)
			vmj_conn_close(c);
	}
	if (c->closed)
		return;
	if (c->closing && !out->len)
		vmj_conn_close(c);
	else
		update_events(c);
}

static int queue_frame(struct vmj_conn *c, char type, const void *payload, size_t len)
{
	vmj_autofree uint8_t *frame = NULL;
	size_t size;
	int r = vmj_frame_encode(type, payload, len, &frame, &size);

	if (r < 0)
		return r;
	if (c->secure)
		return vmj_secure_write(c->secure, frame, size, NULL);
	return vmj_buffer_append(&c->out, frame, size);
}

void vmj_conn_send(struct vmj_conn *c, struct json_object *o)
{
	const char *text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);
	int r = 0;

	if (!c->closed && !c->closing) {
		r = out_buffer(c)->len > OUT_MAX ? -ENOBUFS
						 : queue_frame(c, 'J', text, strlen(text));
		if (r == 0) {
			flush(c);
		} else {
			vmj_log_warning("dropping a client of uid %u: %s", c->peer.uid,
					vmj_strerror(r));
			vmj_conn_close(c);
		}
	}
	json_object_put(o);
}

bool vmj_conn_has_room(const struct vmj_conn *c, size_t len)
{
	return out_buffer(c)->len + len <= OUT_DATA_MAX;
}

void vmj_conn_send_data(struct vmj_conn *c, const void *data, size_t len)
{
	if (c->closed || c->closing)
		return;
	if (queue_frame(c, 'D', data, len) == 0)
		flush(c);
	else
		vmj_conn_close(c);
}

/* --- calls ----------------------------------------------------------------------------------- */

struct json_object *vmj_error_answer(const struct vmj_error *err)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "ok", json_object_new_boolean(0));
	json_object_object_add(o, "code", json_object_new_int(err->code));
	json_object_object_add(
		o, "fault", json_object_new_string(err->fault == VMJ_FAULT_USER ? "user" : "host"));
	json_object_object_add(o, "error", json_object_new_string(err->text));
	return o;
}

static void finish_call(struct vmj_call *call, struct json_object *answer)
{
	struct vmj_conn *c = call->conn;

	if (c) {
		LIST_REMOVE(call, link);
		c->resume = c->resume || c->n_calls == VMJ_CONN_CALLS_MAX;
		c->n_calls--;
		if (call->has_id)
			json_object_object_add(answer, "id", json_object_new_int64(call->id));
		vmj_conn_send(c, answer);
	} else {
		json_object_put(answer);
	}
	json_object_put(call->args);
	free(call);
}

void vmj_call_ok(struct vmj_call *call, struct json_object *answer)
{
	if (!answer)
		answer = json_object_new_object();
	json_object_object_add(answer, "ok", json_object_new_boolean(1));
	finish_call(call, answer);
}

void vmj_call_fail(struct vmj_call *call, const struct vmj_error *err)
{
	finish_call(call, vmj_error_answer(err));
}

/* A message that is no request at all: say so and end the connection. */
static void reject(struct vmj_conn *c, struct vmj_error *err)
{
	err->fault = VMJ_FAULT_USER;
	vmj_debug("ending the connection of uid %u: %s", c->peer.uid, err->text);
	c->closing = true;
	if (!c->secure || vmj_secure_state(c->secure) == VMJ_SECURE_OPEN) {
		struct json_object *o = vmj_error_answer(err);
		const char *text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);

		queue_frame(c, 'J', text, strlen(text));
		json_object_put(o);
	}
	flush(c);
}

static void set_timer(struct vmj_conn *c, uint64_t us)
{
	sd_event_source_set_time_relative(c->timer, us);
	sd_event_source_set_enabled(c->timer, SD_EVENT_ONESHOT);
}

static void take_json(struct vmj_conn *c, const uint8_t *payload, size_t len)
{
	struct json_object *o, *v;
	struct vmj_call *call;
	struct vmj_error err;

	if (vmj_frame_json(payload, len, &o, &err) < 0) {
		reject(c, &err);
		return;
	}
	call = calloc(1, sizeof(*call));
	if (!call || !json_object_object_get_ex(o, "op", &v) ||
	    !json_object_is_type(v, json_type_string)) {
		vmj_fail_user(&err, EPROTO, "a request has no \"op\"");
		json_object_put(o);
		free(call);
		reject(c, &err);
		return;
	}
	call->op = json_object_get_string(v);
	call->args = o;
	call->conn = c;
	call->peer = c->peer;
	call->has_id = json_object_object_get_ex(o, "id", &v);
	if (call->has_id)
		call->id = json_object_get_int64(v);
	LIST_INSERT_HEAD(&c->calls, call, link);
	c->n_calls++;
	set_timer(c, IDLE_US);
	c->env->on_call(call, c->env->arg);
}

static void take_data(struct vmj_conn *c, const uint8_t *payload, size_t len)
{
	struct vmj_attachment *a;
	struct vmj_error err;

	LIST_FOREACH (a, &c->attachments, link)
		if (a->data) {
			a->data(a, payload, len);
			return;
		}
	vmj_fail_user(&err, EPROTO, "data came, but no console is open on this connection");
	reject(c, &err);
}

/* --- input ----------------------------------------------------------------------------------- */

/* Frames that are whole, as long as more calls may be open. */
static void take_frames(struct vmj_conn *c)
{
	const uint8_t *payload;
	size_t len;
	char type;

	while (may_take(c) && vmj_decoder_next(c->decoder, &type, &payload, &len)) {
		if (type == 'J')
			take_json(c, payload, len);
		else
			take_data(c, payload, len);
	}
}

static void start_check(struct vmj_conn *c);

static int feed(struct vmj_conn *c, const uint8_t *data, size_t len, struct vmj_error *err)
{
	struct vmj_buffer *in;
	int r;

	if (!c->secure)
		return vmj_decoder_feed(c->decoder, data, len, err);
	r = vmj_secure_feed(c->secure, data, len, err);
	if (r < 0)
		return r;
	if (vmj_secure_state(c->secure) == VMJ_SECURE_CREDENTIAL && !c->check)
		start_check(c);
	in = vmj_secure_in(c->secure);
	if (in->len) {
		r = vmj_decoder_feed(c->decoder, vmj_buffer_data(in), in->len, err);
		vmj_buffer_consume(in, in->len);
	}
	return r;
}

static void read_some(struct vmj_conn *c)
{
	uint8_t chunk[READ_CHUNK];
	struct vmj_error err;
	ssize_t n = recv(c->fd, chunk, sizeof(chunk), 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		vmj_conn_close(c);
	else if (feed(c, chunk, (size_t)n, &err) < 0)
		reject(c, &err);
	else
		take_frames(c);
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	struct vmj_conn *c = arg;

	c->resume = false;
	if (revents & EPOLLOUT)
		flush(c);
	if (!c->closed && (revents & EPOLLIN))
		read_some(c);
	else if (!c->closed && (revents & (EPOLLHUP | EPOLLERR)))
		vmj_conn_close(c);
	if (!c->closed) {
		take_frames(c);
		update_events(c);
	}
	return 0;
}

static int on_timer(sd_event_source *s, uint64_t usec, void *arg)
{
	struct vmj_conn *c = arg;
	struct vmj_error err;

	if (c->n_calls || !LIST_EMPTY(&c->attachments)) {
		set_timer(c, IDLE_US);
		return 0;
	}
	if (c->closing) {
		vmj_conn_close(c);
		return 0;
	}
	vmj_fail_user(&err, ETIMEDOUT, "no request came in time");
	set_timer(c, ACCURACY_US);
	reject(c, &err);
	return 0;
}

/* --- who is it: remote peers ----------------------------------------------------------------- */

/* Of the loop, but for the middle part, which a worker fills. */
struct credential_check {
	struct vmj_conn *conn; /* NULL: gone meanwhile */
	char *credential;
	void *payload;
	size_t len;
	uid_t uid;
	gid_t gid;
	int r;
	struct vmj_error err;
};

static void check_work(void *arg)
{
	struct credential_check *k = arg;

	k->r = vmj_munge_decode(k->credential, &k->payload, &k->len, &k->uid, &k->gid, &k->err);
}

static void check_done(void *arg)
{
	struct credential_check *k = arg;
	struct vmj_conn *c = k->conn;

	if (c) {
		c->check = NULL;
		if (k->r < 0)
			vmj_secure_refuse(c->secure, &k->err);
		else
			k->r = vmj_secure_accept(c->secure, k->payload, k->len, c->env->hosts,
						 &k->err);
		if (k->r < 0) {
			vmj_log_warning("a client from another host is refused: %s", k->err.text);
			c->closing = true;
		} else {
			c->peer.uid = k->uid;
			c->peer.gid = k->gid;
			c->env->on_peer(c, c->env->arg);
		}
		if (!c->closed)
			flush(c);
	}
	free(k->credential);
	free(k->payload);
	free(k);
}

static void check_forget(struct vmj_conn *c)
{
	if (c->check)
		c->check->conn = NULL;
	c->check = NULL;
}

static void start_check(struct vmj_conn *c)
{
	struct credential_check *k = calloc(1, sizeof(*k));
	struct vmj_error err;

	if (k)
		k->credential = strdup(vmj_secure_credential(c->secure));
	if (k && k->credential) {
		k->conn = c;
		if (vmj_pool_submit(c->env->pool, 0, check_work, check_done, k) == 0) {
			c->check = k;
			return;
		}
	}
	if (k)
		free(k->credential);
	free(k);
	vmj_fail(&err, EBUSY, "the agent is too busy to check a credential: try again");
	vmj_secure_refuse(c->secure, &err);
	c->closing = true;
}

/* --- opening --------------------------------------------------------------------------------- */

int vmj_conn_new(const struct vmj_conn_env *env, int fd, const struct vmj_peer *peer,
		 struct vmj_conn **ret)
{
	struct vmj_conn *c = calloc(1, sizeof(*c));
	int r = -ENOMEM;

	if (!c)
		return r;
	c->env = env;
	c->peer = *peer;
	c->fd = -1;
	LIST_INIT(&c->calls);
	LIST_INIT(&c->attachments);
	c->decoder = vmj_decoder_new();
	if (!peer->local)
		c->secure = vmj_secure_new_server();
	if (c->decoder && (peer->local || c->secure)) {
		r = sd_event_add_io(env->loop, &c->io, fd, EPOLLIN, on_io, c);
		if (r >= 0)
			r = sd_event_add_time_relative(env->loop, &c->timer, CLOCK_MONOTONIC,
						       FIRST_REQUEST_US, ACCURACY_US, on_timer, c);
	}
	if (r < 0) {
		release_memory(c);
		return r;
	}
	c->fd = fd;
	*ret = c;
	flush(c);
	return 0;
}
