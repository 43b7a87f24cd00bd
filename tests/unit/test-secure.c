/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The secure stream, stepped: both ends in one process, the network and munge played by the test.
 */
#include "unit.h"

#include <errno.h>

#include "vmjob/wire/secure.h"

static const char *const hosts[] = {"n1", NULL};

struct pair {
	struct vmj_secure *client, *server;
	uint8_t offer[1024]; /* what the credential holds: the test is munge */
	size_t offer_len;
	struct vmj_error err;
};

static int make_pair(void **state)
{
	struct pair *p = calloc(1, sizeof(*p));

	p->client = vmj_secure_new_client("n1");
	p->server = vmj_secure_new_server();
	*state = p;
	return p->client && p->server ? 0 : -1;
}

static int free_pair(void **state)
{
	struct pair *p = *state;

	vmj_secure_free(p->client);
	vmj_secure_free(p->server);
	free(p);
	return 0;
}

/* All that one end has to send, to the other. */
static int carry(struct vmj_secure *from, struct vmj_secure *to, struct vmj_error *err)
{
	struct vmj_buffer *out = vmj_secure_out(from);
	int r = 0;

	if (out->len)
		r = vmj_secure_feed(to, vmj_buffer_data(out), out->len, err);
	vmj_buffer_consume(out, out->len);
	return r;
}

static void offer(struct pair *p)
{
	const uint8_t *data;
	size_t len;

	assert_done(carry(p->server, p->client, &p->err), p->err);
	assert_int_equal(vmj_secure_state(p->client), VMJ_SECURE_CREDENTIAL);
	assert_int_equal(vmj_secure_offer(p->client, &data, &len), 0);
	assert_true(len < sizeof(p->offer));
	memcpy(p->offer, data, len);
	p->offer_len = len;
	assert_done(vmj_secure_send_credential(p->client, "MUNGE:x:", &p->err), p->err);
	assert_done(carry(p->client, p->server, &p->err), p->err);
	assert_int_equal(vmj_secure_state(p->server), VMJ_SECURE_CREDENTIAL);
	assert_string_equal(vmj_secure_credential(p->server), "MUNGE:x:");
}

static void open_both(struct pair *p)
{
	offer(p);
	assert_done(vmj_secure_accept(p->server, p->offer, p->offer_len, hosts, &p->err), p->err);
	assert_done(carry(p->server, p->client, &p->err), p->err);
	assert_done(carry(p->client, p->server, &p->err), p->err);
	assert_int_equal(vmj_secure_state(p->client), VMJ_SECURE_OPEN);
	assert_int_equal(vmj_secure_state(p->server), VMJ_SECURE_OPEN);
}

static void assert_came(struct vmj_secure *s, const char *text)
{
	struct vmj_buffer *in = vmj_secure_in(s);

	assert_int_equal(in->len, strlen(text));
	assert_memory_equal(vmj_buffer_data(in), text, in->len);
	vmj_buffer_consume(in, in->len);
}

static void both_directions_carry(void **state)
{
	struct pair *p = *state;

	open_both(p);
	assert_done(vmj_secure_write(p->client, "hello ", 6, &p->err), p->err);
	assert_done(vmj_secure_write(p->client, "agent", 5, &p->err), p->err);
	assert_done(carry(p->client, p->server, &p->err), p->err);
	assert_came(p->server, "hello agent");
	assert_done(vmj_secure_write(p->server, "hello client", 12, &p->err), p->err);
	assert_done(carry(p->server, p->client, &p->err), p->err);
	assert_came(p->client, "hello client");
}

static void nothing_is_sent_in_clear(void **state)
{
	struct pair *p = *state;
	struct vmj_buffer *out;

	open_both(p);
	assert_done(vmj_secure_write(p->client, "a secret of the user", 20, &p->err), p->err);
	out = vmj_secure_out(p->client);
	assert_null(memmem(vmj_buffer_data(out), out->len, "secret", 6));
}

