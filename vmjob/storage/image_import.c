/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From a file to a revision of an image, in a directory of its own (image_tmp.h) that appears by
 * one rename when all is done and durable. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/spawn.h"
#include "vmjob/storage/digest.h"
#include "vmjob/storage/firmware.h"
#include "vmjob/storage/image_json.h"
#include "vmjob/storage/image_same.h"
#include "vmjob/storage/image_source.h"
#include "vmjob/storage/image_tmp.h"
#include "vmjob/storage/image_tree.h"
#include "vmjob/storage/layout.h"
#include "vmjob/storage/qcow2_pack.h"
#include "vmjob/storage/qemu_img.h"

#define CHECK_TIMEOUT_MS (24 * 3600 * 1000)

struct import {
	const struct vmj_image_import *spec;
	struct vmj_image_source source;
	struct vmj_image_tmp tmp;
	struct vmj_image image; /* as image.json has it */
	bool compressed;        /* has clusters that are */
	uint64_t disk_bytes;    /* of the finished file */
};

static void import_done(struct import *im)
{
	vmj_image_tmp_done(&im->tmp);
	vmj_image_source_done(&im->source);
}

static int check_arguments(const struct vmj_image_import *spec, struct vmj_error *err)
{
	int rc = vmj_parse_name("--name", spec->name, err);

	if (rc < 0)
		return rc;
	if (spec->public_ && geteuid() != 0)
		return vmj_fail_user(err, EPERM, "only root may import public images");
	if (sodium_init() < 0)
		return vmj_fail(err, EIO, "libsodium cannot start");
	return vmj_storage_check(spec->path, err);
}

/* What the source takes on disk is what the image will, roughly: packed ones grow. */
static int admit(const struct import *im, struct vmj_error *err)
{
	struct stat st;
	uint64_t bytes;

	if (!im->spec->admit)
		return 0;
	if (fstat(im->source.fd, &st) < 0)
		return vmj_fail(err, errno, "cannot look at %s: %m", im->source.name);
	bytes = (uint64_t)st.st_blocks * 512;
	if (bytes > im->source.virtual_bytes)
		bytes = im->source.virtual_bytes;
	return im->spec->admit(bytes, im->spec->arg, err);
}

static void tell(const struct import *im, const char *what, uint64_t done, uint64_t total)
{
	if (im->spec->progress)
		im->spec->progress(what, done, total, im->spec->arg);
}

static int check_source(struct import *im, struct vmj_error *err)
{
	const char *argv[] = {"qemu-img", "check", "--output=json", "-f",
			      "qcow2",    "--",    im->source.path, NULL};
	vmj_autofree char *said = NULL;
	struct vmj_spawn s = {.argv = argv, .timeout_ms = CHECK_TIMEOUT_MS, .ret_output = &said};
	struct vmj_error e = {.code = 0};

	if (strcmp(im->source.format, "qcow2") != 0)
		return 0;
	if (vmj_spawn(&s, &e) == 0) {
		im->compressed = strstr(said, "\"compressed-clusters\"") != NULL;
		return 0;
	}
	if (e.code == ENOENT || e.code == ETIMEDOUT)
		return vmj_fail(err, e.code, "%s", e.text);
	return vmj_fail_user(
		err, EINVAL,
		"file \"%s\" has errors: repair it with qemu-img check -r all, or make "
		"it anew (%s)",
		im->source.name, e.text);
}

static void on_converted(double fraction, void *arg)
{
	struct import *im = arg;
	uint64_t total = im->source.virtual_bytes;

	tell(im, "converting", (uint64_t)(fraction * (double)total), total);
}

static void on_packed(uint64_t done, uint64_t total, void *arg)
{
	tell(arg, "converting", done, total);
}

