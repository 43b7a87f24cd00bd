/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the verbs of `vmjob storage` share. */
#ifndef VMJ_CLI_STORAGE_H
#define VMJ_CLI_STORAGE_H

#include <stdbool.h>

#include "vmjob/cli/verb.h"
#include "vmjob/model/config.h"

struct json_object;

struct vmj_storage_options {
	bool json, deep, repair;
	const char *name; /* NULL: not given */
};
/* argp's, for --json and one NAME; a verb's own parser hands on to it what is not its own. */
error_t vmj_storage_parse(int key, char *arg, struct argp_state *state);

/* What vmjob.conf and this host say of a domain, into `row` under the keys of vmjob(1). false: it
 * cannot be used, "state" says why. */
bool vmj_storage_row(const struct vmj_storage_config *s, struct json_object *row);
/* Adds what only root sees, as an agent of this or another host tells it: "used_bytes", "mine",
 * "hosts", "users". Without an agent: nothing, and err says why. */
int vmj_storage_ask(const struct vmj_storage_config *s, struct json_object *row,
		    struct vmj_error *err);

extern const struct vmj_verb vmj_storage_verb_show, vmj_storage_verb_check;

#endif
