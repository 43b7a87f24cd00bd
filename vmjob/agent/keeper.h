/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * This host in the storage domains: the agent's keeper registers it in each domain of vmjob.conf
 * that it reaches, and renews its record there (storage/hosts.h), each domain in a lane of its own,
 * so that a dead file server holds up nothing else.
 *
 * It also ends what this host must not run any more: guests that hold leases in a domain in which
 * the host was confirmed dead; and, with self_stop in vmjob.conf, those in a domain in which it
 * could not renew for VMJ_KEEPER_STOP_TIMES intervals, since others may start them somewhat later
 * (policy/lease.h). A guard beside the agent keeps that promise when the agent cannot. With work
 * under way in that domain the agent ends itself then: children that write are killed with it, and
 * the next agent recovers. Loop's thread only.
 */
#ifndef VMJ_AGENT_KEEPER_H
#define VMJ_AGENT_KEEPER_H

#include "vmjob/agent/agent.h"

struct vmj_keeper;

#define VMJ_KEEPER_STOP_TIMES 6

/* Begins with the agent's settings. guard: path of the guard's page (guard.h). */
int vmj_keeper_new(struct vmj_agent *a, const char *guard, struct vmj_keeper **ret,
		   struct vmj_error *err);
/* After the agent's settings have changed. */
void vmj_keeper_reload(struct vmj_keeper *k);
/* After the pool's end. NULL allowed. */
void vmj_keeper_free(struct vmj_keeper *k);

#endif
