/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/agent/steps.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "vmjob/base/clock.h"
#include "vmjob/base/log.h"

static const char *trap_name;
static void (*trap_fire)(void);

void vmj_steps_trap(const char *name, void (*fire)(void))
{
	trap_name = name;
	trap_fire = fire ? fire : abort;
}

static unsigned int undo_from(const struct vmj_step *steps, unsigned int last, void *ctx)
{
	unsigned int leftovers = 0;
	struct vmj_error err;

	for (unsigned int i = last + 1; i-- > 0;) {
		if (!steps[i].undo || steps[i].undo(ctx, &err) == 0)
			continue;
		vmj_log_warning("undoing %s failed: %s", steps[i].name, err.text);
		leftovers++;
	}
	return leftovers;
}

static int perform(const struct vmj_step *step, void *ctx, struct vmj_error *err)
{
	int64_t begin = vmj_clock_us(CLOCK_MONOTONIC);
	int r = step->perform(ctx, err);

	vmj_debug("%s took %" PRId64 " us", step->name, vmj_clock_us(CLOCK_MONOTONIC) - begin);
	return r;
}

int vmj_steps_run(const struct vmj_step *steps, void *ctx, unsigned int *ret_leftovers,
		  struct vmj_error *err)
{
	unsigned int leftovers;
	int r;

	for (unsigned int i = 0; steps[i].name; i++) {
		r = perform(&steps[i], ctx, err);
		if (r < 0) {
			leftovers = undo_from(steps, i, ctx);
			if (ret_leftovers)
				*ret_leftovers = leftovers;
			return r;
		}
		if (trap_name && strcmp(trap_name, steps[i].name) == 0) {
			trap_fire();
			return vmj_fail(err, ECANCELED, "trapped after %s", steps[i].name);
		}
	}
	return 0;
}
