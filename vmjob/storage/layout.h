/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A storage domain of kind dir: its mark, its version and its folders (doc/storage.md). Blocking.
 */
#ifndef VMJ_STORAGE_LAYOUT_H
#define VMJ_STORAGE_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "vmjob/base/error.h"
#include "vmjob/base/parse.h"

#define VMJ_DOMAIN_FILE    "vmjob-domain.json"
#define VMJ_DOMAIN_VERSION 2 /* 1: images only */

/* The mark, VMJ_DOMAIN_FILE. */
struct vmj_domain_mark {
	char name[VMJ_NAME_MAX + 1];
	char uuid[37];
	unsigned int version; /* 1 to VMJ_DOMAIN_VERSION */
};
/* ENOENT: not mounted, or never formatted; EPROTO: a version to come; EINVAL: damaged. All are the
 * host's fault. */
int vmj_domain_read(const char *path, struct vmj_domain_mark *ret, struct vmj_error *err);

/* The same from a text; `path` names the domain in sentences. */
int vmj_domain_parse(const char *path, const char *text, size_t len, struct vmj_domain_mark *ret,
		     struct vmj_error *err);

/* The folders that the domain has from a version on; root's, with exactly this mode. */
struct vmj_domain_folder {
	const char *name;
	mode_t mode;
	unsigned int since;
};
extern const struct vmj_domain_folder vmj_domain_folders[]; /* ends with name NULL */

/* Makes the folder, or gives it the owner and the mode that it should have. */
int vmj_domain_make_folder(const char *path, const struct vmj_domain_folder *f,
			   struct vmj_error *err);

/* A user's folder in images/ or volumes/ is called as the uid, in decimal and without zeros before
 * it. */
bool vmj_domain_uid(const char *folder, uid_t *ret);

/* Make PATH a domain called `name` (root), or what is missing of it, and bring one of version 1 to
 * this version. Idempotent; the mark is written last. A domain of another name is refused. */
int vmj_storage_format(const char *path, const char *name, struct vmj_error *err);
/* Mounted, answering within 15 s, a domain, of a version that is known, with all that images need:
 * else the host's fault. */
int vmj_storage_check(const char *path, struct vmj_error *err);
/* The same for volumes: version 2, and folders that nobody but root may write. */
int vmj_storage_check_volumes(const char *path, struct vmj_error *err);

#endif
