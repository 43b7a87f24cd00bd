/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sources: UEFI specification, 5.2 and 5.3; QEMU's docs/interop/qcow2.txt. */
#include "vmjob/storage/firmware.h"

#include <endian.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "vmjob/storage/qcow2_format.h"

#define SECTOR        512
#define BOOT_CODE     440
#define MBR_ENTRIES   446
#define MBR_ENTRY     16
#define TYPE_EFI      0xef
#define GPT_ENTRIES   128
#define GPT_ENTRY     128
#define ENTRY_OFFSET  0x00fffffffffffe00ull /* of an L1 or L2 entry */
#define COMPRESSED    (1ull << 62)
#define READS_AS_ZERO 1ull

/* As they lie on the disk: the first three groups are little-endian. */
static const unsigned char esp[16] = {0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11,
				      0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b};
static const unsigned char bios_boot[17] = "Hah!IdontNeedEFI";

static bool any_set(const unsigned char *p, size_t len)
{
	while (len--)
		if (*p++)
			return true;
	return false;
}

enum vmj_firmware vmj_firmware_of(const unsigned char first[VMJ_FIRMWARE_BYTES])
{
	bool bios = any_set(first, BOOT_CODE), uefi = false;

	if (first[510] != 0x55 || first[511] != 0xaa)
		return VMJ_FIRMWARE_UNKNOWN;
	for (int i = 0; i < 4; i++)
		uefi |= first[MBR_ENTRIES + i * MBR_ENTRY + 4] == TYPE_EFI;
	if (memcmp(first + SECTOR, "EFI PART", 8) == 0)
		for (int i = 0; i < GPT_ENTRIES; i++) {
			const unsigned char *type = first + 2 * SECTOR + i * GPT_ENTRY;

			uefi |= memcmp(type, esp, sizeof(esp)) == 0;
			bios |= memcmp(type, bios_boot, 16) == 0;
		}
	if (bios)
		return VMJ_FIRMWARE_BIOS;
	return uefi ? VMJ_FIRMWARE_UEFI : VMJ_FIRMWARE_UNKNOWN;
}

static bool read_entry(int fd, uint64_t offset, uint64_t *ret)
{
	if (pread(fd, ret, sizeof(*ret), (off_t)offset) != sizeof(*ret))
		return false;
	*ret = be64toh(*ret);
	return true;
}

/* All that is looked at lies in the first cluster. */
enum vmj_firmware vmj_firmware_guess(int qcow2)
{
	unsigned char first[VMJ_FIRMWARE_BYTES] = {0};
	struct qcow2_header h;
	uint64_t l1, l2;

	if (pread(qcow2, &h, sizeof(h), 0) != sizeof(h) || be32toh(h.cluster_bits) < 15 ||
	    !read_entry(qcow2, be64toh(h.l1_offset), &l1) || !(l1 & ENTRY_OFFSET) ||
	    !read_entry(qcow2, l1 & ENTRY_OFFSET, &l2) || !(l2 & ENTRY_OFFSET) ||
	    (l2 & (COMPRESSED | READS_AS_ZERO)))
		return VMJ_FIRMWARE_UNKNOWN;
	if (pread(qcow2, first, sizeof(first), (off_t)(l2 & ENTRY_OFFSET)) < 2 * SECTOR)
		return VMJ_FIRMWARE_UNKNOWN;
	return vmj_firmware_of(first);
}
