/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/agent/phase.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define P(x) (1u << VMJ_PHASE_##x)

#define ROOM_BYTES (1ull << 30)

/* PREPARING follows everything but RELEASING: a requeued job may come back before its epilog's
 * release was heard of, and prepare clears what it finds. */
static const unsigned int may_become[] = {
	[VMJ_PHASE_PREPARING] = P(PREPARING) | P(REFUSED) | P(PREPARED) | P(RELEASING),
	[VMJ_PHASE_REFUSED] = P(PREPARING) | P(RELEASING),
	[VMJ_PHASE_PREPARED] = P(PREPARING) | P(RUNNING) | P(STOPPING) | P(ENDED) | P(RELEASING),
	[VMJ_PHASE_RUNNING] = P(PREPARING) | P(PAUSED) | P(STOPPING) | P(ENDED) | P(RELEASING),
	[VMJ_PHASE_PAUSED] = P(PREPARING) | P(RUNNING) | P(STOPPING) | P(ENDED) | P(RELEASING),
	[VMJ_PHASE_STOPPING] = P(PREPARING) | P(ENDED) | P(RELEASING),
	[VMJ_PHASE_ENDED] = P(PREPARING) | P(RELEASING),
	[VMJ_PHASE_RELEASING] = P(RELEASING),
};
static_assert(sizeof(may_become) / sizeof(may_become[0]) == VMJ_PHASE_COUNT_, "every phase");

#define ALL_PHASES ((1u << VMJ_PHASE_COUNT_) - 1)

static const struct {
	unsigned int phases;
	const char *cannot;
} actions[] = {
	[VMJ_ACTION_PREPARE] = {ALL_PHASES & ~P(RELEASING), "be prepared"},
	[VMJ_ACTION_RUN] = {P(PREPARED) | P(RUNNING) | P(PAUSED) | P(STOPPING) | P(ENDED),
			    "be run"},
	[VMJ_ACTION_STOP] = {P(PREPARED) | P(RUNNING) | P(PAUSED) | P(STOPPING) | P(ENDED),
			     "be stopped"},
	[VMJ_ACTION_SUSPEND] = {P(RUNNING) | P(PAUSED), "be suspended"},
	[VMJ_ACTION_RESUME] = {P(RUNNING) | P(PAUSED), "be resumed"},
	[VMJ_ACTION_RESET] = {P(RUNNING) | P(PAUSED) | P(STOPPING), "be reset"},
	[VMJ_ACTION_PLUG] = {P(RUNNING) | P(PAUSED), "be given volumes, or asked for them"},
	[VMJ_ACTION_CONSOLE] = {P(PREPARED) | P(RUNNING) | P(PAUSED) | P(STOPPING) | P(ENDED),
				"show its console"},
	[VMJ_ACTION_RELEASE] = {ALL_PHASES, "be released"},
};
static_assert(sizeof(actions) / sizeof(actions[0]) == VMJ_ACTION_COUNT_, "every action");

bool vmj_phase_may_become(enum vmj_phase from, enum vmj_phase to)
{
	return may_become[from] & (1u << to);
}

bool vmj_phase_allows(enum vmj_phase phase, enum vmj_action action)
{
	return actions[action].phases & (1u << phase);
}

int vmj_phase_check(const struct vmj_guest *g, enum vmj_action action, struct vmj_error *err)
{
	if (vmj_phase_allows(g->phase, action))
		return 0;
	return vmj_fail_user(err, EINVAL, "guest %u is %s: it cannot %s now", g->job,
			     vmj_phase_name(g->phase), actions[action].cannot);
}

bool vmj_phase_alive(enum vmj_phase phase)
{
	return (1u << phase) & (P(PREPARED) | P(RUNNING) | P(PAUSED) | P(STOPPING));
}

enum vmj_adoption vmj_phase_adopt(enum vmj_phase phase, bool same_boot, enum vmj_domain_seen seen)
{
	if (phase == VMJ_PHASE_RELEASING || (!same_boot && seen == VMJ_SEEN_NONE))
		return VMJ_ADOPT_RELEASE;
	if (!vmj_phase_alive(phase))
		return VMJ_ADOPT_KEEP;
	if (seen == VMJ_SEEN_NONE)
		return VMJ_ADOPT_LOST;
	if (phase == VMJ_PHASE_PAUSED && seen == VMJ_SEEN_RUNNING)
		return VMJ_ADOPT_RESUMED;
	return VMJ_ADOPT_KEEP;
}

bool vmj_phase_room(uint64_t free_bytes, uint64_t size_bytes)
{
	uint64_t enough = size_bytes / 50 < ROOM_BYTES ? size_bytes / 50 : ROOM_BYTES;

	return free_bytes >= enough && free_bytes > 0;
}

/* slurm's job_state_string(): a job that is requeued is PENDING again. */
static bool is_final(const char *state, size_t len)
{
	static const char *const final[] = {"COMPLETED",     "CANCELLED", "FAILED",
					    "TIMEOUT",       "NODE_FAIL", "PREEMPTED",
					    "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE"};

	for (size_t i = 0; i < sizeof(final) / sizeof(final[0]); i++)
		if (strlen(final[i]) == len && strncmp(final[i], state, len) == 0)
			return true;
	return false;
}

bool vmj_phase_job_over(const char *text)
{
	static const char key[] = "JobState=";
	const char *p = strstr(text, key);
	bool any = p != NULL;

	for (; p; p = strstr(p, key)) {
		p += strlen(key);
		if (!is_final(p, strcspn(p, " \n")))
			return false;
	}
	return any;
}
