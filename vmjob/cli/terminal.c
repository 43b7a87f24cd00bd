/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One terminal a program, so its state is static: signal handlers need it. `raw_fd` is set after
 * `saved` is whole and cleared before it would be used twice; handlers call only what
 * signal-safety(7) allows (tcsetattr, raise, sigaction).
 */
#include "vmjob/cli/terminal.h"

#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>

#include "vmjob/base/parse.h"

static struct termios saved, raw;
static volatile sig_atomic_t raw_fd = -1;

void vmj_terminal_restore(void)
{
	int fd = raw_fd;

	raw_fd = -1;
	if (fd >= 0)
		tcsetattr(fd, TCSANOW, &saved);
}

static void on_deadly(int sig)
{
	vmj_terminal_restore();
	signal(sig, SIG_DFL);
	raise(sig);
}

static void on_stop(int sig)
{
	int fd = raw_fd, before = errno;

	if (fd >= 0)
		tcsetattr(fd, TCSANOW, &saved);
	raise(SIGSTOP);
	if (fd >= 0)
		tcsetattr(fd, TCSANOW, &raw);
	errno = before;
}

static void install_handlers(void)
{
	static const int deadly[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGTERM, SIGPIPE,
				     SIGALRM, SIGABRT, SIGSEGV, SIGBUS,  SIGXCPU};
	struct sigaction sa = {.sa_handler = on_deadly};

	sigfillset(&sa.sa_mask);
	for (size_t i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++)
		sigaction(deadly[i], &sa, NULL);
	sa.sa_handler = on_stop;
	sa.sa_flags = SA_RESTART;
	sigaction(SIGTSTP, &sa, NULL);
}

int vmj_terminal_raw(int fd, struct vmj_error *err)
{
	if (tcgetattr(fd, &saved) < 0)
		return vmj_fail(err, errno, "cannot read the terminal's settings: %s",
				strerror(errno));
	raw = saved;
	cfmakeraw(&raw);
	install_handlers();
	atexit(vmj_terminal_restore);
	raw_fd = fd;
	if (tcsetattr(fd, TCSANOW, &raw) < 0)
		return vmj_fail(err, errno, "cannot set the terminal to raw mode: %s",
				strerror(errno));
	return 0;
}

int vmj_escape_parse(const char *text, int *ret, struct vmj_error *err)
{
	size_t len = strlen(text);
	char shown[32];

	if (!strcmp(text, "none")) {
		*ret = VMJ_ESCAPE_NONE;
		return 0;
	}
	if (len == 2 && text[0] == '^') {
		int c = toupper((unsigned char)text[1]);

		if (c >= '@' && c <= '_') {
			*ret = c - '@';
			return 0;
		}
	}
	if (len == 1 && isprint((unsigned char)text[0])) {
		*ret = (unsigned char)text[0];
		return 0;
	}
	return vmj_fail_user(err, EINVAL,
			     "--escape=%s is no key: give ^X for Ctrl-X (such as ^] or ^a), one "
			     "character, or none",
			     vmj_quote(text, shown, sizeof(shown)));
}

const char *vmj_escape_format(int escape, char buf[16])
{
	if (escape == VMJ_ESCAPE_NONE)
		return "closing the terminal";
	if (escape < ' ')
		snprintf(buf, 16, "Ctrl-%c", tolower(escape + '@'));
	else
		snprintf(buf, 16, "%c", escape);
	return buf;
}
