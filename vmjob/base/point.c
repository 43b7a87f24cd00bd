/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/base/point.h"

#include <stdlib.h>
#include <string.h>

static const char *trap_name;
static void (*trap_fire)(void);

void vmj_point(const char *name)
{
	if (trap_name && strcmp(trap_name, name) == 0)
		trap_fire();
}

void vmj_point_trap(const char *name, void (*fire)(void))
{
	trap_name = name;
	trap_fire = fire ? fire : abort;
}
