/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/base/parse.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define QUOTE_MAX 80 /* of a user's value in a sentence */

/* isdigit() and isalnum() ask the locale. */
static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

const char *vmj_quote(const char *text, char *buf, size_t size)
{
	static const char dots[] = "...";
	size_t at = 0, cut = 0;

	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		bool plain = *p >= 0x20 && *p < 0x7f && !strchr("\"'\\", *p);
		size_t need = plain ? 1 : 4;

		if (at + need >= size) {
			at = cut;
			snprintf(buf + at, size - at, "%s", dots);
			return buf;
		}
		if (plain)
			buf[at] = (char)*p;
		else
			snprintf(buf + at, size - at, "\\x%02x", *p);
		at += need;
		if (at + sizeof(dots) <= size)
			cut = at;
	}
	buf[at] = '\0';
	return buf;
}

/* Digits at *text, which moves behind them. 0, -EINVAL (none) or -ERANGE (more than 64 bits). */
static int take_digits(const char **text, uint64_t *ret)
{
	const char *p = *text;
	uint64_t v = 0;
	bool overflow = false;

	if (!is_digit(*p))
		return -EINVAL;
	for (; is_digit(*p); p++)
		overflow |= __builtin_mul_overflow(v, 10u, &v) ||
			    __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v);
	*text = p;
	if (overflow)
		return -ERANGE;
	*ret = v;
	return 0;
}

static int fail_number(const char *what, const char *text, uint64_t min, uint64_t max,
		       struct vmj_error *err)
{
	char q[QUOTE_MAX];

	return vmj_fail_user(err, ERANGE,
			     "%s: \"%s\" is out of bounds: give a number from %" PRIu64
			     " to %" PRIu64,
			     what, vmj_quote(text, q, sizeof(q)), min, max);
}

int vmj_parse_u64(const char *what, const char *text, uint64_t min, uint64_t max, uint64_t *ret,
		  struct vmj_error *err)
{
	char q[QUOTE_MAX];
	const char *p = text;
	uint64_t v = 0;
	int rc;

	rc = take_digits(&p, &v);
	if (rc == -EINVAL || *p)
		return vmj_fail_user(err, EINVAL,
				     "%s: \"%s\" is not a number: give digits only, from %" PRIu64
				     " to %" PRIu64,
				     what, vmj_quote(text, q, sizeof(q)), min, max);
	if (rc < 0 || v < min || v > max)
		return fail_number(what, text, min, max, err);
	*ret = v;
	return 0;
}

/* MiB of `v` units, rounded up; -EINVAL for an unknown unit, -ERANGE beyond 64 bits. */
static int to_mib(uint64_t v, char unit, uint64_t *ret)
{
	uint64_t factor = 1;

	switch (unit) {
	case 'K':
	case 'k':
		*ret = v / 1024 + (v % 1024 != 0);
		return 0;
	case '\0':
	case 'M':
	case 'm':
		break;
	case 'G':
	case 'g':
		factor = 1024;
		break;
	case 'T':
	case 't':
		factor = 1024 * 1024;
		break;
	default:
		return -EINVAL;
	}
	return __builtin_mul_overflow(v, factor, ret) ? -ERANGE : 0;
}

int vmj_parse_size_mib(const char *what, const char *text, uint64_t min, uint64_t max,
		       uint64_t *ret_mib, struct vmj_error *err)
{
	char q[QUOTE_MAX], lo[24], hi[24];
	const char *p = text;
	uint64_t v = 0, mib = 0;
	int digits, unit = 0;

	digits = take_digits(&p, &v);
	if (digits != -EINVAL)
		unit = *p && p[1] ? -EINVAL : to_mib(v, *p, &mib);
	if (digits == -EINVAL || unit == -EINVAL)
		return vmj_fail_user(err, EINVAL,
				     "%s: \"%s\" is not a size: give a whole number with K, M, G "
				     "or T, such as 512M or 8G (without a unit: MiB)",
				     what, vmj_quote(text, q, sizeof(q)));
	if (digits < 0 || unit < 0 || mib < min || mib > max)
		return vmj_fail_user(err, ERANGE, "%s: \"%s\" is out of bounds: give %s to %s",
				     what, vmj_quote(text, q, sizeof(q)),
				     vmj_format_size_mib(min, lo, sizeof(lo)),
				     vmj_format_size_mib(max, hi, sizeof(hi)));
	*ret_mib = mib;
	return 0;
}

