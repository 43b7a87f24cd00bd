/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vmjob.conf, read with libconfuse. One file for all parts; each takes what it needs. Immutable
 * once loaded: a reload makes a new one. Errors name file and line; unknown keys are refused.
 *
 *	storage default {
 *		path = "/srv/vmjob"
 *		kind = dir
 *		quota = 500G		# what one user may have written; 0: no bound
 *		limit = 20T		# what all of vmjob may have written; 0: no bound
 *		low = 10  critical = 3	# percent of the file system that is free
 *		renew = 10s		# of the host's record, by each agent
 *		self_stop = no		# a host that cannot renew in time stops its guests itself
 *	}
 *	scratch = "/var/lib/vmjob"	# node-local: disks of ordinary guests, the agent's records
 *	network lan {
 *		kind = bridge		# bridge, nat or user
 *		bridge = "br0"
 *		subnet = "10.77.0.0/16"
 *		pool = "10.77.128.1-10.77.255.254"
 *		gateway = "10.77.0.1"
 *		filter = yes
 *		users = { "anna", "@staff" }	# empty or absent: everybody
 *	}
 *	network nat { kind = nat  subnet = "192.168.130.0/24" }
 *	network user { kind = user }
 *	defaults { memory = 1G  network = lan  grace = 30s  cpu = host  script = host }
 *	limits { memory = 256G  vcpus = 64  disk = 1T  guests = 200 }
 *	overhead { fixed = 160M  per_mille = 8  per_vcpu = 4M }
 *	agent { port = 6829  log = info  operators = { "slurm" } }
 *
 * Only a storage with its path is needed; the table in config-fields.c has every key with its
 * bounds, and vmj_config_parse() the defaults.
 */
#ifndef VMJ_MODEL_CONFIG_H
#define VMJ_MODEL_CONFIG_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "vmjob/base/error.h"
#include "vmjob/base/parse.h"
#include "vmjob/model/request.h"

#define VMJ_CONFIG_PATH_MAX   256
#define VMJ_CONFIG_FILE_MAX   (256u << 10)
#define VMJ_CONFIG_ITEMS_MAX  64  /* storages, and networks */
#define VMJ_CONFIG_WORDS_MAX  256 /* of one list */
#define VMJ_CONFIG_GUESTS_MAX 10000
#define VMJ_STORAGE_MIB_MAX   (1ull << 40) /* 1 EiB */
#define VMJ_STORAGE_RENEW_MAX 60

enum vmj_net_kind { VMJ_NET_BRIDGE, VMJ_NET_NAT, VMJ_NET_USER, VMJ_NET_COUNT_ };
const char *vmj_net_kind_name(enum vmj_net_kind kind);

struct vmj_net_config {
	char name[VMJ_NAME_MAX + 1];
	enum vmj_net_kind kind;
	char bridge[16];       /* of kind bridge; else "" */
	struct in_addr subnet; /* network order; prefix 0: no addresses are given or enforced */
	unsigned int prefix;
	/* 0: none. Kind nat without them: gateway is the subnet's first address, the pool the rest.
	 */
	struct in_addr pool_first, pool_last;
	struct in_addr gateway;
	bool filter;  /* enforce MAC and address (default yes) */
	char **users; /* NULL-terminated: user names and "@group"; NULL or empty: everybody */
};

/* dir: a directory of a file system that hosts share. Later: others, such as RBD or LVM. */
enum vmj_storage_kind { VMJ_STORAGE_DIR, VMJ_STORAGE_COUNT_ };
const char *vmj_storage_kind_name(enum vmj_storage_kind kind);

struct vmj_storage_config {
	char name[VMJ_NAME_MAX + 1];
	char path[VMJ_CONFIG_PATH_MAX]; /* absolute */
	enum vmj_storage_kind kind;
	uint64_t quota_mib; /* bytes written by one user; 0: no bound */
	uint64_t limit_mib; /* by all of vmjob; 0: no bound */
	uint32_t low;       /* percent free: below it no new disk is promised; 0: never */
	uint32_t critical;  /* percent free: below it operators hear of it again; at most low */
	uint32_t renew_s;   /* how often an agent renews its host's record */
	bool self_stop;     /* a host that cannot renew in time stops its lease-holding guests */
};

struct vmj_config {
	struct vmj_storage_config *storages; /* the first is the default; at least one */
	unsigned int n_storages;
	struct vmj_net_config *networks;
	unsigned int n_networks;
	char scratch[VMJ_CONFIG_PATH_MAX];
	uint64_t default_memory_mib;
	uint64_t max_memory_mib, max_disk_mib; /* of one guest: memory; all its extra disks */
	uint32_t default_grace_s;
	uint32_t max_vcpus;                     /* of one guest */
	uint32_t max_guests;                    /* on one host */
	char default_network[VMJ_NAME_MAX + 1]; /* "" : guests without --vm-net have no network */
	char default_cpu[VMJ_NAME_MAX + 1];
	enum vmj_script default_script;                     /* never VMJ_SCRIPT_DEFAULT */
	uint64_t overhead_fixed_mib, overhead_per_vcpu_mib; /* policy/admission.h has the formula */
	uint32_t overhead_per_mille;
	uint16_t agent_port; /* TCP with munge; 0: none */
	char **operators; /* NULL-terminated user names that may do to any guest what its owner may;
			     default { "slurm" } */
	int log_level;    /* LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG */
};

#define VMJ_CONFIG_PATH_ENV "VMJOB_CONF" /* else SYSCONFDIR/slurm/vmjob.conf */

/* path NULL: the default. A missing file is an error that says what to write into it. *ret is the
 * caller's. All failures are the host's fault. Thread-safe (libconfuse is not: a lock is held). */
int vmj_config_load(const char *path, struct vmj_config **ret, struct vmj_error *err);
/* The same from a text; `path` names it in sentences. */
int vmj_config_parse(const char *text, const char *path, struct vmj_config **ret,
		     struct vmj_error *err);
void vmj_config_free(struct vmj_config *c); /* NULL allowed */

const struct vmj_net_config *vmj_config_network(const struct vmj_config *c,
						const char *name); /* NULL: none */
/* NULL: the default, which is the first. ENOENT is the user's fault and names those that are. */
int vmj_config_storage(const struct vmj_config *c, const char *name,
		       const struct vmj_storage_config **ret, struct vmj_error *err);

/* These look users and groups up (may block on name services: not on slurmctld's path). */
/* May this user use the network? Root may. */
bool vmj_net_allows(const struct vmj_net_config *n, uid_t uid, gid_t gid);
/* Is this user root or one of the operators? */
bool vmj_config_operator(const struct vmj_config *c, uid_t uid);

#endif
