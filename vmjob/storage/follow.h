/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The SHA-256 of a file while it is being written from its beginning to its end: a thread reads
 * what is done, from the page cache, as it comes. */
#ifndef VMJ_STORAGE_FOLLOW_H
#define VMJ_STORAGE_FOLLOW_H

#include <stdint.h>

struct vmj_follow;

/* fd must stay open until the end. NULL: no memory, or no thread. */
struct vmj_follow *vmj_follow_start(int fd);
/* All before this offset is as it will be. Never goes back. */
void vmj_follow_to(struct vmj_follow *f, uint64_t offset);
/* Waits until all up to the last offset is read; frees. 0 or a negative errno. */
int vmj_follow_end(struct vmj_follow *f, char ret[65]);
/* Gives up; frees. NULL is nothing. */
void vmj_follow_cancel(struct vmj_follow *f);

#endif
