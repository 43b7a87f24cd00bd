/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What must be known of an image file before any program opens it as a disk (QEMU's
 * docs/interop/qcow2.txt): an image may point at other files, which QEMU and qemu-img would open.
 */
#ifndef VMJ_STORAGE_QCOW2_H
#define VMJ_STORAGE_QCOW2_H

#include <stdbool.h>
#include <stdint.h>

#include "vmjob/base/error.h"

struct vmj_qcow2 {
	uint64_t virtual_bytes;
};

/* Of an open regular file. ret->virtual_bytes is the disk's size. *ret_is_qcow2 false: no known
 * format, hence raw. Refused by the user's fault: backing file, external data file, encryption, the
 * corrupt mark, unknown features, a header that cannot be; formats that are neither qcow2 nor raw.
 * `what` names the file. */
int vmj_qcow2_probe(int fd, const char *what, struct vmj_qcow2 *ret, bool *ret_is_qcow2,
		    struct vmj_error *err);

/* The same of a layer of a volume: it must be qcow2 and name exactly `backing` ("": none). */
int vmj_qcow2_probe_layer(int fd, const char *what, const char *backing, struct vmj_qcow2 *ret,
			  struct vmj_error *err);

/* The name of its backing file as the header has it; "": none. Of a qcow2 file; a name that does
 * not fit is the user's fault. */
#define VMJ_QCOW2_BACKING_MAX 1024 /* with the end */
int vmj_qcow2_backing(int fd, const char *what, char ret[VMJ_QCOW2_BACKING_MAX],
		      struct vmj_error *err);

/* Of a file that was probed: is nothing stored in it, so that all it shows is its backing file's?
 * False where that cannot be told cheaply. */
bool vmj_qcow2_is_empty(int fd);

/* Write a new, empty disk into an open, empty file: all zeros, or what `backing` (qcow2, an
 * absolute path, not opened; NULL: none) holds. A size that is no multiple of 512 is rounded up.
 * Version 3, clusters of 64 KiB, as qemu-img makes them; it is a few writes, where a process costs
 * more than all the rest of a guest's preparation on a busy host. */
int vmj_qcow2_create(int fd, uint64_t virtual_bytes, const char *backing, struct vmj_error *err);

#endif
