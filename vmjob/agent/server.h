/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The agent's doors: the local socket, where the kernel says who calls, and TCP, where munge does.
 *
 * Bounds on connections: in all, for each user, and of those that have not shown who they are; some
 * are kept for root, so that prolog and epilog get through whatever users do. One too many is told
 * so and closed.
 */
#ifndef VMJ_AGENT_SERVER_H
#define VMJ_AGENT_SERVER_H

#include <stdint.h>

#include "vmjob/agent/conn.h"

struct vmj_server;

#define VMJ_SERVER_CONNS_MAX      1000
#define VMJ_SERVER_CONNS_ROOT     64 /* more, for root */
#define VMJ_SERVER_CONNS_USER_MAX 64
#define VMJ_SERVER_UNKNOWN_MAX    64

struct vmj_server_config {
	const char *socket_path; /* its directory is made if need be */
	uint16_t port;           /* 0: no TCP */
	const char *host;        /* this host's name */
	sd_event *loop;
	struct vmj_pool *pool;
	void (*on_call)(struct vmj_call *call, void *arg);
	void *arg;
};

/* EADDRINUSE: another agent is running here. Strings are copied. */
int vmj_server_new(const struct vmj_server_config *config, struct vmj_server **ret,
		   struct vmj_error *err);
void vmj_server_free(struct vmj_server *s); /* closes all connections */

#endif
