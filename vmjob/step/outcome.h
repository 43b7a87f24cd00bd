/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pure: what a signal to the stand-in means, and with which code it exits. */
#ifndef VMJ_STEP_OUTCOME_H
#define VMJ_STEP_OUTCOME_H

#include <stdbool.h>

#include "vmjob/model/guest.h"

/* Slurm's signals, as to any task of a job, become deeds on the guest and on the script that runs
 * beside it. Bits, since one signal may do both. */
enum vmj_deed {
	VMJ_DEED_NONE = 0,
	VMJ_DEED_STOP = 1,    /* ask the guest to power off, with its grace time */
	VMJ_DEED_SUSPEND = 2, /* pause it before slurmd freezes the job */
	VMJ_DEED_RESUME = 4,  /* if we had suspended it */
	VMJ_DEED_FORWARD = 8, /* to the script's process group */
};

/* Signals that are handled, ending with 0. */
extern const int vmj_step_signals[];

/*   signal     with a script     without
 *   TERM       stop, forward     stop
 *   TSTP       suspend           suspend        (slurmd freezes both 2 s later)
 *   CONT       resume            resume
 *   USR1       forward           stop           (so that --signal=B:USR1@30 is a shutdown in order)
 *   INT, QUIT  forward           stop           (srun's ^C)
 *   HUP, USR2  forward           -                                                              */
unsigned int vmj_signal_deeds(int signo, bool has_script);

/* What came of it all. */
struct vmj_outcome {
	bool refused;      /* the guest never ran: the agent refused, or could not be reached */
	bool script_ended; /* a script ran and ended before its guest did: it decides */
	int script_status; /* as waitpid() has it */
	enum vmj_end end;  /* of the guest on this node */
	int others_status; /* of the guests on the other nodes, if they ended before this one; else
			      0 */
};

#define VMJ_EXIT_REFUSED 1

/* The exit code: of the script if it ended first; else of the guest's end (vmj_end_exit_code()); if
 * that is 0, of the other nodes' guests. */
int vmj_outcome_exit_code(const struct vmj_outcome *o);

/* waitpid() status as bash shows it: the exit code, or 128 + signal. */
int vmj_status_exit_code(int status);

#endif
