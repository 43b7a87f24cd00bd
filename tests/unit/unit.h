/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What every unit test needs: cmocka with its own prerequisites, assertions on errors, a directory
 * of its own, seeded randomness. */
#ifndef TESTS_UNIT_H
#define TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/error.h"
#include "vmjob/base/file.h"

/* The call failed with this errno, and its sentence contains `part`. */
#define assert_refused(rc, err, errno_, part)                                           \
	do {                                                                            \
		assert_int_equal((rc), -(errno_));                                      \
		assert_int_equal((err).code, (errno_));                                 \
		if (!strstr((err).text, (part)))                                        \
			fail_msg("\"%s\" does not contain \"%s\"", (err).text, (part)); \
	} while (0)

/* The same, by the user's fault. */
#define assert_user_refused(rc, err, errno_, part)             \
	do {                                                   \
		assert_refused(rc, err, errno_, part);         \
		assert_int_equal((err).fault, VMJ_FAULT_USER); \
	} while (0)

/* Shows the sentence of a call that should have succeeded. */
#define assert_done(rc, err)                                               \
	do {                                                               \
		int done_rc_ = (rc);                                       \
		if (done_rc_ < 0)                                          \
			fail_msg("failed (%d): %s", done_rc_, (err).text); \
	} while (0)

/* cmocka fixtures: *state is the path of a fresh directory. */
static inline int unit_make_dir(void **state)
{
	char path[] = "/tmp/vmjob-unit-XXXXXX";

	*state = mkdtemp(path) ? strdup(path) : NULL;
	return *state ? 0 : -1;
}

static inline int unit_remove_dir(void **state)
{
	int rc = vmj_remove_tree(-1, *state, NULL);

	free(*state);
	return rc;
}

/* xorshift64*: the same numbers on every machine. */
static inline uint64_t unit_random(uint64_t *seed)
{
	*seed ^= *seed >> 12;
	*seed ^= *seed << 25;
	*seed ^= *seed >> 27;
	return *seed * 2685821657736338717u;
}

#endif
