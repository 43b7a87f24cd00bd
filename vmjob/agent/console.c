/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/agent/console.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <systemd/sd-event.h>
#include <time.h>
#include <unistd.h>

#include "vmjob/agent/ops.h"
#include "vmjob/agent/phase.h"
#include "vmjob/agent/tail.h"
#include "vmjob/base/cleanup.h"
#include "vmjob/base/log.h"
#include "vmjob/wire/buffer.h"

#define LOST_ROOM (128u << 10) /* of its queue that a reader must have free to go on */
#define LAST_US   200000ull    /* virtlogd writes down what the guest showed last */

struct viewer {
	LIST_ENTRY(viewer) link;
	struct vmj_console *console;
	struct vmj_attachment attachment;
	struct vmj_call *call; /* a writer's, until the pty is open */
	bool writes;
	uint64_t lost; /* bytes that this one was too slow for, not told yet */
};

struct vmj_console {
	struct vmj_entry *entry;
	LIST_HEAD(, viewer) viewers;
	unsigned int n;
	bool held; /* not to be freed now, though nobody watches */
	struct vmj_tail *log;
	struct vmj_buffer shown; /* the last of it, for later viewers */
	struct opening *opening;
	int pty; /* -1: nobody types */
	sd_event_source *io, *last, *settler;
	struct vmj_buffer typed;
};

/* The pty is found by a worker. */
struct opening {
	struct vmj_console *console; /* NULL: nobody wants it any more */
	struct vmj_entry *entry;
	int fd;
	int r;
	struct vmj_error err;
};

/* --- freeing --------------------------------------------------------------------------------- */

static void viewer_free(struct viewer *v)
{
	vmj_conn_detach(&v->attachment);
	LIST_REMOVE(v, link);
	v->console->n--;
	free(v);
}

static void close_pty(struct vmj_console *c)
{
	c->io = sd_event_source_disable_unref(c->io);
	c->pty = vmj_close(c->pty);
	vmj_buffer_done(&c->typed);
}

void vmj_console_free(struct vmj_console *c)
{
	if (!c)
		return;
	while (!LIST_EMPTY(&c->viewers))
		viewer_free(LIST_FIRST(&c->viewers));
	if (c->opening)
		c->opening->console = NULL;
	close_pty(c);
	sd_event_source_disable_unref(c->last);
	sd_event_source_disable_unref(c->settler);
	vmj_tail_free(c->log);
	vmj_buffer_done(&c->shown);
	c->entry->console = NULL;
	free(c);
}

static struct viewer *find_writer(const struct vmj_console *c)
{
	struct viewer *v;

	LIST_FOREACH (v, &c->viewers, link)
		if (v->writes)
			return v;
	return NULL;
}

/* After viewers may have gone: what nobody needs any more is closed. */
static void settle(struct vmj_console *c)
{
	if (c->held)
		return;
	if (!c->n)
		vmj_console_free(c);
	else if (!find_writer(c))
		close_pty(c);
}

static void viewer_closed(struct vmj_attachment *a)
{
	struct viewer *v = a->arg;
	struct vmj_console *c = v->console;
	struct vmj_error err;

	if (v->call) {
		vmj_fail(&err, ECONNRESET, "the client is gone");
		vmj_call_fail(v->call, &err);
	}
	viewer_free(v);
	settle(c);
}

/* --- telling --------------------------------------------------------------------------------- */

static void tell(struct vmj_conn *conn, const char *event, const char *text)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "event", json_object_new_string(event));
	if (text)
		json_object_object_add(o, "text", json_object_new_string(text));
	vmj_conn_send(conn, o);
}

void vmj_console_close(struct vmj_console *c)
{
	struct viewer *v;

	if (!c)
		return;
	vmj_tail_drain(c->log);
	c->held = true;
	while ((v = LIST_FIRST(&c->viewers))) {
		struct vmj_conn *conn = v->attachment.conn;
		struct vmj_call *call = v->call;

		viewer_free(v);
		if (call)
			vmj_call_ok(call, NULL);
		tell(conn, "console-end", "the guest has ended");
	}
	vmj_console_free(c);
}

static int on_last(sd_event_source *s, uint64_t usec, void *arg)
{
	vmj_console_close(arg);
	return 0;
}

void vmj_console_end(struct vmj_console *c)
{
	if (c && !c->last)
		sd_event_add_time_relative(c->entry->agent->loop, &c->last, CLOCK_MONOTONIC,
					   LAST_US, 0, on_last, c);
}

/* --- what the guest shows -------------------------------------------------------------------- */

