/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What kind of disk a foreign file is, told by its content, and that it stands alone, before any
 * program opens it as a disk: several formats can point at other files, which QEMU would open. */
#ifndef VMJ_STORAGE_DISK_FORMAT_H
#define VMJ_STORAGE_DISK_FORMAT_H

#include <stdint.h>

#include "vmjob/base/error.h"

struct vmj_disk_format {
	const char *name;       /* as qemu-img -f has it: a literal */
	uint64_t virtual_bytes; /* 0: qemu-img must tell */
};

/* Of an open regular file; `what` names it. qcow2, vmdk (one file, sparse or stream-optimised),
 * vdi, vhdx, vpc (fixed and dynamic), else raw. Refused by the user's fault: what refers to other
 * files (backing file, data file, parent, extents), encryption, formats of which neither. */
int vmj_disk_format_probe(int fd, const char *what, struct vmj_disk_format *ret,
			  struct vmj_error *err);

enum vmj_packing { VMJ_PACKED_NOT = 0, VMJ_PACKED_STREAM /* gzip, xz, zstd */, VMJ_PACKED_TAR };
enum vmj_packing vmj_packing_probe(int fd);

/* qemu-img's own opinion of a file of that format: its disk's size. Refuses by the user's fault
 * what it cannot open, and what it says to have a backing file. */
int vmj_disk_format_ask(const char *file, const char *format, uint64_t *ret_bytes,
			struct vmj_error *err);

#endif
