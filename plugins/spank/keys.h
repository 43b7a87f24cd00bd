/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * At submit, as the user: which ssh keys may log in to the guest.
 *
 * Read here, where the user's home is there for sure and the user's own rights open it (also on
 * Kerberos), rather than by root on a compute host.
 */
#ifndef VMJ_SPANK_KEYS_H
#define VMJ_SPANK_KEYS_H

#include "vmjob/model/request.h"

/* The user's own (HOME/.ssh/id_*.pub), then those that may log in as the user on this site
 * (authorized_keys): as many as there is room for. What is no plain key, or cannot be read, is
 * passed over. home NULL: the one of the calling user. */
void vmj_keys_gather(const char *home, char ret[VMJ_SSH_KEYS_MAX]);

#endif
