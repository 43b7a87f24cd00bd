/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Child processes of the stand-in: the user's script on the host, and srun for the other nodes.
 *
 * A child has a process group of its own, the terminal if there is one, a clean signal mask, and
 * dies with vmjob-step (PR_SET_PDEATHSIG; Slurm's kill of the job reaches all anyway). Not
 * thread-safe; on the event loop's thread, which must have SIGCHLD blocked.
 */
#ifndef VMJ_STEP_CHILD_H
#define VMJ_STEP_CHILD_H

#include <systemd/sd-event.h>

#include "vmjob/base/error.h"

struct vmj_child;

/* status: as waitpid() has it. Called once, from the loop; the child may be freed in it. */
typedef void (*vmj_child_ended_fn)(void *arg, int status);

/* The child does vmj_child_become(argv). */
int vmj_child_start(sd_event *event, char *const argv[], vmj_child_ended_fn ended, void *arg,
		    struct vmj_child **ret, struct vmj_error *err);

/* Send a signal to the child's process group; nothing if it has ended. */
void vmj_child_signal(struct vmj_child *c, int signo);

/* Send `signo` now, and SIGKILL after grace_s; a second call changes nothing. */
int vmj_child_stop(struct vmj_child *c, int signo, unsigned int grace_s, struct vmj_error *err);

/* Execute argv in the place of the calling process, with a clean signal mask and without what makes
 * a task a guest's stand-in in its environment (so that steps and jobs submitted from inside are
 * ordinary ones). argv[0] is looked up in PATH. What cannot be executed exits with 127 (not found)
 * or 126, after a sentence on standard error, as a shell does. */
__attribute__((noreturn)) void vmj_child_become(char *const argv[]);

/* Forget it; a running child is not touched. NULL allowed. */
void vmj_child_free(struct vmj_child *c);

#endif
