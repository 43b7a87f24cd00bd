/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/agent/console.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "vmjob/agent/ops.h"
#include "vmjob/agent/phase.h"
#include "vmjob/base/cleanup.h"
#include "vmjob/base/log.h"
#include "vmjob/wire/buffer.h"

#define LOST_ROOM (128u << 10)

struct viewer {
	LIST_ENTRY(viewer) link;
	struct vmj_console *console;
	struct vmj_attachment attachment;
	struct vmj_call *call; /* until it is answered */
	bool writes;
	uint64_t lost; /* bytes that this one was too slow for, not told yet */
};

/*
 * Opened by a worker (`opening`), which also reads the end of the log; until then viewers wait with
 * their calls unanswered. `shown` is the last that was shown: for later viewers.
 */
struct vmj_console {
	struct vmj_entry *entry;
	LIST_HEAD(, viewer) viewers;
	unsigned int n;
	bool showing; /* not to be freed now */
	struct opening *opening;
	int fd;
	sd_event_source *io;
	struct vmj_buffer typed, shown;
};

struct opening {
	struct vmj_console *console; /* NULL: nobody wants it any more */
	struct vmj_entry *entry;
	char log_path[VMJ_GUEST_PATH_MAX];
	bool dead; /* the guest has ended: the log is all there is */
	int fd;
	uint8_t tail[VMJ_CONSOLE_SHOWN];
	size_t tail_len;
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

void vmj_console_free(struct vmj_console *c)
{
	if (!c)
		return;
	while (!LIST_EMPTY(&c->viewers))
		viewer_free(LIST_FIRST(&c->viewers));
	if (c->opening)
		c->opening->console = NULL;
	sd_event_source_disable_unref(c->io);
	vmj_close(c->fd);
	vmj_buffer_done(&c->typed);
	vmj_buffer_done(&c->shown);
	c->entry->console = NULL;
	free(c);
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
	if (!c->n && !c->showing)
		vmj_console_free(c);
}

/* Everybody is told why, with an error where the call is still open. */
static void end_console(struct vmj_console *c, const struct vmj_error *why)
{
	struct viewer *v;

	while ((v = LIST_FIRST(&c->viewers))) {
		struct vmj_conn *conn = v->attachment.conn;
		struct vmj_call *call = v->call;
		struct json_object *o;

		viewer_free(v);
		if (call) {
			vmj_call_fail(call, why);
			continue;
		}
		o = json_object_new_object();
		json_object_object_add(o, "event", json_object_new_string("console-end"));
		json_object_object_add(o, "text", json_object_new_string(why->text));
		vmj_conn_send(conn, o);
	}
	vmj_console_free(c);
}

/* --- what the guest shows -------------------------------------------------------------------- */

static void remember(struct vmj_console *c, const uint8_t *data, size_t len)
{
	if (vmj_buffer_append(&c->shown, data, len) == 0 && c->shown.len > VMJ_CONSOLE_SHOWN)
		vmj_buffer_consume(&c->shown, c->shown.len - VMJ_CONSOLE_SHOWN);
}

/* One that has missed bytes goes on when half of its queue is free. */
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

/* Sending may find a connection broken, and so free its viewer; the console stays meanwhile. */
static void show_all(struct vmj_console *c, const uint8_t *data, size_t len)
{
	struct viewer *v, *next;

	c->showing = true;
	for (v = LIST_FIRST(&c->viewers); v; v = next) {
		next = LIST_NEXT(v, link);
		show(v, data, len);
	}
	c->showing = false;
	remember(c, data, len);
	if (!c->n)
		vmj_console_free(c);
}

/* --- what is typed --------------------------------------------------------------------------- */

static void type_some(struct vmj_console *c)
{
	ssize_t n = 0;

	if (c->typed.len)
		n = write(c->fd, vmj_buffer_data(&c->typed), c->typed.len);
	if (n > 0)
		vmj_buffer_consume(&c->typed, (size_t)n);
	sd_event_source_set_io_events(c->io, EPOLLIN | (c->typed.len ? EPOLLOUT : 0));
}

/* Keys that the guest has no room for are dropped, as a serial line does. */
static void viewer_typed(struct vmj_attachment *a, const void *data, size_t len)
{
	struct viewer *v = a->arg;
	struct vmj_console *c = v->console;

	if (!v->writes || c->fd < 0 || c->typed.len + len > VMJ_CONSOLE_TYPED_MAX)
		return;
	if (vmj_buffer_append(&c->typed, data, len) == 0)
		type_some(c);
}

static int on_console(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	struct vmj_console *c = arg;
	uint8_t chunk[16384];
	struct vmj_error err;
	ssize_t n;

	if (revents & EPOLLOUT)
		type_some(c);
	if (!(revents & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return 0;
	n = read(fd, chunk, sizeof(chunk));
	if (n > 0) {
		show_all(c, chunk, (size_t)n);
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		vmj_fail(&err, EPIPE, "the console of guest %u is closed", c->entry->rec.job);
		end_console(c, &err);
	}
	return 0;
}

/* --- opening --------------------------------------------------------------------------------- */

static void read_tail(struct opening *o)
{
	vmj_autoclose int fd = open(o->log_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return;
	n = pread(fd, o->tail, sizeof(o->tail),
		  st.st_size > VMJ_CONSOLE_SHOWN ? st.st_size - VMJ_CONSOLE_SHOWN : 0);
	o->tail_len = n > 0 ? (size_t)n : 0;
}

/* The stream first: what comes between is then shown twice rather than not at all. */
static void open_work(void *arg)
{
	struct opening *o = arg;

	if (!o->dead)
		o->r = vmj_virt_console(o->entry->agent->virt, o->entry->rec.job, &o->fd, &o->err);
	if (o->r == 0)
		read_tail(o);
}

/* A viewer's call is answered, and it sees what was shown. */
static void welcome(struct vmj_console *c, struct viewer *v)
{
	struct vmj_call *call = v->call;
	struct vmj_conn *conn = v->attachment.conn;

	v->call = NULL;
	vmj_call_ok(call, NULL);
	if (c->shown.len)
		vmj_conn_send_data(conn, vmj_buffer_data(&c->shown), c->shown.len);
}

static int start_reading(struct vmj_console *c, struct opening *o)
{
	int flags = fcntl(o->fd, F_GETFL);

	if (flags < 0 || fcntl(o->fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	c->fd = vmj_steal_fd(o->fd);
	return sd_event_add_io(c->entry->agent->loop, &c->io, c->fd, EPOLLIN, on_console, c);
}

static void opened(struct vmj_console *c, struct opening *o)
{
	struct viewer *v, *next;
	struct vmj_error err;

	if (o->r == 0 && !o->dead) {
		o->r = start_reading(c, o);
		if (o->r < 0)
			vmj_fail(&o->err, -o->r, "cannot watch the console: %s",
				 vmj_strerror(o->r));
	}
	if (o->r < 0) {
		end_console(c, &o->err);
		return;
	}
	remember(c, o->tail, o->tail_len);
	c->showing = true;
	for (v = LIST_FIRST(&c->viewers); v; v = next) {
		next = LIST_NEXT(v, link);
		welcome(c, v);
	}
	c->showing = false;
	vmj_fail(&err, ESRCH, "guest %u has ended", c->entry->rec.job);
	if (o->dead)
		end_console(c, &err);
	else if (!c->n)
		vmj_console_free(c);
}

static void open_done(void *arg)
{
	struct opening *o = arg;

	if (o->console) {
		o->console->opening = NULL;
		opened(o->console, o);
	}
	vmj_close(o->fd);
	vmj_entry_unref(o->entry);
	free(o);
}

static int console_new(struct vmj_entry *e)
{
	struct vmj_console *c = calloc(1, sizeof(*c));
	struct opening *o = calloc(1, sizeof(*o));
	int r = -ENOMEM;

	if (c && o) {
		c->entry = e;
		c->fd = o->fd = -1;
		LIST_INIT(&c->viewers);
		c->opening = o;
		o->console = c;
		o->dead = !vmj_phase_alive(e->rec.phase);
		o->entry = vmj_entry_ref(e);
		vmj_record_path(e->agent->dir, e->rec.job, "console.log", o->log_path);
		r = vmj_pool_submit(e->agent->pool, vmj_lane(e->rec.job, VMJ_LANE_ASIDE), open_work,
				    open_done, o);
		if (r == 0) {
			e->console = c;
			return 0;
		}
		vmj_entry_unref(e);
	}
	free(c);
	free(o);
	return r;
}

/* --- watching -------------------------------------------------------------------------------- */

static struct viewer *find_writer(struct vmj_console *c)
{
	struct viewer *v;

	LIST_FOREACH (v, &c->viewers, link)
		if (v->writes)
			return v;
	return NULL;
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

static void take_writer(struct vmj_console *c)
{
	struct viewer *v = find_writer(c);
	struct json_object *o;

	if (!v)
		return;
	v->writes = false;
	o = json_object_new_object();
	json_object_object_add(o, "event", json_object_new_string("console-read-only"));
	vmj_conn_send(v->attachment.conn, o);
}

static void add_viewer(struct vmj_console *c, struct vmj_call *call, bool write)
{
	struct viewer *v = calloc(1, sizeof(*v));
	struct vmj_error err;

	if (!v) {
		vmj_fail(&err, ENOMEM, "the agent has no memory left");
		vmj_call_fail(call, &err);
		return;
	}
	v->console = c;
	v->call = call;
	v->writes = write;
	v->attachment.closed = viewer_closed;
	v->attachment.data = viewer_typed;
	v->attachment.arg = v;
	LIST_INSERT_HEAD(&c->viewers, v, link);
	c->n++;
	vmj_conn_attach(call->conn, &v->attachment);
	if (!c->opening)
		welcome(c, v);
}

void vmj_console_watch(struct vmj_entry *e, struct vmj_call *call, bool write, bool force)
{
	struct vmj_error err;
	int r = e->console ? 0 : console_new(e);

	if (r < 0)
		vmj_fail(&err, -r, "the console cannot be opened: %s", vmj_strerror(r));
	else
		r = check(e->console, call, write, force, &err);
	if (r < 0) {
		vmj_call_fail(call, &err);
		return;
	}
	e->console->showing = true; /* whoever goes now does not take it along */
	if (write)
		take_writer(e->console);
	add_viewer(e->console, call, write);
	e->console->showing = false;
	if (!e->console->n)
		vmj_console_free(e->console);
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
