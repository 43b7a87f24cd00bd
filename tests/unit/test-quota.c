/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>

#include "vmjob/policy/quota.h"

#define G    (1ull << 30)
#define USER 1000

static const struct vmj_storage_config site = {
	.name = "default",
	.quota_mib = 10 * 1024,
	.limit_mib = 100 * 1024,
	.low = 10,
	.critical = 3,
};

static void watermarks_by_percent(void **state)
{
	static const struct {
		uint64_t total, free;
		enum vmj_watermark want;
	} cases[] = {
		{1000, 1000, VMJ_WATERMARK_OK},
		{1000, 100, VMJ_WATERMARK_OK},
		{1000, 99, VMJ_WATERMARK_LOW},
		{1000, 30, VMJ_WATERMARK_LOW},
		{1000, 29, VMJ_WATERMARK_CRITICAL},
		{1000, 0, VMJ_WATERMARK_CRITICAL},
		{0, 0, VMJ_WATERMARK_OK}, /* the file system does not tell */
		{UINT64_MAX, UINT64_MAX / 10 - 1, VMJ_WATERMARK_LOW},
		{UINT64_MAX, UINT64_MAX / 10 + 1, VMJ_WATERMARK_OK},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(vmj_watermark_of(&site, cases[i].total, cases[i].free),
				 cases[i].want);
	assert_string_equal(vmj_watermark_name(VMJ_WATERMARK_OK), "ok");
	assert_string_equal(vmj_watermark_name(VMJ_WATERMARK_CRITICAL), "critical");
}

static void without_watermarks_all_is_ok(void **state)
{
	struct vmj_storage_config s = site;
	struct vmj_quota_state now = {.total_bytes = 100 * G};
	struct vmj_error err;

	s.low = s.critical = 0;
	assert_int_equal(vmj_watermark_of(&s, 1000, 0), VMJ_WATERMARK_OK);
	assert_int_equal(vmj_watermark_next(&s, VMJ_WATERMARK_LOW, 1000, 0), VMJ_WATERMARK_OK);
	assert_done(vmj_quota_decide(&s, USER, &now, 0, &err), err);
}

/* The free space as it changes, and what is told of it. */
static void a_state_lasts_until_there_is_some_room_again(void **state)
{
	static const struct {
		uint64_t free;
		enum vmj_watermark want;
	} steps[] = {
		{101, VMJ_WATERMARK_OK},      {99, VMJ_WATERMARK_LOW},
		{100, VMJ_WATERMARK_LOW},     {119, VMJ_WATERMARK_LOW},
		{120, VMJ_WATERMARK_OK},      {100, VMJ_WATERMARK_OK},
		{29, VMJ_WATERMARK_CRITICAL}, {49, VMJ_WATERMARK_CRITICAL},
		{50, VMJ_WATERMARK_LOW},      {29, VMJ_WATERMARK_CRITICAL},
		{110, VMJ_WATERMARK_LOW},     {500, VMJ_WATERMARK_OK},
	};
	enum vmj_watermark now = VMJ_WATERMARK_OK;

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		now = vmj_watermark_next(&site, now, 1000, steps[i].free);
		if (now != steps[i].want)
			fail_msg("step %zu: %s", i, vmj_watermark_name(now));
	}
}

static void bounds_are_kept(void **state)
{
	static const struct {
		uint64_t user, all, free, more;
		uid_t uid;
		int code; /* 0: admitted */
		const char *part;
	} cases[] = {
		{0, 0, 500, 0, USER, 0, NULL},
		{9, 9, 500, 1, USER, 0, NULL},
		{9, 9, 500, 2, USER, EDQUOT, "9.0G of your quota of 10G, and this takes 2.0G"},
		{10, 10, 500, 0, USER, EDQUOT, "10.0G of your quota of 10G: remove"},
		{11, 11, 500, 0, USER, EDQUOT, "11.0G of your quota"},
		{11, 11, 500, 5, 0, 0, NULL}, /* root has no quota */
		{1, 99, 500, 1, USER, 0, NULL},
		{1, 99, 500, 2, USER, EDQUOT, "99.0G of its limit of 100G"},
		{1, 100, 500, 0, USER, EDQUOT, "its limit"},
		{1, 100, 500, 0, 0, EDQUOT, "its limit"},
		{1, 1, 100, 0, USER, 0, NULL},
		{1, 1, 99, 0, USER, ENOSPC, "99.0G (9 %) are free: no new disk"},
		{1, 1, 101, 2, USER, ENOSPC, "less than 10 % would be left"},
		{1, 1, 1, 2, USER, ENOSPC, "ask the administrator"},
		{1, 1, 99, 0, 0, ENOSPC, "no new disk"},
		{1, 1, 500, UINT64_MAX / G, USER, EDQUOT, "your quota"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vmj_quota_state now = {.user_bytes = cases[i].user * G,
					      .all_bytes = cases[i].all * G,
					      .total_bytes = 1000 * G,
					      .free_bytes = cases[i].free * G};
		struct vmj_error err = {.code = 0};
		int rc = vmj_quota_decide(&site, cases[i].uid, &now, cases[i].more * G, &err);

		if (cases[i].code)
			assert_user_refused(rc, err, cases[i].code, cases[i].part);
		else
			assert_done(rc, err);
	}
}

static void no_bounds_bound_nothing(void **state)
{
	struct vmj_quota_state now = {.user_bytes = UINT64_MAX, .all_bytes = UINT64_MAX};
	struct vmj_storage_config s = {.name = "default"};
	struct vmj_error err;

	assert_done(vmj_quota_decide(&s, USER, &now, UINT64_MAX, &err), err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(watermarks_by_percent),
		cmocka_unit_test(without_watermarks_all_is_ok),
		cmocka_unit_test(a_state_lasts_until_there_is_some_room_again),
		cmocka_unit_test(bounds_are_kept),
		cmocka_unit_test(no_bounds_bound_nothing),
	};

	return cmocka_run_group_tests_name("quota", tests, NULL, NULL);
}
