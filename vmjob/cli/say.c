/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/cli/say.h"

#include <stdarg.h>
#include <stdio.h>

#include "vmjob/cli/verb.h"

void vmj_say(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	va_start(ap, fmt);
	fputs("vmjob: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
}

int vmj_say_failed(const struct vmj_error *err)
{
	vmj_say("%s", err->text);
	return VMJ_EXIT_FAILED;
}
