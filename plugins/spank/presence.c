/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The layout is that of vmjob/storage/image.h: images/<uid or public>/<name>/<revision>/. */
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "plugins/spank/presence.h"
#include "vmjob/base/cleanup.h"
#include "vmjob/model/config.h"

VMJ_DEFINE_CLEANUP(struct vmj_config *, vmj_config_free);

/* Whether the owner's folder has the image, or cannot be looked into. */
static bool may_have(const char *storage, const char *owner, const struct vmj_request *r)
{
	char path[PATH_MAX];
	int n;

	if (r->revision)
		n = snprintf(path, sizeof(path), "%s/images/%s/%s/%u", storage, owner, r->image,
			     r->revision);
	else
		n = snprintf(path, sizeof(path), "%s/images/%s/%s", storage, owner, r->image);
	return n >= (int)sizeof(path) || access(path, F_OK) == 0 || errno != ENOENT;
}

int vmj_image_presence(const struct vmj_request *request, struct vmj_error *err)
{
	VMJ_CLEANUP(vmj_config_freep) struct vmj_config *config = NULL;
	char marker[PATH_MAX], uid[16], revision[16] = "";
	const char *storage;

	if (vmj_config_load(NULL, &config, NULL) < 0 || config->n_storages == 0)
		return 0;
	storage = config->storages[0].path;
	snprintf(marker, sizeof(marker), "%s/vmjob-domain.json", storage);
	if (access(marker, F_OK) < 0)
		return 0;
	snprintf(uid, sizeof(uid), "%u", (unsigned int)getuid());
	if (may_have(storage, uid, request) || may_have(storage, "public", request))
		return 0;
	if (request->revision)
		snprintf(revision, sizeof(revision), "@%u", request->revision);
	return vmj_fail_user(
		err, ENOENT,
		"--vm-image=%s%s: there is no such image among yours or the public ones: see "
		"`vmjob image list`",
		request->image, revision);
}
