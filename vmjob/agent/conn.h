/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One connection of a client to the agent, and the calls that came over it. Loop's thread only.
 *
 * Bounds: VMJ_CONN_CALLS_MAX unanswered calls, then it is not read from until one is answered; a
 * time to the first whole request, and one between requests where nothing is going on; a queue of
 * output beyond which the client is too slow and is dropped. Nothing here ever waits for a client.
 *
 * A connection closes in two steps: at once its descriptor goes and all that hangs on it is told;
 * its memory goes when the loop comes round.
 */
#ifndef VMJ_AGENT_CONN_H
#define VMJ_AGENT_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "vmjob/base/error.h"

typedef struct sd_event sd_event;
struct json_object;
struct vmj_conn;
struct vmj_pool;

#define VMJ_CONN_CALLS_MAX 8

struct vmj_peer {
	bool local;
	uid_t uid; /* (uid_t)-1 until a remote peer has shown who it is */
	gid_t gid;
	pid_t pid; /* 0: remote */
};

/* A request that wants an answer. It outlives its connection: `conn` is NULL once that is gone, and
 * answering is then just freeing. */
struct vmj_call {
	LIST_ENTRY(vmj_call) link; /* the connection's */
	struct vmj_conn *conn;
	struct vmj_peer peer;
	bool has_id;
	int64_t id;
	const char *op;           /* borrowed from args */
	struct json_object *args; /* the whole request */
};

/* Exactly one of these ends a call. `answer` (NULL: nothing to add) is taken over. */
void vmj_call_ok(struct vmj_call *call, struct json_object *answer);
void vmj_call_fail(struct vmj_call *call, const struct vmj_error *err);
struct json_object *vmj_error_answer(const struct vmj_error *err); /* caller's */

/* What hangs on a connection beyond a call: a claim, a console, an event stream. Keeps it from
 * timing out. */
struct vmj_attachment {
	LIST_ENTRY(vmj_attachment) link;
	struct vmj_conn *conn;
	void (*closed)(struct vmj_attachment *a); /* already detached when called */
	void (*data)(struct vmj_attachment *a, const void *data, size_t len); /* D frame; or NULL */
	void *arg;
};
void vmj_conn_attach(struct vmj_conn *c, struct vmj_attachment *a);
void vmj_conn_detach(struct vmj_attachment *a); /* not attached: nothing */

struct vmj_conn_env {
	sd_event *loop;
	struct vmj_pool *pool;
	const char *const *hosts; /* names of this host, NULL-terminated */
	void (*on_call)(struct vmj_call *call, void *arg);
	void (*on_peer)(struct vmj_conn *c, void *arg); /* a remote peer is known now */
	void (*on_closed)(struct vmj_conn *c, void *arg);
	void *arg;
};

/* Takes the descriptor over, on success only. */
int vmj_conn_new(const struct vmj_conn_env *env, int fd, const struct vmj_peer *peer,
		 struct vmj_conn **ret);
void vmj_conn_close(struct vmj_conn *c);
/* The same, memory included: never from within what a connection calls. */
void vmj_conn_free(struct vmj_conn *c);
const struct vmj_peer *vmj_conn_peer(const struct vmj_conn *c);

/* Taken over. A client that does not read is dropped. */
void vmj_conn_send(struct vmj_conn *c, struct json_object *o);

/* D frames, for a client that keeps up: has it so much room? Without, nothing is to be sent. */
bool vmj_conn_has_room(const struct vmj_conn *c, size_t len);
void vmj_conn_send_data(struct vmj_conn *c, const void *data, size_t len);

#endif
