/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Those who wait for a connection to libvirt: a restart of libvirtd takes a moment, and need not
 * fail anybody. Loop's thread only. */
#ifndef VMJ_AGENT_READY_H
#define VMJ_AGENT_READY_H

#include <stdbool.h>
#include <stdint.h>

#include "vmjob/base/error.h"

typedef struct sd_event sd_event;
struct vmj_ready;

int vmj_ready_new(sd_event *loop, struct vmj_ready **ret, struct vmj_error *err);
void vmj_ready_free(struct vmj_ready *r);
void vmj_ready_set(struct vmj_ready *r, bool connected);
bool vmj_ready(const struct vmj_ready *r);

/* Calls `go` once: at once when connected, else at the next connection, or when the time is over
 * (what `go` then does will say what is wrong). */
void vmj_ready_wait(struct vmj_ready *r, uint64_t timeout_us, void (*go)(void *arg), void *arg);

#endif
