/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hosts in a storage domain (version 2): one record each, renewed by its agent, and confirmed
 * deaths.
 *
 *	PATH/hosts/<host>.json		0600 root
 *	{"format": "vmjob-host", "version": 1, "host", "boot", "agent", "generation", "seq",
 *	 "time", "interval_ms", "stop_after_ms", "size_bytes", "free_bytes", "vmjob"}
 *	PATH/hosts/<host>.dead.json	0600 root
 *	{"format": "vmjob-death", "version": 1, "host", "boots": [BOOT…], "time", "by"}
 *
 * A renewal is one small file written and renamed, whatever the number of guests. A confirmed death
 * counts for certain boots of the host and is never taken back: when the host boots again, it has
 * another one. Ages are by the storage's own clock (times of files), so that no host's clock
 * matters. All calls block and are safe in threads.
 */
#ifndef VMJ_STORAGE_HOSTS_H
#define VMJ_STORAGE_HOSTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmjob/base/error.h"
#include "vmjob/policy/lease.h"

#define VMJ_HOST_INTERVAL_MS    10000 /* between renewals, where nothing else is said */
#define VMJ_HOST_VERSION_MAX    31
#define VMJ_HOST_FRESH_TIMES    3 /* a record of fewer intervals is one of a host that lives */
#define VMJ_DEATH_CONFIRMER_MAX 63

/* What a host writes; strings are borrowed. */
struct vmj_host_self {
	const char *host, *boot, *agent;
	uint32_t interval_ms;   /* 0: VMJ_HOST_INTERVAL_MS */
	uint32_t stop_after_ms; /* policy/lease.h; 0: no promise */
};

struct vmj_host_record {
	char host[VMJ_NAME_MAX + 1];
	struct vmj_lease_host lease; /* boot, agent, generation, seq, stop_after_ms */
	int64_t time;                /* of the last renewal, seconds, the host's own clock */
	uint32_t interval_ms;
	uint64_t size_bytes, free_bytes;        /* of the domain, as the host sees it */
	char version[VMJ_HOST_VERSION_MAX + 1]; /* of its vmjob */
	int64_t age_ms;                         /* since the last renewal, by the storage's clock */
	bool fresh;                             /* age_ms < VMJ_HOST_FRESH_TIMES intervals */
	bool dead;                              /* confirmed in this boot */
	int64_t dead_time;                      /* and since when, by whom */
	char dead_by[VMJ_DEATH_CONFIRMER_MAX + 1];
};

/* Write this host's record: the first call in a process registers, later ones renew. From then on
 * this process may hold leases in the domain for stop_after_ms, counted from the call's beginning.
 * -EOWNERDEAD: this host is confirmed dead in this boot. Nothing is written then, and whatever
 * holds leases here must stop at once. */
int vmj_host_renew(const char *domain, const struct vmj_host_self *self, struct vmj_error *err);

/* Until when this process may hold leases in the domain, CLOCK_BOOTTIME in ms: INT64_MAX without a
 * promise, 0: not registered, or confirmed dead. Does not touch the storage. */
int64_t vmj_host_hold_until_ms(const char *domain);
int64_t vmj_boottime_ms(void);

/* -ENOENT (user's fault): no such host has registered in the domain. */
int vmj_host_read(const char *domain, const char *host, struct vmj_host_record *ret,
		  struct vmj_error *err);
/* All, sorted by name; what cannot be read is left out and counted in *ret_bad (NULL allowed).
 * *ret: array, caller's. */
int vmj_host_list(const char *domain, struct vmj_host_record **ret, size_t *ret_n,
		  unsigned int *ret_bad, struct vmj_error *err);

/* Declare the host dead in the boot that its record shows, and in those that its leases show: what
 * it holds may be taken over at once. Only after the machine was switched off for certain (or
 * fenced). A fresh record is refused (-EBUSY, user's fault) unless `force`. by: who says so (a
 * user's name, a fence device). Idempotent. boot "": any; else the record must be of that boot
 * (-ESTALE, user's fault: the host has booted since, and its old leases are free already). */
int vmj_host_confirm_dead(const char *domain, const char *host, const char *boot, const char *by,
			  bool force, struct vmj_error *err);

#endif
