/* SPDX-License-Identifier: GPL-2.0-or-later */
/* This host in its domains: registered, renewed, and ended where it is dead to the others. */
#include "unit.h"

#include <errno.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "vmjob/agent/eventlog.h"
#include "vmjob/agent/guard.h"
#include "vmjob/agent/guests.h"
#include "vmjob/agent/keeper.h"
#include "vmjob/storage/hosts.h"
#include "vmjob/storage/layout.h"

/* The guests, and what is done to them. */
static struct vmj_entry with_volume = {.known = true}, without = {.known = true};
static unsigned int n_destroyed, n_told;
static char told[256];

struct vmj_entry *vmj_guests_first(struct vmj_guests *g)
{
	return &with_volume;
}

void vmj_entry_destroy(struct vmj_entry *e)
{
	assert_ptr_equal(e, &with_volume);
	e->rec.phase = VMJ_PHASE_ENDED;
	n_destroyed++;
}

void vmj_eventlog_add(struct vmj_eventlog *l, uint32_t job, uid_t uid, const char *what,
		      const char *text_format, ...)
{
	va_list ap;

	if (strcmp(what, "self-stop") != 0)
		return;
	assert_int_equal(job, 42);
	va_start(ap, text_format);
	vsnprintf(told, sizeof(told), text_format, ap);
	va_end(ap);
	n_told++;
}

static struct vmj_storage_config storage = {.name = "shared", .renew_s = 1};
static struct vmj_config config = {.storages = &storage, .n_storages = 1};
static struct vmj_settings settings = {.config = &config};
static struct vmj_agent agent;

/* One guest writes a volume of the domain, another only reads one, and writes one elsewhere. */
static void make_guests(void)
{
	n_destroyed = n_told = 0;
	with_volume.rec = (struct vmj_guest){.job = 42, .phase = VMJ_PHASE_RUNNING, .n_disks = 1};
	without.rec = (struct vmj_guest){.job = 43, .phase = VMJ_PHASE_RUNNING, .n_disks = 2};
	strcpy(with_volume.rec.disks[0].storage, "shared");
	strcpy(with_volume.rec.disks[0].volume, "data");
	without.rec.disks[0] = with_volume.rec.disks[0];
	without.rec.disks[0].readonly = true;
	without.rec.disks[1] = with_volume.rec.disks[0];
	strcpy(without.rec.disks[1].storage, "other");
	with_volume.agent = without.agent = &agent;
	with_volume.link.le_next = &without;
}

static int begin(void **state)
{
	char guard[256];
	struct vmj_error err = {.code = 0};

	if (unit_make_dir(state) < 0)
		return -1;
	assert_done(vmj_storage_format(*state, "test", &err), err);
	strcpy(storage.path, *state);
	storage.self_stop = false;
	make_guests();
	agent = (struct vmj_agent){
		.settings = &settings, .host = "n1", .boot_id = "boot-1", .id = "agent-1"};
	assert_true(sd_event_new(&agent.loop) >= 0);
	assert_done(vmj_pool_new(agent.loop, &agent.pool, &err), err);
	snprintf(guard, sizeof(guard), "%s/guard", (char *)*state);
	assert_done(vmj_keeper_new(&agent, guard, &agent.keeper, &err), err);
	return 0;
}

/* The guard would go on for ever. */
static void end_guard(void **state)
{
	struct vmj_guard *g;
	char path[256];

	snprintf(path, sizeof(path), "%s/guard", (char *)*state);
	assert_int_equal(vmj_guard_new(path, agent.boot_id, &g, NULL), 0);
	vmj_guard_renew(g, storage.path, 0);
	vmj_guard_free(g);
}

static int end(void **state)
{
	vmj_pool_free(agent.pool);
	end_guard(state);
	vmj_keeper_free(agent.keeper);
	sd_event_unref(agent.loop);
	return unit_remove_dir(state);
}

/* Runs the loop until the host's record has been written so often. */
static struct vmj_host_record see(uint64_t seq)
{
	struct vmj_host_record r = {.lease.seq = 0};

	for (unsigned int i = 0; i < 100 && r.lease.seq < seq; i++) {
		assert_true(sd_event_run(agent.loop, 100000) >= 0);
		vmj_host_read(storage.path, "n1", &r, NULL);
	}
	assert_true(r.lease.seq >= seq);
	return r;
}

static void it_registers_and_renews(void **state)
{
	struct vmj_host_record r = see(2);

	assert_string_equal(r.lease.boot, "boot-1");
	assert_string_equal(r.lease.agent, "agent-1");
	assert_int_equal(r.interval_ms, 1000);
	assert_int_equal(r.lease.stop_after_ms, 0);
	assert_true(vmj_host_hold_until_ms(storage.path) == INT64_MAX);
	storage.self_stop = true;
	vmj_keeper_reload(agent.keeper);
	r = see(r.lease.seq + 1);
	assert_int_equal(r.lease.stop_after_ms, 1000 * VMJ_KEEPER_STOP_TIMES);
	assert_int_equal(n_destroyed, 0);
}

static void a_confirmed_death_ends_guests(void **state)
{
	struct vmj_error err = {.code = 0};

	see(1);
	assert_done(vmj_host_confirm_dead(storage.path, "n1", "", "anna", true, &err), err);
	for (unsigned int i = 0; i < 100 && !n_destroyed; i++)
		assert_true(sd_event_run(agent.loop, 100000) >= 0);
	assert_int_equal(n_destroyed, 1);
	assert_int_equal(n_told, 1);
	assert_non_null(strstr(told, "a volume in storage shared, where the host was confirmed"));
	assert_true(vmj_host_hold_until_ms(storage.path) == 0);
}

/* The storage goes away: what could be started elsewhere ends in time. */
static void a_late_renewal_ends_guests(void **state)
{
	char path[VMJ_CONFIG_PATH_MAX + 16];
	int64_t until;

	storage.self_stop = true;
	vmj_keeper_reload(agent.keeper);
	see(1);
	snprintf(path, sizeof(path), "%s/hosts", storage.path);
	assert_int_equal(vmj_remove_tree(-1, path, NULL), 0);
	until = vmj_host_hold_until_ms(storage.path);
	while (!n_destroyed && vmj_boottime_ms() < until + 5000)
		assert_true(sd_event_run(agent.loop, 100000) >= 0);
	assert_int_equal(n_destroyed, 1);
	assert_in_range(vmj_boottime_ms(), until, until + 3000);
	assert_non_null(strstr(told, "could not renew its record in time"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(it_registers_and_renews, begin, end),
		cmocka_unit_test_setup_teardown(a_confirmed_death_ends_guests, begin, end),
		cmocka_unit_test_setup_teardown(a_late_renewal_ends_guests, begin, end),
	};

	return cmocka_run_group_tests_name("keeper", tests, NULL, NULL);
}
