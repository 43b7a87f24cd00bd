/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the readers of options share, inside of vmjob/model. */
#ifndef VMJ_MODEL_OPTION_TEXT_H
#define VMJ_MODEL_OPTION_TEXT_H

#include <stddef.h>

#include "vmjob/base/error.h"

/* At most VMJ_OPTION_TEXT_MAX bytes, else -ERANGE. */
int vmj_option_check_length(const char *what, const char *text, struct vmj_error *err);

/* The next piece of *text up to `end`, copied; *text moves behind it, NULL after the last one.
 * -ERANGE: longer than the buffer. */
int vmj_option_piece(const char **text, char end, char *buf, size_t size);

#endif
