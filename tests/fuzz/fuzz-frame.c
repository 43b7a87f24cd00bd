/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames as they come over a socket. The first byte says in pieces of how many bytes they arrive;
 * the frames must not depend on it.
 */
#include "fuzz.h"

#include "vmjob/model/json.h"
#include "vmjob/wire/frame.h"

/* Number of whole frames, and a sum over their contents. */
static size_t decode(const uint8_t *data, size_t size, size_t piece, uint64_t *ret_sum)
{
	struct vmj_decoder *d = vmj_decoder_new();
	size_t n = 0;

	must(d);
	*ret_sum = 0;
	while (size > 0) {
		size_t now = size < piece ? size : piece;
		const uint8_t *payload;
		size_t len;
		char type;
		int rc = vmj_decoder_feed(d, data, now, NULL);

		while (rc >= 0 && (rc = vmj_decoder_next(d, &type, &payload, &len)) == 1) {
			vmj_autojson struct json_object *o = NULL;

			must((type == 'J' || type == 'D') && len <= VMJ_FRAME_MAX);
			if (type == 'J' && vmj_frame_json(payload, len, &o, NULL) == 0)
				must(json_object_is_type(o, json_type_object));
			for (size_t i = 0; i < len; i++)
				*ret_sum = *ret_sum * 31 + payload[i];
			n++;
		}
		if (rc < 0)
			break;
		data += now;
		size -= now;
	}
	vmj_decoder_free(d);
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t sum, pieces_sum;
	size_t n;

	if (size == 0)
		return 0;
	n = decode(data + 1, size - 1, size, &sum);
	if (decode(data + 1, size - 1, 1 + data[0] % 64, &pieces_sum) == n)
		must(sum == pieces_sum);
	return 0;
}
