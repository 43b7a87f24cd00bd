/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * After Microsoft's "FAT: General Overview of On-Disk Format", 1.03. One sector a cluster; sectors:
 *
 *	0 boot sector | 1-6, 7-12 two FATs | 13-16 root directory | 17… clusters 2…
 *
 * Each file is one run of clusters. Its name is a long one, in entries of 13 characters before the
 * short entry, the last part first; the short name (FILE0, FILE1…) is only what the format needs.
 */
#include "vmjob/host/fat.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmjob/base/cleanup.h"

enum {
	SECTOR = 512,
	SECTORS = VMJ_FAT_SIZE / SECTOR,
	FAT_START = 1,
	FAT_SECTORS = 6,
	ROOT_START = FAT_START + 2 * FAT_SECTORS,
	ROOT_ENTRIES = 64,
	ENTRY = 32,
	DATA_START = ROOT_START + ROOT_ENTRIES * ENTRY / SECTOR,
	CLUSTERS = SECTORS - DATA_START, /* numbered from 2 */
	LONG_PART = 13,
	DATE = 40 << 9 | 1 << 5 | 1, /* 2020-01-01: it has to have one */
};
_Static_assert((CLUSTERS + 2) * 3 / 2 <= FAT_SECTORS * SECTOR,
	       "the FAT has an entry for each cluster");
_Static_assert(CLUSTERS < 4085, "else it would be a FAT16");
_Static_assert(1 + VMJ_FAT_FILES_MAX * 3 <= ROOT_ENTRIES, "all files have room in the root");

struct image {
	unsigned char *bytes;
	unsigned int entries;  /* used in the root */
	unsigned int clusters; /* used */
};

static void put16(unsigned char *p, unsigned int v)
{
	p[0] = (unsigned char)v;
	p[1] = (unsigned char)(v >> 8);
}

static void put_boot_sector(unsigned char *b, const char *label)
{
	memcpy(b, "\xeb\x3c\x90vmjob   ", 11);
	put16(b + 11, SECTOR);
	b[13] = 1; /* sectors a cluster */
	put16(b + 14, FAT_START);
	b[16] = 2; /* FATs */
	put16(b + 17, ROOT_ENTRIES);
	put16(b + 19, SECTORS);
	b[21] = 0xf8; /* a fixed disk */
	put16(b + 22, FAT_SECTORS);
	put16(b + 24, 32); /* sectors a track, heads: nobody looks */
	put16(b + 26, 2);
	b[36] = 0x80;
	b[38] = 0x29; /* what follows is there: serial number, label, type */
	memcpy(b + 39, "VMJ1", 4);
	memcpy(b + 43, label, 11);
	memcpy(b + 54, "FAT12   ", 8);
	put16(b + 510, 0xaa55);
}

/* 12 bits each, two in three bytes. */
static void put_fat_entry(struct image *im, unsigned int cluster, unsigned int v)
{
	for (unsigned int copy = 0; copy < 2; copy++) {
		unsigned char *p =
			im->bytes + (FAT_START + copy * FAT_SECTORS) * SECTOR + cluster * 3 / 2;

		if (cluster % 2) {
			p[0] = (unsigned char)((p[0] & 0x0f) | v << 4);
			p[1] = (unsigned char)(v >> 4);
		} else {
			p[0] = (unsigned char)v;
			p[1] = (unsigned char)((p[1] & 0xf0) | v >> 8);
		}
	}
}

static unsigned char *next_entry(struct image *im)
{
	return im->bytes + ROOT_START * SECTOR + ENTRY * im->entries++;
}

static unsigned char checksum(const unsigned char *short_name)
{
	unsigned char sum = 0;

	for (int i = 0; i < 11; i++)
		sum = (unsigned char)((sum >> 1 | sum << 7) + short_name[i]);
	return sum;
}

/* Where the characters of a long name's part are, in 16 bits each. */
static const unsigned char long_offsets[LONG_PART] = {1,  3,  5,  7,  9,  14, 16,
						      18, 20, 22, 24, 28, 30};

