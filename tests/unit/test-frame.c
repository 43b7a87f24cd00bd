/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>
#include <json-c/json.h>

#include "vmjob/wire/frame.h"

static int make_decoder(void **state)
{
	*state = vmj_decoder_new();
	return *state ? 0 : -1;
}

static int free_decoder(void **state)
{
	vmj_decoder_free(*state);
	return 0;
}

static void assert_next(struct vmj_decoder *d, char type, const char *payload)
{
	const uint8_t *data;
	size_t len;
	char t;

	assert_int_equal(vmj_decoder_next(d, &t, &data, &len), 1);
	assert_int_equal(t, type);
	assert_int_equal(len, strlen(payload));
	assert_memory_equal(data, payload, len);
}

static void assert_none(struct vmj_decoder *d)
{
	const uint8_t *data;
	size_t len;
	char t;

	assert_int_equal(vmj_decoder_next(d, &t, &data, &len), 0);
}

static void the_wire_format_is_as_documented(void **state)
{
	static const uint8_t expected[] = {0, 0, 0, 3, 'J', '{', '}'};
	vmj_autofree uint8_t *frame = NULL;
	size_t len;

	assert_int_equal(vmj_frame_encode('J', "{}", 2, &frame, &len), 0);
	assert_int_equal(len, sizeof(expected));
	assert_memory_equal(frame, expected, len);
}

static void frames_come_byte_by_byte(void **state)
{
	static const uint8_t bytes[] = {0, 0, 0, 3, 'J', '{', '}', 0, 0, 0, 1, 'D'};

	for (size_t i = 0; i < sizeof(bytes); i++) {
		assert_int_equal(vmj_decoder_feed(*state, bytes + i, 1, NULL), 0);
		if (i == 6)
			assert_next(*state, 'J', "{}");
		else if (i == 11)
			assert_next(*state, 'D', "");
		else
			assert_none(*state);
	}
}

static void several_frames_come_at_once(void **state)
{
	assert_int_equal(vmj_decoder_feed(*state, "\0\0\0\2Da\0\0\0\3Dbc\0\0", 15, NULL), 0);
	assert_next(*state, 'D', "a");
	assert_next(*state, 'D', "bc");
	assert_none(*state);
	assert_int_equal(vmj_decoder_feed(*state, "\0\2Dd", 4, NULL), 0);
	assert_next(*state, 'D', "d");
}

static void the_longest_frame_passes(void **state)
{
	vmj_autofree uint8_t *payload = calloc(1, VMJ_FRAME_MAX + 1), *frame = NULL;
	const uint8_t *data;
	size_t len;
	char type;

	assert_int_equal(vmj_frame_encode('D', payload, VMJ_FRAME_MAX + 1, &frame, &len),
			 -EMSGSIZE);
	assert_int_equal(vmj_frame_encode('D', payload, VMJ_FRAME_MAX, &frame, &len), 0);
	assert_int_equal(vmj_decoder_feed(*state, frame, len, NULL), 0);
	assert_int_equal(vmj_decoder_next(*state, &type, &data, &len), 1);
	assert_int_equal(len, VMJ_FRAME_MAX);
}

static void a_longer_frame_is_refused_by_its_length(void **state)
{
	struct vmj_error err;

	assert_refused(vmj_decoder_feed(*state, "\0\4\0\2", 4, &err), err, EMSGSIZE,
		       "a frame of 262145 bytes came");
	assert_refused(vmj_decoder_feed(*state, "\0\0\0\1D", 5, &err), err, EPROTO, "broken");
}

static void a_frame_without_type_is_refused(void **state)
{
	struct vmj_error err;

	assert_refused(vmj_decoder_feed(*state, "\0\0\0\0", 4, &err), err, EPROTO,
		       "without a type");
}

static void garbage_is_refused(void **state)
{
	struct vmj_error err;

	assert_refused(vmj_decoder_feed(*state, "GET / HTTP/1.0\r\n", 16, &err), err, EMSGSIZE,
		       "frame of");
}

static void an_unknown_type_is_refused_behind_a_good_frame(void **state)
{
	struct vmj_error err;

	assert_refused(vmj_decoder_feed(*state, "\0\0\0\1D\0\0\0\1X", 10, &err), err, EPROTO,
		       "unknown type 0x58");
}

static void a_flood_is_bounded(void **state)
{
	vmj_autofree uint8_t *chunk = calloc(1, VMJ_FRAME_MAX);
	struct vmj_error err;
	int r = 0;
	unsigned int n;

	/* empty D frames, never taken */
	for (size_t i = 0; i + 5 <= VMJ_FRAME_MAX; i += 5)
		memcpy(chunk + i, "\0\0\0\1D", 5);
	for (n = 0; r == 0 && n < 10; n++)
		r = vmj_decoder_feed(*state, chunk, VMJ_FRAME_MAX - VMJ_FRAME_MAX % 5, &err);
	assert_refused(r, err, EMSGSIZE, "came at once");
	assert_int_equal(n, 3);
}

static int json(const char *text, size_t len, struct vmj_error *err)
{
	struct json_object *o = NULL;
	int r = vmj_frame_json((const uint8_t *)text, len, &o, err);

	assert_true((r == 0) == (o != NULL));
	json_object_put(o);
	return r;
}

static void only_one_whole_object_is_json(void **state)
{
	static const char *const bad[] = {
		"",        "{",   "[]",       "7",          "\"op\"",           "null",
		"{} {}",   "{}x", "{\"a\":}", "{\"a\":1,}", "{\"a\":\"\xff\"}", "{\"a\":tRue}",
		"//x\n{}",
	};
	struct vmj_error err;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (json(bad[i], strlen(bad[i]), &err) != -EINVAL)
			fail_msg("taken for a message: %s", bad[i]);
	assert_int_equal(json("{}", 2, NULL), 0);
	assert_int_equal(json(" {\"op\": \"list\"}\n", 16, NULL), 0);
	assert_refused(json("{}\0{}", 5, &err), err, EINVAL, "message");
}

static void depth_is_bounded(void **state)
{
	char text[256] = "{\"a\":";

	memset(text + 5, '[', 14);
	memset(text + 19, ']', 14);
	strcpy(text + 33, "}");
	assert_int_equal(json(text, strlen(text), NULL), 0);
	memset(text + 5, '[', 100);
	memset(text + 105, ']', 100);
	strcpy(text + 205, "}");
	assert_int_equal(json(text, strlen(text), NULL), -EINVAL);
}

#define WITH_DECODER(f) cmocka_unit_test_setup_teardown(f, make_decoder, free_decoder)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_wire_format_is_as_documented),
		WITH_DECODER(frames_come_byte_by_byte),
		WITH_DECODER(several_frames_come_at_once),
		WITH_DECODER(the_longest_frame_passes),
		WITH_DECODER(a_longer_frame_is_refused_by_its_length),
		WITH_DECODER(a_frame_without_type_is_refused),
		WITH_DECODER(garbage_is_refused),
		WITH_DECODER(an_unknown_type_is_refused_behind_a_good_frame),
		WITH_DECODER(a_flood_is_bounded),
		cmocka_unit_test(only_one_whole_object_is_json),
		cmocka_unit_test(depth_is_bounded),
	};

	return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
