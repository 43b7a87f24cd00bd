/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/agent/settings.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/log.h"

VMJ_DEFINE_CLEANUP(struct vmj_settings *, vmj_settings_unref);

static int resolve_operators(struct vmj_settings *s, struct vmj_error *err)
{
	char **names = s->config->operators;
	unsigned int n = 0;

	while (names && names[n])
		n++;
	s->operators = calloc(n + 1, sizeof(*s->operators));
	if (!s->operators)
		return vmj_fail(err, ENOMEM, "no memory for %u operators", n);
	for (unsigned int i = 0; i < n; i++) {
		const struct passwd *pw = getpwnam(names[i]);

		if (pw)
			s->operators[s->n_operators++] = pw->pw_uid;
		else
			vmj_log_info("operator %s of vmjob.conf is not a user of this host",
				     names[i]);
	}
	return 0;
}

int vmj_settings_load(const char *path, struct vmj_settings **ret, struct vmj_error *err)
{
	VMJ_CLEANUP(vmj_settings_unrefp) struct vmj_settings *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return vmj_fail(err, ENOMEM, "no memory for the configuration");
	s->refs = 1;
	r = vmj_config_load(path, &s->config, err);
	if (r == 0)
		r = resolve_operators(s, err);
	if (r < 0)
		return r;
	*ret = vmj_steal(s);
	return 0;
}

struct vmj_settings *vmj_settings_ref(struct vmj_settings *s)
{
	s->refs++;
	return s;
}

void vmj_settings_unref(struct vmj_settings *s)
{
	if (!s || --s->refs)
		return;
	vmj_config_free(s->config);
	free(s->operators);
	free(s);
}

bool vmj_settings_trusts(const struct vmj_settings *s, uid_t uid)
{
	if (uid == 0)
		return true;
	for (unsigned int i = 0; i < s->n_operators; i++)
		if (s->operators[i] == uid)
			return true;
	return false;
}
