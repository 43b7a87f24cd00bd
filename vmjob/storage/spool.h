/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files that are made of a stream: what is zero is not written, so that they are sparse. */
#ifndef VMJ_STORAGE_SPOOL_H
#define VMJ_STORAGE_SPOOL_H

#include <stddef.h>
#include <stdint.h>

#include "vmjob/base/error.h"
#include "vmjob/storage/digest.h"
#include "vmjob/storage/follow.h"
#include "vmjob/storage/image.h"

struct vmj_spool {
	int fd;                    /* an empty file */
	uint64_t bytes;            /* so far */
	struct vmj_digest *digest; /* of all that passes; NULL: none */
	struct vmj_follow *follow; /* the same, in a thread of its own; NULL: none */
	uint64_t started;          /* given to the disk already, with `follow` */
	uint64_t total;            /* expected, for the progress; 0: not known */
	const char *what;          /* "reading", for the progress */
	vmj_image_progress_fn progress;
	void *arg;
};

/* -EFBIG beyond the largest disk. */
int vmj_spool_add(struct vmj_spool *s, const char *data, size_t len);
int vmj_spool_end(struct vmj_spool *s);

/* All that can be read from `from` (a pipe, a file). */
int vmj_spool_stream(struct vmj_spool *s, int from, struct vmj_error *err);
/* What a file packed with gzip, xz or zstd holds; damage is the user's fault. */
int vmj_spool_unpack(struct vmj_spool *s, int from, struct vmj_error *err);

#endif