static void put_long_name(struct image *im, const char *name, unsigned char sum)
{
	size_t len = strlen(name);
	unsigned int parts = (unsigned int)((len + LONG_PART - 1) / LONG_PART);

	for (unsigned int part = parts; part > 0; part--) {
		unsigned char *e = next_entry(im);

		e[0] = (unsigned char)(part | (part == parts ? 0x40 : 0));
		e[11] = 0x0f;
		e[13] = sum;
		for (size_t i = 0; i < LONG_PART; i++) {
			size_t at = (part - 1) * LONG_PART + i;

			put16(e + long_offsets[i], at < len    ? (unsigned char)name[at]
						   : at == len ? 0
							       : 0xffff);
		}
	}
}

/* Returns the first cluster; 0 for an empty file. */
static unsigned int put_data(struct image *im, const struct vmj_fat_file *f)
{
	unsigned int n = (unsigned int)((f->len + SECTOR - 1) / SECTOR), first = im->clusters + 2;

	memcpy(im->bytes + (DATA_START + im->clusters) * SECTOR, f->data, f->len);
	for (unsigned int i = 0; i < n; i++)
		put_fat_entry(im, first + i, i + 1 < n ? first + i + 1 : 0xfff);
	im->clusters += n;
	return n ? first : 0;
}

static void put_file(struct image *im, const struct vmj_fat_file *f, unsigned int index)
{
	unsigned char short_name[12];
	unsigned char *e;

	snprintf((char *)short_name, sizeof(short_name), "FILE%u      ", index % 10);
	put_long_name(im, f->name, checksum(short_name));
	e = next_entry(im);
	memcpy(e, short_name, 11);
	put16(e + 16, DATE);
	put16(e + 18, DATE);
	put16(e + 24, DATE);
	put16(e + 26, put_data(im, f));
	put16(e + 28, (unsigned int)f->len & 0xffff);
	put16(e + 30, (unsigned int)(f->len >> 16));
}

static int check_files(const struct vmj_fat_file *files, size_t n, struct vmj_error *err)
{
	size_t clusters = 0;

	if (n > VMJ_FAT_FILES_MAX)
		return vmj_fail(err, ENOSPC, "at most %d files", VMJ_FAT_FILES_MAX);
	for (size_t i = 0; i < n; i++) {
		if (strlen(files[i].name) > VMJ_FAT_NAME_MAX)
			return vmj_fail(err, ENAMETOOLONG, "the name %s is too long",
					files[i].name);
		if (files[i].len > VMJ_FAT_SIZE)
			clusters += CLUSTERS + 1;
		else
			clusters += (files[i].len + SECTOR - 1) / SECTOR;
	}
	if (clusters > CLUSTERS)
		return vmj_fail(err, ENOSPC, "the files do not fit into %u KiB",
				CLUSTERS * SECTOR / 1024);
	return 0;
}

int vmj_fat_make(const char *label, const struct vmj_fat_file *files, size_t n, unsigned char **ret,
		 size_t *ret_len, struct vmj_error *err)
{
	vmj_autofree unsigned char *bytes = NULL;
	struct image im = {.clusters = 0};
	unsigned char *entry;
	char padded[12];
	int rc = check_files(files, n, err);

	if (rc < 0)
		return rc;
	bytes = calloc(1, VMJ_FAT_SIZE);
	if (!bytes)
		return vmj_fail(err, ENOMEM, "out of memory");
	im.bytes = bytes;
	snprintf(padded, sizeof(padded), "%-11.11s", label);
	put_boot_sector(bytes, padded);
	put_fat_entry(&im, 0, 0xff8);
	put_fat_entry(&im, 1, 0xfff);
	entry = next_entry(&im);
	memcpy(entry, padded, 11);
	entry[11] = 0x08; /* the volume's label */
	put16(entry + 24, DATE);
	for (size_t i = 0; i < n; i++)
		put_file(&im, &files[i], (unsigned int)i);
	*ret = vmj_steal(bytes);
	*ret_len = (size_t)(DATA_START + im.clusters) * SECTOR;
	return 0;
}
