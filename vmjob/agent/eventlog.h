/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What happened to the guests of this host, as JSON lines in SCRATCH/events.log, which is put aside
 * as events.log.1 (replacing the one before) when it is VMJ_EVENTLOG_BYTES_MAX long:
 *   {"time": microseconds, "job": N, "uid": N, "what": WORD, "text": SENTENCE}
 * Written and read by workers, in the order of the calls; the calls are of the loop's thread.
 */
#ifndef VMJ_AGENT_EVENTLOG_H
#define VMJ_AGENT_EVENTLOG_H

#include <stdint.h>
#include <sys/types.h>

#include "vmjob/base/error.h"

#define VMJ_EVENTLOG_BYTES_MAX (1u << 20)
#define VMJ_EVENTLOG_SHOWN_MAX 1000 /* newest events that a reader is shown */

struct json_object;
struct vmj_eventlog;
struct vmj_pool;

int vmj_eventlog_new(const char *scratch, struct vmj_pool *pool, struct vmj_eventlog **ret,
		     struct vmj_error *err);
void vmj_eventlog_free(struct vmj_eventlog *l);

/* Also given to the listener, whose only argument but `arg` is borrowed. */
void vmj_eventlog_add(struct vmj_eventlog *l, uint32_t job, uid_t uid, const char *what,
		      const char *text_format, ...) __attribute__((format(printf, 5, 6)));
void vmj_eventlog_listen(struct vmj_eventlog *l, void (*heard)(struct json_object *o, void *arg),
			 void *arg);

/* The newest events, oldest first, of `job` (0: any) and of `uid` ((uid_t)-1: anybody's): `got` is
 * called on the loop with an array, which is its own; NULL: could not be read. */
void vmj_eventlog_read(struct vmj_eventlog *l, uint32_t job, uid_t uid,
		       void (*got)(struct json_object *array, void *arg), void *arg);

#endif
