/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guests that are paused, by whom or by what. Loop's thread only.
 *
 * Theory of operation. QEMU stops a guest whose disk cannot be written or read, rather than tell
 * the guest, which would lose data by it. Which disk and why, libvirt is asked then; the event log
 * says it with what to do. As long as any guest stands still so, one timer comes round, and each
 * storage that such guests wait for is looked at by one worker, however many they are: for room
 * where it was full, for an answer where it failed. Then they go on by themselves; one that is
 * stopped again soon waits longer each time. A guest that somebody paused never goes on by itself.
 */
#ifndef VMJ_AGENT_PAUSE_H
#define VMJ_AGENT_PAUSE_H

#include "vmjob/agent/guests.h"

/* Each does nothing where it changes nothing. A user's pause takes a disk's place. */
void vmj_entry_paused(struct vmj_entry *e, enum vmj_pause why);
void vmj_entry_resumed(struct vmj_entry *e);

/* Paused by a disk, as its record says: after the agent's start. */
void vmj_entry_stalled(struct vmj_entry *e);

struct vmj_pauses;
int vmj_pauses_new(struct vmj_agent *agent, struct vmj_pauses **ret, struct vmj_error *err);
void vmj_pauses_free(struct vmj_pauses *p);

#endif