static void long_and_cut_into_pieces(void **state)
{
	struct pair *p = *state;
	size_t size = 3 * VMJ_SECURE_RECORD_MAX + 17;
	vmj_autofree uint8_t *data = malloc(size);
	struct vmj_buffer *out, *in;
	uint64_t seed = 42;

	open_both(p);
	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t)unit_random(&seed);
	assert_done(vmj_secure_write(p->server, data, size, &p->err), p->err);
	out = vmj_secure_out(p->server);
	while (out->len) {
		size_t n = 1 + unit_random(&seed) % 5000;

		n = n < out->len ? n : out->len;
		assert_done(vmj_secure_feed(p->client, vmj_buffer_data(out), n, &p->err), p->err);
		vmj_buffer_consume(out, n);
	}
	in = vmj_secure_in(p->client);
	assert_int_equal(in->len, size);
	assert_memory_equal(vmj_buffer_data(in), data, size);
}

static void an_end_is_told_from_a_cut(void **state)
{
	struct pair *p = *state;

	open_both(p);
	assert_int_equal(vmj_secure_finish(p->server), 0);
	assert_done(carry(p->server, p->client, &p->err), p->err);
	assert_int_equal(vmj_secure_state(p->client), VMJ_SECURE_ENDED);
	assert_done(vmj_secure_write(p->server, "x", 1, &p->err), p->err);
	assert_refused(carry(p->server, p->client, &p->err), p->err, EPROTO, "nothing to say");
}

/* --- the credential -------------------------------------------------------------------------- */

static void assert_not_accepted(struct pair *p, const void *payload, size_t len, const char *why)
{
	assert_refused(vmj_secure_accept(p->server, payload, len, hosts, &p->err), p->err, EACCES,
		       why);
	assert_int_equal(vmj_secure_state(p->server), VMJ_SECURE_BROKEN);
	assert_refused(carry(p->server, p->client, &p->err), p->err, EACCES, why);
	assert_refused(vmj_secure_write(p->server, "x", 1, &p->err), p->err, ENOTCONN, "not open");
}

static void a_credential_of_another_connection_is_refused(void **state)
{
	struct pair *p = *state, *other;

	assert_int_equal(make_pair((void **)&other), 0);
	offer(other);
	offer(p);
	assert_not_accepted(p, other->offer, other->offer_len, "another connection");
	free_pair((void **)&other);
}

static void a_credential_for_another_host_is_refused(void **state)
{
	struct pair *p = *state;

	vmj_secure_free(p->client);
	p->client = vmj_secure_new_client("n12");
	offer(p);
	assert_not_accepted(p, p->offer, p->offer_len, "for host n12");
}

static void a_host_s_name_may_have_its_domain_and_any_case(void **state)
{
	struct pair *p = *state;

	vmj_secure_free(p->client);
	p->client = vmj_secure_new_client("N1.cluster.example");
	open_both(p);
}

static void a_host_s_name_with_an_end_inside_is_refused(void **state)
{
	struct pair *p = *state;

	offer(p);
	memcpy(p->offer + p->offer_len, "\0x", 2);
	assert_not_accepted(p, p->offer, p->offer_len + 2, "for host");
}

static void a_credential_for_something_else_is_refused(void **state)
{
	struct pair *p = *state;

	offer(p);
	p->offer[0] ^= 1;
	assert_not_accepted(p, p->offer, p->offer_len, "not one for vmjob");
}

static void credentials_of_any_other_length_are_refused(void **state)
{
	static const size_t lengths[] = {0, 1, 8, 40, 72, 328, 1000};

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct pair *p;

		assert_int_equal(make_pair((void **)&p), 0);
		offer(p);
		assert_not_accepted(p, p->offer, lengths[i], "holds");
		free_pair((void **)&p);
	}
}

static void what_munge_refuses_is_refused(void **state)
{
	struct pair *p = *state;
	struct vmj_error why;

	offer(p);
	vmj_fail(&why, EACCES, "munge refuses a credential (Replayed credential)");
	vmj_secure_refuse(p->server, &why);
	assert_refused(carry(p->server, p->client, &p->err), p->err, EACCES, "Replayed credential");
	assert_int_equal(vmj_secure_state(p->client), VMJ_SECURE_BROKEN);
}

