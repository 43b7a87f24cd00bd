/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The room in the storage domains, as this host sees it: asked for now and then by a worker, and an
 * event for the operators when a domain falls below a watermark of vmjob.conf and when it is above
 * again (policy/quota.h), once each. A domain that does not answer keeps its last state. Loop's
 * thread only.
 */
#ifndef VMJ_AGENT_SPACE_H
#define VMJ_AGENT_SPACE_H

#include "vmjob/agent/agent.h"
#include "vmjob/policy/quota.h"
#include "vmjob/storage/usage.h"

struct vmj_spaces;

#define VMJ_SPACES_PERIOD_US 10000000

/* Begins to watch those of the agent's settings, whatever these are at the time. */
int vmj_spaces_new(struct vmj_agent *a, uint64_t period_us, struct vmj_spaces **ret,
		   struct vmj_error *err);
/* After the pool's end. NULL allowed. */
void vmj_spaces_free(struct vmj_spaces *s);

/* As last seen. false: not known yet. */
bool vmj_spaces_find(const struct vmj_spaces *s, const char *path, struct vmj_capacity *ret_room,
		     enum vmj_watermark *ret_mark);

#endif
