/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/cli/progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vmjob/base/clock.h"
#include "vmjob/cli/say.h"
#include "vmjob/cli/table.h"

#define REDRAW_S  0.1
#define LINE_S    10.0
#define BAR       20
#define WIDTH     80
#define WIDTH_MAX 200
#define SETTLED_S 1.0 /* before that a rate says nothing */

static double now(void)
{
	return (double)vmj_clock_us(CLOCK_MONOTONIC) / 1e6;
}

static void add_bar(char *buf, size_t size, double fraction)
{
	char bar[BAR + 1];
	int full = (int)(fraction * BAR);

	memset(bar, '=', (size_t)full);
	memset(bar + full, ' ', (size_t)(BAR - full));
	bar[BAR] = '\0';
	snprintf(buf, size, " [%s] %3d %%", bar, (int)(fraction * 100));
}

static void add_rate(char *buf, size_t size, const struct vmj_progress_state *s)
{
	char rate[VMJ_CELL_MAX];
	double bytes_s = (double)s->done / s->seconds;
	uint64_t left;
	int n;

	n = snprintf(buf, size, ", %s/s", vmj_bytes_format((int64_t)bytes_s, rate));
	if (!s->total || bytes_s <= 0 || (size_t)n >= size)
		return;
	left = (uint64_t)((double)(s->total - s->done) / bytes_s + 0.5);
	if (left >= 3600)
		snprintf(buf + n, size - (size_t)n, ", %d:%02d:%02d left", (int)(left / 3600),
			 (int)(left / 60 % 60), (int)(left % 60));
	else
		snprintf(buf + n, size - (size_t)n, ", %d:%02d left", (int)(left / 60),
			 (int)(left % 60));
}

const char *vmj_progress_format(const struct vmj_progress_state *s, int width, char *buf,
				size_t size)
{
	char done[VMJ_CELL_MAX], total[VMJ_CELL_MAX], bar[BAR + 16] = "", of[64] = "",
								rate[64] = "";

	if (s->total) {
		double fraction = (double)s->done / (double)s->total;

		add_bar(bar, sizeof(bar), fraction > 1 ? 1 : fraction);
		snprintf(of, sizeof(of), " of %.20s", vmj_bytes_format((int64_t)s->total, total));
	}
	if (s->seconds >= SETTLED_S && s->done && (!s->total || s->done <= s->total))
		add_rate(rate, sizeof(rate), s);
	snprintf(buf, size, "%s: %s%s %s%s%s", s->title, s->what, bar,
		 vmj_bytes_format((int64_t)s->done, done), of, rate);
	if (width > 0 && strlen(buf) >= (size_t)width)
		buf[width - 1] = '\0';
	return buf;
}

static int terminal_width(void)
{
	struct winsize w;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &w) < 0 || w.ws_col == 0)
		return WIDTH;
	return w.ws_col < WIDTH_MAX ? w.ws_col : WIDTH_MAX;
}

void vmj_progress_start(struct vmj_progress *p, const char *title, bool lines)
{
	*p = (struct vmj_progress){
		.title = title, .terminal = isatty(STDERR_FILENO), .lines = lines};
}

void vmj_progress_on(const char *what, uint64_t done, uint64_t total, void *arg)
{
	struct vmj_progress *p = arg;
	struct vmj_progress_state s = {p->title, what, done, total, 0};
	double t = now();
	char text[WIDTH_MAX + 200];

	if (!p->terminal && !p->lines)
		return;
	if (strcmp(p->what, what) != 0) {
		snprintf(p->what, sizeof(p->what), "%s", what);
		p->started = t;
		p->shown = p->terminal ? 0 : t;
	}
	if (t - p->shown < (p->terminal ? REDRAW_S : LINE_S))
		return;
	p->shown = t;
	s.seconds = t - p->started;
	if (p->terminal)
		fprintf(stderr, "\r%s\033[K",
			vmj_progress_format(&s, terminal_width(), text, sizeof(text)));
	else
		vmj_say("%s", vmj_progress_format(&s, 0, text, sizeof(text)));
}

void vmj_progress_end(struct vmj_progress *p)
{
	if (p->terminal)
		fputs("\r\033[K", stderr);
}
