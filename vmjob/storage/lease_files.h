/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The files of leases (lease.h has their layout): the environment of the protocol in
 * vmjob/policy/lease.h. For lease.c, hosts*.c and the tests of leases, for nobody else. */
#ifndef VMJ_STORAGE_LEASE_FILES_H
#define VMJ_STORAGE_LEASE_FILES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "vmjob/base/error.h"
#include "vmjob/policy/lease.h"

#define VMJ_LEASE_FILE_MAX 4096
#define VMJ_LEASE_DIR_MAX  (VMJ_NAME_MAX + 16) /* "<uid>.<volume>" */

struct json_object;

/* PATH/leases or PATH/hosts: a descriptor. A domain without it (version 1, not mounted) is the
 * host's fault. */
int vmj_leases_open(const char *domain, const char *folder, struct vmj_error *err);

/* "<uid>.<volume>", and back; false: not such a name. */
const char *vmj_lease_dir(uid_t uid, const char *volume, char buf[VMJ_LEASE_DIR_MAX]);
bool vmj_lease_dir_parse(const char *dir, uid_t *ret_uid, char ret_volume[VMJ_NAME_MAX + 1]);

/* Have what others did to this directory seen from here: a file is made in it and removed, after
 * which no client of a network file system trusts what it remembers of it. 0 or -errno. */
int vmj_dir_refresh(int dir);

/* All names but . and .., one behind the other, each with its NUL; *ret is the caller's. Some
 * file systems (FUSE) fail to list a directory with ENOENT when a file in it vanishes meanwhile:
 * they are asked again. 0 or -errno. */
int vmj_dir_names(int dir, char **ret, size_t *ret_len);

/* A record's text. Parse: damage is the host's fault; `what` names the file. */
struct json_object *vmj_lease_to_json(const struct vmj_lease_record *r);
int vmj_lease_parse(const char *what, const char *text, size_t len, struct vmj_lease_record *ret,
		    struct vmj_error *err);

/* The world of one lease. Errors of the storage are kept in err, for the sentence. */
struct vmj_lease_files {
	const char *domain; /* borrowed */
	char dir[VMJ_LEASE_DIR_MAX];
	int leases, fd, hosts; /* fd -1: no lease was ever taken */
	bool old_views;        /* hosts' records may be some seconds old: for showing */
	struct vmj_error err;
	char seen_host[VMJ_NAME_MAX + 1]; /* what is known of that one, kept by close */
	struct vmj_lease_seen seen;
};
/* make: the lease's directory. Close with vmj_lease_files_close(), also after a failure. */
int vmj_lease_files_open(struct vmj_lease_files *f, const char *domain, uid_t uid,
			 const char *volume, bool make, struct vmj_error *err);
void vmj_lease_files_close(struct vmj_lease_files *f);

/* All but `arg`, which must be a struct vmj_lease_files. */
extern const struct vmj_lease_env vmj_lease_files_env;

/* The record of the highest epoch in an open directory; *ret_epoch 0: there is none. */
int vmj_lease_latest(int fd, const char *what, uint32_t *ret_epoch, struct vmj_lease_record *ret,
		     struct vmj_error *err);
/* All epochs but the highest, and what crashes left. 0 or -errno. */
int vmj_lease_sweep(int fd);

#endif
