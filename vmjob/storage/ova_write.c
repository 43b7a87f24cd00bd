/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The archive's order is the standard's: descriptor, manifest, disk. As ustar where that can hold
 * the disk (8 GiB), else with pax headers. */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/storage/digest.h"
#include "vmjob/storage/image_export.h"
#include "vmjob/storage/ovf.h"

#define PIECE (1u << 20)

VMJ_DEFINE_CLEANUP(struct archive *, archive_write_free);
VMJ_DEFINE_CLEANUP(struct archive_entry *, archive_entry_free);

struct ova {
	struct archive *a;
	int64_t time;
};

static int fail_archive(struct ova *o, struct vmj_error *err)
{
	const char *why = archive_error_string(o->a);

	return vmj_fail(err, archive_errno(o->a) > 0 ? archive_errno(o->a) : EIO,
			"cannot write the archive: %s", why ? why : "out of memory");
}

static int add_header(struct ova *o, const char *name, uint64_t size, struct vmj_error *err)
{
	VMJ_CLEANUP(archive_entry_freep) struct archive_entry *e = archive_entry_new();

	if (!e)
		return vmj_fail(err, ENOMEM, "out of memory");
	archive_entry_set_pathname(e, name);
	archive_entry_set_size(e, (la_int64_t)size);
	archive_entry_set_filetype(e, AE_IFREG);
	archive_entry_set_perm(e, 0644);
	archive_entry_set_mtime(e, o->time, 0);
	return archive_write_header(o->a, e) == ARCHIVE_OK ? 0 : fail_archive(o, err);
}

static int add_data(struct ova *o, const void *data, size_t len, struct vmj_error *err)
{
	return archive_write_data(o->a, data, len) == (la_ssize_t)len ? 0 : fail_archive(o, err);
}

static int add_text(struct ova *o, const char *name, const char *text, struct vmj_error *err)
{
	int rc = add_header(o, name, strlen(text), err);

	return rc < 0 ? rc : add_data(o, text, strlen(text), err);
}

static int add_disk(struct ova *o, const char *name, int fd, uint64_t size,
		    const struct vmj_image_export *spec, struct vmj_error *err)
{
	vmj_autofree char *buf = malloc(PIECE);
	int rc = buf ? add_header(o, name, size, err) : vmj_fail(err, ENOMEM, "out of memory");

	for (uint64_t done = 0; rc == 0 && done < size;) {
		ssize_t n = pread(fd, buf, PIECE, (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return vmj_fail(err, n ? errno : EIO, "cannot read the converted disk: %s",
					n ? strerror(errno) : "it is cut off");
		rc = add_data(o, buf, (size_t)n, err);
		done += (uint64_t)n;
		if (spec->progress)
			spec->progress("packing", done, size, spec->arg);
	}
	return rc;
}

/* "SHA256(file)= hex", what others check. */
static int add_manifest(struct ova *o, const char *name, const char *ovf_name, const char *ovf,
			const char *disk_name, const char *disk_sha256, struct vmj_error *err)
{
	vmj_auto_digest struct vmj_digest *d = vmj_digest_new("SHA256");
	char hex[VMJ_DIGEST_HEX_MAX], text[512];

	if (!d)
		return vmj_fail(err, ENOMEM, "out of memory");
	vmj_digest_add(d, ovf, strlen(ovf));
	snprintf(text, sizeof(text), "SHA256(%s)= %s\nSHA256(%s)= %s\n", ovf_name,
		 vmj_digest_end(d, hex), disk_name, disk_sha256);
	return add_text(o, name, text, err);
}

static int write_archive(const struct vmj_export *e, struct ova *o, int disk, struct vmj_error *err)
{
	const struct vmj_image *image = e->spec->image;
	char ovf_name[VMJ_NAME_MAX + 8], mf_name[VMJ_NAME_MAX + 8], disk_name[VMJ_NAME_MAX + 16];
	struct vmj_ovf_spec spec = {.name = image->name,
				    .file = disk_name,
				    .virtual_bytes = image->virtual_bytes,
				    .meta = &image->meta};
	vmj_autofree char *ovf = NULL;
	char sha256[65];
	struct stat st;
	int rc;

	snprintf(ovf_name, sizeof(ovf_name), "%s.ovf", image->name);
	snprintf(mf_name, sizeof(mf_name), "%s.mf", image->name);
	snprintf(disk_name, sizeof(disk_name), "%s-disk1.vmdk", image->name);
	if (fstat(disk, &st) < 0)
		return vmj_fail(err, errno, "cannot look at the converted disk: %m");
	spec.file_bytes = (uint64_t)st.st_size;
	rc = vmj_digest_file(disk, sha256, NULL, NULL);
	if (rc < 0)
		return vmj_fail(err, -rc, "cannot read the converted disk: %s", vmj_strerror(rc));
	rc = vmj_ovf_write(&spec, &ovf, err);
	if (rc == 0)
		rc = add_text(o, ovf_name, ovf, err);
	if (rc == 0)
		rc = add_manifest(o, mf_name, ovf_name, ovf, disk_name, sha256, err);
	if (rc == 0)
		rc = add_disk(o, disk_name, disk, spec.file_bytes, e->spec, err);
	if (rc == 0 && archive_write_close(o->a) != ARCHIVE_OK)
		return fail_archive(o, err);
	return rc;
}

int vmj_ova_write(const struct vmj_export *e, const char *disk, struct vmj_error *err)
{
	VMJ_CLEANUP(archive_write_freep) struct archive *a = archive_write_new();
	struct ova o = {.a = a, .time = e->spec->image->time};
	vmj_autoclose int fd = -1;
	int rc;

	if (!a)
		return vmj_fail(err, ENOMEM, "out of memory");
	rc = vmj_export_convert(e, "vmdk", "subformat=streamOptimized", disk, err);
	if (rc == 0) {
		fd = open(disk, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
		archive_write_set_format_pax_restricted(a);
		if (fd < 0)
			rc = vmj_fail(err, errno, "cannot open the converted disk: %m");
		else if (archive_write_open_fd(a, e->fd) != ARCHIVE_OK)
			rc = fail_archive(&o, err);
		else
			rc = write_archive(e, &o, fd, err);
	}
	unlink(disk);
	return rc;
}