/* --- greetings ------------------------------------------------------------------------------- */

static void assert_server_refuses(const void *data, size_t len, int code, const char *why)
{
	struct vmj_secure *s = vmj_secure_new_server();
	struct vmj_error err;

	assert_refused(vmj_secure_feed(s, data, len, &err), err, code, why);
	assert_int_equal(vmj_secure_state(s), VMJ_SECURE_BROKEN);
	vmj_secure_free(s);
}

static void the_server_refuses_garbage(void **state)
{
	uint8_t flood[VMJ_SECURE_GREETING_MAX + 1] = {0, 0, 0x0f, 0xf0, 'J'};

	assert_server_refuses("GET / HTTP/1.0\r\n\r\n", 18, EPROTO, "does not speak");
	assert_server_refuses("\0\0\0\0J", 5, EPROTO, "does not speak");
	assert_server_refuses("\0\0\0\3D{}", 7, EPROTO, "does not speak");
	assert_server_refuses("\0\0\0\3J{}", 7, EPROTO, "munge credential");
	assert_server_refuses("\0\0\0\5J{{}}", 9, EINVAL, "the message");
	assert_server_refuses("\0\0\xff\xffJ", 5, EPROTO, "does not speak");
	assert_server_refuses(flood, sizeof(flood), EMSGSIZE, "longer than 4096 bytes");
}

static void a_truncated_greeting_opens_nothing(void **state)
{
	struct pair *p = *state;
	struct vmj_buffer *out = vmj_secure_out(p->server);

	assert_done(vmj_secure_feed(p->client, vmj_buffer_data(out), out->len - 1, &p->err),
		    p->err);
	assert_int_equal(vmj_secure_state(p->client), VMJ_SECURE_WAITING);
}

static void speaking_before_being_asked_is_refused(void **state)
{
	struct pair *p = *state;

	offer(p);
	assert_refused(vmj_secure_feed(p->server, "x", 1, &p->err), p->err, EPROTO,
		       "nothing to say");
}

static void the_client_wants_this_version(void **state)
{
	static const char *const greetings[] = {
		"{\"vmjob\":2,\"nonce\":\"\"}",
		"{\"nonce\":\"\"}",
		"{\"vmjob\":1}",
		"{\"vmjob\":1,\"nonce\":\"00\"}",
		"{\"vmjob\":1,\"nonce\":7}",
		"{\"vmjob\":1,\"nonce\":\"zz00000000000000000000000000000000000000000000000000000000000000\"}",
		"{\"ok\":false,\"error\":\"too many\"}",
	};

	for (size_t i = 0; i < sizeof(greetings) / sizeof(greetings[0]); i++) {
		struct vmj_secure *c = vmj_secure_new_client("n1");
		uint8_t frame[256] = {0, 0, 0, (uint8_t)(1 + strlen(greetings[i])), 'J'};
		struct vmj_error err;

		memcpy(frame + 5, greetings[i], strlen(greetings[i]));
		assert_int_equal(vmj_secure_feed(c, frame, 5 + strlen(greetings[i]), &err),
				 -EPROTO);
		vmj_secure_free(c);
	}
}

/* --- records --------------------------------------------------------------------------------- */

/* The client's next record, as it would be on the wire. */
static size_t record(struct pair *p, const char *text, uint8_t buf[256])
{
	struct vmj_buffer *out = vmj_secure_out(p->client);
	size_t len;

	assert_done(vmj_secure_write(p->client, text, strlen(text), &p->err), p->err);
	len = out->len;
	assert_true(len < 256);
	memcpy(buf, vmj_buffer_data(out), len);
	vmj_buffer_consume(out, len);
	return len;
}

