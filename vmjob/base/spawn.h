/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Run a helper program (qemu-img, squeue, …) and wait for it. No shell ever: argv
 * goes to execve as it is. The child gets a clean signal mask and dispositions, only the three
 * standard descriptors, our environment with a fixed PATH and LC_ALL=C, and dies with the calling
 * thread (PR_SET_PDEATHSIG). It leads its own process group, which is killed when it has ended.
 * Blocking: never on an event loop. Thread-safe.
 */
#ifndef VMJ_BASE_SPAWN_H
#define VMJ_BASE_SPAWN_H

#include <stdint.h>
#include <sys/types.h>

#include "vmjob/base/error.h"

struct vmj_spawn {
	const char *const
		*argv;     /* argv[0] is looked up in a fixed PATH: /usr/sbin:/usr/bin:/sbin:/bin */
	const char *input; /* to its standard input, NULL: /dev/null */
	char **ret_output; /* standard output, caller's, bounded by VMJ_SPAWN_OUTPUT_MAX; NULL:
			      dropped */
	void (*on_output)(const char *chunk, size_t len,
			  void *arg); /* instead of ret_output: each piece of it as it comes */
	void *arg;
	uid_t uid; /* run as this user and group (with no other groups); 0: stay */
	gid_t gid;
	int timeout_ms; /* then SIGKILL and ETIMEDOUT; 0: 60,000 */
};
#define VMJ_SPAWN_OUTPUT_MAX (4u << 20)

/* 0 when it exited with 0. Else negative errno and a text that ends in the last line of its
 * standard error: -EIO for an exit status or a signal, -ENOENT for a program that is not installed,
 * -ETIMEDOUT, -EFBIG. */
int vmj_spawn(const struct vmj_spawn *s, struct vmj_error *err);

#endif
