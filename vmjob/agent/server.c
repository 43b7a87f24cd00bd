/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/agent/server.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-event.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/file.h"
#include "vmjob/base/log.h"
#include "vmjob/wire/frame.h"

#define BACKLOG          4096
#define ACCEPTS_AT_ONCE  64
#define HOST_MAX         256
#define NOBODY_KNOWN_YET ((uid_t)-1)

struct member {
	LIST_ENTRY(member) link;
	struct vmj_conn *conn;
};

struct vmj_server {
	struct vmj_conn_env env;
	void (*on_call)(struct vmj_call *call, void *arg);
	void *arg;
	char host[HOST_MAX];
	const char *hosts[2];
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	int lock_fd, local_fd, tcp_fd;
	int spare_fd; /* given up for a moment when descriptors run out, so as to refuse politely */
	sd_event_source *local, *tcp;
	LIST_HEAD(, member) members;
	unsigned int n;
};

/* --- bounds ---------------------------------------------------------------------------------- */

static unsigned int count_of(const struct vmj_server *s, uid_t uid)
{
	const struct member *m;
	unsigned int n = 0;

	LIST_FOREACH (m, &s->members, link)
		n += vmj_conn_peer(m->conn)->uid == uid;
	return n;
}

static int check_room(const struct vmj_server *s, uid_t uid, unsigned int more,
		      struct vmj_error *err)
{
	unsigned int max = VMJ_SERVER_CONNS_MAX + (uid == 0 ? VMJ_SERVER_CONNS_ROOT : 0);

	if (s->n + more > max)
		return vmj_fail_user(err, EBUSY,
				     "the agent of this host serves %u connections already: try "
				     "again",
				     s->n);
	if (uid == NOBODY_KNOWN_YET && count_of(s, uid) + more > VMJ_SERVER_UNKNOWN_MAX)
		return vmj_fail_user(err, EBUSY,
				     "too many hosts are connecting to this agent: try again");
	if (uid && uid != NOBODY_KNOWN_YET && count_of(s, uid) + more > VMJ_SERVER_CONNS_USER_MAX)
		return vmj_fail_user(err, EBUSY,
				     "user %u has %u connections to the agent of this host, and "
				     "may have no more: close some",
				     uid, VMJ_SERVER_CONNS_USER_MAX);
	return 0;
}

/* Best effort, once, without waiting. */
static void refuse(int fd, const struct vmj_error *why)
{
	vmj_autofree uint8_t *frame = NULL;
	struct json_object *o = vmj_error_answer(why);
	const char *text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);
	size_t len;

	if (vmj_frame_encode('J', text, strlen(text), &frame, &len) == 0)
		(void)!send(fd, frame, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	json_object_put(o);
}

/* --- connections ----------------------------------------------------------------------------- */

static void on_closed(struct vmj_conn *c, void *arg)
{
	struct vmj_server *s = arg;
	struct member *m;

	LIST_FOREACH (m, &s->members, link)
		if (m->conn == c)
			break;
	if (!m)
		return;
	LIST_REMOVE(m, link);
	s->n--;
	free(m);
}

static void on_call(struct vmj_call *call, void *arg)
{
	struct vmj_server *s = arg;

	s->on_call(call, s->arg);
}

static void on_peer(struct vmj_conn *c, void *arg)
{
	struct vmj_error err;

	if (check_room(arg, vmj_conn_peer(c)->uid, 0, &err) == 0)
		return;
	vmj_debug("%s", err.text);
	vmj_conn_close(c);
}

static void admit(struct vmj_server *s, int fd, const struct vmj_peer *peer)
{
	vmj_autoclose int owned = fd;
	struct vmj_error err;
	struct member *m;
	int r = check_room(s, peer->uid, 1, &err);

	if (r < 0) {
		refuse(fd, &err);
		return;
	}
	m = calloc(1, sizeof(*m));
	r = m ? vmj_conn_new(&s->env, fd, peer, &m->conn) : -ENOMEM;
	if (r < 0) {
		free(m);
		vmj_log_warning("cannot serve a connection: %s", vmj_strerror(r));
		return;
	}
	owned = -1;
	LIST_INSERT_HEAD(&s->members, m, link);
	s->n++;
}

static int identify(int fd, bool local, struct vmj_peer *ret)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	int one = 1;

	if (local) {
		if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
			return -errno;
		*ret = (struct vmj_peer){true, cred.uid, cred.gid, cred.pid};
		return 0;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	*ret = (struct vmj_peer){.uid = NOBODY_KNOWN_YET, .gid = (gid_t)-1};
	return 0;
}

/* No descriptor is left: take the connection with the spare one, and close it. */
static void shed(struct vmj_server *s, int listener)
{
	s->spare_fd = vmj_close(s->spare_fd);
	vmj_close(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
	s->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static int on_listener(sd_event_source *source, int listener, uint32_t revents, void *arg)
{
	struct vmj_server *s = arg;
	bool local = listener == s->local_fd;
	struct vmj_peer peer;

	for (int i = 0; i < ACCEPTS_AT_ONCE; i++) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0 && (errno == EMFILE || errno == ENFILE))
			shed(s, listener);
		if (fd < 0)
			break;
		if (identify(fd, local, &peer) < 0)
			vmj_close(fd);
		else
			admit(s, fd, &peer);
	}
	return 0;
}

