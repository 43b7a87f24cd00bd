/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Actions of several steps, each step with its undo.
 *
 * A step may be repeated without harm, and so may an undo, also of a step that was never or only
 * half done. A step that leaves something behind comes after the record that says so has been
 * written; so whoever finds the record after a crash can run the steps, or their undoing, again.
 */
#ifndef VMJ_AGENT_STEPS_H
#define VMJ_AGENT_STEPS_H

#include "vmjob/base/error.h"

struct vmj_step {
	const char *name; /* NULL ends a table */
	int (*perform)(void *ctx, struct vmj_error *err);
	int (*undo)(void *ctx, struct vmj_error *err); /* NULL: nothing to undo */
};

/* 0, or the failing step's error, after the undoing of that step and those before it, the last
 * first. An undo that fails is logged, and the rest is undone all the same; *ret_leftovers (NULL
 * allowed) counts those. */
int vmj_steps_run(const struct vmj_step *steps, void *ctx, unsigned int *ret_leftovers,
		  struct vmj_error *err);

/* For tests that kill the agent between any two steps: after the step of this name `fire` is called
 * (abort() where it is NULL), and if it returns, the steps stop there with -ECANCELED, nothing
 * undone. name NULL: never. Names are borrowed. Not while steps are running. */
void vmj_steps_trap(const char *name, void (*fire)(void));

#endif
