/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The agent: one context made of its parts. Everything in it is of the loop's thread, but for
 * `virt`, `topology` and `dir`, which workers use too. */
#ifndef VMJ_AGENT_AGENT_H
#define VMJ_AGENT_AGENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "vmjob/agent/pool.h"
#include "vmjob/agent/record.h"
#include "vmjob/agent/settings.h"
#include "vmjob/policy/lease.h"

struct json_object;
struct vmj_eventlog;
struct vmj_follower;
struct vmj_guests;
struct vmj_keeper;
struct vmj_pauses;
struct vmj_ready;
struct vmj_server;
struct vmj_spaces;
struct vmj_sweep;
struct vmj_topology;
struct vmj_virt;
struct vmj_volume_task;

struct vmj_agent {
	sd_event *loop;
	struct vmj_settings *settings;
	struct vmj_pool *pool;
	struct vmj_topology *topology;
	struct vmj_virt *virt;
	struct vmj_ready *ready;
	struct vmj_eventlog *events;
	LIST_HEAD(, vmj_follower) followers; /* of the event log */
	struct vmj_guests *guests;
	struct vmj_pauses *pauses;
	struct vmj_sweep *sweep;
	struct vmj_server *server;
	LIST_HEAD(, vmj_volume_task) volume_tasks; /* under way */
	int64_t answered_us[VMJ_CONFIG_ITEMS_MAX]; /* when each storage last did, to such a task */
	struct vmj_spaces *spaces;
	struct vmj_keeper *keeper;
	struct json_object *usage; /* of storages, by path, as last counted (op_storage.c) */
	int64_t started_us;
	bool kvm; /* as last seen */
	char host[256];
	char boot_id[37];
	char id[VMJ_AGENT_ID_MAX + 1]; /* of this start, random: in leases */
	char dir[VMJ_GUEST_PATH_MAX];  /* of the guests' records and disks */
};

int64_t vmj_now_us(void); /* CLOCK_REALTIME */

#endif
