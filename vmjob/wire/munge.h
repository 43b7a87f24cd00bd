/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Credentials of the munged of this host: who sends (uid, gid), readable by root only, encrypted,
 * accepted once and for a short time. Both calls wait for munged: not on an event loop.
 * Thread-safe. */
#ifndef VMJ_WIRE_MUNGE_H
#define VMJ_WIRE_MUNGE_H

#include <stddef.h>
#include <sys/types.h>

#include "vmjob/base/error.h"

/* *ret is the caller's. */
int vmj_munge_encode(const void *payload, size_t len, char **ret, struct vmj_error *err);

/* *ret is the caller's, as malloc() gives it. EACCES: not genuine, expired, replayed, or not
 * restricted to root or not encrypted. */
int vmj_munge_decode(const char *credential, void **ret, size_t *ret_len, uid_t *ret_uid,
		     gid_t *ret_gid, struct vmj_error *err);

#endif
