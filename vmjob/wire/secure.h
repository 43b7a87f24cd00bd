/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The stream between hosts: opened by a munge credential, carried on by libsodium's secretstream.
 *
 *   server -> client   frame J {"vmjob": 1, "nonce": 64 hex digits}       fresh for each connection
 *   client -> server   frame J {"credential": "MUNGE:…"}  which only root can decode; inside it:
 *                      magic, that nonce, a fresh session key, the name of the host that is meant
 *   server -> client   frame J {"ok": true}, or {"ok": false, "code": ERRNO, "error": TEXT} and end
 *   then in each direction: a secretstream header, and records
 *                      | length u32, big endian | XChaCha20-Poly1305 ciphertext |
 *                      whose plaintexts, one after the other, are the stream (vmjob/wire/frame.h)
 *
 * A credential is worth something on one connection only (nonce), with one host only (name), and
 * once (munge). The directions have keys of their own, so nothing can be reflected; secretstream
 * numbers its records, so none can be replayed, dropped or reordered; and an end without the final
 * record is a cut, not an end.
 *
 * This is a machine without I/O, clock or munge: the caller moves the bytes, bounds the time, and
 * encodes or decodes the credential (vmjob/wire/munge.h, which blocks) when the state says so.
 * Before authentication it keeps at most VMJ_SECURE_GREETING_MAX bytes. Not thread-safe.
 */
#ifndef VMJ_WIRE_SECURE_H
#define VMJ_WIRE_SECURE_H

#include <stddef.h>
#include <stdint.h>

#include "vmjob/base/error.h"
#include "vmjob/wire/buffer.h"

#define VMJ_SECURE_GREETING_MAX 4096
#define VMJ_SECURE_RECORD_MAX   65536 /* plaintext of a record */
#define VMJ_SECURE_HOST_MAX     255

enum vmj_secure_state {
	VMJ_SECURE_WAITING,    /* for the peer's greeting */
	VMJ_SECURE_CREDENTIAL, /* the caller's turn: _offer and _send, or _credential and _accept */
	VMJ_SECURE_OPEN,
	VMJ_SECURE_ENDED, /* the peer's final record has come */
	VMJ_SECURE_BROKEN,
};

struct vmj_secure;

/* host: the name of the host that is meant, as its agent knows it (domain part or not, any case).
 * NULL without memory. */
struct vmj_secure *vmj_secure_new_client(const char *host);
struct vmj_secure *vmj_secure_new_server(void);
void vmj_secure_free(struct vmj_secure *s);
enum vmj_secure_state vmj_secure_state(const struct vmj_secure *s);

/* Bytes that came from the peer. -EPROTO, -EMSGSIZE, -EBADMSG (not authentic), or what the server
 * said when it refused us; BROKEN from then on. */
int vmj_secure_feed(struct vmj_secure *s, const void *data, size_t len, struct vmj_error *err);

/* What came, in clear, and what is to be sent: the caller consumes both. */
struct vmj_buffer *vmj_secure_in(struct vmj_secure *s);
struct vmj_buffer *vmj_secure_out(struct vmj_secure *s);

/* Client, in CREDENTIAL: what to put into the credential, and then the credential. */
int vmj_secure_offer(struct vmj_secure *s, const uint8_t **ret, size_t *ret_len);
int vmj_secure_send_credential(struct vmj_secure *s, const char *credential, struct vmj_error *err);

/* Server, in CREDENTIAL: what the client sent (borrowed), and then what was inside. `hosts`: the
 * names of this host, NULL-terminated. On failure the refusal is queued in _out already. */
const char *vmj_secure_credential(const struct vmj_secure *s);
int vmj_secure_accept(struct vmj_secure *s, const void *payload, size_t len,
		      const char *const *hosts, struct vmj_error *err);
void vmj_secure_refuse(struct vmj_secure *s, const struct vmj_error *why);

/* Encrypt into _out; only when OPEN or ENDED. */
int vmj_secure_write(struct vmj_secure *s, const void *data, size_t len, struct vmj_error *err);
int vmj_secure_finish(struct vmj_secure *s); /* the last record */

#endif
