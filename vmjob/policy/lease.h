/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who may write a volume: a lease without a server, as a pure protocol over a few files.
 *
 * Each volume has a directory of small files, one an epoch, named by a number that only grows. The
 * owner is whoever the file of the highest epoch names, unless that file is marked released. To
 * take the lease is to create the next number. The idea is old: ownership as a counter that only
 * one can advance (Lamport's "Fast Mutual Exclusion" and the ballots of Paxos), renewal by the host
 * and not by the resource (sanlock's delta leases; Chubby's sessions), fencing by epoch.
 *
 * What it relies on, all of which NFS (2 to 4), the cluster file systems and local ones give:
 *  - create(): one of two that create the same name fails (link() of a finished file; on NFS the
 *    server decides, O_EXCL is not needed);
 *  - a record is seen whole or not at all (it is linked or renamed into place, synced before);
 *  - a directory that this host has just changed is listed as it is now. Otherwise a list may be
 *    old (NFS caches directories for up to a minute): files may be missing that are there, and
 *    shown that are gone;
 *  - clocks that count while the machine sleeps (CLOCK_BOOTTIME), no more than a tenth apart in
 *    rate. Clocks of the wall are for people: no decision depends on them;
 *  - what a process had asked of the storage when it died may still be done later; what a machine
 *    had asked is done before it has booted twice more. (So a host's record can fall back for a
 *    moment; generations tell.)
 *
 * Invariants, which tests/sim checks under crashes, delays and old lists:
 *  1. Epoch e + 1 is created only by who has judged the record of e to be over: released, or of a
 *     host that is known not to run it any more. No record is ever un-released.
 *  2. The file of the highest epoch is never removed. So there is always something to judge, and a
 *     list that is not old shows it.
 *  3. Who has created e holds the lease only if a list made afterwards shows nothing higher.
 *     (Without: a host with an old list creates a number that the owners have long gone past and
 *     cleaned away.)
 *  4. A host that is confirmed dead in its present boot, or whose promise to stop has run out
 *     since it began to take, holds nothing: it looks after creating, and before it lets anything
 *     write. (Since it began: else it could renew late, between another's judgement and that
 *     other's next epoch, and both would hold.)
 * Why no two holders overlap: let A hold a and B hold b > a. By 3 nothing above a was there after A
 * had created a, so a + 1 … b all came later, each by who had judged the one before (1); the first
 * of them judged A's record to be over. Released: A writes no more. Over by death: invariant 4 and
 * the rules of vmj_lease_judge().
 *
 * Steppable: vmj_lease_step() does exactly one operation of the environment, so that a simulation
 * can interleave hosts, and crash them, between any two. Nothing here blocks, allocates or has a
 * clock of its own.
 */
#ifndef VMJ_POLICY_LEASE_H
#define VMJ_POLICY_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#include "vmjob/base/parse.h"

#define VMJ_BOOT_ID_MAX       36 /* as /proc/sys/kernel/random/boot_id has it */
#define VMJ_AGENT_ID_MAX      32
#define VMJ_LEASE_KEPT        8  /* epochs; older ones are removed by later owners */
#define VMJ_LEASE_EPOCHS_MAX  64 /* that a list may show: the highest are given */
#define VMJ_LEASE_EPOCH_MAX   4000000000u
#define VMJ_LEASE_TRIES_MAX   16 /* rounds of taking, when others take too */
#define VMJ_STOP_MARGIN_MS(s) ((s) / 8 + 10000)

/* One epoch. */
struct vmj_lease_record {
	char host[VMJ_NAME_MAX + 1];
	char boot[VMJ_BOOT_ID_MAX + 1];
	char agent[VMJ_AGENT_ID_MAX + 1]; /* which start of the agent */
	bool guest;          /* a guest writes; else the agent works on the volume itself */
	uint32_t job;        /* of the guest; 0: none */
	uint64_t generation; /* of the host's boot */
	uint64_t term;       /* of the host, see struct vmj_lease_host */
	int64_t since;       /* seconds, wall clock, for people */
	bool released;
};

/* What a host says of itself, once for all its leases. */
struct vmj_lease_host {
	char boot[VMJ_BOOT_ID_MAX + 1];
	char agent[VMJ_AGENT_ID_MAX + 1];
	uint64_t generation; /* grows with each boot */
	uint64_t seq;        /* grows with each renewal; one (agent, seq) is written only once */
	/* Its promise: who holds leases here stops writing if the host could not renew for so long,
	 * counted from the beginning of the last renewal that succeeded. 0: no such promise. The
	 * time in which it was kept without a gap is a term, known by the agent and the seq of the
	 * renewal that began it; nothing is taken across a gap. */
	uint32_t stop_after_ms;
};

/* What was seen of a host's record, and since when: the caller's memory, across takes. */
struct vmj_lease_seen {
	char boot[VMJ_BOOT_ID_MAX + 1];
	char agent[VMJ_AGENT_ID_MAX + 1];
	uint64_t seq;
	int64_t since_ms; /* env's clock, after the first look; 0: never seen */
};

/* How a record stands towards somebody who wants the lease. */
enum vmj_lease_state {
	VMJ_LEASE_FREE,      /* there is no record, or it is released */
	VMJ_LEASE_MINE,      /* the very same holder */
	VMJ_LEASE_LEFT,      /* this host's own, of another boot or of work that died: over */
	VMJ_LEASE_RESTARTED, /* its host has booted since: over */
	VMJ_LEASE_DEAD,      /* its host is confirmed dead in that boot: over */
	VMJ_LEASE_EXPIRED, /* its host has promised to stop, and the time for it has passed: over */
	VMJ_LEASE_BUSY,    /* held */
	VMJ_LEASE_UNSURE,  /* this host cannot look after what it would hold: see `self` */
};

/* The world of one volume's lease, seen from one host. All return 0 or a negative errno; each is
 * one operation on the storage but now_ms. */
struct vmj_lease_env {
	void *arg;
	int64_t (*now_ms)(void *arg); /* CLOCK_BOOTTIME, above 0 */
	/* Epochs in any order, the highest VMJ_LEASE_EPOCHS_MAX. fresh: as of now; else it may be
	 * old, unless this host has just changed the directory. */
	int (*list)(void *arg, bool fresh, uint32_t *epochs, unsigned int *ret_n);
	int (*create)(void *arg, uint32_t epoch, const struct vmj_lease_record *r); /* -EEXIST */
	int (*read)(void *arg, uint32_t epoch, struct vmj_lease_record *ret);       /* -ENOENT */
	/* Replace the record, made by this host, by `r`, which is released. */
	int (*release)(void *arg, uint32_t epoch, const struct vmj_lease_record *r);
	int (*remove)(void *arg, uint32_t epoch); /* it may be gone */
	/* As of now, not an old view. -ENOENT: the host never registered. */
	int (*host)(void *arg, const char *host, struct vmj_lease_host *ret);
	int (*is_dead)(void *arg, const char *host, const char *boot, bool *ret);
	/* Memory for what was seen of that host; NULL: none to be had, it then never expires. */
	struct vmj_lease_seen *(*seen)(void *arg, const char *host);
	/* Until when this host may hold leases by its own promise, and since which term: now_ms'
	 * clock; 0: it may not, INT64_MAX: no end. Not an operation on the storage. */
	int64_t (*hold_until_ms)(void *arg, uint64_t *ret_term);
};

/* Mistakes that the simulation makes on purpose, to see that it would find them: only lease.c built
 * with -DVMJ_LEASE_MISTAKES (tests/sim) makes any. */
enum vmj_lease_mistake {
	VMJ_MISTAKE_NONE = 0,
	VMJ_MISTAKE_NO_RELIST = 1 << 0,
	VMJ_MISTAKE_NO_MARGIN = 1 << 1,
	VMJ_MISTAKE_NO_BOOT = 1 << 2, /* whoever was dead once stays dead (made by the world) */
	VMJ_MISTAKE_NO_GENERATION = 1 << 3, /* any other boot is a later one */
	VMJ_MISTAKE_CLEAN_ALL = 1 << 4,     /* remove every epoch but mine, before the list */
	VMJ_MISTAKE_NO_DEAD = 1 << 5,       /* do not look whether I am confirmed dead */
	VMJ_MISTAKE_NO_TERM = 1 << 6,       /* hold across a gap in keeping my promise */
	VMJ_MISTAKE_NO_DEADLINE = 1 << 7,   /* hold although my own promise has run out */
	VMJ_MISTAKE_OLD_HOST = 1 << 8,      /* judge by a host's record that may be old (world) */
};

enum vmj_lease_want { VMJ_LEASE_TAKE, VMJ_LEASE_RELEASE, VMJ_LEASE_SHOW };

/* One operation under way; zero but for what vmj_lease_begin() sets. */
struct vmj_lease_op {
	enum vmj_lease_want want;
	struct vmj_lease_record
		me;            /* TAKE: of the term that lasts; SHOW: host, boot, agent may be "" */
	unsigned int mistakes; /* of enum vmj_lease_mistake */
	/* Result, once vmj_lease_step() returns 0: */
	enum vmj_lease_state state;    /* TAKE: MINE (it is held) or BUSY or UNSURE; SHOW: any */
	uint32_t epoch;                /* TAKE: mine if held; else the highest, 0: none */
	struct vmj_lease_record other; /* record of the highest epoch, if there is one */
	struct vmj_lease_host host;    /* BUSY of another host that has a record: that */
	int64_t wait_ms;               /* BUSY: it may expire in so long; 0: not by time */
	const char *self;              /* UNSURE: why, a part of a sentence about this host */
	/* Inner. */
	int step;
	unsigned int tries;
	bool fresh; /* the next list must be */
	bool has_host, created;
	enum vmj_lease_state judged; /* towards the record of epoch judged_epoch */
	uint32_t judged_epoch;
	int64_t asked_ms;
	unsigned int n_epochs;
	uint32_t epochs[VMJ_LEASE_EPOCHS_MAX];
};

/*
 * Pure. `h`: the record's host as of now, NULL: it has none. `dead`: confirmed in the record's
 * boot. A foreign record that is not released is over only if
 *  - its host's record shows a later boot (another boot id, and a higher generation), or
 *  - the host is confirmed dead in just that boot, or
 *  - the host promises to stop, and that very record (boot, agent, seq) has been seen unchanged
 *    for stop_after_ms + VMJ_STOP_MARGIN_MS. asked_ms: before the host was read. The writer counts
 *    from before its renewal, the observer from after having seen it, so the writer's time is over
 *    first; the margin is for clocks that differ in rate.
 * This host's own: of another boot, or work of another start of the agent, is over (LEFT). So is a
 * guest of the same job from before a gap, or before a start of the agent: it is taken anew, as the
 * next epoch, since others may have judged the old one meanwhile.
 */
enum vmj_lease_state vmj_lease_judge(const struct vmj_lease_record *r,
				     const struct vmj_lease_record *me,
				     const struct vmj_lease_host *h, bool dead,
				     const struct vmj_lease_seen *seen, int64_t asked_ms,
				     unsigned int mistakes);
bool vmj_lease_is_over(enum vmj_lease_state s); /* may the next epoch be created? */

void vmj_lease_begin(struct vmj_lease_op *op, enum vmj_lease_want want,
		     const struct vmj_lease_record *me);
/* One operation of env at most. 1: again; 0: done; negative errno: the storage failed, and whether
 * something was taken is for the next attempt to see (-EAGAIN: too many take at once). */
int vmj_lease_step(struct vmj_lease_op *op, const struct vmj_lease_env *env);

#endif
