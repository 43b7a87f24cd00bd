/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/cli/guard.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmjob/cli/verb.h"

static void __attribute__((noreturn))
run_worker(int (*work)(void *arg), void *arg, pid_t parent, const sigset_t *mask)
{
	int code;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(VMJ_EXIT_FAILED);
	sigprocmask(SIG_SETMASK, mask, NULL);
	code = work(arg);
	_exit(fflush(NULL) == 0 ? code : VMJ_EXIT_FAILED);
}

/* Until it has ended; *ret_signal: that told us to end it, 0 for none. */
static int await(pid_t pid, const sigset_t *set, int *ret_signal)
{
	int status = 0, signal_ = 0;

	for (;;) {
		int s = sigwaitinfo(set, NULL);

		if (s > 0 && s != SIGCHLD) {
			signal_ = s;
			kill(pid, SIGKILL);
		}
		if (waitpid(pid, &status, s > 0 && s != SIGCHLD ? 0 : WNOHANG) == pid)
			break;
	}
	*ret_signal = signal_;
	return status;
}

static int end_by(int signal_, const sigset_t *mask)
{
	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
	vmj_say("interrupted (%s): nothing was changed", strsignal(signal_));
	if (signal_ == SIGKILL)
		return VMJ_EXIT_FAILED;
	signal(signal_, SIG_DFL);
	raise(signal_);
	sigprocmask(SIG_SETMASK, mask, NULL);
	return VMJ_EXIT_FAILED;
}

int vmj_guard(int (*work)(void *arg), void (*clean)(void *arg), void *arg)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGCHLD};
	pid_t parent = getpid(), pid;
	sigset_t set, before;
	int status, signal_;

	fflush(NULL);
	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		sigaddset(&set, signals[i]);
	sigprocmask(SIG_BLOCK, &set, &before);
	pid = fork();
	if (pid < 0) {
		vmj_say("cannot start a process: %s", strerror(errno));
		return VMJ_EXIT_FAILED;
	}
	if (pid == 0)
		run_worker(work, arg, parent, &before);
	status = await(pid, &set, &signal_);
	if (WIFEXITED(status)) {
		sigprocmask(SIG_SETMASK, &before, NULL);
		return WEXITSTATUS(status);
	}
	clean(arg);
	return end_by(signal_ ? signal_ : WTERMSIG(status), &before);
}
