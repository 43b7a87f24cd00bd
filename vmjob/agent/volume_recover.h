/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VMJ_AGENT_VOLUME_RECOVER_H
#define VMJ_AGENT_VOLUME_RECOVER_H

#include "vmjob/agent/agent.h"

/* At the agent's start: volumes that an earlier start of it was at work on are put right, in the
 * background, storage by storage. Those of guests are looked after with the guests. */
void vmj_volumes_recover(struct vmj_agent *a);

#endif
