/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images in a directory domain, and the disks made from them.
 *
 * Layout (doc/storage.md), a directory that any number of hosts share:
 *
 *   PATH/images/<uid>/<name>/<rev>/    disk.qcow2 (whole: no backing file) and image.json; appears
 *                                      by rename, whole or not at all
 *   PATH/images/public/<name>/<rev>/   the same, owned by root
 *   PATH/images/<uid>/.tmp-*           an import under way; removed by the next import of the same
 *                                      user once its writer is gone (flock)
 *   PATH/shares/<uid>.<name>           an empty file of that uid's: the image is shared, others may
 *                                      look for it
 *
 * images/ is sticky and world-writable as /tmp is; images/<uid> is used only if it is a real
 * directory owned by that uid and writable by no other. So users import with their own rights and
 * no daemon stands between, and the file system's permissions decide who reads: the mode and the
 * group of images/<uid>/<name> say whom an image is shared with. NAME is looked up in the user's
 * own images first, then in public ones; OWNER/NAME in that owner's alone.
 */
#ifndef VMJ_STORAGE_IMAGE_H
#define VMJ_STORAGE_IMAGE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "vmjob/base/error.h"
#include "vmjob/base/parse.h"
#include "vmjob/storage/image_meta.h"

enum vmj_share { VMJ_SHARE_NONE = 0, VMJ_SHARE_GROUP, VMJ_SHARE_ALL };

struct vmj_image {
	char name[VMJ_NAME_MAX + 1];
	uint32_t revision;
	uid_t owner;
	bool public_;
	uint64_t virtual_mib, used_mib; /* rounded up */
	uint64_t virtual_bytes;         /* exactly: an overlay must be as large as its image */
	int64_t time;                   /* of the import, seconds */
	uint64_t inode;                 /* of the disk's file: the same for the same content */
	unsigned int links;             /* names of the disk's file: other revisions and volumes */
	enum vmj_share share;           /* of a user's own; public ones are for all */
	gid_t share_gid;                /* of VMJ_SHARE_GROUP */
	char sha256[65];                /* of disk.qcow2 */
	char source[256];               /* the name of the file that was imported */
	struct vmj_image_meta meta;
	char path[512]; /* of disk.qcow2 */
};

/* Whose image: "" or NULL: the user's own, else the public one; "public"; or another user's name or
 * number, whose image must be shared with uid or gid. revision 0: the latest. ENOENT and EACCES are
 * the user's fault. Opens the file with the user's rights (fsuid, fsgid, no other groups, as QEMU
 * will) when called as root. */
int vmj_image_find(const char *path, const char *owner, const char *name, uint32_t revision,
		   uid_t uid, gid_t gid, struct vmj_image *ret, struct vmj_error *err);
/* All that uid can see (own, public and shared), with the caller's rights, sorted; what cannot be
 * read is left out. *ret: array, caller's; may be NULL where *ret_n is 0. */
int vmj_image_list(const char *path, uid_t uid, struct vmj_image **ret, size_t *ret_n,
		   struct vmj_error *err);

typedef void (*vmj_progress_fn)(double fraction, void *arg);

/* `what` is a literal ("reading", "converting"…); total 0: not known. */
typedef void (*vmj_image_progress_fn)(const char *what, uint64_t done, uint64_t total, void *arg);

struct vmj_image_import {
	const char *path; /* of the domain */
	const char *name;
	const char *file; /* "-": standard input */
	const char *disk; /* of an archive (OVA) with several; NULL: the only one */
	bool public_;     /* root only */
	/* May so much be written? Asked when the disk is known; NULL: yes. */
	int (*admit)(uint64_t bytes, void *arg, struct vmj_error *err);
	struct vmj_image_meta meta;     /* what is set here goes before what is found in the file */
	vmj_image_progress_fn progress; /* NULL: none */
	void *arg;                      /* of both */
};

/*
 * Import as the calling user: qcow2, raw, vmdk, vdi, vhdx, vpc (told by content), one of these
 * packed with gzip, xz or zstd, or the disk of an OVA. What refers to other files is refused. The
 * image is whole or absent, whenever the caller dies; vmj_image_sweep() removes what is left then.
 */
int vmj_image_import(const struct vmj_image_import *spec, struct vmj_image *ret,
		     struct vmj_error *err);

/* Remove what dead imports of the calling user have left, and of public ones if that is root.
 * Living ones are not disturbed. */
int vmj_image_sweep(const char *path, struct vmj_error *err);

/* revision 0: the name with all its revisions. Guests that run from it on this file system's
 * clients keep their open files; those that start later are refused. */
int vmj_image_remove(const char *path, const char *name, uint32_t revision, bool public_,
		     struct vmj_error *err);

/* Change what is said about an image of the caller's, atomically. image: as found. */
int vmj_image_describe(const struct vmj_image *image, const struct vmj_image_meta *meta,
		       struct vmj_error *err);

/* Share all revisions of an image of the caller's, later ones too, or no more. gid: for
 * VMJ_SHARE_GROUP, a group of the caller's; those may use it whose primary group it is. */
int vmj_image_share(const char *path, const char *name, enum vmj_share with, gid_t gid,
		    struct vmj_error *err);

struct vmj_image_export {
	const struct vmj_image *image;
	const char *file;   /* "-": standard output */
	const char *format; /* one of vmj_image_formats[] */
	bool force;         /* replace the file */
	const char *tmp;    /* where to make it: vmj_image_export_tmp() */
	vmj_image_progress_fn progress;
	void *arg;
};
extern const char *const vmj_image_formats[]; /* ends with NULL */

/* A name for the temporary file of an export, and its removal after an interruption. */
int vmj_image_export_tmp(const struct vmj_image_export *spec, char buf[PATH_MAX],
			 struct vmj_error *err);
void vmj_image_export_clean(const char *tmp);

/* Write the image to a file as the calling user. The file appears whole, by rename, and replaces
 * another only by force (EEXIST, user's fault). */
int vmj_image_export(const struct vmj_image_export *spec, struct vmj_error *err);

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
