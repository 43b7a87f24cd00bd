/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/wire/buffer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define KEEP 8192 /* what an empty buffer may hold on to */

uint8_t *vmj_buffer_room(struct vmj_buffer *b, size_t len)
{
	if (b->start && b->start + b->len + len > b->alloc) {
		memmove(b->base, b->base + b->start, b->len);
		b->start = 0;
	}
	if (b->len + len > b->alloc) {
		size_t alloc = b->alloc * 2 > b->len + len ? b->alloc * 2 : b->len + len;
		uint8_t *base = realloc(b->base, alloc);

		if (!base)
			return NULL;
		b->base = base;
		b->alloc = alloc;
	}
	return b->base + b->start + b->len;
}

int vmj_buffer_append(struct vmj_buffer *b, const void *data, size_t len)
{
	uint8_t *room;

	if (!len)
		return 0;
	room = vmj_buffer_room(b, len);
	if (!room)
		return -ENOMEM;
	memcpy(room, data, len);
	b->len += len;
	return 0;
}

void vmj_buffer_consume(struct vmj_buffer *b, size_t len)
{
	b->start += len;
	b->len -= len;
	if (b->len)
		return;
	b->start = 0;
	if (b->alloc > KEEP)
		vmj_buffer_done(b);
}

void vmj_buffer_done(struct vmj_buffer *b)
{
	free(b->base);
	*b = (struct vmj_buffer){0};
}
