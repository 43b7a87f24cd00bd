/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The layout is that of vmjob/storage/image.h: images/<uid or public>/<name>/<revision>/. */
#include "plugins/spank/presence.h"

#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/model/config.h"

VMJ_DEFINE_CLEANUP(struct vmj_config *, vmj_config_free);

/* As it was asked for. */
struct wanted {
	const char *option, *owner, *name;
	uint32_t revision;
};

/* Whether the owner's folder has the image, or cannot be looked into. */
static bool may_have(const char *storage, const char *owner, const struct wanted *w)
{
	char path[PATH_MAX];
	int n;

	if (w->revision)
		n = snprintf(path, sizeof(path), "%s/images/%s/%s/%u", storage, owner, w->name,
			     w->revision);
	else
		n = snprintf(path, sizeof(path), "%s/images/%s/%s", storage, owner, w->name);
	return n >= (int)sizeof(path) || access(path, F_OK) == 0 || errno != ENOENT;
}

static bool may_have_uid(const char *storage, uid_t uid, const struct wanted *w)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", (unsigned int)uid);
	return may_have(storage, text, w);
}

/* A user whom this host does not know may be known to others. */
static bool owner_may_have(const char *storage, const struct wanted *w)
{
	struct passwd pw, *found = NULL;
	char buf[4096];

	if (strcmp(w->owner, "public") == 0 || w->owner[strspn(w->owner, "0123456789")] == '\0')
		return may_have(storage, w->owner, w);
	if (getpwnam_r(w->owner, &pw, buf, sizeof(buf), &found) != 0 || !found)
		return true;
	return may_have_uid(storage, pw.pw_uid, w);
}

static int look_for(const char *storage, const struct wanted *w, struct vmj_error *err)
{
	char revision[16] = "";

	if (w->revision)
		snprintf(revision, sizeof(revision), "@%u", w->revision);
	if (!*w->owner && !may_have_uid(storage, getuid(), w) && !may_have(storage, "public", w))
		return vmj_fail_user(err, ENOENT,
				     "%s=%s%s: there is no such image among yours or the public "
				     "ones: see `vmjob image list`",
				     w->option, w->name, revision);
	if (*w->owner && !owner_may_have(storage, w))
		return vmj_fail_user(err, ENOENT, "%s=%s/%s%s: %s has no such image: ask them",
				     w->option, w->owner, w->name, revision, w->owner);
	return 0;
}

int vmj_image_presence_in(const char *storage, const struct vmj_request *request,
			  struct vmj_error *err)
{
	const struct wanted root = {.option = "--vm-image",
				    .owner = request->image_owner,
				    .name = request->image,
				    .revision = request->revision};
	char marker[PATH_MAX];
	int rc = 0;

	snprintf(marker, sizeof(marker), "%s/vmjob-domain.json", storage);
	if (access(marker, F_OK) < 0)
		return 0;
	/* A persistent root disk may be there already, and the image gone. */
	if (!*request->persistent)
		rc = look_for(storage, &root, err);
	for (unsigned int i = 0; rc == 0 && i < request->n_disks; i++) {
		const struct vmj_disk_request *d = &request->disks[i];
		const struct wanted w = {.option = "--vm-disk=image",
					 .owner = d->owner,
					 .name = d->name,
					 .revision = d->revision};

		if (d->kind == VMJ_DISK_IMAGE)
			rc = look_for(storage, &w, err);
	}
	return rc;
}

int vmj_image_presence(const struct vmj_request *request, struct vmj_error *err)
{
	VMJ_CLEANUP(vmj_config_freep) struct vmj_config *config = NULL;

	if (vmj_config_load(NULL, &config, NULL) < 0 || config->n_storages == 0)
		return 0;
	return vmj_image_presence_in(config->storages[0].path, request, err);
}
