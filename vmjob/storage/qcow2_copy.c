/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/storage/qcow2_format.h"
#include "vmjob/storage/qcow2_pack.h"
#include "vmjob/storage/spool.h"

#define CLUSTER_BITS   16
#define REFCOUNT_ORDER 4
#define HOLES_MAX      (16ull << 20) /* in the file; more are not worth their reading */

struct copy {
	const struct vmj_qcow2_pack *p;
	struct vmj_spool out;
};

static void copy_done(struct copy *c)
{
	vmj_follow_cancel(c->out.follow);
}

static bool is_plain(int fd, const struct stat *st)
{
	struct qcow2_header h;

	return pread(fd, &h, sizeof(h), 0) == sizeof(h) && be32toh(h.version) == 3 &&
	       be32toh(h.cluster_bits) == CLUSTER_BITS && !h.incompatible && !h.compatible &&
	       !h.autoclear && !h.n_snapshots && be32toh(h.refcount_order) == REFCOUNT_ORDER &&
	       (uint64_t)st->st_size <= (uint64_t)st->st_blocks * 512 + HOLES_MAX;
}

static void on_progress(const char *what, uint64_t done, uint64_t total, void *arg)
{
	const struct vmj_qcow2_pack *p = arg;

	if (p->on_bytes)
		p->on_bytes(done, total, p->arg);
}

int vmj_qcow2_copy(const struct vmj_qcow2_pack *p, bool compressed, char sha256[65],
		   struct vmj_error *err)
{
	VMJ_CLEANUP(copy_done)
	struct copy c = {.p = p, .out = {.fd = p->to, .progress = on_progress, .arg = (void *)p}};
	struct stat st;
	int rc;

	if (fstat(p->from, &st) < 0)
		return vmj_fail(err, errno, "it cannot be looked at: %m");
	if (compressed || !is_plain(p->from, &st))
		return 1;
	c.out.total = (uint64_t)st.st_size;
	if (lseek(p->from, 0, SEEK_SET) < 0 || ftruncate(p->to, st.st_size) < 0)
		return vmj_fail(err, errno, "it cannot be stored: %m");
	c.out.follow = vmj_follow_start();
	if (!c.out.follow)
		return vmj_fail(err, ENOMEM, "cannot start a thread");
	rc = vmj_spool_stream(&c.out, p->from, err);
	if (rc < 0)
		return rc;
	rc = fsync(p->to) < 0 ? -errno : vmj_follow_end(vmj_steal(c.out.follow), sha256);
	return rc < 0 ? vmj_fail(err, -rc, "it cannot be stored: %s", vmj_strerror(rc)) : 0;
}
