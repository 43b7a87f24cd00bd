/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/wire/secure.h"

#include <arpa/inet.h>
#include <errno.h>
#include <json-c/json.h>
#include <sodium.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/parse.h"
#include "vmjob/wire/frame.h"

#define VERSION     1
#define MAGIC       "vmjob-1"
#define NONCE_BYTES 32
#define KEY_BYTES   crypto_secretstream_xchacha20poly1305_KEYBYTES
#define HEAD_BYTES  crypto_secretstream_xchacha20poly1305_HEADERBYTES
#define A_BYTES     crypto_secretstream_xchacha20poly1305_ABYTES
#define TAG_MESSAGE crypto_secretstream_xchacha20poly1305_TAG_MESSAGE
#define TAG_FINAL   crypto_secretstream_xchacha20poly1305_TAG_FINAL

/* What a credential holds; the host's name has no end of its own. */
struct offer {
	char magic[8];
	uint8_t nonce[NONCE_BYTES];
	uint8_t key[KEY_BYTES];
	char host[VMJ_SECURE_HOST_MAX];
};
#define OFFER_FIXED offsetof(struct offer, host)

struct vmj_secure {
	bool server;
	bool sent; /* client: the credential is out, the answer comes next */
	bool header_came;
	enum vmj_secure_state state;
	uint8_t nonce[NONCE_BYTES];
	struct offer offer; /* client */
	size_t offer_len;
	char *credential;       /* server */
	struct vmj_buffer wire; /* came, not yet understood */
	struct vmj_buffer in, out;
	crypto_secretstream_xchacha20poly1305_state rx, tx;
};

static struct vmj_secure *secure_new(bool server)
{
	struct vmj_secure *s;

	if (sodium_init() < 0)
		return NULL;
	s = calloc(1, sizeof(*s));
	if (s)
		s->server = server;
	return s;
}

void vmj_secure_free(struct vmj_secure *s)
{
	if (!s)
		return;
	vmj_buffer_done(&s->wire);
	vmj_buffer_done(&s->in);
	vmj_buffer_done(&s->out);
	free(s->credential);
	sodium_memzero(s, sizeof(*s));
	free(s);
}

enum vmj_secure_state vmj_secure_state(const struct vmj_secure *s)
{
	return s->state;
}

struct vmj_buffer *vmj_secure_in(struct vmj_secure *s)
{
	return &s->in;
}

struct vmj_buffer *vmj_secure_out(struct vmj_secure *s)
{
	return &s->out;
}

/* --- greetings ------------------------------------------------------------------------------- */

static int send_greeting(struct vmj_secure *s, struct json_object *o)
{
	const char *text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);
	vmj_autofree uint8_t *frame = NULL;
	size_t len;
	int r = vmj_frame_encode('J', text, strlen(text), &frame, &len);

	return r < 0 ? r : vmj_buffer_append(&s->out, frame, len);
}

struct vmj_secure *vmj_secure_new_client(const char *host)
{
	struct vmj_secure *s;
	size_t len = strlen(host);

	if (!len || len > VMJ_SECURE_HOST_MAX)
		return NULL;
	s = secure_new(false);
	if (!s)
		return NULL;
	memcpy(s->offer.magic, MAGIC, sizeof(s->offer.magic));
	randombytes_buf(s->offer.key, sizeof(s->offer.key));
	memcpy(s->offer.host, host, len);
	s->offer_len = OFFER_FIXED + len;
	return s;
}

struct vmj_secure *vmj_secure_new_server(void)
{
	struct vmj_secure *s = secure_new(true);
	struct json_object *o;
	char hex[2 * NONCE_BYTES + 1];
	int r;

	if (!s)
		return NULL;
	randombytes_buf(s->nonce, sizeof(s->nonce));
	sodium_bin2hex(hex, sizeof(hex), s->nonce, sizeof(s->nonce));
	o = json_object_new_object();
	json_object_object_add(o, "vmjob", json_object_new_int(VERSION));
	json_object_object_add(o, "nonce", json_object_new_string(hex));
	r = send_greeting(s, o);
	json_object_put(o);
	if (r < 0) {
		vmj_secure_free(s);
		return NULL;
	}
	return s;
}

static const char *member_string(struct json_object *o, const char *key)
{
	struct json_object *v;

	if (!json_object_object_get_ex(o, key, &v) || !json_object_is_type(v, json_type_string))
		return NULL;
	return json_object_get_string(v);
}

static int member_int(struct json_object *o, const char *key)
{
	struct json_object *v;

	if (!json_object_object_get_ex(o, key, &v) || !json_object_is_type(v, json_type_int))
		return 0;
	return json_object_get_int(v);
}

