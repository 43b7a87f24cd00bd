/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the command says to people, on standard error. */
#ifndef VMJ_CLI_SAY_H
#define VMJ_CLI_SAY_H

#include "vmjob/base/error.h"

/* "vmjob: TEXT"; standard output is flushed first. */
void vmj_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The error's sentence; returns the exit code for "failed". */
int vmj_say_failed(const struct vmj_error *err);

#endif
