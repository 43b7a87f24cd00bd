/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Worker threads for calls that block (libvirt, files, child processes), so that the loop never
 * does.
 *
 * A task is a `work` function, run on some worker, and a `done` function, run on the loop
 * afterwards. Tasks with the same lane run one after the other in the order in which they were
 * submitted, lane 0 in no order. Threads: a few, and
 * more, up to a bound, while all of them are stuck in calls that do not return (a frozen QEMU, a
 * dead file server); the others' tasks still get through.
 *
 * `done` is called for every task that was accepted, unless the pool is freed before.
 */
#ifndef VMJ_AGENT_POOL_H
#define VMJ_AGENT_POOL_H

#include <stdint.h>

#include "vmjob/base/error.h"

typedef struct sd_event sd_event;
struct vmj_pool;

/* The lanes of a guest: one for its record and whatever must be in order with it, one for ending it
 * while the first is stuck, one for what may wait long (statistics, its clock). */
enum vmj_lane { VMJ_LANE_MAIN, VMJ_LANE_END, VMJ_LANE_ASIDE };
static inline uint64_t vmj_lane(uint32_t job, enum vmj_lane lane)
{
	return 1 + job + ((uint64_t)lane << 33);
}
/* STORAGE: by a storage's number for reports, each further VMJ_CONFIG_ITEMS_MAX for other purposes:
 * what answers at once must not wait for what takes long, and a dead server blocks its own only. */
#define VMJ_LANE_LOG        (1ull << 40)
#define VMJ_LANE_HOST       (3ull << 40)
#define VMJ_LANE_STORAGE(n) ((1ull << 41) + (n))
#define VMJ_LANE_KEEPER(n)  ((5ull << 40) + (n)) /* of a storage: never behind anything else */

int vmj_pool_new(sd_event *loop, struct vmj_pool **ret, struct vmj_error *err);

/* Tells the threads to end and waits for those that are between tasks. A thread that is stuck in a
 * call is left behind: the process is about to end. Tasks not begun are dropped. */
void vmj_pool_free(struct vmj_pool *p);

/* On the loop's thread. -ENOMEM; -EAGAIN: no thread at all could be started. */
int vmj_pool_submit(struct vmj_pool *p, uint64_t lane, void (*work)(void *arg),
		    void (*done)(void *arg), void *arg);

/* How many tasks wait in the lane or are at work: to refuse a user's when there are too many. */
unsigned int vmj_pool_load(struct vmj_pool *p, uint64_t lane);

#endif
