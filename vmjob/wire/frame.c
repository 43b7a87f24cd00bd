/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/wire/frame.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "vmjob/model/json.h"
#include "vmjob/wire/buffer.h"

#define HEAD       5 /* length and type */
#define JSON_DEPTH 16

/*
 * Invariants: bytes [0, checked) of the buffer begin with frames whose headers have been found
 * good; `checked` is where the next header begins, possibly beyond what has come so far. `taken` is
 * the frame that the caller looks at, dropped at the next call. Nothing is kept beyond
 * BUFFERED_MAX, so a peer that sends faster than its frames are taken is stopped.
 */
struct vmj_decoder {
	struct vmj_buffer buffer;
	size_t checked;
	size_t taken;
	bool broken;
};
#define BUFFERED_MAX (2 * (HEAD + VMJ_FRAME_MAX))

struct vmj_decoder *vmj_decoder_new(void)
{
	return calloc(1, sizeof(struct vmj_decoder));
}

void vmj_decoder_free(struct vmj_decoder *d)
{
	if (!d)
		return;
	vmj_buffer_done(&d->buffer);
	free(d);
}

static size_t frame_length(const uint8_t *head)
{
	uint32_t be;

	memcpy(&be, head, sizeof(be));
	return ntohl(be);
}

static void drop_taken(struct vmj_decoder *d)
{
	if (!d->taken)
		return;
	vmj_buffer_consume(&d->buffer, d->taken);
	d->checked -= d->taken;
	d->taken = 0;
}

/* A wrong length is told from its four bytes alone, before anything of the payload is kept. */
static int check_headers(struct vmj_decoder *d, struct vmj_error *err)
{
	const uint8_t *data = vmj_buffer_data(&d->buffer);

	while (d->checked + 4 <= d->buffer.len) {
		size_t length = frame_length(data + d->checked);

		if (!length)
			return vmj_fail(err, EPROTO, "a frame without a type came");
		if (length > VMJ_FRAME_MAX + 1)
			return vmj_fail(err, EMSGSIZE, "a frame of %zu bytes came, %u are allowed",
					length - 1, VMJ_FRAME_MAX);
		if (d->checked + HEAD > d->buffer.len)
			break;
		if (data[d->checked + 4] != 'J' && data[d->checked + 4] != 'D')
			return vmj_fail(err, EPROTO, "a frame of unknown type 0x%02x came",
					data[d->checked + 4]);
		d->checked += 4 + length;
	}
	return 0;
}

int vmj_decoder_feed(struct vmj_decoder *d, const void *data, size_t len, struct vmj_error *err)
{
	int r;

	if (d->broken)
		return vmj_fail(err, EPROTO, "the stream of frames is broken already");
	drop_taken(d);
	if (d->buffer.len + len > BUFFERED_MAX) {
		d->broken = true;
		return vmj_fail(err, EMSGSIZE, "more than %u bytes came at once", BUFFERED_MAX);
	}
	if (vmj_buffer_append(&d->buffer, data, len) < 0)
		return vmj_fail(err, ENOMEM, "no memory for a frame of %zu bytes", len);
	r = check_headers(d, err);
	if (r < 0)
		d->broken = true;
	return r;
}

int vmj_decoder_next(struct vmj_decoder *d, char *ret_type, const uint8_t **ret_payload,
		     size_t *ret_len)
{
	const uint8_t *data;
	size_t length;

	drop_taken(d);
	if (d->buffer.len < HEAD || d->checked < HEAD)
		return 0;
	data = vmj_buffer_data(&d->buffer);
	length = frame_length(data);
	if (d->buffer.len < 4 + length)
		return 0;
	*ret_type = (char)data[4];
	*ret_payload = data + HEAD;
	*ret_len = length - 1;
	d->taken = 4 + length;
	return 1;
}

int vmj_frame_encode(char type, const void *payload, size_t len, uint8_t **ret, size_t *ret_len)
{
	uint32_t be = htonl((uint32_t)len + 1);
	uint8_t *frame;

	if (len > VMJ_FRAME_MAX)
		return -EMSGSIZE;
	frame = malloc(HEAD + len);
	if (!frame)
		return -ENOMEM;
	memcpy(frame, &be, sizeof(be));
	frame[4] = (uint8_t)type;
	if (len)
		memcpy(frame + HEAD, payload, len);
	*ret = frame;
	*ret_len = HEAD + len;
	return 0;
}

int vmj_frame_json(const uint8_t *payload, size_t len, struct json_object **ret,
		   struct vmj_error *err)
{
	return vmj_json_parse("the message", (const char *)payload, len, JSON_DEPTH, ret, err);
}
