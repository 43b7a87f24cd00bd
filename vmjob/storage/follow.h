/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The SHA-256 of a stream, computed by a thread of its own while the stream is stored. What is to
 * be hashed is handed over as a copy, not read again from the file: a network's file system, or
 * FUSE, might fetch it a second time. */
#ifndef VMJ_STORAGE_FOLLOW_H
#define VMJ_STORAGE_FOLLOW_H

#include <stddef.h>

struct vmj_follow;

/* NULL: no memory, or no thread. */
struct vmj_follow *vmj_follow_start(void);
/* The next part of the stream. Waits while the thread is some MiB behind. */
void vmj_follow_add(struct vmj_follow *f, const char *data, size_t len);
/* Waits until all is hashed; frees. 0 or a negative errno. */
int vmj_follow_end(struct vmj_follow *f, char ret[65]);
/* Gives up; frees. NULL is nothing. */
void vmj_follow_cancel(struct vmj_follow *f);

#endif
