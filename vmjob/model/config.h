/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vmjob.conf, read with libconfuse. One file for all parts; each takes what it needs. Immutable
 * once loaded: a reload makes a new one. Errors name file and line; unknown keys are refused.
 *
 *   storage default { path = "/srv/vmjob" }
 *   scratch = "/var/lib/vmjob"                  # node-local disks of ordinary guests, and the
 * agent's records network lan  { kind = bridge  bridge = "br0"  subnet = "10.77.0.0/16"  pool =
 * "10.77.128.1-10.77.255.254"  gateway = ""  users = {} } network user { kind = user } network nat
 * { kind = nat  subnet = "192.168.130.0/24" } defaults { memory = 1G  network = "lan"  grace = 30s
 * cpu = "host"  script = host } limits   { memory = 256G  vcpus = 64  disk = 1T  guests = 200
 * memory_overhead = … } agent    { port = 6829  log = info  operators = {"slurm"} }
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

enum vmj_net_kind { VMJ_NET_BRIDGE, VMJ_NET_NAT, VMJ_NET_USER };

struct vmj_net_config {
	char name[VMJ_NAME_MAX + 1];
	enum vmj_net_kind kind;
	char bridge[16];
	struct in_addr subnet; /* network order; prefix 0: no addresses are given or enforced */
	unsigned int prefix;
	struct in_addr pool_first, pool_last; /* 0: none */
	struct in_addr gateway;               /* 0: none */
	bool filter;                          /* enforce MAC and address (default yes) */
	char **users; /* NULL-terminated: user names and "@group"; empty: everybody */
};

struct vmj_storage_config {
	char name[VMJ_NAME_MAX + 1];
	char path[256]; /* absolute */
};

struct vmj_config {
	struct vmj_storage_config *storages; /* the first is the default */
	unsigned int n_storages;
	struct vmj_net_config *networks;
	unsigned int n_networks;
	char scratch[256];
	uint64_t default_memory_mib, max_memory_mib, max_disk_mib;
	uint32_t default_grace_s, max_vcpus, max_guests;
	char default_network[VMJ_NAME_MAX + 1]; /* "" : guests without --vm-net have no network */
	char default_cpu[VMJ_NAME_MAX + 1];
	enum vmj_script default_script;
	uint64_t overhead_fixed_mib, overhead_per_vcpu_mib; /* policy/overhead.h has the formula */
	unsigned int overhead_per_mille;
	uint16_t agent_port; /* TCP with munge; 0: none */
	char **operators;    /* NULL-terminated user names that may do to any guest what its owner may;
				default { "slurm" } */
	int log_level;
};

#define VMJ_CONFIG_PATH_ENV "VMJOB_CONF" /* else SYSCONFDIR/slurm/vmjob.conf */

/* path NULL: the default. A missing file is an error that says what to write into it. *ret is the
 * caller's. */
int vmj_config_load(const char *path, struct vmj_config **ret, struct vmj_error *err);
void vmj_config_free(struct vmj_config *c);
const struct vmj_net_config *vmj_config_network(const struct vmj_config *c,
						const char *name); /* NULL: none */
/* May this user use the network? Looks the user's groups up (may block on name services: not on
 * slurmctld's path). */
bool vmj_net_allows(const struct vmj_net_config *n, uid_t uid, gid_t gid);

#endif