static void a_replayed_record_is_refused(void **state)
{
	struct pair *p = *state;
	uint8_t buf[256];
	size_t len;

	open_both(p);
	len = record(p, "stop", buf);
	assert_done(vmj_secure_feed(p->server, buf, len, &p->err), p->err);
	assert_came(p->server, "stop");
	assert_refused(vmj_secure_feed(p->server, buf, len, &p->err), p->err, EBADMSG,
		       "did not send");
	assert_int_equal(vmj_secure_in(p->server)->len, 0);
}

static void a_dropped_record_is_noticed(void **state)
{
	struct pair *p = *state;
	uint8_t first[256], second[256];
	size_t len;

	open_both(p);
	record(p, "first", first);
	len = record(p, "second", second);
	assert_refused(vmj_secure_feed(p->server, second, len, &p->err), p->err, EBADMSG,
		       "did not send");
}

static void a_changed_record_is_refused(void **state)
{
	struct pair *p = *state;
	uint8_t buf[256];
	size_t len;

	open_both(p);
	len = record(p, "stop", buf);
	buf[len - 1] ^= 0x80;
	assert_refused(vmj_secure_feed(p->server, buf, len, &p->err), p->err, EBADMSG,
		       "did not send");
	assert_refused(vmj_secure_feed(p->server, buf, len, &p->err), p->err, EPROTO, "broken");
}

static void a_reflected_stream_is_refused(void **state)
{
	struct pair *p = *state;
	struct vmj_buffer *out;

	offer(p);
	assert_done(vmj_secure_accept(p->server, p->offer, p->offer_len, hosts, &p->err), p->err);
	out = vmj_secure_out(p->server);
	/* all but the server's own header, in whose place comes the client's */
	assert_done(vmj_secure_feed(p->client, vmj_buffer_data(out), out->len - 24, &p->err),
		    p->err);
	assert_done(vmj_secure_write(p->client, "stop", 4, &p->err), p->err);
	out = vmj_secure_out(p->client);
	assert_refused(vmj_secure_feed(p->client, vmj_buffer_data(out), out->len, &p->err), p->err,
		       EBADMSG, "did not send");
}

static void records_of_impossible_length_are_refused(void **state)
{
	struct pair *p = *state;

	open_both(p);
	assert_refused(vmj_secure_feed(p->server, "\0\0\0\1", 4, &p->err), p->err, EBADMSG,
		       "record of 1 bytes");
	assert_refused(vmj_secure_feed(p->client, "\x7f\xff\xff\xff", 4, &p->err), p->err, EBADMSG,
		       "record of 2147483647 bytes");
}

#define WITH_PAIR(f) cmocka_unit_test_setup_teardown(f, make_pair, free_pair)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_PAIR(both_directions_carry),
		WITH_PAIR(nothing_is_sent_in_clear),
		WITH_PAIR(long_and_cut_into_pieces),
		WITH_PAIR(an_end_is_told_from_a_cut),
		WITH_PAIR(a_credential_of_another_connection_is_refused),
		WITH_PAIR(a_credential_for_another_host_is_refused),
		WITH_PAIR(a_host_s_name_may_have_its_domain_and_any_case),
		WITH_PAIR(a_host_s_name_with_an_end_inside_is_refused),
		WITH_PAIR(a_credential_for_something_else_is_refused),
		cmocka_unit_test(credentials_of_any_other_length_are_refused),
		WITH_PAIR(what_munge_refuses_is_refused),
		cmocka_unit_test(the_server_refuses_garbage),
		WITH_PAIR(a_truncated_greeting_opens_nothing),
		WITH_PAIR(speaking_before_being_asked_is_refused),
		cmocka_unit_test(the_client_wants_this_version),
		WITH_PAIR(a_replayed_record_is_refused),
		WITH_PAIR(a_dropped_record_is_noticed),
		WITH_PAIR(a_changed_record_is_refused),
		WITH_PAIR(a_reflected_stream_is_refused),
		WITH_PAIR(records_of_impossible_length_are_refused),
	};

	return cmocka_run_group_tests_name("secure", tests, NULL, NULL);
}
