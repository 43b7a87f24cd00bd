/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The end of a growing file, and what is appended to it, by inotify. A file that another takes the
 * place of (virtlogd rotates its logs by renaming) is read to its end, then the new one is. */
#ifndef VMJ_AGENT_TAIL_H
#define VMJ_AGENT_TAIL_H

#include <stddef.h>
#include <stdint.h>

#include "vmjob/base/error.h"

typedef struct sd_event sd_event;
struct vmj_tail;

/* `grew` is called with the last `backlog` bytes at most before this returns, and later from the
 * loop; within it the tail must not be freed. The file need not be there yet, its directory must.
 */
int vmj_tail_new(sd_event *loop, const char *path, size_t backlog,
		 void (*grew)(const uint8_t *data, size_t len, void *arg), void *arg,
		 struct vmj_tail **ret, struct vmj_error *err);
void vmj_tail_free(struct vmj_tail *t);

/* Read now what there is. */
void vmj_tail_drain(struct vmj_tail *t);

#endif
