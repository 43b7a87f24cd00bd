/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The verbs of vmjob host beside itself. */
#ifndef VMJ_CLI_HOST_H
#define VMJ_CLI_HOST_H

#include "vmjob/cli/verb.h"

extern const struct vmj_verb vmj_verb_confirm_dead;

#endif
