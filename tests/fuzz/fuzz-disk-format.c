/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disks of strangers, before qemu-img opens them: what is accepted stands alone. */
#include "fuzz.h"

#include <sys/mman.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/file.h"
#include "vmjob/storage/disk_format.h"
#include "vmjob/storage/firmware.h"

#define DESCRIPTION_AT 512 /* of a VMDK; QEMU looks for a parent in 20 sectors of it */
#define DESCRIPTION    (20 * 512)

static void check_vmdk(const uint8_t *data, size_t size)
{
	static const uint8_t none[8];
	size_t len = size > DESCRIPTION_AT ? size - DESCRIPTION_AT : 0;

	must(size >= 20 && memcmp(data + 12, none, 8) != 0);
	if (len > DESCRIPTION)
		len = DESCRIPTION;
	must(!memmem(data + DESCRIPTION_AT, len, "parentFileNameHint", 18));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	vmj_autoclose int fd = memfd_create("disk", MFD_CLOEXEC);
	struct vmj_disk_format format = {0};
	struct vmj_error err = {0};

	must(fd >= 0 && vmj_write_full(fd, data, size) == 0);
	vmj_packing_probe(fd);
	must(vmj_firmware_guess(fd) <= VMJ_FIRMWARE_UEFI);
	if (vmj_disk_format_probe(fd, "disk", &format, &err) < 0) {
		must(err.code > 0 && *err.text);
		return 0;
	}
	must(format.name);
	if (strcmp(format.name, "vmdk") == 0)
		check_vmdk(data, size);
	else
		must(size < 4 || memcmp(data, "KDMV", 4) != 0);
	must(format.virtual_bytes || (strcmp(format.name, "raw") && strcmp(format.name, "qcow2")));
	return 0;
}
