/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The texts in an OVA (DMTF DSP0243): its descriptor and its manifest. Both come from strangers;
 * what they name is looked for among the archive's members, never opened as a path. */
#ifndef VMJ_STORAGE_OVF_H
#define VMJ_STORAGE_OVF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmjob/base/error.h"
#include "vmjob/storage/image_meta.h"

#define VMJ_OVF_DISKS_MAX 16
#define VMJ_OVF_BYTES_MAX (1u << 20)
#define VMJ_OVF_FILE_MAX  256

struct vmj_ovf {
	unsigned int n_disks;
	char disks[VMJ_OVF_DISKS_MAX][VMJ_OVF_FILE_MAX]; /* files that hold disks */
	struct vmj_image_meta meta;
};

/* Which disks there are, and what is said of the guest. */
int vmj_ovf_read(const char *text, size_t len, struct vmj_ovf *ret, struct vmj_error *err);

/* The index of the disk called `wanted` (NULL: the only one); -EINVAL by the user's fault, naming
 * the choice. */
int vmj_ovf_choose(const struct vmj_ovf *ovf, const char *wanted, struct vmj_error *err);

/* The checksum that a manifest has of a file. algorithm: "SHA1", "SHA256", "SHA512". */
struct vmj_manifest_sum {
	char algorithm[8];
	char hex[129]; /* lower case */
};
/* Whether the manifest names the file; -EINVAL for a line that it cannot have. */
int vmj_manifest_find(const char *text, const char *file, struct vmj_manifest_sum *ret,
		      struct vmj_error *err);

/* A descriptor of one disk, as vmjob writes it. *ret: caller's. */
struct vmj_ovf_spec {
	const char *name, *file; /* of the guest; of the disk in the archive */
	uint64_t file_bytes, virtual_bytes;
	const struct vmj_image_meta *meta;
};
int vmj_ovf_write(const struct vmj_ovf_spec *spec, char **ret, struct vmj_error *err);

#endif
