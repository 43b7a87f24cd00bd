/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which firmware a disk starts with, by its partition table. */
#ifndef VMJ_STORAGE_FIRMWARE_H
#define VMJ_STORAGE_FIRMWARE_H

#include <stddef.h>
#include <stdint.h>

#include "vmjob/storage/image_meta.h"

#define VMJ_FIRMWARE_BYTES 17408 /* MBR, GPT header and 128 entries: what must be read */

/* Pure: of the first bytes of a disk. BIOS if there is boot code or a BIOS boot partition, else
 * UEFI if there is an EFI system partition. */
enum vmj_firmware vmj_firmware_of(const unsigned char first[VMJ_FIRMWARE_BYTES]);
/* Of an open qcow2 file without compression or backing file, such as qemu-img makes them; unknown
 * where it cannot be told. */
enum vmj_firmware vmj_firmware_guess(int qcow2);

#endif
