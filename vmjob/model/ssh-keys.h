/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Public keys of ssh as a request carries them: "TYPE BASE64" and a newline each, without options
 * and comments. */
#ifndef VMJ_MODEL_SSH_KEYS_H
#define VMJ_MODEL_SSH_KEYS_H

#include <stdbool.h>
#include <stddef.h>

/* Nothing but such keys; "" is good. */
bool vmj_ssh_keys_valid(const char *keys);

/*
 * Add the key of one line of a file such as authorized_keys or id_ed25519.pub to `keys`, a buffer
 * of `size` bytes. false: nothing added, since the line has no key of a type that sshd takes today,
 * or has options in front (command=, from=, cert-authority: such a key is not for every use), the
 * key is there already, or there is no room.
 */
bool vmj_ssh_keys_add(char *keys, size_t size, const char *line);

#endif
