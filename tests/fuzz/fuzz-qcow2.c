/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Image files, which are a user's and are looked at by root: no header that is accepted may point
 * at another file. */
#include "fuzz.h"

#include <sys/mman.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/file.h"
#include "vmjob/storage/qcow2.h"

#define BACKING_OFFSET_AT 8 /* in the header, eight bytes */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t none[8];
	vmj_autoclose int fd = memfd_create("image", MFD_CLOEXEC);
	struct vmj_qcow2 image = {0};
	struct vmj_error err = {0};
	bool is_qcow2 = false;

	must(fd >= 0 && vmj_write_full(fd, data, size) == 0);
	vmj_qcow2_is_empty(fd);
	if (vmj_qcow2_probe_layer(fd, "layer", "base.qcow2", &image, NULL) == 0)
		must(size >= 72 && memmem(data, size, "base.qcow2", 10));
	if (vmj_qcow2_probe(fd, "image", &image, &is_qcow2, &err) < 0) {
		must(err.code > 0 && *err.text);
		return 0;
	}
	if (!is_qcow2) {
		must(image.virtual_bytes == size);
		return 0;
	}
	must(size >= 72 && memcmp(data, "QFI\xfb", 4) == 0);
	must(memcmp(data + BACKING_OFFSET_AT, none, sizeof(none)) == 0);
	must(image.virtual_bytes > 0);
	return 0;
}