/* One whole frame J at the front of `wire`: 1 with *ret (caller's), 0 not yet. */
static int next_greeting(struct vmj_secure *s, struct json_object **ret, struct vmj_error *err)
{
	const uint8_t *data = vmj_buffer_data(&s->wire);
	uint32_t be;
	size_t length;
	int r;

	if (s->wire.len < 5)
		return 0;
	memcpy(&be, data, sizeof(be));
	length = ntohl(be);
	if (length < 1 || length > VMJ_SECURE_GREETING_MAX - 4 || data[4] != 'J')
		return vmj_fail(err, EPROTO, "the peer does not speak vmjob's protocol");
	if (s->wire.len < 4 + length)
		return 0;
	r = vmj_frame_json(data + 5, length - 1, ret, err);
	if (r < 0)
		return r;
	vmj_buffer_consume(&s->wire, 4 + length);
	return 1;
}

static int refused(struct json_object *o, struct vmj_error *err)
{
	const char *text = member_string(o, "error");
	int code = member_int(o, "code");

	return vmj_fail(err, code > 0 ? code : EPROTO, "the agent refused us: %s",
			text ? text : "it does not say why");
}

static int hello_came(struct vmj_secure *s, struct json_object *o, struct vmj_error *err)
{
	const char *hex = member_string(o, "nonce");
	size_t len = 0;

	if (member_string(o, "error"))
		return refused(o, err);
	if (member_int(o, "vmjob") != VERSION)
		return vmj_fail(err, EPROTO,
				"the peer's greeting is not one of vmjob's protocol %d: the "
				"versions of vmjob on the two hosts differ",
				VERSION);
	if (!hex || strlen(hex) != 2 * NONCE_BYTES ||
	    sodium_hex2bin(s->offer.nonce, NONCE_BYTES, hex, 2 * NONCE_BYTES, NULL, &len, NULL) ||
	    len != NONCE_BYTES)
		return vmj_fail(err, EPROTO, "the peer's greeting has no nonce");
	s->state = VMJ_SECURE_CREDENTIAL;
	return 0;
}

static int credential_came(struct vmj_secure *s, struct json_object *o, struct vmj_error *err)
{
	const char *credential = member_string(o, "credential");

	if (!credential || strncmp(credential, "MUNGE:", 6) != 0)
		return vmj_fail(err, EPROTO, "the peer did not send a munge credential");
	s->credential = strdup(credential);
	if (!s->credential)
		return vmj_fail(err, ENOMEM, "no memory for a credential");
	s->state = VMJ_SECURE_CREDENTIAL;
	return 0;
}

/* --- keys ------------------------------------------------------------------------------------ */

/* One key a direction, from the session key and the nonce. */
static void direction_key(const struct offer *offer, bool to_server, uint8_t ret[KEY_BYTES])
{
	crypto_generichash_state h;
	static const char labels[2][17] = {"vmjob to client ", "vmjob to server "};

	crypto_generichash_init(&h, offer->key, sizeof(offer->key), KEY_BYTES);
	crypto_generichash_update(&h, (const uint8_t *)labels[to_server], 16);
	crypto_generichash_update(&h, offer->nonce, sizeof(offer->nonce));
	crypto_generichash_final(&h, ret, KEY_BYTES);
	sodium_memzero(&h, sizeof(h));
}

/* Our stream's header, after which all that goes out is encrypted. */
static int start_sending(struct vmj_secure *s)
{
	uint8_t key[KEY_BYTES], header[HEAD_BYTES];

	direction_key(&s->offer, !s->server, key);
	crypto_secretstream_xchacha20poly1305_init_push(&s->tx, header, key);
	sodium_memzero(key, sizeof(key));
	s->state = VMJ_SECURE_OPEN;
	return vmj_buffer_append(&s->out, header, sizeof(header));
}

static int answer_came(struct vmj_secure *s, struct json_object *o, struct vmj_error *err)
{
	struct json_object *ok;

	if (!json_object_object_get_ex(o, "ok", &ok) || !json_object_get_boolean(ok))
		return refused(o, err);
	return start_sending(s) < 0 ? vmj_fail(err, ENOMEM, "no memory for a connection") : 0;
}

/* --- records --------------------------------------------------------------------------------- */

static int header_came(struct vmj_secure *s, struct vmj_error *err)
{
	uint8_t key[KEY_BYTES];
	int r;

	if (s->wire.len < HEAD_BYTES)
		return 0;
	direction_key(&s->offer, s->server, key);
	r = crypto_secretstream_xchacha20poly1305_init_pull(&s->rx, vmj_buffer_data(&s->wire), key);
	sodium_memzero(key, sizeof(key));
	if (r < 0)
		return vmj_fail(err, EBADMSG, "the peer's stream does not begin as it must");
	vmj_buffer_consume(&s->wire, HEAD_BYTES);
	s->header_came = true;
	return 1;
}

