/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/agent/adapters.h"

#include "vmjob/agent/agent.h"
#include "vmjob/agent/work.h"
#include "vmjob/storage/layout.h"

const struct vmj_adapters vmj_adapters = {
	.storage_check = vmj_storage_check,
	.image_find = vmj_image_find,
	.disk_overlay = vmj_disk_overlay,
	.disk_empty = vmj_disk_empty,
	.quota_admit = vmj_quota_admit,
	.lease_take = vmj_lease_take,
	.lease_release = vmj_lease_release,
	.volume_read = vmj_volume_read,
	.volume_recover = vmj_volume_recover,
	.volume_verify = vmj_volume_verify,
	.volume_lend = vmj_volume_lend,
	.volume_sweep = vmj_volume_sweep,
	.volume_create = vmj_volume_create,
	.seed_write = vmj_seed_write,
	.ports_plan = vmj_ports_plan,
	.ports_check = vmj_ports_check,
	.ports_filter = vmj_ports_filter,
	.ports_unfilter = vmj_ports_unfilter,
	.domain_xml = vmj_domain_xml,
	.cgroups_join = vmj_cgroups_join,
	.cgroups_cpuset = vmj_cgroups_cpuset,
	.virt_has_kvm = vmj_virt_has_kvm,
	.virt_ensure_nat = vmj_virt_ensure_nat,
	.virt_info = vmj_virt_info,
	.virt_create_paused = vmj_virt_create_paused,
	.virt_pin = vmj_virt_pin,
	.virt_resume = vmj_virt_resume,
	.virt_destroy = vmj_virt_destroy,
	.virt_disks = vmj_virt_disks,
	.virt_attach_disk = vmj_virt_attach_disk,
	.virt_detach_disk = vmj_virt_detach_disk,
	.virt_process_lives = vmj_virt_process_lives,
};

void vmj_work_begin(struct vmj_work *w, const struct vmj_agent *a, const struct vmj_settings *s)
{
	w->adapters = &vmj_adapters;
	w->config = s->config;
	w->topology = a->topology;
	w->virt = a->virt;
	w->dir = a->dir;
	w->agent_id = a->id;
}
