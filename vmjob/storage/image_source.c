/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/storage/image_source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/parse.h"
#include "vmjob/storage/disk_format.h"
#include "vmjob/storage/image_tree.h"
#include "vmjob/storage/ova.h"
#include "vmjob/storage/spool.h"

#define STDIN_NAME "standard input"
#define LAYERS_MAX 3 /* an archive, packed, with a packed disk in it */

static bool is_stdin(const struct vmj_image_import *spec)
{
	return strcmp(spec->file, "-") == 0;
}

static const char *what_of(const struct vmj_image_source *s, char buf[300])
{
	if (strcmp(s->name, STDIN_NAME) == 0)
		return STDIN_NAME;
	snprintf(buf, 300, "file \"%s\"", s->name);
	return buf;
}

int vmj_image_source_open(struct vmj_image_source *s, const struct vmj_image_import *spec,
			  struct vmj_error *err)
{
	vmj_autoclose int fd = -1;
	char quoted[200];
	struct stat st;
	const char *base;

	if (is_stdin(spec)) {
		snprintf(s->name, sizeof(s->name), STDIN_NAME);
		return 0;
	}
	vmj_quote(spec->file, quoted, sizeof(quoted));
	fd = open(spec->file, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return vmj_fail_user(err, errno, "file \"%s\" cannot be opened: %m", quoted);
	if (fstat(fd, &st) < 0)
		return vmj_fail(err, errno, "cannot look at file \"%s\": %m", quoted);
	if (!S_ISREG(st.st_mode))
		return vmj_fail_user(err, EINVAL,
				     "file \"%s\" is not a regular file: pipe it into "
				     "vmjob image import -",
				     quoted);
	if (!realpath(spec->file, s->path))
		return vmj_fail_user(err, errno, "file \"%s\" cannot be found: %m", quoted);
	base = strrchr(s->path, '/') + 1;
	vmj_quote(base, s->name, sizeof(s->name));
	s->fd = vmj_steal_fd(fd);
	return 0;
}

/* A new file in the import's directory. Layers alternate between two names, so that what a layer
 * was made of can go when the next is done. */
static int start_spool(const struct vmj_image_import *spec, const struct vmj_image_tmp *tmp,
		       int layer, char name[16], struct vmj_spool *ret, struct vmj_error *err)
{
	snprintf(name, 16, "layer-%d", layer);
	*ret = (struct vmj_spool){
		.fd = openat(tmp->dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600),
		.what = "reading",
		.progress = spec->progress,
		.arg = spec->arg,
	};
	if (ret->fd < 0)
		return vmj_fail(err, errno, "cannot make a file for the import: %m");
	return 0;
}

/* The layer takes the place of what it was made of. */
static int take_layer(struct vmj_image_source *s, const struct vmj_image_tmp *tmp, int layer,
		      const char *name, int fd, struct vmj_error *err)
{
	char before[16];

	vmj_close(s->fd);
	s->fd = fd;
	snprintf(before, sizeof(before), "layer-%d", layer - 1);
	unlinkat(tmp->dir, before, 0);
	if ((size_t)snprintf(s->path, sizeof(s->path), "%s/%s", tmp->path, name) >= sizeof(s->path))
		return vmj_fail(err, ENAMETOOLONG, "the path of the storage is too long");
	return 0;
}

static int unpack(struct vmj_image_source *s, const struct vmj_image_import *spec,
		  enum vmj_packing packing, struct vmj_spool *spool, struct vmj_error *err)
{
	char what[300];
	int rc;

	if (s->fd < 0)
		rc = vmj_spool_stream(spool, STDIN_FILENO, err);
	else if (packing == VMJ_PACKED_STREAM)
		rc = vmj_spool_unpack(spool, s->fd, err);
	else
		rc = vmj_ova_extract(s->fd, spec->disk, spool, &s->meta, err);
	return rc < 0 ? vmj_fail_prefix(err, "%s", what_of(s, what)) : 0;
}

/* Until it is a disk. */
static int unpack_all(struct vmj_image_source *s, const struct vmj_image_import *spec,
		      const struct vmj_image_tmp *tmp, struct vmj_error *err)
{
	bool archive = false;
	int layer;

	for (layer = 0; layer <= LAYERS_MAX; layer++) {
		enum vmj_packing packing = s->fd < 0 ? VMJ_PACKED_NOT : vmj_packing_probe(s->fd);
		struct vmj_spool spool;
		char name[16];
		int rc;

		if (s->fd >= 0 && packing == VMJ_PACKED_NOT)
			break;
		archive |= packing == VMJ_PACKED_TAR;
		rc = start_spool(spec, tmp, layer, name, &spool, err);
		if (rc < 0)
			return rc;
		rc = unpack(s, spec, packing, &spool, err);
		if (rc < 0) {
			vmj_close(spool.fd);
			return rc;
		}
		rc = take_layer(s, tmp, layer, name, spool.fd, err);
		if (rc < 0)
			return rc;
	}
	if (layer > LAYERS_MAX)
		return vmj_fail_user(err, EINVAL, "file \"%s\" is packed more than %d times",
				     s->name, LAYERS_MAX);
	if (spec->disk && !archive)
		return vmj_fail_user(err, EINVAL,
				     "--disk=%s: file \"%s\" is no archive, but one disk",
				     spec->disk, s->name);
	return 0;
}

int vmj_image_source_prepare(struct vmj_image_source *s, const struct vmj_image_import *spec,
			     const struct vmj_image_tmp *tmp, struct vmj_error *err)
{
	struct vmj_disk_format format;
	char what[300];
	int rc = unpack_all(s, spec, tmp, err);

	if (rc == 0)
		rc = vmj_disk_format_probe(s->fd, what_of(s, what), &format, err);
	if (rc < 0)
		return rc;
	s->format = format.name;
	s->virtual_bytes = format.virtual_bytes;
	return s->virtual_bytes ? 0
				: vmj_disk_format_ask(s->path, s->format, &s->virtual_bytes, err);
}

int vmj_image_source_drop(struct vmj_image_source *s, const struct vmj_image_tmp *tmp,
			  struct vmj_error *err)
{
	char name[16];

	for (int layer = 0; layer <= LAYERS_MAX; layer++) {
		snprintf(name, sizeof(name), "layer-%d", layer);
		if (unlinkat(tmp->dir, name, 0) < 0 && errno != ENOENT)
			return vmj_fail(err, errno, "cannot remove %s of the import: %m", name);
	}
	vmj_image_source_done(s);
	return 0;
}

void vmj_image_source_done(struct vmj_image_source *s)
{
	s->fd = vmj_close(s->fd);
}
