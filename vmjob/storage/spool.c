/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/storage/spool.h"

#include <archive.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/file.h"
#include "vmjob/model/request.h"

#define PIECE     (1u << 20)
#define BLOCK     65536u      /* the least that is left out */
#define WRITEBACK (32u << 20) /* how much is handed to the disk at a time */

VMJ_DEFINE_CLEANUP(struct archive *, archive_read_free);

static bool is_zero(const char *data, size_t len)
{
	return len == 0 || (data[0] == 0 && memcmp(data, data + 1, len - 1) == 0);
}

static int put(struct vmj_spool *s, const char *data, size_t len)
{
	while (len) {
		ssize_t n = pwrite(s->fd, data, len, (off_t)s->bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		len -= (size_t)n;
		s->bytes += (uint64_t)n;
	}
	return 0;
}

/* The disk begins to write early, so that little is left for the fsync(). */
static void go_on(struct vmj_spool *s)
{
	if (s->bytes - s->started < WRITEBACK)
		return;
	sync_file_range(s->fd, (off_t)s->started, (off_t)(s->bytes - s->started),
			SYNC_FILE_RANGE_WRITE);
	s->started = s->bytes;
}

int vmj_spool_add(struct vmj_spool *s, const char *data, size_t len)
{
	if (len > (VMJ_DISK_MIB_MAX << 20) - s->bytes)
		return -EFBIG;
	if (s->digest)
		vmj_digest_add(s->digest, data, len);
	if (s->follow)
		vmj_follow_add(s->follow, data, len);
	while (len) {
		size_t n = BLOCK - s->bytes % BLOCK;
		bool zero;
		int rc = 0;

		if (n > len)
			n = len;
		zero = is_zero(data, n);
		while (n < len && is_zero(data + n, len - n < BLOCK ? len - n : BLOCK) == zero)
			n += len - n < BLOCK ? len - n : BLOCK;
		if (zero)
			s->bytes += n;
		else
			rc = put(s, data, n);
		if (rc < 0)
			return rc;
		data += n;
		len -= n;
	}
	if (s->follow)
		go_on(s);
	if (s->progress)
		s->progress(s->what, s->bytes, s->total, s->arg);
	return 0;
}

int vmj_spool_end(struct vmj_spool *s)
{
	return ftruncate(s->fd, (off_t)s->bytes) < 0 ? -errno : 0;
}

static int fail_write(int rc, struct vmj_error *err)
{
	if (rc == -EFBIG)
		return vmj_fail_user(err, EFBIG, "it is longer than a disk may be (%llu MiB)",
				     (unsigned long long)VMJ_DISK_MIB_MAX);
	return vmj_fail(err, -rc, "it cannot be stored: %s", vmj_strerror(rc));
}

int vmj_spool_stream(struct vmj_spool *s, int from, struct vmj_error *err)
{
	vmj_autofree char *buf = malloc(PIECE);
	ssize_t n;
	int rc;

	if (!buf)
		return vmj_fail(err, ENOMEM, "out of memory");
	while ((n = read(from, buf, PIECE)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return vmj_fail(err, errno, "it cannot be read: %m");
		rc = vmj_spool_add(s, buf, (size_t)n);
		if (rc < 0)
			return fail_write(rc, err);
	}
	rc = vmj_spool_end(s);
	return rc < 0 ? fail_write(rc, err) : 0;
}

/* Not archive_read_support_filter_all(): some of those start programs. */
static int open_packed(struct archive *a, int from)
{
	struct archive_entry *entry;

	archive_read_support_filter_gzip(a);
	archive_read_support_filter_xz(a);
	archive_read_support_filter_zstd(a);
	archive_read_support_format_raw(a);
	if (lseek(from, 0, SEEK_SET) < 0 || archive_read_open_fd(a, from, PIECE) != ARCHIVE_OK)
		return -EINVAL;
	if (archive_read_next_header(a, &entry) != ARCHIVE_OK)
		return -EINVAL;
	return archive_filter_count(a) > 1 ? 0 : -EINVAL; /* 1: it looked packed, but is not */
}

int vmj_spool_unpack(struct vmj_spool *s, int from, struct vmj_error *err)
{
	VMJ_CLEANUP(archive_read_freep) struct archive *a = archive_read_new();
	vmj_autofree char *buf = malloc(PIECE);
	la_ssize_t n = -1;
	int rc;

	if (!a || !buf)
		return vmj_fail(err, ENOMEM, "out of memory");
	rc = open_packed(a, from);
	while (rc == 0 && (n = archive_read_data(a, buf, PIECE)) > 0) {
		rc = vmj_spool_add(s, buf, (size_t)n);
		if (rc < 0)
			return fail_write(rc, err);
	}
	if (rc < 0 || n < 0)
		return vmj_fail_user(err, EINVAL, "it cannot be unpacked, so it is damaged: %s",
				     archive_error_string(a) ? archive_error_string(a) : "no data");
	rc = vmj_spool_end(s);
	return rc < 0 ? fail_write(rc, err) : 0;
}
