/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The words for a guest's phases and endings, its names, its exit codes. */
#include "vmjob/model/guest.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DOMAIN_PREFIX "vmjob-"

static const char *const phase_names[] = {
	[VMJ_PHASE_PREPARING] = "preparing", [VMJ_PHASE_REFUSED] = "refused",
	[VMJ_PHASE_PREPARED] = "prepared",   [VMJ_PHASE_RUNNING] = "running",
	[VMJ_PHASE_PAUSED] = "paused",       [VMJ_PHASE_STOPPING] = "stopping",
	[VMJ_PHASE_ENDED] = "ended",         [VMJ_PHASE_RELEASING] = "releasing",
};
static_assert(sizeof(phase_names) / sizeof(phase_names[0]) == VMJ_PHASE_COUNT_, "a name for each");

static const struct {
	const char *name, *text;
	int exit_code;
} ends[] = {
	[VMJ_END_NONE] = {"none", "the guest has not ended", 74},
	[VMJ_END_POWEROFF] = {"poweroff", "the guest powered off", 0},
	[VMJ_END_PANIC] = {"panic", "the guest's kernel panicked", 70},
	[VMJ_END_KILLED] = {"killed", "QEMU died or was killed (out of memory, for one)", 71},
	[VMJ_END_DESTROYED] = {"destroyed",
			       "the guest was destroyed, by command or after its grace time", 72},
	[VMJ_END_RELEASED] = {"released",
			      "the guest still ran when its job ended, and was destroyed", 73},
	[VMJ_END_LOST] = {"lost", "the guest is gone; nobody saw how it ended", 74},
};
static_assert(sizeof(ends) / sizeof(ends[0]) == VMJ_END_COUNT_, "a row for each");

static const char *const pause_names[] = {
	[VMJ_PAUSE_NONE] = "none",
	[VMJ_PAUSE_USER] = "user",
	[VMJ_PAUSE_IO] = "io",
	[VMJ_PAUSE_SPACE] = "space",
};
static_assert(sizeof(pause_names) / sizeof(pause_names[0]) == VMJ_PAUSE_COUNT_, "a name for each");

const char *vmj_pause_name(enum vmj_pause pause)
{
	return (unsigned int)pause < VMJ_PAUSE_COUNT_ ? pause_names[pause] : "?";
}

int vmj_pause_parse(const char *name, enum vmj_pause *ret)
{
	for (int i = 0; i < VMJ_PAUSE_COUNT_; i++) {
		if (strcmp(pause_names[i], name) == 0) {
			*ret = i;
			return 0;
		}
	}
	return -EINVAL;
}

static unsigned int end_index(enum vmj_end end)
{
	return (unsigned int)end < VMJ_END_COUNT_ ? end : VMJ_END_LOST;
}

int vmj_end_exit_code(enum vmj_end end)
{
	return ends[end_index(end)].exit_code;
}

const char *vmj_end_name(enum vmj_end end)
{
	return ends[end_index(end)].name;
}

const char *vmj_end_text(enum vmj_end end)
{
	return ends[end_index(end)].text;
}

int vmj_end_parse(const char *name, enum vmj_end *ret)
{
	for (int i = 0; i < VMJ_END_COUNT_; i++) {
		if (strcmp(ends[i].name, name) == 0) {
			*ret = i;
			return 0;
		}
	}
	return -EINVAL;
}

const char *vmj_phase_name(enum vmj_phase phase)
{
	return (unsigned int)phase < VMJ_PHASE_COUNT_ ? phase_names[phase] : "?";
}

int vmj_phase_parse(const char *name, enum vmj_phase *ret)
{
	for (int i = 0; i < VMJ_PHASE_COUNT_; i++) {
		if (strcmp(phase_names[i], name) == 0) {
			*ret = i;
			return 0;
		}
	}
	return -EINVAL;
}

const char *vmj_domain_name(uint32_t job, char buf[VMJ_DOMAIN_NAME_MAX])
{
	snprintf(buf, VMJ_DOMAIN_NAME_MAX, DOMAIN_PREFIX "%" PRIu32, job);
	return buf;
}

int vmj_domain_job(const char *domain_name, uint32_t *ret_job)
{
	size_t prefix = strlen(DOMAIN_PREFIX);
	char same[VMJ_DOMAIN_NAME_MAX];
	uint64_t job;

	if (strncmp(domain_name, DOMAIN_PREFIX, prefix) != 0 ||
	    vmj_parse_u64("job", domain_name + prefix, 1, UINT32_MAX, &job, NULL) < 0)
		return -EINVAL;
	/* "vmjob-007" is not what we write. */
	if (strcmp(vmj_domain_name((uint32_t)job, same), domain_name) != 0)
		return -EINVAL;
	*ret_job = (uint32_t)job;
	return 0;
}