const char *vmj_format_size_mib(uint64_t mib, char *buf, size_t size)
{
	const char *unit = "M";

	if (mib && mib % (1024 * 1024) == 0) {
		mib /= 1024 * 1024;
		unit = "T";
	} else if (mib && mib % 1024 == 0) {
		mib /= 1024;
		unit = "G";
	}
	snprintf(buf, size, "%" PRIu64 "%s", mib, unit);
	return buf;
}

const char *vmj_format_bytes(uint64_t bytes, char *buf, size_t size)
{
	static const char units[] = "BKMGTPE";
	double n = (double)bytes;
	int unit = 0;

	for (; n >= 1024 && units[unit + 1]; unit++)
		n /= 1024;
	snprintf(buf, size, unit ? "%.1f%c" : "%.0f%c", n, units[unit]);
	return buf;
}

/* a * f + b, and whether it fits. */
static bool times_plus(uint64_t a, uint64_t f, uint64_t b, uint64_t *ret)
{
	return !__builtin_mul_overflow(a, f, ret) && !__builtin_add_overflow(*ret, b, ret);
}

/* [D-]A[:B[:C]] after Slurm: without days A is minutes unless all three are there; with days A is
 * hours. 0, -EINVAL or -ERANGE. */
static int slurm_time(const char *p, uint64_t *ret)
{
	uint64_t days = 0, part[3] = {0, 0, 0};
	int n = 0, rc;
	bool with_days = false;

	rc = take_digits(&p, &part[0]);
	if (rc == 0 && *p == '-') {
		days = part[0];
		with_days = true;
		p++;
		rc = take_digits(&p, &part[0]);
	}
	for (n = 1; rc == 0 && *p == ':' && n < 3; n++) {
		p++;
		rc = take_digits(&p, &part[n]);
	}
	if (rc < 0)
		return rc;
	if (*p)
		return -EINVAL;
	if (!with_days && n < 3) { /* M or M:S */
		part[2] = part[1];
		part[1] = part[0];
		part[0] = 0;
	}
	if (!times_plus(days, 24, part[0], ret) || !times_plus(*ret, 60, part[1], ret) ||
	    !times_plus(*ret, 60, part[2], ret))
		return -ERANGE;
	return 0;
}

/* Number and one of s, m, h; -ENOENT if the text is not of that form. */
static int unit_time(const char *p, uint64_t *ret)
{
	uint64_t v = 0, factor;
	int rc = take_digits(&p, &v);

	if (rc == -EINVAL || !*p || p[1])
		return -ENOENT;
	switch (*p) {
	case 's':
		factor = 1;
		break;
	case 'm':
		factor = 60;
		break;
	case 'h':
		factor = 3600;
		break;
	default:
		return -ENOENT;
	}
	return rc < 0 || __builtin_mul_overflow(v, factor, ret) ? -ERANGE : 0;
}

int vmj_parse_time(const char *what, const char *text, uint64_t max_s, uint64_t *ret_s,
		   struct vmj_error *err)
{
	char q[QUOTE_MAX];
	uint64_t v = 0;
	int rc;

	rc = unit_time(text, &v);
	if (rc == -ENOENT)
		rc = slurm_time(text, &v);
	if (rc == -EINVAL)
		return vmj_fail_user(err, EINVAL,
				     "%s: \"%s\" is not a time: give minutes, minutes:seconds, "
				     "hours:minutes:seconds, days-hours, or a number with s, m or "
				     "h, such as 30s",
				     what, vmj_quote(text, q, sizeof(q)));
	if (rc < 0 || v > max_s)
		return vmj_fail_user(err, ERANGE,
				     "%s: \"%s\" is too long: give at most %" PRIu64 " seconds",
				     what, vmj_quote(text, q, sizeof(q)), max_s);
	*ret_s = v;
	return 0;
}

bool vmj_name_valid(const char *text)
{
	size_t len = strnlen(text, VMJ_NAME_MAX + 1);

	if (len == 0 || len > VMJ_NAME_MAX || !is_alnum(text[0]))
		return false;
	for (size_t i = 0; i < len; i++)
		if (!is_alnum(text[i]) && !strchr("._-", text[i]))
			return false;
	return !strstr(text, "..");
}

int vmj_parse_name(const char *what, const char *text, struct vmj_error *err)
{
	char q[QUOTE_MAX];

	if (vmj_name_valid(text))
		return 0;
	return vmj_fail_user(err, EINVAL,
			     "%s: \"%s\" is not a name: give 1 to %d letters, digits, '.', '_' or "
			     "'-', a letter or digit first and no \"..\"",
			     what, vmj_quote(text, q, sizeof(q)), VMJ_NAME_MAX);
}
