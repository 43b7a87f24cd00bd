/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Named points within changes that must survive a crash anywhere: "clone.link", just behind the
 * links. Tests end the process there (VMJOB_CRASH_AT), or fail the call that comes next.
 */
#ifndef VMJ_BASE_POINT_H
#define VMJ_BASE_POINT_H

/* Calls the trap if it is set for this name. */
void vmj_point(const char *name);

/* name NULL: none. fire NULL: abort(). The name is borrowed. Not while other threads are working.
 */
void vmj_point_trap(const char *name, void (*fire)(void));

#endif
