/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Leases of volumes in a storage domain (version 2 of its layout): who may write a volume. The
 * protocol, and why it is safe, is in vmjob/policy/lease.h; here are its files:
 *
 *	PATH/leases/<uid>.<volume>/<epoch, 10 digits>.json	0700 root, 0600
 *	{"format": "vmjob-lease", "version": 1, "host", "boot", "agent", "what": "guest"|"work",
 *	 "job", "generation", "term", "since", "released"}
 *
 * All calls block, are safe in threads, and are for root's agent: whoever takes a lease must be
 * this host's only agent. A host is registered in the domain by vmj_host_renew(); taking a lease
 * does it where that has not been done yet.
 *
 * A lease is no lock between threads of one agent, except that two takes as work (or one as work
 * and one as guest) of the same volume in one process exclude each other.
 */
#ifndef VMJ_STORAGE_LEASE_H
#define VMJ_STORAGE_LEASE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "vmjob/base/error.h"
#include "vmjob/policy/lease.h"

/* Who wants it. Borrowed strings: this host's name (vmj_name_valid), its boot id, a random word for
 * this start of the agent. */
struct vmj_lease_who {
	const char *host, *boot, *agent;
	bool guest;   /* for a guest, held across starts of the agent; else for work */
	uint32_t job; /* of the guest; work: 0 or the job that it is for */
};

struct vmj_lease {
	bool held;      /* somebody may write: not released, and not over by what can be seen */
	bool over;      /* not released, but its holder is known to be gone: free to be taken */
	bool guest;     /* the rest is of the last holder, even where it is not held */
	uint32_t epoch; /* 0: never taken, nothing else is set */
	uint32_t job;
	int64_t since; /* seconds */
	char host[VMJ_NAME_MAX + 1];
	char boot[VMJ_BOOT_ID_MAX + 1];
	char agent[VMJ_AGENT_ID_MAX + 1];
	enum vmj_lease_state state; /* towards nobody in particular */
};

/* 0, and the lease is who's until released (the same who again: the same epoch; for a guest the
 * agent may be another, since guests live through its starts). -EBUSY by the user's fault, with a
 * sentence such as 'volume "data" is in use by job 42 on n2 since 14:03:11: …what to do'. What the
 * storage or this host cannot do is the host's fault: then the lease may have been taken, and the
 * next take or release of the same who sees to it. */
int vmj_lease_take(const char *domain, uid_t uid, const char *volume,
		   const struct vmj_lease_who *who, uint32_t *ret_epoch, struct vmj_error *err);

/* Of who's own only; another's, or none: success, nothing is changed. The volume must not be
 * written any more when this is called. */
int vmj_lease_release(const char *domain, uid_t uid, const char *volume,
		      const struct vmj_lease_who *who, struct vmj_error *err);

/* For people and for choosing a host: may be some seconds old. */
int vmj_lease_show(const char *domain, uid_t uid, const char *volume, struct vmj_lease *ret,
		   struct vmj_error *err);

/* After the volume was removed, under its lease as work: release it and all but the file of the
 * highest epoch is removed, which keeps the count for a later volume of this name. */
int vmj_lease_drop(const char *domain, uid_t uid, const char *volume,
		   const struct vmj_lease_who *who, struct vmj_error *err);

/* A lease that this host has, for the agent's start: guests of this boot to be looked after, what
 * an earlier boot or start of the agent left. */
struct vmj_lease_own {
	uid_t uid;
	char volume[VMJ_NAME_MAX + 1];
	struct vmj_lease lease; /* state: MINE (this boot's guest, this agent's work) or LEFT */
};
/* Not released, of who->host. *ret: array, caller's; NULL where *ret_n is 0. who: agent and boot as
 * they are now. Reads every lease of the domain: for starts, not for loops. */
int vmj_lease_mine(const char *domain, const struct vmj_lease_who *who, struct vmj_lease_own **ret,
		   size_t *ret_n, struct vmj_error *err);

/* Does this process hold anything there as work? */
bool vmj_lease_works(const char *domain);

/* The same words everywhere: 'job 42 on n2' or 'work on n2'. Returns buf. */
#define VMJ_LEASE_HOLDER_MAX 128
const char *vmj_lease_holder(const struct vmj_lease *l, char buf[VMJ_LEASE_HOLDER_MAX]);

#endif
