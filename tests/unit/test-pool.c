/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Workers: order within a lane, lanes that do not wait for each other, stuck calls. */
#include "unit.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <systemd/sd-event.h>

#include "vmjob/agent/pool.h"

struct bed {
	sd_event *loop;
	struct vmj_pool *pool;
};

static pthread_t loop_thread;
static char order[64];
static unsigned int n_done;
static sem_t gate;

static int setup(void **state)
{
	struct bed *b = calloc(1, sizeof(*b));

	*state = b;
	loop_thread = pthread_self();
	memset(order, 0, sizeof(order));
	n_done = 0;
	sem_init(&gate, 0, 0);
	return sd_event_new(&b->loop) < 0 ? -1 : vmj_pool_new(b->loop, &b->pool, NULL);
}

static int teardown(void **state)
{
	struct bed *b = *state;

	vmj_pool_free(b->pool);
	sd_event_unref(b->loop);
	free(b);
	return 0;
}

static void write_down(void *arg)
{
	order[strlen(order)] = *(const char *)arg;
}

static void count(void *arg)
{
	assert_true(pthread_equal(pthread_self(), loop_thread));
	n_done++;
}

static void elsewhere(void *arg)
{
	*(bool *)arg = !pthread_equal(pthread_self(), loop_thread);
}

static void wait_at_gate(void *arg)
{
	sem_wait(&gate);
}

static void await(struct bed *b, unsigned int n)
{
	while (n_done < n)
		if (sd_event_run(b->loop, 10 * 1000000ull) <= 0)
			fail_msg("only %u of %u tasks were done within 10 s", n_done, n);
}

static void work_is_done_elsewhere_and_ends_here(void **state)
{
	struct bed *b = *state;
	bool was_elsewhere = false;

	assert_int_equal(vmj_pool_submit(b->pool, 0, elsewhere, count, &was_elsewhere), 0);
	await(b, 1);
	assert_true(was_elsewhere);
}

static void a_lane_keeps_its_order(void **state)
{
	static char letters[] = "abcdefghijklmnopqrstuvwxyz";
	struct bed *b = *state;

	for (size_t i = 0; i < 26; i++)
		assert_int_equal(vmj_pool_submit(b->pool, 7, write_down, count, letters + i), 0);
	await(b, 26);
	assert_string_equal(order, letters);
}

static void a_stuck_lane_holds_up_itself_only(void **state)
{
	struct bed *b = *state;
	char letter = 'x';

	assert_int_equal(vmj_pool_submit(b->pool, 1, wait_at_gate, count, NULL), 0);
	assert_int_equal(vmj_pool_submit(b->pool, 1, write_down, count, &letter), 0);
	assert_int_equal(vmj_pool_load(b->pool, 1), 2);
	assert_int_equal(vmj_pool_submit(b->pool, 2, elsewhere, count, &(bool){false}), 0);
	await(b, 1);
	assert_string_equal(order, "");
	sem_post(&gate);
	await(b, 3);
	assert_string_equal(order, "x");
	assert_int_equal(vmj_pool_load(b->pool, 1), 0);
}

static void many_stuck_calls_leave_room_for_others(void **state)
{
	struct bed *b = *state;

	for (uint64_t lane = 1; lane <= 40; lane++)
		assert_int_equal(vmj_pool_submit(b->pool, lane, wait_at_gate, count, NULL), 0);
	assert_int_equal(vmj_pool_submit(b->pool, 41, elsewhere, count, &(bool){false}), 0);
	await(b, 1);
	for (int i = 0; i < 40; i++)
		sem_post(&gate);
	await(b, 41);
}

#define WITH_POOL(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_POOL(work_is_done_elsewhere_and_ends_here),
		WITH_POOL(a_lane_keeps_its_order),
		WITH_POOL(a_stuck_lane_holds_up_itself_only),
		WITH_POOL(many_stuck_calls_leave_room_for_others),
	};

	return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
