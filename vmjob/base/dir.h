/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A directory's entries, one call each. */
#ifndef VMJ_BASE_DIR_H
#define VMJ_BASE_DIR_H

/* `dir` is open for as long as the call lasts; a result other than 0 ends the listing. The entry
 * may be removed or renamed meanwhile. */
typedef int (*vmj_dir_fn)(int dir, const char *entry, void *arg);

/* fn for each entry of at/name but "." and "..", in no order; name is not followed where it is a
 * link ("." names `at` itself). Returns what fn returned last, 0 at the end, or a negative errno of
 * opening or reading (ENOENT, ENOTDIR and ELOOP among them). */
int vmj_dir_each(int at, const char *name, vmj_dir_fn fn, void *arg);

#endif
