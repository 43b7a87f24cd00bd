/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <signal.h>
#include <stddef.h>
#include <sys/wait.h>

#include "vmjob/step/outcome.h"

static const struct {
	int signo;
	unsigned int with_script, without;
} table[] = {
	{SIGTERM, VMJ_DEED_STOP | VMJ_DEED_FORWARD, VMJ_DEED_STOP},
	{SIGTSTP, VMJ_DEED_SUSPEND, VMJ_DEED_SUSPEND},
	{SIGCONT, VMJ_DEED_RESUME, VMJ_DEED_RESUME},
	{SIGUSR1, VMJ_DEED_FORWARD, VMJ_DEED_STOP},
	{SIGINT, VMJ_DEED_FORWARD, VMJ_DEED_STOP},
	{SIGQUIT, VMJ_DEED_FORWARD, VMJ_DEED_STOP},
	{SIGHUP, VMJ_DEED_FORWARD, VMJ_DEED_NONE},
	{SIGUSR2, VMJ_DEED_FORWARD, VMJ_DEED_NONE},
};

const int vmj_step_signals[] = {SIGTERM, SIGTSTP, SIGCONT, SIGUSR1, SIGINT,
				SIGQUIT, SIGHUP,  SIGUSR2, 0};

unsigned int vmj_signal_deeds(int signo, bool has_script)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (table[i].signo == signo)
			return has_script ? table[i].with_script : table[i].without;
	return VMJ_DEED_NONE;
}

int vmj_status_exit_code(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int vmj_outcome_exit_code(const struct vmj_outcome *o)
{
	int code;

	if (o->refused)
		return VMJ_EXIT_REFUSED;
	if (o->script_ended)
		return vmj_status_exit_code(o->script_status);
	code = vmj_end_exit_code(o->end);
	return code ? code : vmj_status_exit_code(o->others_status);
}
