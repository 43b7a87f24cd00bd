/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/agent/disk_report.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/model/json.h"
#include "vmjob/storage/qcow2.h"

/* What the top's header should say that it stands on. */
static const char *backing_of(const struct vmj_guest_disk *d)
{
	return d->n_layers ? d->layers[0] : d->base;
}

void vmj_disk_figures(const struct vmj_guest_disk *d, struct vmj_disk_figures *ret)
{
	unsigned int own = 1 + d->n_layers;
	struct vmj_disk_figures f = {0};
	char path[VMJ_DISK_PATH_MAX];
	struct vmj_qcow2 header;
	struct stat st;

	for (unsigned int i = 0; d->path[0] && i < own; i++) {
		vmj_autoclose int fd = open(vmj_guest_disk_link(d, i, path),
					    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

		if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
			continue;
		f.used_bytes += (uint64_t)st.st_blocks * 512;
		if (i == 0 && vmj_qcow2_probe_layer(fd, path, backing_of(d), &header, NULL) == 0)
			f.size_bytes = header.virtual_bytes;
	}
	*ret = f;
}

void vmj_disk_figures_add(struct json_object *disk, const struct vmj_guest_disk *d,
			  const struct vmj_disk_figures *f)
{
	vmj_json_put_u64(disk, "chain", vmj_guest_disk_links(d));
	if (!f)
		return;
	vmj_json_put_u64(disk, "size_bytes", f->size_bytes);
	vmj_json_put_u64(disk, "used_bytes", f->used_bytes);
}
