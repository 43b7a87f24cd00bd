/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The stand-in's link to the agent of its host: one connection on the event loop, opened again for
 * as long as a restart of the agent may take.
 *
 * The link remembers what is asked, not messages: each operation is either wanted or not, and one
 * is under way at a time. After a loss `run` is asked again first (the agent takes it as a return
 * to the same guest), then whatever was still wanted. So every operation may reach the agent twice;
 * all of them are idempotent. Suspend and resume cancel each other.
 */
#ifndef VMJ_STEP_LINK_H
#define VMJ_STEP_LINK_H

#include <stdint.h>
#include <systemd/sd-event.h>

#include "vmjob/base/error.h"

struct json_object;
struct vmj_link;

enum vmj_link_op { /* in the order in which they are sent */
		   VMJ_LINK_RUN = 0,
		   VMJ_LINK_SHOW,
		   VMJ_LINK_SUSPEND,
		   VMJ_LINK_RESUME,
		   VMJ_LINK_STOP,
		   VMJ_LINK_OP_COUNT_,
};

#define VMJ_LINK_PATIENCE_S 60 /* without an agent, from the start or a loss on */

struct vmj_link_handler {
	/* The answer to an operation; borrowed. */
	void (*answer)(void *arg, enum vmj_link_op op, struct json_object *answer);
	/* The agent refused it. */
	void (*refused)(void *arg, enum vmj_link_op op, const struct vmj_error *err);
	/* An event of the guest; borrowed. */
	void (*event)(void *arg, struct json_object *event);
	/* No agent for VMJ_LINK_PATIENCE_S; the link is dead. */
	void (*lost)(void *arg, const struct vmj_error *err);
};

/* Starts to connect; `run` is wanted from the start. handler and arg are borrowed. */
int vmj_link_start(sd_event *event, uint32_t job, const struct vmj_link_handler *handler, void *arg,
		   struct vmj_link **ret, struct vmj_error *err);
void vmj_link_ask(struct vmj_link *l, enum vmj_link_op op);
void vmj_link_free(struct vmj_link *l); /* not from a handler; NULL allowed */

#endif
