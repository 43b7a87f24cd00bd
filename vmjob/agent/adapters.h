/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the making and unmaking of a guest asks of the host, as one struct of functions, so that
 * tests put a world of their own underneath. Contracts: vmjob/host, vmjob/storage. All may block.
 */
#ifndef VMJ_AGENT_ADAPTERS_H
#define VMJ_AGENT_ADAPTERS_H

#include "vmjob/host/cgroup.h"
#include "vmjob/host/domain.h"
#include "vmjob/storage/image.h"
#include "vmjob/host/network.h"
#include "vmjob/host/seed.h"
#include "vmjob/host/topology.h"
#include "vmjob/host/virt.h"
#include "vmjob/host/virt_disk.h"
#include "vmjob/storage/lease.h"
#include "vmjob/storage/usage.h"
#include "vmjob/storage/volume.h"

struct vmj_adapters {
	int (*storage_check)(const char *path, struct vmj_error *err);
	int (*image_find)(const char *path, const char *owner, const char *name, uint32_t revision,
			  uid_t uid, gid_t gid, struct vmj_image *ret, struct vmj_error *err);
	int (*disk_overlay)(const struct vmj_image *image, const char *file, uid_t uid, gid_t gid,
			    struct vmj_error *err);
	int (*disk_empty)(const char *file, uint64_t size_mib, uid_t uid, gid_t gid,
			  struct vmj_error *err);
	int (*quota_admit)(const struct vmj_storage_config *s, uid_t uid, uint64_t new_bytes,
			   struct vmj_error *err);
	int (*lease_take)(const char *domain, uid_t uid, const char *volume,
			  const struct vmj_lease_who *who, uint32_t *ret_epoch,
			  struct vmj_error *err);
	int (*lease_release)(const char *domain, uid_t uid, const char *volume,
			     const struct vmj_lease_who *who, struct vmj_error *err);
	int (*volume_read)(const char *domain, uid_t uid, const char *name, struct vmj_volume *ret,
			   struct vmj_error *err);
	int (*volume_recover)(const char *domain, struct vmj_volume *v, struct vmj_error *err);
	int (*volume_verify)(const char *domain, const struct vmj_volume *v, const char *from,
			     struct vmj_error *err);
	int (*volume_lend)(const char *domain, struct vmj_volume *v, gid_t gid,
			   struct vmj_error *err);
	int (*volume_sweep)(const char *domain, uid_t uid, const char *name, struct vmj_error *err);
	int (*volume_create)(const struct vmj_volume_spec *spec, struct vmj_volume *ret,
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
	int (*virt_disks)(struct vmj_virt *v, uint32_t job, struct vmj_virt_disk *ret,
			  unsigned int *ret_n, struct vmj_error *err);
	int (*virt_attach_disk)(struct vmj_virt *v, uint32_t job, const char *xml,
				struct vmj_error *err);
	int (*virt_detach_disk)(struct vmj_virt *v, uint32_t job, const char *target,
				struct vmj_error *err);
	bool (*virt_process_lives)(pid_t pid, uint32_t job);
};

extern const struct vmj_adapters vmj_adapters; /* the real ones */

#endif
