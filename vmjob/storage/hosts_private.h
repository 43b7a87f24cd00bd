/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Of hosts (hosts.h), for the leases' files only: reading below an open PATH/hosts, and what this
 * process knows of itself and of others. */
#ifndef VMJ_STORAGE_HOSTS_PRIVATE_H
#define VMJ_STORAGE_HOSTS_PRIVATE_H

#include "vmjob/model/json.h"
#include "vmjob/storage/hosts.h"

#define VMJ_DEATH_BOOTS_MAX 16

struct vmj_death {
	unsigned int n_boots;
	char boots[VMJ_DEATH_BOOTS_MAX][VMJ_BOOT_ID_MAX + 1]; /* the latest last */
	int64_t time;
	char by[VMJ_DEATH_CONFIRMER_MAX + 1];
};
bool vmj_death_covers(const struct vmj_death *d, const char *boot);

/* -ENOENT: err is untouched. Damage is the host's fault. Ages and deaths are left out. */
int vmj_host_load(int hosts, const char *host, struct vmj_host_record *ret, struct vmj_error *err);
int vmj_death_load(int hosts, const char *host, struct vmj_death *ret, struct vmj_error *err);

/* Texts of both, and their readers: a record's and a death's host must be `host`. */
int vmj_host_parse(const char *host, const char *text, size_t len, struct vmj_host_record *ret,
		   struct vmj_error *err);
int vmj_death_parse(const char *host, const char *text, size_t len, struct vmj_death *ret,
		    struct vmj_error *err);
struct json_object *vmj_host_to_json(const struct vmj_host_record *r);
struct json_object *vmj_death_to_json(const char *host, const struct vmj_death *d);

/* The members that every record here begins with; a name. */
void vmj_record_open(struct vmj_json *in, struct json_object *o, const char *format,
		     uint32_t version, struct vmj_error *err);
void vmj_record_name(struct vmj_json *in, const char *key, char *buf, size_t size);

/* How this process stands in a domain; all 0 where it is not registered. */
struct vmj_host_standing {
	uint64_t generation, term;
	int64_t hold_until_ms; /* as vmj_host_hold_until_ms() */
};
void vmj_host_standing(const char *domain, struct vmj_host_standing *ret);

/* This process' memory of what it has seen of another host in a domain. get: zero if nothing; put:
 * nothing is kept where there are too many hosts. */
void vmj_host_seen_get(const char *domain, const char *host, struct vmj_lease_seen *ret);
void vmj_host_seen_put(const char *domain, const char *host, const struct vmj_lease_seen *seen);

#endif
