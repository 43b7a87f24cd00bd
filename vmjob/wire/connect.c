/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/wire/connect.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/clock.h"

#define RETRY_MIN_MS 20
#define RETRY_MAX_MS 500

int64_t vmj_deadline(int timeout_ms)
{
	return timeout_ms < 0 ? -1 : vmj_clock_ms(CLOCK_MONOTONIC) + timeout_ms;
}

int vmj_fd_wait(int fd, short events, int64_t deadline)
{
	struct pollfd p = {.fd = fd, .events = events};

	for (;;) {
		int64_t left = deadline < 0 ? -1 : deadline - vmj_clock_ms(CLOCK_MONOTONIC);
		int r;

		if (deadline >= 0 && left < 0)
			left = 0;
		r = poll(&p, 1, left > 1000000 ? 1000000 : (int)left);
		if (r > 0)
			return 0;
		if (r < 0 && errno != EINTR)
			return -errno;
		if (r == 0 && deadline >= 0 && vmj_clock_ms(CLOCK_MONOTONIC) >= deadline)
			return -EAGAIN;
	}
}

static int finish_connect(int fd, int64_t deadline)
{
	int so_error = 0, r;
	socklen_t len = sizeof(so_error);

	r = vmj_fd_wait(fd, POLLOUT, deadline);
	if (r < 0)
		return r == -EAGAIN ? -ETIMEDOUT : r;
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &so_error, &len);
	return -so_error;
}

static int try_connect(int family, const struct sockaddr *sa, socklen_t len, int64_t deadline)
{
	vmj_autoclose int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int r;

	if (fd < 0)
		return -errno;
	if (connect(fd, sa, len) < 0) {
		if (errno != EINPROGRESS)
			return -errno;
		r = finish_connect(fd, deadline);
		if (r < 0)
			return r;
	}
	return vmj_steal_fd(fd);
}

/* Nobody listens yet, or the backlog is full (EAGAIN on local sockets). There is no event to wait
 * for in general (the directory may not exist either), so the tries are spaced out. */
static bool worth_retrying(int r)
{
	return r == -ENOENT || r == -ECONNREFUSED || r == -EAGAIN;
}

int vmj_connect_local(const char *path, int64_t deadline, struct vmj_error *err)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int pause_ms = RETRY_MIN_MS, r;

	if (strlen(path) >= sizeof(sa.sun_path))
		return vmj_fail(err, ENAMETOOLONG, "the path of the agent's socket is too long: %s",
				path);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	for (;;) {
		r = try_connect(AF_UNIX, (const struct sockaddr *)&sa, sizeof(sa), deadline);
		if (r >= 0 || !worth_retrying(r))
			break;
		if (deadline >= 0 && vmj_clock_ms(CLOCK_MONOTONIC) + pause_ms > deadline)
			break;
		poll(NULL, 0, pause_ms);
		if (pause_ms < RETRY_MAX_MS)
			pause_ms *= 2;
	}
	if (r >= 0)
		return r;
	return vmj_fail(err, -r,
			"vmjob's agent does not answer at %s (%s): is vmjobd running on this host?",
			path, strerror(-r));
}

int vmj_connect_tcp(const char *host, uint16_t port, int64_t deadline, struct vmj_error *err)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list, *a;
	char service[8];
	int r, one = 1;

	snprintf(service, sizeof(service), "%u", port);
	r = getaddrinfo(host, service, &hints, &list);
	if (r)
		return vmj_fail(err, EHOSTUNREACH, "host %s has no address: %s", host,
				gai_strerror(r));
	r = -EHOSTUNREACH;
	for (a = list; a && r < 0; a = a->ai_next)
		r = try_connect(a->ai_family, a->ai_addr, a->ai_addrlen, deadline);
	freeaddrinfo(list);
	if (r < 0)
		return vmj_fail(err, -r, "vmjob's agent on %s does not answer at port %u: %s", host,
				port, strerror(-r));
	setsockopt(r, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(r, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	return r;
}
