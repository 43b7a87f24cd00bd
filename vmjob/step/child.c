/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/model/user-data.h"
#include "vmjob/step/child.h"
#include "vmjob/step/names.h"

struct vmj_child {
	pid_t pid; /* 0: has ended */
	vmj_child_ended_fn ended;
	void *arg;
	sd_event_source *source, *timer;
};

void vmj_child_become(char *const argv[])
{
	sigset_t none;
	int code;

	unsetenv("SLURM_SPANK_" VMJ_REQUEST_ENV);
	unsetenv("SLURM_SPANK_" VMJ_USER_DATA_ENV);
	unsetenv(VMJ_STEP_PROGRAM_ENV);
	unsetenv(VMJ_STEP_JOB_ENV);
	unsetenv(VMJ_STEP_BATCH_ENV);
	signal(SIGPIPE, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execvp(argv[0], argv);
	code = errno == ENOENT ? 127 : 126;
	dprintf(STDERR_FILENO, "vmjob: cannot run %s: %s\n", argv[0], strerror(errno));
	_exit(code);
}

/* A background process group of a terminal would be stopped at its first read. */
static void take_terminal(void)
{
	signal(SIGTTOU, SIG_IGN);
	if (isatty(STDIN_FILENO))
		tcsetpgrp(STDIN_FILENO, getpgrp());
	signal(SIGTTOU, SIG_DFL);
}

__attribute__((noreturn)) static void run(char *const argv[], pid_t parent)
{
	setpgid(0, 0);
	take_terminal();
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent) /* it died before the line above */
		_exit(EXIT_FAILURE);
	vmj_child_become(argv);
}

static int wait_status(const siginfo_t *si)
{
	return si->si_code == CLD_EXITED ? (si->si_status & 0xff) << 8 : si->si_status & 0x7f;
}

static int on_child(sd_event_source *source, const siginfo_t *si, void *arg)
{
	struct vmj_child *c = arg;

	c->pid = 0;
	c->timer = sd_event_source_disable_unref(c->timer);
	c->ended(c->arg, wait_status(si));
	return 0;
}

int vmj_child_start(sd_event *event, char *const argv[], vmj_child_ended_fn ended, void *arg,
		    struct vmj_child **ret, struct vmj_error *err)
{
	struct vmj_child *c = calloc(1, sizeof(*c));
	pid_t parent = getpid();
	int r;

	if (!c)
		return vmj_fail(err, ENOMEM, "out of memory");
	c->ended = ended;
	c->arg = arg;
	c->pid = fork();
	if (c->pid == 0)
		run(argv, parent);
	if (c->pid < 0) {
		r = errno;
		free(c);
		return vmj_fail(err, r, "cannot start %s: fork: %s", argv[0], strerror(r));
	}
	setpgid(c->pid, c->pid); /* whoever comes first, so that signals never miss it */
	r = sd_event_add_child(event, &c->source, c->pid, WEXITED, on_child, c);
	if (r < 0) {
		kill(-c->pid, SIGKILL);
		vmj_child_free(c);
		return vmj_fail(err, -r, "cannot watch %s: %s", argv[0], strerror(-r));
	}
	*ret = c;
	return 0;
}

void vmj_child_signal(struct vmj_child *c, int signo)
{
	if (c->pid > 0)
		kill(-c->pid, signo);
}

static int on_grace_over(sd_event_source *source, uint64_t usec, void *arg)
{
	vmj_child_signal(arg, SIGKILL);
	return 0;
}

int vmj_child_stop(struct vmj_child *c, int signo, unsigned int grace_s, struct vmj_error *err)
{
	int r;

	if (c->pid <= 0 || c->timer)
		return 0;
	vmj_child_signal(c, signo);
	r = sd_event_add_time_relative(sd_event_source_get_event(c->source), &c->timer,
				       CLOCK_MONOTONIC, grace_s * 1000000ull, 0, on_grace_over, c);
	return r < 0 ? vmj_fail(err, -r, "cannot set a timer: %s", strerror(-r)) : 0;
}

void vmj_child_free(struct vmj_child *c)
{
	if (!c)
		return;
	sd_event_source_disable_unref(c->timer);
	sd_event_source_disable_unref(c->source);
	free(c);
}
