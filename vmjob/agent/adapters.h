/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the making and unmaking of a guest asks of the host, as one struct of functions, so that
 * tests put a world of their own underneath. Contracts: vmjob/host. All may block. */
#ifndef VMJ_AGENT_ADAPTERS_H
#define VMJ_AGENT_ADAPTERS_H

#include "vmjob/host/cgroup.h"
#include "vmjob/host/domain.h"
#include "vmjob/storage/image.h"
#include "vmjob/host/network.h"
#include "vmjob/host/seed.h"
#include "vmjob/host/topology.h"
#include "vmjob/host/virt.h"

struct vmj_adapters {
	int (*storage_check)(const char *path, struct vmj_error *err);
	int (*image_find)(const char *path, const char *owner, const char *name, uint32_t revision,
			  uid_t uid, gid_t gid, struct vmj_image *ret, struct vmj_error *err);
	int (*disk_overlay)(const struct vmj_image *image, const char *file, uid_t uid, gid_t gid,
			    struct vmj_error *err);
	int (*disk_empty)(const char *file, uint64_t size_mib, uid_t uid, gid_t gid,
			  struct vmj_error *err);
	int (*seed_write)(const struct vmj_config *c, const struct vmj_guest *guest,
			  const char *user_data, const char *file, struct vmj_error *err);
	int (*ports_plan)(const struct vmj_config *c, struct vmj_guest *guest,
			  unsigned int node_index, struct vmj_error *err);
	int (*ports_check)(const struct vmj_config *c, struct vmj_guest *guest,
			   struct vmj_error *err);
	int (*ports_filter)(const struct vmj_config *c, const struct vmj_guest *guest,
			    struct vmj_error *err);
	int (*ports_unfilter)(const struct vmj_guest *guest, struct vmj_error *err);
	int (*domain_xml)(const struct vmj_domain_spec *spec, char **ret, struct vmj_error *err);
	int (*cgroups_join)(const struct vmj_cgroups *c, pid_t pid, struct vmj_error *err);
	int (*cgroups_cpuset)(const struct vmj_cgroups *c, char *ret_cpus, size_t cpus_size,
			      struct vmj_error *err);
	int (*virt_has_kvm)(struct vmj_virt *v, bool *ret, struct vmj_error *err);
	int (*virt_ensure_nat)(struct vmj_virt *v, const struct vmj_net_config *n,
			       struct vmj_error *err);
	int (*virt_info)(struct vmj_virt *v, uint32_t job, struct vmj_virt_info *ret,
			 struct vmj_error *err);
	int (*virt_create_paused)(struct vmj_virt *v, const char *xml, pid_t *ret_pid,
				  struct vmj_error *err);
	int (*virt_pin)(struct vmj_virt *v, uint32_t job, uint32_t vcpus, const char (*pins)[64],
			const char *emulator, struct vmj_error *err);
	int (*virt_resume)(struct vmj_virt *v, uint32_t job, struct vmj_error *err);
	int (*virt_destroy)(struct vmj_virt *v, uint32_t job, struct vmj_error *err);
};

extern const struct vmj_adapters vmj_adapters; /* the real ones */

#endif