static void show(struct viewer *v, const uint8_t *data, size_t len)
{
	struct vmj_conn *conn = v->attachment.conn;
	struct json_object *o;

	if (!vmj_conn_has_room(conn, v->lost ? LOST_ROOM : len)) {
		v->lost += len;
		return;
	}
	if (v->lost) {
		o = json_object_new_object();
		json_object_object_add(o, "event", json_object_new_string("console-lost"));
		json_object_object_add(o, "bytes", json_object_new_int64((int64_t)v->lost));
		v->lost = 0;
		vmj_conn_send(conn, o);
	}
	vmj_conn_send_data(conn, data, len);
}

static int on_settle(sd_event_source *s, void *arg)
{
	struct vmj_console *c = arg;

	c->settler = sd_event_source_disable_unref(c->settler);
	settle(c);
	return 0;
}

/* Sending may find a connection broken, which frees its viewer; the log is in use meanwhile. */
static void log_grew(const uint8_t *data, size_t len, void *arg)
{
	struct vmj_console *c = arg;
	struct viewer *v, *next;

	if (vmj_buffer_append(&c->shown, data, len) == 0 && c->shown.len > VMJ_CONSOLE_SHOWN)
		vmj_buffer_consume(&c->shown, c->shown.len - VMJ_CONSOLE_SHOWN);
	c->held = true;
	for (v = LIST_FIRST(&c->viewers); v; v = next) {
		next = LIST_NEXT(v, link);
		if (!v->call)
			show(v, data, len);
	}
	c->held = false;
	if (!c->n && !c->settler)
		sd_event_add_defer(c->entry->agent->loop, &c->settler, on_settle, c);
}

/* --- what is typed --------------------------------------------------------------------------- */

static void type_some(struct vmj_console *c)
{
	ssize_t n = 0;

	if (c->typed.len)
		n = write(c->pty, vmj_buffer_data(&c->typed), c->typed.len);
	if (n > 0)
		vmj_buffer_consume(&c->typed, (size_t)n);
	sd_event_source_set_io_events(c->io, EPOLLIN | (c->typed.len ? EPOLLOUT : 0));
}

/* Keys that the guest has no room for are dropped, as a serial line does. */
static void viewer_typed(struct vmj_attachment *a, const void *data, size_t len)
{
	struct viewer *v = a->arg;
	struct vmj_console *c = v->console;

	if (!v->writes || c->pty < 0 || c->typed.len + len > VMJ_CONSOLE_TYPED_MAX)
		return;
	if (vmj_buffer_append(&c->typed, data, len) == 0)
		type_some(c);
}

/* What the pty shows is in the log, too; it is read so that the guest is not held up. */
static int on_pty(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	struct vmj_console *c = arg;
	uint8_t chunk[16384];
	ssize_t n = 1;

	if (revents & EPOLLOUT)
		type_some(c);
	if (revents & (EPOLLIN | EPOLLHUP | EPOLLERR))
		n = read(fd, chunk, sizeof(chunk));
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		close_pty(c);
	return 0;
}

static void open_work(void *arg)
{
	struct opening *o = arg;

	o->r = vmj_virt_console(o->entry->agent->virt, o->entry->rec.job, &o->fd, &o->err);
}

static void welcome(struct vmj_console *c, struct viewer *v)
{
	struct vmj_call *call = v->call;
	struct vmj_conn *conn = v->attachment.conn;

	v->call = NULL;
	vmj_call_ok(call, NULL);
	if (c->shown.len)
		vmj_conn_send_data(conn, vmj_buffer_data(&c->shown), c->shown.len);
}

static void opened(struct vmj_console *c, struct opening *o)
{
	struct viewer *v = find_writer(c);

	if (o->r == 0)
		o->r = sd_event_add_io(c->entry->agent->loop, &c->io, o->fd, EPOLLIN, on_pty, c);
	if (o->r >= 0)
		c->pty = vmj_steal_fd(o->fd);
	else if (!o->err.code)
		vmj_fail(&o->err, -o->r, "the console cannot be watched: %s", vmj_strerror(o->r));
	if (!v || !v->call)
		return;
	if (o->r >= 0) {
		welcome(c, v);
		return;
	}
	vmj_call_fail(v->call, &o->err);
	viewer_free(v);
}

static void open_done(void *arg)
{
	struct opening *o = arg;
	struct vmj_console *c = o->console;

	if (c) {
		c->opening = NULL;
		c->held = true;
		opened(c, o);
		c->held = false;
		settle(c);
	}
	vmj_close(o->fd);
	vmj_entry_unref(o->entry);
	free(o);
}