/* Raw and plain qcow2 in one pass, checksum included. 1: qemu-img must do it. */
static int pack(struct import *im, struct vmj_error *err)
{
	vmj_autoclose int to =
		openat(im->tmp.dir, IMAGE_DISK, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	struct vmj_qcow2_pack p = {.from = im->source.fd,
				   .to = to,
				   .virtual_bytes = im->source.virtual_bytes,
				   .on_bytes = on_packed,
				   .arg = im};

	if (to < 0)
		return vmj_fail(err, errno, "it cannot be stored: %m");
	if (!strcmp(im->source.format, "raw"))
		return vmj_qcow2_pack(&p, im->image.sha256, err);
	if (!strcmp(im->source.format, "qcow2"))
		return vmj_qcow2_copy(&p, im->compressed, im->image.sha256, err);
	return 1;
}

/* Also drops internal snapshots, and unpacks compressed clusters. */
static int run_qemu_img(struct import *im, struct vmj_error *err)
{
	char target[PATH_MAX + 16];
	const char *argv[] = {"qemu-img",        "convert", "-p",    "-f",
			      im->source.format, "-O",      "qcow2", "--",
			      im->source.path,   target,    NULL};
	struct vmj_qemu_img q = {.argv = argv, .progress = on_converted, .arg = im};

	snprintf(target, sizeof(target), "%s/" IMAGE_DISK, im->tmp.path);
	return vmj_qemu_img_run(&q, err);
}

static int convert(struct import *im, struct vmj_error *err)
{
	int rc = pack(im, err);

	if (rc > 0)
		rc = run_qemu_img(im, err);
	if (rc < 0)
		return vmj_fail_prefix(err, "file \"%s\" cannot be imported", im->source.name);
	return 0;
}

static void on_digested(uint64_t done, void *arg)
{
	struct import *im = arg;

	tell(im, "checking", done, im->disk_bytes);
}

/* Its checksum and what can be seen of it; durable, unless the same is there already. */
static int seal_disk(struct import *im, struct vmj_error *err)
{
	vmj_autoclose int fd = openat(im->tmp.dir, IMAGE_DISK, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	int rc = 0;

	if (fd < 0 || fstat(fd, &st) < 0 || fchmod(fd, 0444) < 0)
		rc = -errno;
	if (rc == 0) {
		im->disk_bytes = (uint64_t)st.st_size;
		if (!im->image.sha256[0])
			rc = vmj_digest_and_sync(fd, im->image.sha256, on_digested, im);
		else if (fsync(fd) < 0) /* the mode */
			rc = -errno;
	}
	if (rc < 0)
		return vmj_fail(err, -rc, "storage %s: cannot finish the import: %s",
				im->spec->path, vmj_strerror(rc));
	im->image.meta.firmware = vmj_firmware_guess(fd);
	return vmj_image_same_link(&im->tmp, im->spec->path, im->spec->public_, fd,
				   im->image.sha256, err);
}

static int describe(struct import *im, struct vmj_error *err)
{
	struct vmj_image *img = &im->image;

	snprintf(img->name, sizeof(img->name), "%s", im->spec->name);
	snprintf(img->source, sizeof(img->source), "%s", im->source.name);
	img->virtual_bytes = im->source.virtual_bytes;
	img->time = time(NULL);
	vmj_image_meta_merge(&img->meta, &im->source.meta);
	vmj_image_meta_merge(&img->meta, &im->spec->meta);
	return vmj_image_json_write(im->tmp.dir, img, err);
}

/* What was spooled for the import is no part of the image. */
static int import(struct import *im, struct vmj_error *err)
{
	int rc;

	rc = vmj_image_source_prepare(&im->source, im->spec, &im->tmp, err);
	if (rc == 0)
		rc = admit(im, err);
	if (rc == 0)
		rc = check_source(im, err);
	if (rc == 0)
		rc = convert(im, err);
	if (rc == 0)
		rc = vmj_image_source_drop(&im->source, &im->tmp, err);
	if (rc == 0)
		rc = seal_disk(im, err);
	return rc == 0 ? describe(im, err) : rc;
}

int vmj_image_import(const struct vmj_image_import *spec, struct vmj_image *ret,
		     struct vmj_error *err)
{
	VMJ_CLEANUP(import_done)
	struct import im = {.spec = spec, .source = {.fd = -1}, .tmp = VMJ_IMAGE_TMP_NONE};
	uint32_t revision = 0;
	int rc;

	rc = check_arguments(spec, err);
	if (rc == 0)
		rc = vmj_image_source_open(&im.source, spec, err);
	if (rc == 0)
		rc = vmj_image_tmp_make(&im.tmp, spec->path, spec->public_, err);
	if (rc == 0)
		rc = import(&im, err);
	if (rc == 0)
		rc = vmj_image_tmp_publish(&im.tmp, spec->name, spec->public_, &revision, err);
	if (rc < 0)
		return rc;
	return vmj_image_load(spec->path, im.tmp.owner, geteuid(), spec->public_, spec->name,
			      revision, ret, err);
}
