/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/policy/quota.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

#include "vmjob/base/parse.h"

static const char *const names[] = {
	[VMJ_WATERMARK_OK] = "ok",
	[VMJ_WATERMARK_LOW] = "low",
	[VMJ_WATERMARK_CRITICAL] = "critical",
};
static_assert(sizeof(names) / sizeof(names[0]) == VMJ_WATERMARKS_, "a name for each");

const char *vmj_watermark_name(enum vmj_watermark w)
{
	return (unsigned int)w < VMJ_WATERMARKS_ ? names[w] : "?";
}

/* free < percent of total, without overflow and without rounding. */
static bool is_below(uint64_t total, uint64_t free_bytes, uint32_t percent)
{
	return (unsigned __int128)free_bytes * 100 < (unsigned __int128)total * percent;
}

enum vmj_watermark vmj_watermark_of(const struct vmj_storage_config *s, uint64_t total_bytes,
				    uint64_t free_bytes)
{
	if (is_below(total_bytes, free_bytes, s->critical))
		return VMJ_WATERMARK_CRITICAL;
	return is_below(total_bytes, free_bytes, s->low) ? VMJ_WATERMARK_LOW : VMJ_WATERMARK_OK;
}

enum vmj_watermark vmj_watermark_next(const struct vmj_storage_config *s, enum vmj_watermark was,
				      uint64_t total_bytes, uint64_t free_bytes)
{
	enum vmj_watermark now = vmj_watermark_of(s, total_bytes, free_bytes);

	if (was == VMJ_WATERMARK_CRITICAL && s->critical && now < VMJ_WATERMARK_CRITICAL &&
	    is_below(total_bytes, free_bytes, s->critical + VMJ_WATERMARK_MARGIN))
		return VMJ_WATERMARK_CRITICAL;
	if (was >= VMJ_WATERMARK_LOW && s->low && now == VMJ_WATERMARK_OK &&
	    is_below(total_bytes, free_bytes, s->low + VMJ_WATERMARK_MARGIN))
		return VMJ_WATERMARK_LOW;
	return now;
}

static unsigned int percent_of(uint64_t total, uint64_t part)
{
	return total ? (unsigned int)((unsigned __int128)part * 100 / total) : 100;
}

/* Is `used` plus `more` above the bound, or is there nothing left of it? */
static bool is_full(uint64_t used, uint64_t more, uint64_t bound_mib)
{
	uint64_t bound = bound_mib << 20;

	return bound_mib && (used >= bound || more > bound - used);
}

/* ", and this takes 2.0G more"; "" for a disk that takes nothing at first. */
static const char *show_more(uint64_t bytes, char buf[64])
{
	char size[24];

	buf[0] = '\0';
	if (bytes)
		snprintf(buf, 64, ", and this takes %s more",
			 vmj_format_bytes(bytes, size, sizeof(size)));
	return buf;
}

static int check_bounds(const struct vmj_storage_config *s, uid_t uid,
			const struct vmj_quota_state *now, uint64_t new_bytes,
			struct vmj_error *err)
{
	char used[24], more[64], bound[24];

	if (uid != 0 && is_full(now->user_bytes, new_bytes, s->quota_mib))
		return vmj_fail_user(
			err, EDQUOT,
			"storage %s: you have written %s of your quota of %s%s: remove images, "
			"volumes or snapshots that you do not need",
			s->name, vmj_format_bytes(now->user_bytes, used, sizeof(used)),
			vmj_format_size_mib(s->quota_mib, bound, sizeof(bound)),
			show_more(new_bytes, more));
	if (is_full(now->all_bytes, new_bytes, s->limit_mib))
		return vmj_fail_user(
			err, EDQUOT,
			"storage %s: all users together have written %s of its limit of "
			"%s%s: remove what you do not need, or ask the administrator "
			"for room",
			s->name, vmj_format_bytes(now->all_bytes, used, sizeof(used)),
			vmj_format_size_mib(s->limit_mib, bound, sizeof(bound)),
			show_more(new_bytes, more));
	return 0;
}

int vmj_quota_decide(const struct vmj_storage_config *s, uid_t uid,
		     const struct vmj_quota_state *now, uint64_t new_bytes, struct vmj_error *err)
{
	uint64_t left = now->free_bytes > new_bytes ? now->free_bytes - new_bytes : 0;
	char room[24], more[64];
	int rc = check_bounds(s, uid, now, new_bytes, err);

	if (rc < 0 || !is_below(now->total_bytes, left, s->low))
		return rc;
	return vmj_fail_user(
		err, ENOSPC,
		"storage %s: %s (%u %%) are free%s: no new disk is promised where less than %u %% "
		"would be left: remove what you do not need, or ask the administrator for room",
		s->name, vmj_format_bytes(now->free_bytes, room, sizeof(room)),
		percent_of(now->total_bytes, now->free_bytes), show_more(new_bytes, more), s->low);
}
