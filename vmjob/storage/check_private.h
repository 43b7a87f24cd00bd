/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files check*.c share, one for each kind of thing; for nobody else. */
#ifndef VMJ_STORAGE_CHECK_PRIVATE_H
#define VMJ_STORAGE_CHECK_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "vmjob/storage/check.h"

#define CHECK_PATH_MAX 512  /* within the domain */
#define CHECK_OLD_S    3600 /* what is younger may be somebody's work of this moment */

struct vmj_checking {
	const struct vmj_check *check;
	const char *path; /* of the domain */
	int domain;       /* the same, open */
	int64_t now;      /* seconds */
	unsigned int version;
	struct vmj_check_sum sum;
};

/* A finding that is left; todo: what to do about it. */
void vmj_check_found(struct vmj_checking *k, enum vmj_severity severity, const char *where,
		     const char *todo, const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* One that was mended; done: how. */
void vmj_check_mended(struct vmj_checking *k, const char *where, const char *done, const char *fmt,
		      ...) __attribute__((format(printf, 4, 5)));
/* A directory or file could not be read: rc is the negative errno. Nothing is said of what has gone
 * meanwhile, and of what is no directory, which vmj_check_folder() says. */
void vmj_check_unreadable(struct vmj_checking *k, const char *where, int rc);

/* Who something must belong to, and its mode: (mode & mask) == want. */
struct vmj_check_rights {
	uid_t uid;
	gid_t gid; /* (gid_t)-1: any */
	mode_t mask, want;
};
/* at/entry must be a directory with these rights; mends them. false:
 * it is none. */
bool vmj_check_folder(struct vmj_checking *k, int at, const char *entry, const char *where,
		      const struct vmj_check_rights *r);
/* The same of a regular file. */
bool vmj_check_file(struct vmj_checking *k, int at, const char *entry, const char *where,
		    const struct vmj_check_rights *r);

/* Is the entry one that a dead atomic write left (".NAME.tmp-…")? An old one is removed. */
bool vmj_check_is_temporary(struct vmj_checking *k, int at, const char *entry, const char *where);
/* Is it old enough that nobody works on it? */
bool vmj_check_is_old(const struct vmj_checking *k, const struct stat *st);
/* Remove a tree of leavings (repair), or say that it is there. */
void vmj_check_leavings(struct vmj_checking *k, int at, const char *entry, const char *where,
			const char *what);
/* Does somebody hold the volume's lease, or can that not be told? */
bool vmj_check_is_busy(struct vmj_checking *k, uid_t uid, const char *volume);
/* `what` is wrong with a volume that nobody uses: mended by who may take leases. */
void vmj_check_mend_volume(struct vmj_checking *k, uid_t uid, const char *name, const char *where,
			   const char *what);
/* "a/b" in buf. */
const char *vmj_check_join(char buf[CHECK_PATH_MAX], const char *dir, const char *entry);

bool vmj_check_mark(struct vmj_checking *k); /* false: nothing more can be looked at */
void vmj_check_folders(struct vmj_checking *k);
void vmj_check_images(struct vmj_checking *k);
void vmj_check_volumes(struct vmj_checking *k);
void vmj_check_leases(struct vmj_checking *k);
void vmj_check_hosts(struct vmj_checking *k);

#endif
