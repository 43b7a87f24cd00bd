/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames: what goes over every connection of vmjob (doc/protocol.md).
 *
 *   | length u32, big endian: bytes that follow | type u8 | payload |
 *
 * Type 'J': one JSON object, at most VMJ_FRAME_MAX bytes. Type 'D': raw bytes (console). Anything
 * else, or a longer frame, ends the connection. On TCP the frames go through vmjob/wire/secure.h
 * (munge opens, libsodium's secretstream carries on); on the local socket they are plain.
 */
#ifndef VMJ_WIRE_FRAME_H
#define VMJ_WIRE_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "vmjob/base/error.h"

#define VMJ_FRAME_MAX (256u << 10)

struct json_object;

/* An incremental decoder: feed bytes as they come, take frames as they are whole. Memory bounded by
 * VMJ_FRAME_MAX. */
struct vmj_decoder;
struct vmj_decoder *vmj_decoder_new(void);
void vmj_decoder_free(struct vmj_decoder *d);
int vmj_decoder_feed(struct vmj_decoder *d, const void *data, size_t len,
		     struct vmj_error *err); /* -EMSGSIZE, -EPROTO */
/* 1: a frame (type, payload borrowed until the next call), 0: none yet. */
int vmj_decoder_next(struct vmj_decoder *d, char *ret_type, const uint8_t **ret_payload,
		     size_t *ret_len);

/* Encode into a fresh buffer (caller's). */
int vmj_frame_encode(char type, const void *payload, size_t len, uint8_t **ret, size_t *ret_len);

/* Strict JSON text of a 'J' frame -> object (caller's); must be an object, depth <= 16. EINVAL by
 * the user's fault. */
int vmj_frame_json(const uint8_t *payload, size_t len, struct json_object **ret,
		   struct vmj_error *err);

#endif
