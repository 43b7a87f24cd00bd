/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How far long work is, on standard error: a bar on a terminal, else a line every ten seconds if
 * asked for. */
#ifndef VMJ_CLI_PROGRESS_H
#define VMJ_CLI_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vmj_progress {
	const char *title; /* "Importing debian12"; borrowed */
	bool terminal, lines;
	char what[24];         /* the stage that is under way */
	double started, shown; /* seconds; of the stage */
};

void vmj_progress_start(struct vmj_progress *p, const char *title, bool lines);
/* Of type vmj_image_progress_fn; arg: a struct vmj_progress. */
void vmj_progress_on(const char *what, uint64_t done, uint64_t total, void *arg);
/* The bar goes away. */
void vmj_progress_end(struct vmj_progress *p);

/* Pure: what is shown, at most width - 1 columns. total 0: not known. */
struct vmj_progress_state {
	const char *title, *what;
	uint64_t done, total;
	double seconds; /* since the stage began */
};
const char *vmj_progress_format(const struct vmj_progress_state *s, int width, char *buf,
				size_t size);

#endif
