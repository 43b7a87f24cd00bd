/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest's ports: names, MACs and addresses derived from the job, and the nftables rules (table
 * `bridge vmjob`, through libnftables) that keep a guest from speaking with another's MAC or
 * address. The tap itself is made and removed by libvirt with the domain. All calls block
 * (netlink): worker threads only.
 */
#ifndef VMJ_HOST_NETWORK_H
#define VMJ_HOST_NETWORK_H

#include "vmjob/model/config.h"
#include "vmjob/model/guest.h"

/* Pure: fill guest->ports from guest->request.nets. MAC: 52:54 + 32 bits of hash(cluster-wide job
 * id, node index, port); tap "vj<job>.<n>"; address: pool_first + (job * k) mod pool. Unknown
 * network or one the user may not use: user's fault. */
int vmj_ports_plan(const struct vmj_config *c, struct vmj_guest *guest, unsigned int node_index,
		   struct vmj_error *err);

/* The bridge of a network on every host: as configured, or for kind nat the one that libvirt makes
 * ("vjn" and a hash of the name); NULL for user-mode. */
const char *vmj_net_bridge(const struct vmj_net_config *n, char buf[16]);

/* What this host must have for the ports: the bridges exist (host's fault if not); user-mode
 * forwards get free host ports. nat: see libvirt.h. */
int vmj_ports_check(const struct vmj_config *c, struct vmj_guest *guest, struct vmj_error *err);

/* Install, before the guest runs, and remove the filter of all the guest's ports. Both idempotent.
 */
int vmj_ports_filter(const struct vmj_config *c, const struct vmj_guest *guest,
		     struct vmj_error *err);
int vmj_ports_unfilter(const struct vmj_guest *guest, struct vmj_error *err);

#endif
