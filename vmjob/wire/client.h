/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The agent's clients (vmjob-step, prolog, epilog, vmjob): one connection, blocking or by poll on
 * vmj_client_fd().
 *
 * A request is {"op": NAME, ...}; the answer {"ok": true, ...} or {"ok": false, "code": ERRNO,
 * "fault": "user"|"host", "error": TEXT}. After some operations the agent sends more frames on the
 * same connection: events {"event": NAME, ...} and 'D' frames. doc/protocol.md lists all.
 */
#ifndef VMJ_WIRE_CLIENT_H
#define VMJ_WIRE_CLIENT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "vmjob/base/error.h"

struct json_object;
struct vmj_client;

#define VMJ_AGENT_SOCKET_ENV \
	"VMJOB_AGENT_SOCKET" /* tests only; else RUNSTATEDIR/vmjob/agent.sock */

/* host NULL: the agent of this host over its local socket, retried for up to timeout_ms while
 * nobody listens (agent restarting). Else over TCP to HOST:port with munge. */
int vmj_client_open(const char *host, uint16_t port, int timeout_ms, struct vmj_client **ret,
		    struct vmj_error *err);
void vmj_client_close(struct vmj_client *c);
int vmj_client_fd(
	const struct vmj_client *c); /* for poll: after vmj_client_receive() found nothing */

int vmj_client_send(struct vmj_client *c, struct json_object *o,
		    struct vmj_error *err); /* o borrowed */
int vmj_client_send_data(struct vmj_client *c, const void *data, size_t len, struct vmj_error *err);

/* Next frame: 1 with *ret_json (caller's) or *ret_data/_len (caller's) set, 0 at a clean end of the
 * connection, -EAGAIN after timeout_ms (-1: none). */
int vmj_client_receive(struct vmj_client *c, int timeout_ms, struct json_object **ret_json,
		       void **ret_data, size_t *ret_len, struct vmj_error *err);

/* Send and wait for the answer; a refusal becomes an error with the agent's text, code and fault.
 * *ret_answer (NULL allowed) is the caller's. An "id" is added to `request` (borrowed), so that a
 * late answer to an earlier call that timed out is told apart and dropped. Events and data that
 * come meanwhile are kept for vmj_client_receive(), so look there before polling the descriptor. */
int vmj_client_call(struct vmj_client *c, struct json_object *request, int timeout_ms,
		    struct json_object **ret_answer, struct vmj_error *err);

/* The same for what takes long: events that come meanwhile go to on_event (o is borrowed), and
 * timeout_ms is how long the agent may be silent. */
typedef void (*vmj_event_fn)(struct json_object *o, void *arg);
int vmj_client_work(struct vmj_client *c, struct json_object *request, int timeout_ms,
		    vmj_event_fn on_event, void *arg, struct json_object **ret_answer,
		    struct vmj_error *err);

#endif
