/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/storage/lease_files.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/file.h"
#include "vmjob/model/json.h"
#include "vmjob/storage/hosts.h"
#include "vmjob/storage/hosts_private.h"

#define NAME_SIZE 32 /* of a file: "0000000012.json", ".new-<16 hex digits>" */
#define NEW       ".new-"
#define LISTS_MAX 16 /* attempts to list a directory */
#define LEFT_MAX  16 /* files of crashed takers that may lie about */

/* --- directories ----------------------------------------------------------------------------- */

int vmj_leases_open(const char *domain, const char *folder, struct vmj_error *err)
{
	vmj_autoclose int fd = open(domain, O_PATH | O_DIRECTORY | O_CLOEXEC);
	vmj_autoclose int sub = -1;

	if (fd >= 0)
		sub = openat(fd, folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (sub < 0 && errno == ENOENT)
		return vmj_fail(err, ENOENT,
				"storage %s has no %s directory: it is not mounted here, or root "
				"has yet to run `vmjob storage format`",
				domain, folder);
	if (sub < 0)
		return vmj_fail(err, errno, "storage %s: cannot open its %s directory: %m", domain,
				folder);
	return vmj_steal_fd(sub);
}

const char *vmj_lease_dir(uid_t uid, const char *volume, char buf[VMJ_LEASE_DIR_MAX])
{
	snprintf(buf, VMJ_LEASE_DIR_MAX, "%u.%s", (unsigned int)uid, volume);
	return buf;
}

bool vmj_lease_dir_parse(const char *dir, uid_t *ret_uid, char ret_volume[VMJ_NAME_MAX + 1])
{
	const char *dot = strchr(dir, '.');
	char uid[16];
	uint64_t v;

	if (!dot || (size_t)(dot - dir) >= sizeof(uid) || !vmj_name_valid(dot + 1))
		return false;
	memcpy(uid, dir, (size_t)(dot - dir));
	uid[dot - dir] = '\0';
	if (vmj_parse_u64("uid", uid, 0, (uid_t)-2, &v, NULL) < 0)
		return false;
	*ret_uid = (uid_t)v;
	snprintf(ret_volume, VMJ_NAME_MAX + 1, "%s", dot + 1);
	return true;
}

static int new_name(char buf[NAME_SIZE])
{
	uint64_t r;

	if (getrandom(&r, sizeof(r), 0) != (ssize_t)sizeof(r))
		return -EIO;
	snprintf(buf, NAME_SIZE, NEW "%016" PRIx64, r);
	return 0;
}

int vmj_dir_refresh(int dir)
{
	char name[NAME_SIZE];
	int fd, rc = new_name(name);

	if (rc < 0)
		return rc;
	fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	vmj_close(fd);
	return unlinkat(dir, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

static const char *epoch_name(uint32_t epoch, char buf[NAME_SIZE])
{
	snprintf(buf, NAME_SIZE, "%010" PRIu32 ".json", epoch);
	return buf;
}

/* 0: it is no epoch's name. */
static uint32_t epoch_of(const char *name)
{
	unsigned long v = 0;

	for (unsigned int i = 0; i < 10; i++) {
		if (!isdigit((unsigned char)name[i]))
			return 0;
		v = 10 * v + (unsigned long)(name[i] - '0');
	}
	return strcmp(name + 10, ".json") == 0 && v <= VMJ_LEASE_EPOCH_MAX ? (uint32_t)v : 0;
}

/* Keeps the highest VMJ_LEASE_EPOCHS_MAX. */
static void keep_epoch(uint32_t epoch, uint32_t *epochs, unsigned int *n)
{
	unsigned int lowest = 0;

	if (*n < VMJ_LEASE_EPOCHS_MAX) {
		epochs[(*n)++] = epoch;
		return;
	}
	for (unsigned int i = 1; i < *n; i++)
		if (epochs[i] < epochs[lowest])
			lowest = i;
	if (epoch > epochs[lowest])
		epochs[lowest] = epoch;
}

static int add_name(const char *name, char **names, size_t *len)
{
	size_t more = strlen(name) + 1;
	char *longer = realloc(*names, *len + more);

	if (!longer)
		return -ENOMEM;
	memcpy(longer + *len, name, more);
	*names = longer;
	*len += more;
	return 0;
}

static int read_names(int dir, char **names, size_t *len)
{
	int again = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	vmj_autoclosedir DIR *d = again < 0 ? NULL : fdopendir(again);
	struct dirent *e;

	if (!d) {
		int rc = -errno;

		vmj_close(again);
		return rc;
	}
	while ((errno = 0, e = readdir(d))) {
		int rc = 0;

		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			rc = add_name(e->d_name, names, len);
		if (rc < 0)
			return rc;
	}
	return -errno;
}

int vmj_dir_names(int dir, char **ret, size_t *ret_len)
{
	int rc = -ENOENT;

	for (unsigned int i = 0; i < LISTS_MAX && rc == -ENOENT; i++) {
		vmj_autofree char *names = NULL;
		size_t len = 0;

		rc = read_names(dir, &names, &len);
		if (rc == 0 && !names && !(names = strdup("")))
			rc = -ENOMEM;
		if (rc < 0)
			continue;
		*ret = vmj_steal(names);
		*ret_len = len;
	}
	return rc;
}

static int list_epochs(int fd, uint32_t *epochs, unsigned int *ret_n, unsigned int *ret_left)
{
	vmj_autofree char *names = NULL;
	unsigned int n = 0, left = 0;
	size_t len = 0;
	int rc = vmj_dir_names(fd, &names, &len);

	if (rc < 0)
		return rc;
	for (const char *name = names; name < names + len; name += strlen(name) + 1) {
		uint32_t epoch = epoch_of(name);

		if (epoch)
			keep_epoch(epoch, epochs, &n);
		left += name[0] == '.';
	}
	*ret_n = n;
	if (ret_left)
		*ret_left = left;
	return 0;
}

/* --- records --------------------------------------------------------------------------------- */

/* A file that was replaced between looking it up and reading is stale on NFS: once more. */
static int read_epoch(int fd, const char *what, uint32_t epoch, struct vmj_lease_record *ret,
		      struct vmj_error *err)
{
	char name[NAME_SIZE], full[128];
	vmj_autofree char *text = NULL;
	size_t len = 0;
	int rc = -ESTALE;

	epoch_name(epoch, name);
	for (unsigned int i = 0; i < 3 && rc == -ESTALE; i++)
		rc = vmj_file_read(fd, name, VMJ_LEASE_FILE_MAX, &text, &len, err);
	if (rc < 0)
		return rc == -ESTALE ? -ENOENT : rc;
	snprintf(full, sizeof(full), "lease %s/%s", what, name);
	return vmj_lease_parse(full, text, len, ret, err);
}

int vmj_lease_latest(int fd, const char *what, uint32_t *ret_epoch, struct vmj_lease_record *ret,
		     struct vmj_error *err)
{
	uint32_t epochs[VMJ_LEASE_EPOCHS_MAX], max = 0;
	unsigned int n = 0;
	int rc = list_epochs(fd, epochs, &n, NULL);

	if (rc < 0)
		return vmj_fail(err, -rc, "cannot list lease %s: %s", what, vmj_strerror(rc));
	for (unsigned int i = 0; i < n; i++)
		max = epochs[i] > max ? epochs[i] : max;
	rc = max ? read_epoch(fd, what, max, ret, err) : 0;
	if (rc == 0)
		*ret_epoch = max;
	return rc;
}

int vmj_lease_sweep(int fd)
{
	vmj_autofree char *names = NULL;
	uint32_t max = 0;
	size_t len = 0;
	int rc = vmj_dir_names(fd, &names, &len);

	if (rc < 0)
		return rc;
	for (const char *name = names; name < names + len; name += strlen(name) + 1)
		max = epoch_of(name) > max ? epoch_of(name) : max;
	for (const char *name = names; name < names + len; name += strlen(name) + 1)
		if (name[0] == '.' || (epoch_of(name) && epoch_of(name) < max))
			unlinkat(fd, name, 0);
	return 0;
}

/* --- the environment ------------------------------------------------------------------------- */

/* Keeps the sentence; returns rc. */
static int failed(struct vmj_lease_files *f, int rc, const char *what)
{
	return vmj_fail(&f->err, -rc, "storage %s: cannot %s lease %s: %s", f->domain, what, f->dir,
			vmj_strerror(rc));
}

static int64_t env_now(void *arg)
{
	return vmj_boottime_ms();
}

static int env_list(void *arg, bool fresh, uint32_t *epochs, unsigned int *ret_n)
{
	struct vmj_lease_files *f = arg;
	unsigned int left = 0;
	int rc = 0;

	*ret_n = 0;
	if (f->fd < 0)
		return 0;
	if (fresh)
		rc = vmj_dir_refresh(f->fd);
	if (rc == 0)
		rc = list_epochs(f->fd, epochs, ret_n, &left);
	if (rc < 0)
		return failed(f, rc, "list");
	if (left > LEFT_MAX)
		vmj_lease_sweep(f->fd);
	return 0;
}

static int write_new(int fd, const char *name, const char *text)
{
	vmj_autoclose int file =
		openat(fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	int rc = file < 0 ? -errno : vmj_write_full(file, text, strlen(text));

	return rc == 0 && fsync(file) < 0 ? -errno : rc;
}

/* A link whose answer was lost, and which is asked for again, seems to exist already: the new
 * file's own count of links knows better. */
static int link_new(int fd, const char *tmp, const char *name)
{
	struct stat st;
	int rc = linkat(fd, tmp, fd, name, 0) < 0 ? -errno : 0;

	if (rc < 0 && fstatat(fd, tmp, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_nlink == 2)
		rc = 0;
	unlinkat(fd, tmp, 0);
	return rc == 0 && fsync(fd) < 0 ? -errno : rc;
}

static int env_create(void *arg, uint32_t epoch, const struct vmj_lease_record *r)
{
	vmj_autojson struct json_object *o = vmj_lease_to_json(r);
	struct vmj_lease_files *f = arg;
	char tmp[NAME_SIZE], name[NAME_SIZE];
	int rc = -ENOENT;

	/* Somebody may have swept the new file away before it was linked. */
	for (unsigned int i = 0; i < 3 && rc == -ENOENT; i++) {
		rc = new_name(tmp);
		if (rc == 0)
			rc = write_new(f->fd, tmp, json_object_to_json_string(o));
		if (rc == 0)
			rc = link_new(f->fd, tmp, epoch_name(epoch, name));
	}
	return rc < 0 && rc != -EEXIST ? failed(f, rc, "write") : rc;
}

static int env_read(void *arg, uint32_t epoch, struct vmj_lease_record *ret)
{
	struct vmj_lease_files *f = arg;

	return read_epoch(f->fd, f->dir, epoch, ret, &f->err);
}

static int env_release(void *arg, uint32_t epoch, const struct vmj_lease_record *r)
{
	vmj_autojson struct json_object *o = vmj_lease_to_json(r);
	const char *text = json_object_to_json_string(o);
	struct vmj_lease_files *f = arg;
	char name[NAME_SIZE];

	return vmj_file_write_atomic(f->fd, epoch_name(epoch, name), text, strlen(text), 0600,
				     &f->err);
}

static int env_remove(void *arg, uint32_t epoch)
{
	struct vmj_lease_files *f = arg;
	char name[NAME_SIZE];

	if (unlinkat(f->fd, epoch_name(epoch, name), 0) < 0 && errno != ENOENT)
		return failed(f, -errno, "clean");
	return 0;
}

static int env_host(void *arg, const char *host, struct vmj_lease_host *ret)
{
	struct vmj_lease_files *f = arg;
	struct vmj_host_record r;
	int rc = f->old_views ? 0 : vmj_dir_refresh(f->hosts);

	if (rc < 0)
		return failed(f, rc, "look at the hosts for");
	rc = vmj_host_load(f->hosts, host, &r, &f->err);
	if (rc == 0)
		*ret = r.lease;
	return rc;
}

static int env_is_dead(void *arg, const char *host, const char *boot, bool *ret)
{
	struct vmj_lease_files *f = arg;
	struct vmj_death d;
	int rc = f->old_views ? 0 : vmj_dir_refresh(f->hosts);

	if (rc < 0)
		return failed(f, rc, "look at the hosts for");
	rc = vmj_death_load(f->hosts, host, &d, &f->err);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	*ret = rc == 0 && vmj_death_covers(&d, boot);
	return 0;
}

static void put_seen(struct vmj_lease_files *f)
{
	if (f->seen.since_ms > 0)
		vmj_host_seen_put(f->domain, f->seen_host, &f->seen);
}

/* A copy: others may be looking at the same host. */
static struct vmj_lease_seen *env_seen(void *arg, const char *host)
{
	struct vmj_lease_files *f = arg;

	if (strcmp(f->seen_host, host) != 0) {
		put_seen(f);
		snprintf(f->seen_host, sizeof(f->seen_host), "%s", host);
		vmj_host_seen_get(f->domain, host, &f->seen);
	}
	return &f->seen;
}

static int64_t env_hold_until(void *arg, uint64_t *ret_term)
{
	const struct vmj_lease_files *f = arg;
	struct vmj_host_standing s;

	vmj_host_standing(f->domain, &s);
	*ret_term = s.term;
	return s.hold_until_ms;
}

const struct vmj_lease_env vmj_lease_files_env = {
	.now_ms = env_now,
	.list = env_list,
	.create = env_create,
	.read = env_read,
	.release = env_release,
	.remove = env_remove,
	.host = env_host,
	.is_dead = env_is_dead,
	.seen = env_seen,
	.hold_until_ms = env_hold_until,
};

/* --- opening --------------------------------------------------------------------------------- */

int vmj_lease_files_open(struct vmj_lease_files *f, const char *domain, uid_t uid,
			 const char *volume, bool make, struct vmj_error *err)
{
	int rc;

	*f = (struct vmj_lease_files){.domain = domain, .leases = -1, .fd = -1, .hosts = -1};
	rc = vmj_parse_name("volume", volume, err);
	if (rc < 0)
		return rc;
	vmj_lease_dir(uid, volume, f->dir);
	f->leases = vmj_leases_open(domain, "leases", err);
	if (f->leases < 0)
		return f->leases;
	f->hosts = vmj_leases_open(domain, "hosts", err);
	if (f->hosts < 0)
		return f->hosts;
	if (make && mkdirat(f->leases, f->dir, 0700) == 0)
		fsync(f->leases);
	f->fd = openat(f->leases, f->dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (f->fd < 0 && (make || errno != ENOENT)) {
		rc = failed(f, -errno, "open");
		if (err)
			*err = f->err;
		return rc;
	}
	return 0;
}

void vmj_lease_files_close(struct vmj_lease_files *f)
{
	put_seen(f);
	f->leases = vmj_close(f->leases);
	f->fd = vmj_close(f->fd);
	f->hosts = vmj_close(f->hosts);
}
