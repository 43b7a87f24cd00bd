/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A connection to the agent as a client, good or bad, sees it; operations are the test's. */
#include "unit.h"

#include <errno.h>
#include <json-c/json.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "vmjob/agent/conn.h"
#include "vmjob/wire/frame.h"

static sd_event *loop;
static struct vmj_conn *conn;
static struct vmj_call *pending[64];
static unsigned int n_calls, n_closed;
static bool answer_at_once;
static int client;
static struct vmj_decoder *decoder;

static void on_call(struct vmj_call *call, void *arg)
{
	n_calls++;
	if (answer_at_once)
		vmj_call_ok(call, NULL);
	else
		pending[n_calls - 1] = call;
}

static void on_closed(struct vmj_conn *c, void *arg)
{
	n_closed++;
	conn = NULL;
}

static struct vmj_conn_env env = {.on_call = on_call, .on_closed = on_closed};

static int setup(void **state)
{
	struct vmj_peer peer = {.local = true, .uid = 1000, .pid = 1};
	int fds[2];

	if (sd_event_new(&loop) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
		return -1;
	env.loop = loop;
	client = fds[1];
	n_calls = n_closed = 0;
	answer_at_once = true;
	decoder = vmj_decoder_new();
	return vmj_conn_new(&env, fds[0], &peer, &conn);
}

static void turn_loop(void)
{
	while (sd_event_run(loop, 0) > 0)
		;
}

static int teardown(void **state)
{
	if (conn)
		vmj_conn_free(conn);
	vmj_close(client);
	vmj_decoder_free(decoder);
	loop = sd_event_unref(loop);
	return 0;
}

static void send_bytes(const void *data, size_t len)
{
	assert_int_equal(send(client, data, len, MSG_NOSIGNAL), len);
}

static void send_json(const char *text)
{
	vmj_autofree uint8_t *frame = NULL;
	size_t len;

	assert_int_equal(vmj_frame_encode('J', text, strlen(text), &frame, &len), 0);
	send_bytes(frame, len);
}

/* The next message; NULL: none. */
static struct json_object *receive(void)
{
	struct json_object *o = NULL;
	const uint8_t *payload;
	uint8_t chunk[65536];
	size_t len;
	char type;
	ssize_t n;

	while (!vmj_decoder_next(decoder, &type, &payload, &len)) {
		n = recv(client, chunk, sizeof(chunk), 0);
		if (n <= 0)
			return NULL;
		assert_int_equal(vmj_decoder_feed(decoder, chunk, (size_t)n, NULL), 0);
	}
	assert_int_equal(vmj_frame_json(payload, len, &o, NULL), 0);
	return o;
}

static void assert_answer(const char *expected)
{
	struct json_object *o = receive();
	const char *text;

	assert_non_null(o);
	text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);
	if (!strstr(text, expected))
		fail_msg("%s does not contain %s", text, expected);
	json_object_put(o);
}

static void a_request_is_answered_with_its_id(void **state)
{
	send_json("{\"op\":\"hello\",\"id\":41}");
	turn_loop();
	assert_answer("\"id\":41");
	assert_int_equal(n_calls, 1);
}

/* Said why, and closed. */
static void assert_rejected(const void *bytes, size_t len, const char *why)
{
	send_bytes(bytes, len);
	turn_loop();
	assert_answer(why);
	assert_int_equal(n_closed, 1);
	assert_int_equal(n_calls, 0);
}

static void garbage_is_rejected(void **state)
{
	assert_rejected("GET / HTTP/1.0\r\n\r\n", 18, "\"fault\":\"user\"");
}

static void a_message_without_operation_is_rejected(void **state)
{
	assert_rejected("\0\0\0\3J{}", 7, "no \\\"op\\\"");
}

static void an_operation_that_is_no_string_is_rejected(void **state)
{
	assert_rejected("\0\0\0\11J{\"op\":7}", 13, "no \\\"op\\\"");
}

static void data_without_a_console_is_rejected(void **state)
{
	assert_rejected("\0\0\0\2Dx", 6, "no console");
}

static void only_so_many_calls_are_open(void **state)
{
	answer_at_once = false;
	for (int i = 0; i < 20; i++)
		send_json("{\"op\":\"list\"}");
	turn_loop();
	assert_int_equal(n_calls, VMJ_CONN_CALLS_MAX);
	for (unsigned int i = 0; i < 20; i++) {
		assert_true(i < n_calls);
		vmj_call_ok(pending[i], NULL);
		turn_loop();
	}
	assert_int_equal(n_calls, 20);
	for (int i = 0; i < 20; i++)
		assert_answer("\"ok\":true");
}

static void a_call_outlives_its_connection(void **state)
{
	answer_at_once = false;
	send_json("{\"op\":\"list\"}");
	turn_loop();
	client = vmj_close(client);
	turn_loop();
	assert_int_equal(n_closed, 1);
	assert_null(pending[0]->conn);
	vmj_call_ok(pending[0], NULL);
}

static void who_does_not_read_is_not_read_from(void **state)
{
	unsigned int sent = 0;

	while (sent < 100000 &&
	       send(client, "\0\0\0\15J{\"op\":\"x\"}  ", 17, MSG_NOSIGNAL) == 17) {
		sent++;
		turn_loop();
	}
	assert_true(sent < 100000);
	assert_int_equal(n_closed, 0);
	for (unsigned int answered = 0; answered < n_calls || answered < sent; answered++) {
		struct json_object *o = receive();

		if (!o) {
			turn_loop();
			o = receive();
		}
		if (!o)
			fail_msg("%u of %u requests were answered", answered, sent);
		json_object_put(o);
	}
}

static unsigned int n_detached;

static void detached(struct vmj_attachment *a)
{
	assert_null(a->conn);
	n_detached++;
}

static void what_hangs_on_it_is_told_of_the_end(void **state)
{
	struct vmj_attachment one = {.closed = detached}, two = {.closed = detached};

	n_detached = 0;
	vmj_conn_attach(conn, &one);
	vmj_conn_attach(conn, &two);
	client = vmj_close(client);
	turn_loop();
	assert_int_equal(n_detached, 2);
	vmj_conn_detach(&one); /* not attached: nothing */
}

#define WITH_CONN(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_CONN(a_request_is_answered_with_its_id),
		WITH_CONN(garbage_is_rejected),
		WITH_CONN(a_message_without_operation_is_rejected),
		WITH_CONN(an_operation_that_is_no_string_is_rejected),
		WITH_CONN(data_without_a_console_is_rejected),
		WITH_CONN(only_so_many_calls_are_open),
		WITH_CONN(a_call_outlives_its_connection),
		WITH_CONN(who_does_not_read_is_not_read_from),
		WITH_CONN(what_hangs_on_it_is_told_of_the_end),
	};

	return cmocka_run_group_tests_name("conn", tests, NULL, NULL);
}
