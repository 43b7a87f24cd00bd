/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The agents' logs of what happened to guests, from several hosts at once. */
#ifndef VMJ_CLI_FEED_H
#define VMJ_CLI_FEED_H

#include <stdbool.h>

#include "vmjob/cli/slurm.h"

struct json_object;
struct vmj_feed;

/* Opens the logs of the hosts in parallel: job 0: of all guests that the caller may see; follow: go
 * on with what will happen. Hosts that do not answer are said on standard error and counted. *ret:
 * vmj_feed_free. */
int vmj_feed_open(const struct vmj_hosts *hosts, uint32_t job, bool follow, struct vmj_feed **ret,
		  size_t *ret_unreachable, struct vmj_error *err);
void vmj_feed_free(struct vmj_feed *feed);

/* The next entry from any host, with "host" added: 1 and *ret (the caller's), 0 when all logs have
 * ended, -EAGAIN after timeout_ms (-1: none). A host that is lost while following is opened anew.
 */
int vmj_feed_next(struct vmj_feed *feed, int timeout_ms, struct json_object **ret,
		  struct vmj_error *err);

#endif