static int next_record(struct vmj_secure *s, struct vmj_error *err)
{
	const uint8_t *data = vmj_buffer_data(&s->wire);
	uint32_t be;
	size_t length;
	unsigned long long clear;
	uint8_t *room, tag;

	if (s->wire.len < 4)
		return 0;
	memcpy(&be, data, sizeof(be));
	length = ntohl(be);
	if (length < A_BYTES || length > A_BYTES + VMJ_SECURE_RECORD_MAX)
		return vmj_fail(err, EBADMSG, "a record of %zu bytes came", length);
	if (s->wire.len < 4 + length)
		return 0;
	room = vmj_buffer_room(&s->in, length - A_BYTES + 1);
	if (!room)
		return vmj_fail(err, ENOMEM, "no memory for a record of %zu bytes", length);
	if (crypto_secretstream_xchacha20poly1305_pull(&s->rx, room, &clear, &tag, data + 4, length,
						       NULL, 0) != 0)
		return vmj_fail(err, EBADMSG, "a record came that the peer did not send");
	vmj_buffer_grew(&s->in, clear);
	vmj_buffer_consume(&s->wire, 4 + length);
	if (tag == TAG_FINAL)
		s->state = VMJ_SECURE_ENDED;
	return 1;
}

/* One step with what is in `wire`: 1 when there may be more, 0 when more bytes are needed. */
static int advance(struct vmj_secure *s, struct vmj_error *err)
{
	struct json_object *o = NULL;
	int r;

	switch (s->state) {
	case VMJ_SECURE_WAITING:
		r = next_greeting(s, &o, err);
		if (r <= 0)
			return r;
		if (s->server)
			r = credential_came(s, o, err);
		else if (s->sent)
			r = answer_came(s, o, err);
		else
			r = hello_came(s, o, err);
		json_object_put(o);
		return r < 0 ? r : 1;
	case VMJ_SECURE_OPEN:
		return s->header_came ? next_record(s, err) : header_came(s, err);
	case VMJ_SECURE_CREDENTIAL:
	case VMJ_SECURE_ENDED:
		if (s->wire.len)
			return vmj_fail(err, EPROTO, "the peer speaks when it has nothing to say");
		return 0;
	default:
		return vmj_fail(err, EPROTO, "the connection is broken already");
	}
}

/* Once open, what is in `wire` is less than a record before each feed. */
int vmj_secure_feed(struct vmj_secure *s, const void *data, size_t len, struct vmj_error *err)
{
	int r;

	if (s->state == VMJ_SECURE_BROKEN)
		return vmj_fail(err, EPROTO, "the connection is broken already");
	if (s->state != VMJ_SECURE_OPEN && s->wire.len + len > VMJ_SECURE_GREETING_MAX)
		r = vmj_fail(err, EMSGSIZE, "the peer's greeting is longer than %u bytes",
			     VMJ_SECURE_GREETING_MAX);
	else if (vmj_buffer_append(&s->wire, data, len) < 0)
		r = vmj_fail(err, ENOMEM, "no memory for %zu bytes", len);
	else
		do {
			r = advance(s, err);
		} while (r > 0);
	if (r < 0)
		s->state = VMJ_SECURE_BROKEN;
	return r;
}

static int push(struct vmj_secure *s, const uint8_t *data, size_t len, uint8_t tag)
{
	uint32_t be = htonl((uint32_t)(len + A_BYTES));
	uint8_t *room = vmj_buffer_room(&s->out, sizeof(be) + len + A_BYTES);

	if (!room)
		return -ENOMEM;
	memcpy(room, &be, sizeof(be));
	crypto_secretstream_xchacha20poly1305_push(&s->tx, room + sizeof(be), NULL, data, len, NULL,
						   0, tag);
	vmj_buffer_grew(&s->out, sizeof(be) + len + A_BYTES);
	return 0;
}

int vmj_secure_write(struct vmj_secure *s, const void *data, size_t len, struct vmj_error *err)
{
	const uint8_t *next = data;

	if (s->state != VMJ_SECURE_OPEN && s->state != VMJ_SECURE_ENDED)
		return vmj_fail(err, ENOTCONN, "the connection is not open");
	while (len) {
		size_t n = len < VMJ_SECURE_RECORD_MAX ? len : VMJ_SECURE_RECORD_MAX;

		if (push(s, next, n, TAG_MESSAGE) < 0)
			return vmj_fail(err, ENOMEM, "no memory for a record of %zu bytes", n);
		next += n;
		len -= n;
	}
	return 0;
}

