/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An export is made in a temporary file beside its target, or, for standard output, in $TMPDIR,
 * since qemu-img cannot write to a pipe. */
#include "vmjob/storage/image_export.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/file.h"
#include "vmjob/base/parse.h"
#include "vmjob/storage/qemu_img.h"

#define PIECE     (1u << 20)
#define DISK_TAIL ".disk" /* of the second temporary file, for an OVA */

static const struct {
	const char *name, *options;
} formats[] = {
	{"qcow2", NULL}, {"raw", NULL},  {"vmdk", NULL},
	{"vdi", NULL},   {"vhdx", NULL}, {"vpc", "subformat=dynamic,force_size=on"},
};
const char *const vmj_image_formats[] = {"qcow2", "raw", "vmdk", "vdi", "vhdx", "vpc", "ova", NULL};

static bool to_stdout(const struct vmj_image_export *spec)
{
	return strcmp(spec->file, "-") == 0;
}

int vmj_image_export_tmp(const struct vmj_image_export *spec, char buf[PATH_MAX],
			 struct vmj_error *err)
{
	const char *slash = strrchr(spec->file, '/'), *dir = getenv("TMPDIR");
	const char *base = slash ? slash + 1 : spec->file;
	int n;

	if (to_stdout(spec))
		n = snprintf(buf, PATH_MAX, "%s/vmjob-export-%ld",
			     dir && *dir == '/' ? dir : "/var/tmp", (long)getpid());
	else
		n = snprintf(buf, PATH_MAX, "%.*s.%s.tmp-%ld", (int)(base - spec->file), spec->file,
			     base, (long)getpid());
	if (n >= PATH_MAX - (int)sizeof(DISK_TAIL))
		return vmj_fail_user(err, ENAMETOOLONG, "the name of the file is too long");
	return 0;
}

void vmj_image_export_clean(const char *tmp)
{
	char disk[PATH_MAX + sizeof(DISK_TAIL)];

	snprintf(disk, sizeof(disk), "%s" DISK_TAIL, tmp);
	unlink(disk);
	unlink(tmp);
}

static void on_progress(double fraction, void *arg)
{
	const struct vmj_export *e = arg;
	uint64_t total = e->spec->image->virtual_bytes;

	if (e->spec->progress)
		e->spec->progress("converting", (uint64_t)(fraction * (double)total), total,
				  e->spec->arg);
}

int vmj_export_convert(const struct vmj_export *e, const char *format, const char *options,
		       const char *to, struct vmj_error *err)
{
	const char *from = e->spec->image->path;
	const char *plain[] = {"qemu-img", "convert", "-p", "-f", "qcow2", "-O",
			       format,     "--",      from, to,   NULL};
	const char *with[] = {"qemu-img", "convert", "-p", "-f", "qcow2", "-O", format,
			      "-o",       options,   "--", from, to,      NULL};
	struct vmj_qemu_img q = {
		.argv = options ? with : plain, .progress = on_progress, .arg = (void *)e};

	return vmj_qemu_img_run(&q, err);
}

static int fill(const struct vmj_export *e, struct vmj_error *err)
{
	char disk[PATH_MAX + sizeof(DISK_TAIL)];

	if (strcmp(e->spec->format, "ova") == 0) {
		snprintf(disk, sizeof(disk), "%s" DISK_TAIL, e->tmp);
		return vmj_ova_write(e, disk, err);
	}
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (strcmp(e->spec->format, formats[i].name) == 0)
			return vmj_export_convert(e, formats[i].name, formats[i].options, e->tmp,
						  err);
	return vmj_fail_user(err, EINVAL,
			     "--format=%s: it is qcow2, raw, vmdk, vdi, vhdx, vpc or ova",
			     e->spec->format);
}

static int send(const struct vmj_export *e, struct vmj_error *err)
{
	vmj_autofree char *buf = malloc(PIECE);
	struct stat st;
	off_t done = 0;
	ssize_t n;
	int rc;

	if (!buf || fstat(e->fd, &st) < 0)
		return vmj_fail(err, ENOMEM, "out of memory");
	while ((n = pread(e->fd, buf, PIECE, done)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		rc = n < 0 ? -errno : vmj_write_full(STDOUT_FILENO, buf, (size_t)n);
		if (rc < 0)
			return vmj_fail(err, -rc, "cannot write to standard output: %s",
					vmj_strerror(rc));
		done += n;
		if (e->spec->progress)
			e->spec->progress("writing", (uint64_t)done, (uint64_t)st.st_size,
					  e->spec->arg);
	}
	return 0;
}

static int fail_exists(const struct vmj_image_export *spec, struct vmj_error *err)
{
	char quoted[200];

	return vmj_fail_user(err, EEXIST, "file \"%s\" is there already: --force replaces it",
			     vmj_quote(spec->file, quoted, sizeof(quoted)));
}

/* As any file that the user makes. */
static int place(const struct vmj_export *e, struct vmj_error *err)
{
	const struct vmj_image_export *spec = e->spec;
	mode_t mask = umask(0);
	int rc;

	umask(mask);
	if (fchmod(e->fd, 0666 & ~mask) < 0 || fsync(e->fd) < 0)
		return vmj_fail(err, errno, "cannot finish the file: %m");
	rc = renameat2(AT_FDCWD, e->tmp, AT_FDCWD, spec->file, spec->force ? 0 : RENAME_NOREPLACE);
	if (rc < 0 && errno == EINVAL) /* NFS; a link does not replace either */
		rc = link(e->tmp, spec->file);
	if (rc < 0 && errno == EEXIST)
		return fail_exists(spec, err);
	return rc < 0 ? vmj_fail(err, errno, "cannot give the file its name: %m") : 0;
}

int vmj_image_export(const struct vmj_image_export *spec, struct vmj_error *err)
{
	struct vmj_export e = {.spec = spec, .tmp = spec->tmp};
	vmj_autoclose int fd = -1;
	char quoted[200];
	int rc;

	vmj_quote(spec->file, quoted, sizeof(quoted));
	if (!to_stdout(spec) && !spec->force &&
	    faccessat(AT_FDCWD, spec->file, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return fail_exists(spec, err);
	fd = e.fd = open(spec->tmp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return vmj_fail_user(err, errno, "file \"%s\" cannot be made: %m (%s)", quoted,
				     spec->tmp);
	rc = fill(&e, err);
	if (rc == 0)
		rc = to_stdout(spec) ? send(&e, err) : place(&e, err);
	vmj_image_export_clean(spec->tmp);
	return rc < 0 ? vmj_fail_prefix(err, "image \"%s\" cannot be exported", spec->image->name)
		      : 0;
}
