/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Log of the programs (daemons, step, prolog): to standard error, one line each, with the <N>
 * priority prefix that journald understands when $JOURNAL_STREAM is set, else "vmjobd[pid]: ".
 * Libraries call only vmj_debug(). Thread-safe, keeps errno.
 */
#ifndef VMJ_BASE_LOG_H
#define VMJ_BASE_LOG_H

#include <syslog.h>

/* name: borrowed, for the prefix. level: LOG_ERR … LOG_DEBUG; messages above it are dropped. */
void vmj_log_init(const char *name, int level);
void vmj_log(int level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define vmj_log_err(...)     vmj_log(LOG_ERR, __VA_ARGS__)
#define vmj_log_warning(...) vmj_log(LOG_WARNING, __VA_ARGS__)
#define vmj_log_info(...)    vmj_log(LOG_INFO, __VA_ARGS__)
#define vmj_debug(...)       vmj_log(LOG_DEBUG, __VA_ARGS__)

#endif
