/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Preparing and releasing a guest, one turn after the other. */
#ifndef VMJ_AGENT_TURN_H
#define VMJ_AGENT_TURN_H

#include "vmjob/agent/guests.h"

/* `call` (NULL: our own doing) is answered in the end. `guest`, node_index and user_data (taken
 * over; NULL: none) as the prolog says. */
void vmj_turn_prepare(struct vmj_entry *e, struct vmj_call *call, const struct vmj_guest *guest,
		      unsigned int node_index, char *user_data);
void vmj_turn_release(struct vmj_entry *e, struct vmj_call *call);

/* Drops the turns that wait; their calls are let go unanswered (the agent ends). */
void vmj_turn_drop_all(struct vmj_entry *e);

#endif
