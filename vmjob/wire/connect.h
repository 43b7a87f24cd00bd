/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connecting sockets with a deadline. Deadlines are CLOCK_MONOTONIC milliseconds, -1: none.
 * Descriptors are non-blocking and close-on-exec. */
#ifndef VMJ_WIRE_CONNECT_H
#define VMJ_WIRE_CONNECT_H

#include <stdint.h>

#include "vmjob/base/error.h"

int64_t vmj_deadline(int timeout_ms); /* now + timeout; negative timeout: -1 */

/* Wait until fd is ready for `events` (poll's): 0, or -EAGAIN at the deadline. */
int vmj_fd_wait(int fd, short events, int64_t deadline);

/* The agent's local socket. Tried again until the deadline while nobody listens. */
int vmj_connect_local(const char *path, int64_t deadline, struct vmj_error *err);

int vmj_connect_tcp(const char *host, uint16_t port, int64_t deadline, struct vmj_error *err);

#endif
