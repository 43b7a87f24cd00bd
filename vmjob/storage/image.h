/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images in a directory domain, and the disks made from them.
 *
 * Layout (doc/storage.md, version 1), a directory that any number of hosts share:
 *
 *   PATH/vmjob-domain.json             {"format": "vmjob-domain", "version": 1, "name": …, "uuid":
 * …} PATH/images/<uid>/<name>/<rev>/    disk.qcow2 (no backing file) and image.json (sha256,
 * virtual size, source, time); appears by rename, whole or not at all
 *   PATH/images/public/<name>/<rev>/   the same, owned by root
 *   PATH/images/<uid>/.tmp-*           an import under way; removed by the next import of the same
 *                                      user once its writer is gone (flock)
 *
 * images/ is sticky and world-writable as /tmp is; images/<uid> is used only if it is a real
 * directory owned by that uid and writable by no other. So users import with their own rights and
 * no daemon stands between, and the file system's permissions decide who reads. NAME is looked up
 * in the user's own images first, then in public ones.
 */
#ifndef VMJ_STORAGE_IMAGE_H
#define VMJ_STORAGE_IMAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "vmjob/base/error.h"
#include "vmjob/base/parse.h"

struct vmj_image {
	char name[VMJ_NAME_MAX + 1];
	uint32_t revision;
	uid_t owner;
	bool public_;
	uint64_t virtual_mib, used_mib; /* rounded up */
	uint64_t virtual_bytes;         /* exactly: an overlay must be as large as its image */
	int64_t time;                   /* of the import, seconds */
	char sha256[65];
	char path[512]; /* of disk.qcow2 */
};

/* Whose image: "" or NULL: the user's own, else the public one; "public"; or another user's name or
 * number, whose image must be shared with uid or gid. revision 0: the latest. ENOENT and EACCES are
 * the user's fault. Opens the file with the user's rights (fsuid, fsgid, no other groups, as QEMU
 * will) when called as root. */
int vmj_image_find(const char *path, const char *owner, const char *name, uint32_t revision,
		   uid_t uid, gid_t gid, struct vmj_image *ret, struct vmj_error *err);
/* All that uid can see (own and public), with the caller's rights, sorted; what cannot be read is
 * left out. *ret: array, caller's; may be NULL where *ret_n is 0. */
int vmj_image_list(const char *path, uid_t uid, struct vmj_image **ret, size_t *ret_n,
		   struct vmj_error *err);

typedef void (*vmj_progress_fn)(double fraction, void *arg);
/* Import as the calling user. file: qcow2 or raw, no backing file (a backing or data file is
 * refused). public_: root only. */
int vmj_image_import(const char *path, const char *name, const char *file, bool public_,
		     vmj_progress_fn progress, void *arg, struct vmj_image *ret,
		     struct vmj_error *err);
/* revision 0: the name with all its revisions. Guests that run from it on this file system's
 * clients keep their open files; those that start later are refused. */
int vmj_image_remove(const char *path, const char *name, uint32_t revision, bool public_,
		     struct vmj_error *err);

/* Copy-on-write overlay over image->path at `file`, owned by uid:gid, mode 0600; and an empty disk.
 * Replace what a crash left. The image is not opened. `file` is in a directory that only the caller
 * can write. A full disk is the host's fault. */
int vmj_disk_overlay(const struct vmj_image *image, const char *file, uid_t uid, gid_t gid,
		     struct vmj_error *err);
int vmj_disk_empty(const char *file, uint64_t size_mib, uid_t uid, gid_t gid,
		   struct vmj_error *err);
/* Can the file be opened past the page cache (O_DIRECT)? Not on every file system. */
bool vmj_disk_can_direct(const char *file);

#endif
