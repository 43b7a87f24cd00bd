/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pure: which phases of a guest follow each other, and what may be asked of a guest in which
 * phase. */
#ifndef VMJ_AGENT_PHASE_H
#define VMJ_AGENT_PHASE_H

#include <stdbool.h>
#include <stdint.h>

#include "vmjob/base/error.h"
#include "vmjob/model/guest.h"

enum vmj_action {
	VMJ_ACTION_PREPARE, /* for a new run of the job: whatever was left is cleared first */
	VMJ_ACTION_RUN,
	VMJ_ACTION_STOP,
	VMJ_ACTION_SUSPEND,
	VMJ_ACTION_RESUME,
	VMJ_ACTION_RESET,
	VMJ_ACTION_PLUG,
	VMJ_ACTION_CONSOLE,
	VMJ_ACTION_RELEASE,
	VMJ_ACTION_COUNT_,
};

bool vmj_phase_may_become(enum vmj_phase from, enum vmj_phase to);
bool vmj_phase_allows(enum vmj_phase phase, enum vmj_action action);

/* 0, or -EINVAL by the user's fault: "guest 7 is stopping: it cannot be suspended". */
int vmj_phase_check(const struct vmj_guest *g, enum vmj_action action, struct vmj_error *err);

/* The guest has a domain, as far as we know. */
bool vmj_phase_alive(enum vmj_phase phase);

/*
 * What to do with a record when the host's domains are known anew: at start, and after each new
 * connection to libvirt. `same_boot`: the host has not been restarted since the record was written.
 * If it was, Slurm has the job elsewhere, or comes with a fresh prepare; but what runs is never
 * ended on that ground.
 */
enum vmj_domain_seen { VMJ_SEEN_NONE, VMJ_SEEN_RUNNING, VMJ_SEEN_PAUSED };
enum vmj_adoption {
	VMJ_ADOPT_KEEP,    /* as recorded; or the prolog, step or epilog comes back to it */
	VMJ_ADOPT_RESUMED, /* somebody resumed it while we were away */
	VMJ_ADOPT_LOST,    /* ended while nobody watched */
	VMJ_ADOPT_RELEASE, /* finish, or do, the release */
	VMJ_ADOPT_COUNT_,
};
enum vmj_adoption vmj_phase_adopt(enum vmj_phase phase, bool same_boot, enum vmj_domain_seen seen);

/* Has the job ended for good, by what `scontrol -o show job N` prints? One of an array that has
 * not, or nothing that is understood: no. */
bool vmj_phase_job_over(const char *text);

/* Is there room again in a file system that was full? A fiftieth of it, or 1 GiB: enough that a
 * guest that goes on is not stopped again at once. */
bool vmj_phase_room(uint64_t free_bytes, uint64_t size_bytes);

#endif
