/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Long work that must leave nothing behind when it is interrupted. */
#ifndef VMJ_CLI_GUARD_H
#define VMJ_CLI_GUARD_H

/*
 * Run work(arg), which returns an exit code, in a process of its own, and wait. When SIGINT,
 * SIGTERM or SIGHUP come to us, or it dies of a signal, it is killed (with what it started), then
 * clean(arg) runs, and we end by that signal. When we die ourselves it is killed too. So the work
 * needs no handlers, and its end by a signal is no other case than kill -9.
 */
int vmj_guard(int (*work)(void *arg), void (*clean)(void *arg), void *arg);

#endif