/* --- listening ------------------------------------------------------------------------------- */

/* The lock tells whether another agent is alive; a socket that a dead one left is removed. */
static int take_lock(struct vmj_server *s, struct vmj_error *err)
{
	char path[sizeof(s->path) + 8];
	char *slash;
	int r;

	snprintf(path, sizeof(path), "%s", s->path);
	slash = strrchr(path, '/');
	if (slash && slash != path) {
		*slash = '\0';
		r = vmj_mkdir_p(path, 0755, err);
		if (r < 0)
			return r;
	}
	snprintf(path, sizeof(path), "%s.lock", s->path);
	s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->lock_fd < 0)
		return vmj_fail(err, errno, "cannot open %s: %s", path, vmj_strerror(errno));
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return vmj_fail(err, EADDRINUSE, "another vmjobd is running here: it holds %s",
				path);
	unlink(s->path);
	return 0;
}

static int listen_local(struct vmj_server *s, struct vmj_error *err)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int r = take_lock(s, err);

	if (r < 0)
		return r;
	memcpy(sa.sun_path, s->path, sizeof(sa.sun_path));
	s->local_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s->local_fd < 0 || bind(s->local_fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    chmod(s->path, 0666) < 0 || listen(s->local_fd, BACKLOG) < 0)
		return vmj_fail(err, errno, "cannot listen at %s: %s", s->path,
				vmj_strerror(errno));
	r = sd_event_add_io(s->env.loop, &s->local, s->local_fd, EPOLLIN, on_listener, s);
	return r < 0 ? vmj_fail(err, -r, "cannot watch %s: %s", s->path, vmj_strerror(r)) : 0;
}

/* IPv6 takes IPv4 along; where the kernel has no IPv6, IPv4 alone. */
static int bind_tcp(uint16_t port)
{
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
	int one = 1, zero = 0;
	vmj_autoclose int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd >= 0) {
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		if (bind(fd, (struct sockaddr *)&six, sizeof(six)) == 0)
			return vmj_steal_fd(fd);
		if (errno == EADDRINUSE)
			return -EADDRINUSE;
		vmj_close(fd);
	}
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&four, sizeof(four)) < 0)
		return -errno;
	return vmj_steal_fd(fd);
}

static int listen_tcp(struct vmj_server *s, uint16_t port, struct vmj_error *err)
{
	int r;

	if (!port)
		return 0;
	r = bind_tcp(port);
	if (r >= 0) {
		s->tcp_fd = r;
		r = listen(s->tcp_fd, BACKLOG) < 0 ? -errno : 0;
	}
	if (r >= 0)
		r = sd_event_add_io(s->env.loop, &s->tcp, s->tcp_fd, EPOLLIN, on_listener, s);
	if (r < 0)
		return vmj_fail(err, -r,
				"cannot listen at TCP port %u (agent { port } in vmjob.conf): %s",
				port, vmj_strerror(r));
	return 0;
}

static int server_init(struct vmj_server *s, const struct vmj_server_config *config,
		       struct vmj_error *err)
{
	int r;

	if ((size_t)snprintf(s->path, sizeof(s->path), "%s", config->socket_path) >=
	    sizeof(s->path))
		return vmj_fail(err, ENAMETOOLONG, "the socket's path is too long: %s",
				config->socket_path);
	snprintf(s->host, sizeof(s->host), "%s", config->host);
	s->hosts[0] = s->host;
	s->on_call = config->on_call;
	s->arg = config->arg;
	s->env = (struct vmj_conn_env){.loop = config->loop,
				       .pool = config->pool,
				       .hosts = s->hosts,
				       .on_call = on_call,
				       .on_peer = on_peer,
				       .on_closed = on_closed,
				       .arg = s};
	s->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	r = listen_local(s, err);
	return r < 0 ? r : listen_tcp(s, config->port, err);
}

int vmj_server_new(const struct vmj_server_config *config, struct vmj_server **ret,
		   struct vmj_error *err)
{
	struct vmj_server *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return vmj_fail(err, ENOMEM, "no memory for the server");
	s->lock_fd = s->local_fd = s->tcp_fd = s->spare_fd = -1;
	LIST_INIT(&s->members);
	r = server_init(s, config, err);
	if (r < 0) {
		vmj_server_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void vmj_server_free(struct vmj_server *s)
{
	struct member *m;

	if (!s)
		return;
	while ((m = LIST_FIRST(&s->members)))
		vmj_conn_free(m->conn);
	sd_event_source_disable_unref(s->local);
	sd_event_source_disable_unref(s->tcp);
	vmj_close(s->local_fd);
	vmj_close(s->tcp_fd);
	vmj_close(s->spare_fd);
	vmj_close(s->lock_fd);
	free(s);
}