static int open_pty(struct vmj_console *c)
{
	struct vmj_entry *e = c->entry;
	struct opening *o = calloc(1, sizeof(*o));
	int r;

	if (!o)
		return -ENOMEM;
	o->fd = -1;
	o->console = c;
	o->entry = vmj_entry_ref(e);
	r = vmj_pool_submit(e->agent->pool, vmj_lane(e->rec.job, VMJ_LANE_ASIDE), open_work,
			    open_done, o);
	if (r == 0) {
		c->opening = o;
		return 0;
	}
	vmj_entry_unref(e);
	free(o);
	return r;
}

/* --- watching -------------------------------------------------------------------------------- */

static int console_new(struct vmj_entry *e, struct vmj_error *err)
{
	struct vmj_console *c = calloc(1, sizeof(*c));
	char path[VMJ_GUEST_PATH_MAX];
	int r;

	if (!c)
		return vmj_fail(err, ENOMEM, "the agent has no memory left");
	c->entry = e;
	c->pty = -1;
	LIST_INIT(&c->viewers);
	vmj_record_path(e->agent->dir, e->rec.job, "console.log", path);
	r = vmj_tail_new(e->agent->loop, path, VMJ_CONSOLE_SHOWN, log_grew, c, &c->log, err);
	if (r < 0) {
		vmj_console_free(c);
		return r;
	}
	e->console = c;
	return 0;
}

static int check(struct vmj_console *c, const struct vmj_call *call, bool write, bool force,
		 struct vmj_error *err)
{
	struct viewer *v, *writer = find_writer(c);

	LIST_FOREACH (v, &c->viewers, link)
		if (v->attachment.conn == call->conn)
			return vmj_fail_user(err, EBUSY,
					     "this connection shows the console already");
	if (c->n >= VMJ_CONSOLE_VIEWERS_MAX)
		return vmj_fail_user(err, EBUSY, "the console of guest %u has %u readers already",
				     c->entry->rec.job, c->n);
	if (write && writer && !force)
		return vmj_fail_user(err, EBUSY,
				     "user %u writes to the console of guest %u: read only, or "
				     "take it over",
				     vmj_conn_peer(writer->attachment.conn)->uid,
				     c->entry->rec.job);
	return 0;
}

/* In place of who writes now, if anybody does. */
static int become_writer(struct vmj_console *c, struct viewer *v)
{
	struct viewer *old = find_writer(c);

	if (old && old->call)
		welcome(c, old);
	if (old) {
		old->writes = false;
		tell(old->attachment.conn, "console-read-only", NULL);
	}
	v->writes = true;
	return c->pty >= 0 || c->opening ? 0 : open_pty(c);
}

static int add_viewer(struct vmj_console *c, struct vmj_call *call, bool write)
{
	struct viewer *v = calloc(1, sizeof(*v));
	int r;

	if (!v)
		return -ENOMEM;
	v->console = c;
	v->call = call;
	v->attachment.closed = viewer_closed;
	v->attachment.data = viewer_typed;
	v->attachment.arg = v;
	r = write ? become_writer(c, v) : 0;
	if (r < 0) {
		free(v);
		return r;
	}
	LIST_INSERT_HEAD(&c->viewers, v, link);
	c->n++;
	vmj_conn_attach(call->conn, &v->attachment);
	if (!write || c->pty >= 0)
		welcome(c, v);
	return 0;
}

void vmj_console_watch(struct vmj_entry *e, struct vmj_call *call, bool write, bool force)
{
	bool alive = vmj_phase_alive(e->rec.phase);
	struct vmj_console *c;
	struct vmj_error err;
	int r = e->console ? 0 : console_new(e, &err);

	c = e->console;
	if (r == 0)
		r = check(c, call, write, force, &err);
	if (r < 0) {
		vmj_call_fail(call, &err);
		if (c)
			settle(c);
		return;
	}
	c->held = true;
	r = add_viewer(c, call, write && alive);
	if (r < 0) {
		vmj_fail(&err, -r, "the console cannot be opened: %s", vmj_strerror(r));
		vmj_call_fail(call, &err);
	}
	c->held = false;
	if (!alive)
		vmj_console_end(c);
	settle(c);
}

VMJ_OP_HANDLER(console)
{
	bool write = false, force = false;
	struct vmj_error err;
	struct vmj_json in;
	int r;

	vmj_op_args(&in, vmj_op_find(call->op), call, &job, &err);
	vmj_json_bool(&in, "write", VMJ_OPTIONAL, &write);
	vmj_json_bool(&in, "force", VMJ_OPTIONAL, &force);
	r = vmj_json_close(&in);
	if (r == 0)
		r = vmj_phase_check(&e->rec, VMJ_ACTION_CONSOLE, &err);
	if (r < 0)
		vmj_call_fail(call, &err);
	else
		vmj_console_watch(e, call, write, force);
}
