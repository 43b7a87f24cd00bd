/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Seeded random requests, every one of which vmj_request_check() must pass. */
#ifndef TESTS_RANDOM_REQUEST_H
#define TESTS_RANDOM_REQUEST_H

#include "unit.h"

#include "vmjob/model/request.h"

static inline uint64_t below(uint64_t *seed, uint64_t n)
{
	return unit_random(seed) % n;
}

static inline void random_name(uint64_t *seed, char *buf)
{
	static const char all[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	size_t len = 1 + below(seed, VMJ_NAME_MAX);

	for (size_t i = 0; i < len; i++) {
		bool plain = i == 0 || buf[i - 1] == '.';

		buf[i] = all[below(seed, plain ? 62 : sizeof(all) - 1)];
	}
	buf[len] = '\0';
}

static inline void random_net(uint64_t *seed, unsigned int index, struct vmj_net_request *n)
{
	random_name(seed, n->network);
	if (below(seed, 2)) /* the index keeps them different */
		snprintf(n->mac, sizeof(n->mac), "52:54:00:%02x:%02x:%02x", index,
			 (unsigned int)below(seed, 256), (unsigned int)below(seed, 256));
	n->n_forwards = (unsigned int)below(seed, VMJ_FORWARDS_MAX + 1);
	for (unsigned int i = 0; i < n->n_forwards; i++)
		n->forwards[i] = (struct vmj_forward){
			.udp = below(seed, 2),
			.host_port = below(seed, 2) ? (uint16_t)(VMJ_HOST_PORT_MIN +
								 index * VMJ_FORWARDS_MAX + i)
						    : 0,
			.guest_port = (uint16_t)(1 + below(seed, UINT16_MAX)),
		};
}

static inline struct vmj_request random_request(uint64_t *seed)
{
	struct vmj_request r = {0};

	random_name(seed, r.image);
	r.revision = below(seed, 2) ? (uint32_t)unit_random(seed) : 0;
	if (below(seed, 2))
		r.memory_mib = VMJ_MEMORY_MIB_MIN +
			       below(seed, VMJ_MEMORY_MIB_MAX - VMJ_MEMORY_MIB_MIN + 1);
	r.vcpus = (uint32_t)below(seed, VMJ_VCPUS_MAX + 1);
	r.script = (enum vmj_script)below(seed, VMJ_SCRIPT_COUNT_);
	if (below(seed, 2))
		random_name(seed, r.cpu);
	r.grace_s = (uint32_t)below(seed, VMJ_GRACE_MAX + 1);
	r.protected_ = below(seed, 2);
	r.priority = r.protected_ ? (uint32_t)below(seed, VMJ_PRIORITY_MAX + 1) : 0;
	r.watchdog = below(seed, 2);
	r.n_nets = (unsigned int)below(seed, VMJ_NETS_MAX + 1);
	r.no_net = r.n_nets == 0 && below(seed, 2);
	for (unsigned int i = 0; i < r.n_nets; i++)
		random_net(seed, i, &r.nets[i]);
	r.n_disks = (unsigned int)below(seed, VMJ_DISKS_MAX + 1);
	for (unsigned int i = 0; i < r.n_disks; i++)
		r.disks[i].size_mib = 1 + below(seed, VMJ_DISK_MIB_MAX);
	return r;
}

#endif
