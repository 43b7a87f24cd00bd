/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Errors as a code and a sentence.
 *
 * A fallible function of vmjob returns 0 (or a useful non-negative number) or a negative errno, and
 * fills the `struct vmj_error` given as its last argument, which may be NULL. The struct is
 * untouched on success, and other outputs are untouched on failure. The text is one sentence for a
 * person: what was wrong, with which value, where, and what to do about it. No allocation, safe in
 * any thread.
 */
#ifndef VMJ_BASE_ERROR_H
#define VMJ_BASE_ERROR_H

#include <stdarg.h>

#define VMJ_ERROR_TEXT_MAX 512

/* Whose mistake it was; decides whether a job fails (user) or a node drains and the job goes
 * elsewhere (host). */
enum vmj_fault {
	VMJ_FAULT_HOST = 0,
	VMJ_FAULT_USER,
};

struct vmj_error {
	int code; /* a positive errno */
	enum vmj_fault fault;
	char text[VMJ_ERROR_TEXT_MAX]; /* always terminated; control characters replaced by '?' */
};

/* Fill `err` (NULL allowed) and return -code. `code` must be positive; a longer text is cut at a
 * character's edge. The fault is the host's; vmj_fail_user() says that it is the user's. */
int vmj_fail(struct vmj_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int vmj_fail_user(struct vmj_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int vmj_vfail(struct vmj_error *err, enum vmj_fault fault, int code, const char *fmt, va_list ap)
	__attribute__((format(printf, 4, 0)));

/* Put "prefix: " before the text that is in `err` already (NULL allowed); returns -err->code, or
 * -EIO without err. */
int vmj_fail_prefix(struct vmj_error *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* The C library's words for an errno, positive or negative: thread-safe, static, never NULL. */
const char *vmj_strerror(int code);

#endif
