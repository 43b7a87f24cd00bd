/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files: whole reads with a bound, atomic durable replacement, removal of trees. All paths are the
 * caller's own, never a user's. */
#ifndef VMJ_BASE_FILE_H
#define VMJ_BASE_FILE_H

#include <stddef.h>
#include <sys/types.h>

#include "vmjob/base/error.h"

/* Whole regular file, NUL-terminated, at most `max` bytes (more: EFBIG). *ret is the caller's;
 * ret_len may be NULL. dirfd as openat(); O_NOFOLLOW on the last part. */
int vmj_file_read(int dirfd, const char *path, size_t max, char **ret, size_t *ret_len,
		  struct vmj_error *err);

/* Replace the file atomically and durably: temporary file beside it (".NAME.tmp-<random>", left
 * there only by a crash), fsync, rename, fsync of the directory. Mode as given, whatever the umask.
 */
int vmj_file_write_atomic(int dirfd, const char *path, const char *data, size_t len, mode_t mode,
			  struct vmj_error *err);

/* The same without the two fsync: whole or not at all whatever happens to the process; after a
 * crash of the host the file may be the old one, empty or missing. For what means nothing then. */
int vmj_file_replace(int dirfd, const char *path, const char *data, size_t len, mode_t mode,
		     struct vmj_error *err);

/* Write one short value in one write(2), for /proc, /sys and cgroup files. */
int vmj_file_put(const char *path, const char *value, struct vmj_error *err);

/* mkdir -p. Directories that it makes get `mode`, whatever the umask; existing ones are kept as
 * they are. */
int vmj_mkdir_p(const char *path, mode_t mode, struct vmj_error *err);

/* rm -rf of dirfd/path without following symbolic links or crossing file systems (EXDEV), at most
 * 64 levels deep (ELOOP); ENOENT is success. */
int vmj_remove_tree(int dirfd, const char *path, struct vmj_error *err);

/* read/write until done or error, EINTR-safe, for blocking descriptors; 0 or a negative errno.
 * vmj_read_full returns bytes read (short only at end of file). */
ssize_t vmj_read_full(int fd, void *buf, size_t len);
int vmj_write_full(int fd, const void *buf, size_t len);

#endif
