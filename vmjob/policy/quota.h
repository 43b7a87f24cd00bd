/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pure: may more be written into a storage domain? By its quota of a user, its limit, and the
 * watermarks of the file system's free space (vmjob.conf, section storage). No I/O, no clock.
 */
#ifndef VMJ_POLICY_QUOTA_H
#define VMJ_POLICY_QUOTA_H

#include <stdint.h>

#include "vmjob/model/config.h"

enum vmj_watermark { VMJ_WATERMARK_OK, VMJ_WATERMARK_LOW, VMJ_WATERMARK_CRITICAL, VMJ_WATERMARKS_ };
const char *vmj_watermark_name(enum vmj_watermark w); /* "ok", "low", "critical" */

/* Where the free space stands. A file system that does not tell its size (0) is ok. */
enum vmj_watermark vmj_watermark_of(const struct vmj_storage_config *s, uint64_t total_bytes,
				    uint64_t free_bytes);
/* The same for whoever tells people of changes: a state that was worse lasts until the free space
 * is VMJ_WATERMARK_MARGIN percent above its mark, so that a domain at a mark is not told of without
 * end. */
#define VMJ_WATERMARK_MARGIN 2
enum vmj_watermark vmj_watermark_next(const struct vmj_storage_config *s, enum vmj_watermark was,
				      uint64_t total_bytes, uint64_t free_bytes);

/* What is written now: by that user, by all (only looked at where the domain has a limit), and the
 * file system. */
struct vmj_quota_state {
	uint64_t user_bytes, all_bytes;
	uint64_t total_bytes, free_bytes;
};

/* May a disk be promised of which new_bytes are written at once (0: a thin one)? Without a quota
 * for root (uid 0). Refusals are the user's fault, EDQUOT or ENOSPC, and say the numbers and what
 * to do: the domain is shared, so no host is to blame. */
int vmj_quota_decide(const struct vmj_storage_config *s, uid_t uid,
		     const struct vmj_quota_state *now, uint64_t new_bytes, struct vmj_error *err);

#endif
