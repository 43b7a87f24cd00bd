/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guests of this host as the agent has them in memory: the record, and who is attached.
 * Loop's thread only.
 *
 * The record in memory is the loop's; what workers do to a guest they do to a copy, and its result
 * is taken over on the loop. While a prepare or release is at work (`busy`), the worker's copy
 * counts and events of the domain are its doing: they are not looked at. At all other times every
 * change of phase goes through vmj_guest_become(), which refuses what vmj_phase_may_become() does
 * not know, and writes the record, in order, by the guest's main lane.
 */
#ifndef VMJ_AGENT_GUESTS_H
#define VMJ_AGENT_GUESTS_H

#include <stdbool.h>
#include <sys/queue.h>

#include "vmjob/agent/agent.h"
#include "vmjob/agent/conn.h"
#include "vmjob/host/virt.h"
#include "vmjob/model/guest.h"
#include "vmjob/model/json.h"

struct json_object;
struct vmj_console;
struct vmj_detaching;
typedef struct sd_event_source sd_event_source;

/* A turn of a guest to be prepared or released: one at a time, in the order in which they came. */
struct vmj_turn;

/* PAUSED by a disk: pause.c. Times are CLOCK_MONOTONIC. */
struct vmj_stall {
	bool asking;                    /* which disk it is */
	bool going;                     /* looking whether its volumes are its own still */
	unsigned int tries;             /* to go on, without success for long */
	int64_t next_us;                /* not before */
	int64_t resumed_us;             /* last; 0: never */
	char storage[VMJ_NAME_MAX + 1]; /* what it waits for; "": this host's scratch */
	char text[VMJ_ERROR_TEXT_MAX];  /* for people */
};

struct vmj_entry {
	LIST_ENTRY(vmj_entry) link;
	struct vmj_agent *agent;
	unsigned int refs;
	bool known; /* there is a guest; else only turns wait */
	bool busy;  /* a turn is at work */
	bool saving, save_again;
	bool in_adoption; /* the domains that are being listed include this guest's, if it has one
			   */
	bool was_paused;  /* STOPPING, and PAUSED before (or, after our restart, perhaps) */
	struct vmj_guest rec;
	STAILQ_HEAD(, vmj_turn) turns;
	unsigned int runs;               /* joining and pinning under way, or waiting for libvirt */
	struct vmj_attachment claim;     /* the step's connection, while claim.conn is set */
	sd_event_source *deadline;       /* STOPPING: when it is destroyed */
	sd_event_source *press;          /* STOPPING: when its power button is pressed again */
	bool plugging;                   /* a volume comes or goes: op_attach.c */
	struct vmj_detaching *detaching; /* the guest has not let go of one yet */
	struct vmj_console *console;     /* while anybody watches */
	struct vmj_stall stall;
	int64_t rebooted_us; /* the last event of a reset; 0: none */
	int64_t stats_us;    /* when stats were read; 0: never */
	struct vmj_virt_stats stats;
};

int vmj_guests_new(struct vmj_agent *agent, struct vmj_guests **ret, struct vmj_error *err);
void vmj_guests_free(struct vmj_guests *g);

/* Reads the records; what has none that can be read is released. */
int vmj_guests_load(struct vmj_guests *g, const char *dir, struct vmj_error *err);

/* After a new connection to libvirt: look at all domains. */
void vmj_guests_adopt(struct vmj_agent *agent);

/* The guest of this job, NULL: none is known. */
struct vmj_entry *vmj_guests_find(struct vmj_guests *g, uint32_t job);
/* The same, or a fresh one that is not known yet; NULL without memory. */
struct vmj_entry *vmj_guests_get(struct vmj_guests *g, uint32_t job);
struct vmj_entry *vmj_guests_first(struct vmj_guests *g); /* then LIST_NEXT(e, link) */

/* A reference for a task or a call that is under way. */
struct vmj_entry *vmj_entry_ref(struct vmj_entry *e);
void vmj_entry_unref(struct vmj_entry *e);
/* Out of the table, once nothing is known, waits or works. */
void vmj_entry_settle(struct vmj_entry *e);

void vmj_entry_save(struct vmj_entry *e);
/* true: the phase is `phase` now (and was not before). */
bool vmj_entry_become(struct vmj_entry *e, enum vmj_phase phase);

/* What happened to the domain. Each does nothing where it changes nothing. */
void vmj_entry_ended(struct vmj_entry *e, enum vmj_end end);
void vmj_guests_event(struct vmj_guests *g, uint32_t job, enum vmj_virt_event event,
		      enum vmj_end end);

/* A detach that waits is answered: the guest is gone. NULL allowed. */
void vmj_detaching_free(struct vmj_detaching *d);
/* Gives back the volumes that the guest's domain does not have any more. */
void vmj_entry_settle_disks(struct vmj_entry *e);

/* To the step that runs the guest, if it is there: {"event": name, ...}. `more` is taken over. */
void vmj_entry_tell(struct vmj_entry *e, const char *event, struct json_object *more);
void vmj_entry_tell_ended(struct vmj_entry *e);

/* Destroy the domain now, whatever else is stuck; its end comes as an event. */
void vmj_entry_destroy(struct vmj_entry *e);
/* Destroy it in so many seconds; a deadline that is earlier already stays. */
void vmj_entry_set_deadline(struct vmj_entry *e, uint32_t seconds);

#endif
