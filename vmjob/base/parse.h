/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Readers for what people and other programs write: names, sizes, times, numbers, lists.
 *
 * All are strict: no leading or trailing blanks, no sign where none makes sense, no silent
 * overflow, no locale. `what` names the value in the sentence ("--vm-memory"). All failures are the
 * user's fault (vmj_fail_user), code EINVAL or ERANGE.
 */
#ifndef VMJ_BASE_PARSE_H
#define VMJ_BASE_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmjob/base/error.h"

#define VMJ_NAME_MAX \
	63 /* longest name of an image, network, volume, group: bytes without the end */

/* A decimal number in [min, max]. */
int vmj_parse_u64(const char *what, const char *text, uint64_t min, uint64_t max, uint64_t *ret,
		  struct vmj_error *err);

/* A size as sbatch's --mem has it: digits with an optional K, M, G or T (binary; lower case too);
 * no unit means MiB. Result in MiB, rounded up, in [min, max] MiB. */
int vmj_parse_size_mib(const char *what, const char *text, uint64_t min, uint64_t max,
		       uint64_t *ret_mib, struct vmj_error *err);

/* A time as sbatch's --time has it: M, M:S, H:M:S, D-H, D-H:M, D-H:M:S; additionally a number with
 * `s`, `m`, `h`. Result in seconds. */
int vmj_parse_time(const char *what, const char *text, uint64_t max_s, uint64_t *ret_s,
		   struct vmj_error *err);

/* A name: 1 to VMJ_NAME_MAX of [A-Za-z0-9._-], the first a letter or digit, and no "..". Never a
 * path. */
int vmj_parse_name(const char *what, const char *text, struct vmj_error *err);
bool vmj_name_valid(const char *text);

/* Size in MiB as the shortest exact text ("512M", "8G"). buf holds at least 24 bytes; returned for
 * convenience. */
const char *vmj_format_size_mib(uint64_t mib, char *buf, size_t size);

/* Bytes for a person: "17B", "1.5G". buf holds at least 24 bytes; returned for convenience. */
const char *vmj_format_bytes(uint64_t bytes, char *buf, size_t size);

/* Copy with every control character, quote, backslash and byte outside printable ASCII shown as
 * \xNN; what does not fit into `size` (at least 8) ends in "...". For quoting a user's value in a
 * sentence. */
const char *vmj_quote(const char *text, char *buf, size_t size);

#endif
