/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_ 2048

/* Set once by vmj_log_init(), before there are threads. */
static struct {
	const char *name;
	int level;
	bool journal;
} the_log = {.name = "vmjob", .level = LOG_INFO};

void vmj_log_init(const char *name, int level)
{
	the_log.name = name;
	the_log.level = level;
	the_log.journal = getenv("JOURNAL_STREAM") != NULL;
}

/* One line is one write(2), so that lines of several threads do not mix. */
static void write_line(char *line, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	line[len++] = '\n';
	while (write(STDERR_FILENO, line, len) < 0 && errno == EINTR)
		;
}

void vmj_log(int level, const char *fmt, ...)
{
	char line[LINE_MAX_];
	int saved = errno;
	int head, tail;
	va_list ap;

	if (level > the_log.level)
		return;
	if (the_log.journal)
		head = snprintf(line, sizeof(line), "<%d>", level);
	else
		head = snprintf(line, sizeof(line), "%s[%d]: ", the_log.name, (int)getpid());
	if (head < 0 || (size_t)head >= sizeof(line) - 1)
		head = 0;
	va_start(ap, fmt);
	errno = saved; /* for %m */
	tail = vsnprintf(line + head, sizeof(line) - (size_t)head, fmt, ap);
	va_end(ap);
	if (tail >= 0) {
		size_t len = (size_t)head + (size_t)tail;

		write_line(line, len < sizeof(line) - 1 ? len : sizeof(line) - 1);
	}
	errno = saved;
}
