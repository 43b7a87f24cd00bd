/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Seeded random requests, every one of which vmj_request_check() must pass. */
#ifndef TESTS_RANDOM_REQUEST_H
#define TESTS_RANDOM_REQUEST_H

#include "unit.h"

#include "vmjob/model/request.h"
#include "vmjob/model/ssh-keys.h"

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

/* The index keeps volumes different. */
static inline void random_disk_request(uint64_t *seed, unsigned int index,
				       struct vmj_disk_request *d)
{
	d->kind = (enum vmj_disk_kind)below(seed, VMJ_DISK_COUNT_);
	if (d->kind == VMJ_DISK_SIZE) {
		d->size_mib = 1 + below(seed, VMJ_DISK_MIB_MAX);
		return;
	}
	if (d->kind == VMJ_DISK_VOLUME) {
		snprintf(d->name, sizeof(d->name), "volume%u", index);
		if (below(seed, 2))
			random_name(seed, d->storage);
		d->readonly = below(seed, 2);
		return;
	}
	random_name(seed, d->name);
	if (below(seed, 2))
		random_name(seed, d->owner);
	d->revision = below(seed, 2) ? (uint32_t)unit_random(seed) : 0;
	d->readonly = true;
}

static inline void random_ssh_keys(uint64_t *seed, char *keys, size_t size)
{
	static const char digits[] = "AZaz09+/";

	for (uint64_t n = below(seed, 4); n > 0; n--) {
		char line[200] = "ssh-ed25519 ";
		size_t at = strlen(line), len = 68 + 4 * below(seed, 20);

		for (size_t i = 0; i < len; i++)
			line[at + i] = digits[below(seed, sizeof(digits) - 1)];
		vmj_ssh_keys_add(keys, size, line);
	}
}

static inline void random_boot(uint64_t *seed, struct vmj_request *r)
{
	random_name(seed, r->image);
	if (below(seed, 2))
		random_name(seed, r->image_owner);
	r->revision = below(seed, 2) ? (uint32_t)unit_random(seed) : 0;
	if (below(seed, 2)) {
		random_name(seed, r->persistent);
		if (below(seed, 2))
			random_name(seed, r->persistent_storage);
	}
	if (below(seed, 2))
		for (int i = 0; i < VMJ_DIGEST_MAX - 1; i++)
			r->user_data[i] = "0123456789abcdef"[below(seed, 16)];
	random_ssh_keys(seed, r->ssh_keys, sizeof(r->ssh_keys));
}

static inline struct vmj_request random_request(uint64_t *seed)
{
	struct vmj_request r = {0};

	random_boot(seed, &r);
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
		random_disk_request(seed, i, &r.disks[i]);
	return r;
}

#endif
