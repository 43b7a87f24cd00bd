/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A queue of bytes in one piece of memory: appended at the end, consumed at the front. Zeroed is
 * empty. Not thread-safe. */
#ifndef VMJ_WIRE_BUFFER_H
#define VMJ_WIRE_BUFFER_H

#include <stddef.h>
#include <stdint.h>

struct vmj_buffer {
	uint8_t *base;
	size_t start; /* consumed bytes before the first that counts */
	size_t len;
	size_t alloc;
};

static inline const uint8_t *vmj_buffer_data(const struct vmj_buffer *b)
{
	return b->base + b->start;
}

/* Room for `len` more bytes at the end, which the caller fills and then counts with
 * vmj_buffer_grew(); NULL without memory. */
uint8_t *vmj_buffer_room(struct vmj_buffer *b, size_t len);
static inline void vmj_buffer_grew(struct vmj_buffer *b, size_t len)
{
	b->len += len;
}

int vmj_buffer_append(struct vmj_buffer *b, const void *data, size_t len); /* 0, -ENOMEM */
void vmj_buffer_consume(struct vmj_buffer *b, size_t len); /* memory is given back when empty */
void vmj_buffer_done(struct vmj_buffer *b);

#endif
