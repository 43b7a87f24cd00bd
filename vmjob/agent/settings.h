/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vmjob.conf as the agent uses it, counted: a reload replaces it while workers go on with what they
 * began with. References are taken and given back on the loop's thread; blocking (names of users),
 * for start and reload only. */
#ifndef VMJ_AGENT_SETTINGS_H
#define VMJ_AGENT_SETTINGS_H

#include "vmjob/model/config.h"

struct vmj_settings {
	unsigned int refs;
	struct vmj_config *config;
	uid_t *operators;
	unsigned int n_operators;
};

int vmj_settings_load(const char *path, struct vmj_settings **ret, struct vmj_error *err);
struct vmj_settings *vmj_settings_ref(struct vmj_settings *s);
void vmj_settings_unref(struct vmj_settings *s); /* NULL allowed */

/* root, or one of the operators. */
bool vmj_settings_trusts(const struct vmj_settings *s, uid_t uid);

#endif
