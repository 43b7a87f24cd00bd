/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Take a character that snprintf() cut in the middle off the end: a UTF-8 lead byte tells how many
 * bytes belong to it. */
static void trim_partial_character(char *text, size_t len)
{
	size_t back = 0;
	unsigned char lead;
	size_t want;

	while (back < 3 && back < len && ((unsigned char)text[len - 1 - back] & 0xc0) == 0x80)
		back++;
	if (back == len)
		return;
	lead = (unsigned char)text[len - 1 - back];
	want = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
	if (want > back + 1)
		text[len - 1 - back] = '\0';
}

const char *vmj_strerror(int code)
{
	/* strerror() is not safe in threads, and its text follows the locale. */
	const char *text = strerrordesc_np(code < 0 ? -code : code);

	return text ? text : "Unknown error";
}

static void replace_controls(char *text)
{
	for (unsigned char *p = (unsigned char *)text; *p; p++)
		if (*p < 0x20 || *p == 0x7f)
			*p = '?';
}

int vmj_vfail(struct vmj_error *err, enum vmj_fault fault, int code, const char *fmt, va_list ap)
{
	/* Formatted aside: an argument may point into err->text. */
	char text[VMJ_ERROR_TEXT_MAX];
	int n;

	if (code <= 0)
		code = EIO;
	if (!err)
		return -code;
	n = vsnprintf(text, sizeof(text), fmt, ap);
	if (n < 0)
		snprintf(text, sizeof(text), "%s", vmj_strerror(code));
	else if ((size_t)n >= sizeof(text))
		trim_partial_character(text, sizeof(text) - 1);
	replace_controls(text);
	memcpy(err->text, text, sizeof(text));
	err->code = code;
	err->fault = fault;
	return -code;
}

int vmj_fail(struct vmj_error *err, int code, const char *fmt, ...)
{
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = vmj_vfail(err, VMJ_FAULT_HOST, code, fmt, ap);
	va_end(ap);
	return rc;
}

int vmj_fail_user(struct vmj_error *err, int code, const char *fmt, ...)
{
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = vmj_vfail(err, VMJ_FAULT_USER, code, fmt, ap);
	va_end(ap);
	return rc;
}

static int fail_with(struct vmj_error *err, enum vmj_fault fault, int code, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
static int fail_with(struct vmj_error *err, enum vmj_fault fault, int code, const char *fmt, ...)
{
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = vmj_vfail(err, fault, code, fmt, ap);
	va_end(ap);
	return rc;
}

int vmj_fail_prefix(struct vmj_error *err, const char *fmt, ...)
{
	char prefix[VMJ_ERROR_TEXT_MAX];
	va_list ap;

	if (!err)
		return -EIO;
	va_start(ap, fmt);
	vsnprintf(prefix, sizeof(prefix), fmt, ap);
	va_end(ap);
	return fail_with(err, err->fault, err->code, "%s: %s", prefix, err->text);
}
