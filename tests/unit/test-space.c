/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What operators hear of a domain that fills up and is emptied again. */
#include "unit.h"

#include <errno.h>
#include <stdatomic.h>
#include <systemd/sd-event.h>

#include "vmjob/agent/eventlog.h"
#include "vmjob/agent/space.h"

#define PERIOD_US 2000
#define TOTAL     1000

/* The file system, as the workers see it; and what was told. */
static atomic_int free_now;
static char told[8][256];
static unsigned int n_told;

int vmj_capacity_read(const char *path, struct vmj_capacity *ret, struct vmj_error *err)
{
	int now = free_now;

	if (now < 0)
		return vmj_fail(err, ETIMEDOUT, "it does not answer");
	*ret = (struct vmj_capacity){.total_bytes = TOTAL, .free_bytes = (uint64_t)now};
	return 0;
}

void vmj_eventlog_add(struct vmj_eventlog *l, uint32_t job, uid_t uid, const char *what,
		      const char *text_format, ...)
{
	va_list ap;

	assert_int_equal(job, 0);
	assert_string_equal(what, "storage");
	assert_true(n_told < 8);
	va_start(ap, text_format);
	vsnprintf(told[n_told++], sizeof(told[0]), text_format, ap);
	va_end(ap);
}

static struct vmj_storage_config storage = {
	.name = "small", .path = "/srv/small", .low = 10, .critical = 3};
static struct vmj_config config = {.storages = &storage, .n_storages = 1};
static struct vmj_settings settings = {.config = &config};

static struct vmj_agent agent;
static struct vmj_spaces *spaces;

static int begin(void **state)
{
	struct vmj_error err;

	n_told = 0;
	free_now = 500;
	config.n_storages = 1;
	agent = (struct vmj_agent){.settings = &settings};
	assert_true(sd_event_new(&agent.loop) >= 0);
	assert_done(vmj_pool_new(agent.loop, &agent.pool, &err), err);
	assert_done(vmj_spaces_new(&agent, PERIOD_US, &spaces, &err), err);
	return 0;
}

static int end(void **state)
{
	vmj_pool_free(agent.pool);
	vmj_spaces_free(spaces);
	sd_event_unref(agent.loop);
	return 0;
}

/* Runs the loop until the room is seen to be `bytes`, and so once more. */
static void see(int bytes)
{
	struct vmj_capacity room = {.total_bytes = 0};
	enum vmj_watermark mark;
	unsigned int more = 0;

	free_now = bytes;
	for (unsigned int i = 0; i < 10000 && more < 20; i++) {
		assert_true(sd_event_run(agent.loop, 100000) >= 0);
		more += vmj_spaces_find(spaces, storage.path, &room, &mark) &&
			room.free_bytes == (uint64_t)bytes;
	}
	assert_int_equal(room.free_bytes, bytes);
}

static void each_change_is_told_once(void **state)
{
	static const int steps[] = {500, 99, 95, 101, 29, 10, 45, 60, 119, 120, 400};
	static const char *const want[] = {"storage small is low on space", "is nearly full",
					   "is low on space", "has room again"};

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		see(steps[i]);
	assert_int_equal(n_told, 4);
	for (size_t i = 0; i < 4; i++)
		assert_non_null(strstr(told[i], want[i]));
	assert_non_null(strstr(told[0], "99B of 1000B are free"));
}

static void no_answer_changes_nothing(void **state)
{
	struct vmj_capacity room;
	enum vmj_watermark mark;

	see(50);
	free_now = -1;
	for (unsigned int i = 0; i < 20; i++)
		assert_true(sd_event_run(agent.loop, 100000) >= 0);
	assert_true(vmj_spaces_find(spaces, storage.path, &room, &mark));
	assert_int_equal(room.free_bytes, 50);
	assert_int_equal(mark, VMJ_WATERMARK_LOW);
	assert_int_equal(n_told, 1);
}

static void what_is_not_in_the_configuration_is_forgotten(void **state)
{
	struct vmj_capacity room;
	enum vmj_watermark mark;

	assert_false(vmj_spaces_find(spaces, storage.path, &room, &mark));
	see(500);
	config.n_storages = 0;
	for (unsigned int i = 0; i < 10000; i++) {
		assert_true(sd_event_run(agent.loop, 100000) >= 0);
		if (!vmj_spaces_find(spaces, storage.path, &room, &mark))
			break;
	}
	assert_false(vmj_spaces_find(spaces, storage.path, &room, &mark));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
		TEST(each_change_is_told_once),
		TEST(no_answer_changes_nothing),
		TEST(what_is_not_in_the_configuration_is_forgotten),
	};

	return cmocka_run_group_tests_name("space", tests, NULL, NULL);
}