int vmj_secure_finish(struct vmj_secure *s)
{
	if (s->state != VMJ_SECURE_OPEN && s->state != VMJ_SECURE_ENDED)
		return -ENOTCONN;
	return push(s, NULL, 0, TAG_FINAL);
}

/* --- the credential -------------------------------------------------------------------------- */

int vmj_secure_offer(struct vmj_secure *s, const uint8_t **ret, size_t *ret_len)
{
	if (s->server || s->state != VMJ_SECURE_CREDENTIAL)
		return -EINVAL;
	*ret = (const uint8_t *)&s->offer;
	*ret_len = s->offer_len;
	return 0;
}

int vmj_secure_send_credential(struct vmj_secure *s, const char *credential, struct vmj_error *err)
{
	struct json_object *o;
	int r;

	if (s->server || s->state != VMJ_SECURE_CREDENTIAL)
		return vmj_fail(err, EINVAL, "no credential is wanted now");
	o = json_object_new_object();
	json_object_object_add(o, "credential", json_object_new_string(credential));
	r = send_greeting(s, o);
	json_object_put(o);
	if (r < 0)
		return vmj_fail(err, -r, "cannot send a credential");
	s->sent = true;
	s->state = VMJ_SECURE_WAITING;
	return 0;
}

const char *vmj_secure_credential(const struct vmj_secure *s)
{
	return s->credential;
}

void vmj_secure_refuse(struct vmj_secure *s, const struct vmj_error *why)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "ok", json_object_new_boolean(0));
	json_object_object_add(o, "code", json_object_new_int(why->code));
	json_object_object_add(o, "error", json_object_new_string(why->text));
	send_greeting(s, o);
	json_object_put(o);
	s->state = VMJ_SECURE_BROKEN;
}

/* "n1.cluster.example" and "N1" are one host. */
static bool same_host(const char *a, size_t a_len, const char *b)
{
	size_t a_short = strcspn(a, "."), b_short = strcspn(b, ".");

	if (strlen(b) == a_len && strncasecmp(a, b, a_len) == 0)
		return true;
	return (a_short == a_len || b_short == strlen(b)) && a_short == b_short &&
	       strncasecmp(a, b, a_short) == 0;
}

static int check_offer(const struct vmj_secure *s, const struct offer *offer, size_t host_len,
		       const char *const *hosts, struct vmj_error *err)
{
	char host[VMJ_SECURE_HOST_MAX + 1] = "", quoted[80];

	if (memcmp(offer->magic, MAGIC, sizeof(offer->magic)) != 0)
		return vmj_fail(err, EACCES, "the credential is not one for vmjob's agent");
	if (sodium_memcmp(offer->nonce, s->nonce, NONCE_BYTES) != 0)
		return vmj_fail(err, EACCES, "the credential was made for another connection");
	memcpy(host, offer->host, host_len);
	for (; *hosts; hosts++)
		if (strlen(host) == host_len && same_host(host, host_len, *hosts))
			return 0;
	return vmj_fail(err, EACCES, "the credential is for host %s, which this is not",
			vmj_quote(host, quoted, sizeof(quoted)));
}

static int welcome(struct vmj_secure *s, struct vmj_error *err)
{
	struct json_object *o = json_object_new_object();
	int r;

	json_object_object_add(o, "ok", json_object_new_boolean(1));
	r = send_greeting(s, o);
	json_object_put(o);
	if (r < 0 || start_sending(s) < 0)
		return vmj_fail(err, ENOMEM, "no memory for a connection");
	return 0;
}

int vmj_secure_accept(struct vmj_secure *s, const void *payload, size_t len,
		      const char *const *hosts, struct vmj_error *err)
{
	struct offer offer = {0};
	struct vmj_error why;
	int r;

	if (!s->server || s->state != VMJ_SECURE_CREDENTIAL)
		return vmj_fail(err, EINVAL, "no credential has come");
	memcpy(&offer, payload, len < sizeof(offer) ? len : sizeof(offer));
	if (len <= OFFER_FIXED || len > sizeof(offer))
		r = vmj_fail(&why, EACCES, "the credential holds %zu bytes", len);
	else
		r = check_offer(s, &offer, len - OFFER_FIXED, hosts, &why);
	if (r < 0) {
		vmj_secure_refuse(s, &why);
		return vmj_fail(err, why.code, "%s", why.text);
	}
	s->offer = offer;
	sodium_memzero(&offer, sizeof(offer));
	return welcome(s, err);
}
