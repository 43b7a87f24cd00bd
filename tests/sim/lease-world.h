/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A made-up cluster for the lease protocol (vmjob/policy/lease.h): hosts with agents, guests and
 * clocks of their own, volumes on one storage, an operator. All of it follows from a seed.
 *
 * lease-storage.c is the storage as each host sees it: what is changed takes effect at once, for
 * all; what is read may be old, but never older than the reader's own last change of that
 * directory. lease-hosts.c is the hosts, lease-world.c what befalls them. After each event there
 * may be one writer a volume: a guest that runs, or work under way.
 */
#ifndef TESTS_SIM_LEASE_WORLD_H
#define TESTS_SIM_LEASE_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "vmjob/policy/lease.h"

#define HOSTS_MAX   5
#define VOLUMES_MAX 3
#define EPOCHS_MAX  512
#define CHANGES_MAX 2048
#define GHOSTS_MAX  16
#define NEVER       INT64_MAX

struct world;
struct host;

/* --- the storage ----------------------------------------------------------------------------- */

struct change {
	int64_t time;
	uint32_t epoch;
	bool added;
};

struct file {
	bool exists;
	struct vmj_lease_record record;
	int64_t created, released; /* when */
};

struct volume {
	struct file files[EPOCHS_MAX]; /* by epoch */
	struct change changes[CHANGES_MAX];
	unsigned int n_changes;
	uint32_t highest; /* ever, for bounds */
};

/* A host's record, and the boots in which it is confirmed dead. */
struct registry {
	bool exists;
	struct vmj_lease_host record;
	uint64_t dead_boots;             /* bits, by number */
	struct vmj_lease_host before[4]; /* earlier ones, of a short while ago */
	unsigned int n_before;
};

/* --- the hosts ------------------------------------------------------------------------------- */

/* What a host does about a volume: on record (it survives the agent) but for `op`. */
enum doing { IDLE, TAKING, STARTING, WRITING, RELEASING };

struct use {
	enum doing doing;
	bool guest;
	uint32_t job;
	struct vmj_lease_op op; /* TAKING, RELEASING */
	bool op_begun;
	int64_t next;     /* when something comes of it */
	int64_t modified; /* when this host last changed the volume's directory */
};

/* Renewal: the record is read at the first of an agent, then written, then the answer comes. */
enum keeping { KEEP_RESTING, KEEP_READING, KEEP_WRITING, KEEP_ANSWER };

struct host {
	struct world *world;
	unsigned int index;
	char name[16];
	bool up, agent_up;
	unsigned int boots, agents;
	char boot[VMJ_BOOT_ID_MAX + 1], agent[VMJ_AGENT_ID_MAX + 1];
	int64_t boot_time; /* its clock counts from here, at `rate` millionths */
	int64_t rate;
	int64_t frozen_until, cut_until; /* all of it; its way to the storage */
	int64_t power_next, agent_next;  /* it comes up */
	struct use uses[VOLUMES_MAX];
	struct vmj_lease_seen seen[HOSTS_MAX];
	/* its own record */
	enum keeping keeping;
	int64_t keep_next, keep_begun; /* the latter by its own clock */
	bool registered;
	uint64_t generation, seq, term;
	int64_t hold_until; /* its own clock; survives the agent */
};

/* An operation of a process that has died: it was on its way already. */
struct ghost {
	int64_t at;
	struct host *host;
	unsigned int volume;
	bool renewal;
	struct vmj_lease_host record;
	struct vmj_lease_op op;
};

struct world {
	uint64_t random;
	int64_t now; /* ms */
	unsigned int mistakes;
	bool trace;
	/* what the seed says of this world */
	unsigned int n_hosts, n_volumes;
	int64_t stale_max;   /* how old a view may be */
	int64_t latency;     /* of one operation, mostly */
	int64_t hold_time;   /* of a volume, mostly */
	uint32_t stop_after; /* 0: no promises */
	int64_t fault_mean;  /* between faults */
	int64_t fault_next;
	struct host hosts[HOSTS_MAX];
	struct volume volumes[VOLUMES_MAX];
	struct registry registry[HOSTS_MAX];
	struct ghost ghosts[GHOSTS_MAX];
	unsigned int n_ghosts;
	struct {
		int64_t at;
		unsigned int host;
		char boot[VMJ_BOOT_ID_MAX + 1];
	} confirmation; /* an operator's, on its way */
	uint32_t jobs;
	unsigned int takes, takeovers; /* to see that something happens at all */
	const struct use *acting;      /* whose operation is stepped */
	struct host *actor;
	unsigned int volume;
	char violation[200]; /* "": none */
	bool overlap;        /* which is what it says */
};

uint64_t rnd(struct world *w, uint64_t below); /* 0 … below - 1 */
bool chance(struct world *w, unsigned int percent);
int64_t clock_of(const struct host *h);
void note(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

uint64_t boot_bit(const char *boot);

int64_t some_time(struct world *w, int64_t mean);        /* around mean; now and then much more */
int64_t when_clock(const struct host *h, int64_t local); /* when its clock shows that, or after */

bool writes(const struct host *h, unsigned int volume);
bool writes_any(const struct host *h);
void power_on(struct host *h);
void power_off(struct host *h);
void agent_starts(struct host *h);
void agent_dies(struct host *h);
void keep(struct host *h);                /* the next step of its renewal */
void use(struct host *h, unsigned int v); /* of what it does about a volume */
void guard(struct host *h);               /* its promise runs out */
void become(struct host *h, unsigned int v, enum doing doing, int64_t wait);
void put_record(struct world *w, unsigned int host, const struct vmj_lease_host *record);

/* One step of the host's operation on a volume, by the protocol. */
int storage_step(struct host *h, unsigned int volume, struct vmj_lease_op *op);
/* As when a volume is removed: all epochs but the highest go. */
void storage_sweep(struct host *h, unsigned int volume);

/* A whole life of a cluster, then a quiet end in which somebody must get every volume. false:
 * w->violation says what was wrong. */
bool world_run(struct world *w, uint64_t seed, unsigned int mistakes, bool trace);

#endif
