/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The promise of self_stop kept without the agent: a process beside it that kills whoever writes a
 * domain's volumes once this host's time there is over (policy/lease.h). It goes on when the agent
 * dies, hangs or is stopped, and serves the next one.
 *
 * The two share a page, the file `guard` beside the agent's socket: for each domain until when it
 * may be written. The agent moves that on with each renewal. The guard holds a lock on the file
 * while it lives, ends when no promise is left, and sleeps until the next one runs out: it costs
 * nothing meanwhile. It looks at no storage, only at what processes have open (/proc/PID/fd), so
 * that a dead file server cannot hold it up.
 */
#ifndef VMJ_AGENT_GUARD_H
#define VMJ_AGENT_GUARD_H

#include <stdint.h>

#include "vmjob/base/error.h"

struct vmj_guard;

/* path: of the shared file; made where there is none, or where it is of another boot. */
int vmj_guard_new(const char *path, const char *boot, struct vmj_guard **ret,
		  struct vmj_error *err);
void vmj_guard_free(struct vmj_guard *g); /* the guard goes on; NULL allowed */

/* Before a promise of stop_ms is made known (the domain answers): from now on it is kept, also if
 * the agent dies. One that is under way already stays as it is. Starts the guard where none lives.
 * Any thread. */
int vmj_guard_promise(struct vmj_guard *g, const char *domain, uint32_t stop_ms,
		      struct vmj_error *err);
/* After a renewal: until when (CLOCK_BOOTTIME, ms); 0: there is no promise any more. Any thread. */
void vmj_guard_renew(struct vmj_guard *g, const char *domain, int64_t until_ms);

/* SIGKILL to every process that has a file below DOMAIN/volumes open for writing; domain without
 * symbolic links. How many; does not touch the domain. */
unsigned int vmj_guard_kill(const char *domain);

#endif
