/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The options that name images and volumes. */
#include "vmjob/model/request.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmjob/model/option-text.h"

/* [OWNER/]NAME[@REV] */
struct image_name {
	char owner[VMJ_NAME_MAX + 1], name[VMJ_NAME_MAX + 1];
	uint32_t revision;
};

/* [STORAGE:]NAME */
struct volume_name {
	char storage[VMJ_NAME_MAX + 1], name[VMJ_NAME_MAX + 1];
};

/* The name before `end`, which text has; *rest: what is behind it. */
static int read_prefix(const char *what, const char *text, char end, char ret[VMJ_NAME_MAX + 1],
		       const char **rest, struct vmj_error *err)
{
	char name[VMJ_OPTION_TEXT_MAX + 1];
	int rc;

	*rest = text;
	rc = vmj_option_piece(rest, end, name, sizeof(name));
	if (rc == 0)
		rc = vmj_parse_name(what, name, err);
	if (rc == 0)
		strcpy(ret, name);
	return rc;
}

/* text: at most VMJ_OPTION_TEXT_MAX bytes. */
static int read_image(const char *what, const char *text, struct image_name *ret,
		      struct vmj_error *err)
{
	struct image_name image = {0};
	uint64_t revision = 0;
	char field[64];
	int rc = 0;

	if (strchr(text, '/')) {
		snprintf(field, sizeof(field), "%s, owner before the /", what);
		rc = read_prefix(field, text, '/', image.owner, &text, err);
	}
	if (rc == 0)
		rc = read_prefix(what, text, '@', image.name, &text, err);
	if (rc == 0 && text) {
		snprintf(field, sizeof(field), "%s, revision behind the @", what);
		rc = vmj_parse_u64(field, text, 1, UINT32_MAX, &revision, err);
	}
	if (rc < 0)
		return rc;
	image.revision = (uint32_t)revision;
	*ret = image;
	return 0;
}

/* text: at most VMJ_OPTION_TEXT_MAX bytes. */
static int read_volume(const char *what, const char *text, struct volume_name *ret,
		       struct vmj_error *err)
{
	struct volume_name volume = {0};
	char field[64];
	int rc = 0;

	if (strchr(text, ':')) {
		snprintf(field, sizeof(field), "%s, storage before the :", what);
		rc = read_prefix(field, text, ':', volume.storage, &text, err);
	}
	if (rc == 0)
		rc = vmj_parse_name(what, text, err);
	if (rc < 0)
		return rc;
	strcpy(volume.name, text);
	*ret = volume;
	return 0;
}

int vmj_request_set_image(struct vmj_request *r, const char *text, struct vmj_error *err)
{
	struct image_name image;
	int rc = vmj_option_check_length("--vm-image", text, err);

	if (rc == 0)
		rc = read_image("--vm-image", text, &image, err);
	if (rc < 0)
		return rc;
	memcpy(r->image_owner, image.owner, sizeof(r->image_owner));
	memcpy(r->image, image.name, sizeof(r->image));
	r->revision = image.revision;
	return 0;
}

int vmj_request_set_persistent(struct vmj_request *r, const char *text, struct vmj_error *err)
{
	struct volume_name volume;
	int rc = vmj_option_check_length("--vm-persistent", text, err);

	if (rc == 0)
		rc = read_volume("--vm-persistent", text, &volume, err);
	if (rc < 0)
		return rc;
	memcpy(r->persistent_storage, volume.storage, sizeof(r->persistent_storage));
	memcpy(r->persistent, volume.name, sizeof(r->persistent));
	return 0;
}

static int read_volume_disk(const char *text, struct vmj_disk_request *d, struct vmj_error *err)
{
	struct volume_name volume;
	int rc = read_volume("--vm-disk, volume", text, &volume, err);

	if (rc < 0)
		return rc;
	d->kind = VMJ_DISK_VOLUME;
	memcpy(d->storage, volume.storage, sizeof(d->storage));
	memcpy(d->name, volume.name, sizeof(d->name));
	return 0;
}

static int read_image_disk(const char *text, struct vmj_disk_request *d, struct vmj_error *err)
{
	struct image_name image;
	int rc = read_image("--vm-disk, image", text, &image, err);

	if (rc < 0)
		return rc;
	d->kind = VMJ_DISK_IMAGE;
	memcpy(d->owner, image.owner, sizeof(d->owner));
	memcpy(d->name, image.name, sizeof(d->name));
	d->revision = image.revision;
	return 0;
}

/* The first piece, which says of which kind the disk is. */
static int read_disk_kind(const char *piece, struct vmj_disk_request *d, struct vmj_error *err)
{
	char q[80];

	if (strncmp(piece, "size=", 5) == 0)
		return vmj_parse_size_mib("--vm-disk, size", piece + 5, 1, VMJ_DISK_MIB_MAX,
					  &d->size_mib, err);
	if (strncmp(piece, "volume=", 7) == 0)
		return read_volume_disk(piece + 7, d, err);
	if (strncmp(piece, "image=", 6) == 0)
		return read_image_disk(piece + 6, d, err);
	return vmj_fail_user(err, EINVAL,
			     "--vm-disk: \"%s\" is unknown: give size=SIZE, such as size=10G, "
			     "volume=[STORAGE:]NAME[,ro] or image=[OWNER/]NAME[@REV],ro",
			     vmj_quote(piece, q, sizeof(q)));
}

/* A later piece. */
static int read_disk_setting(const char *piece, struct vmj_disk_request *d, struct vmj_error *err)
{
	char q[80];

	if (d->kind != VMJ_DISK_SIZE && strcmp(piece, "ro") == 0) {
		d->readonly = true;
		return 0;
	}
	if (d->kind != VMJ_DISK_SIZE && strncmp(piece, "size=", 5) == 0)
		return vmj_fail_user(err, EINVAL,
				     "--vm-disk: %s %s has a size of its own: leave size= out, or "
				     "give another --vm-disk for a fresh disk",
				     vmj_disk_kind_name(d->kind), d->name);
	return vmj_fail_user(err, EINVAL, "--vm-disk: \"%s\" behind the comma is unknown: %s",
			     vmj_quote(piece, q, sizeof(q)),
			     d->kind == VMJ_DISK_SIZE ? "a fresh disk has its size only"
						      : "give ro");
}

static int read_disk(const char *text, struct vmj_disk_request *ret, struct vmj_error *err)
{
	struct vmj_disk_request d = {0};
	char piece[VMJ_OPTION_TEXT_MAX + 1];
	bool first = true;
	int rc;

	rc = vmj_option_check_length("--vm-disk", text, err);
	while (rc == 0 && text) {
		rc = vmj_option_piece(&text, ',', piece, sizeof(piece));
		if (rc == 0)
			rc = first ? read_disk_kind(piece, &d, err)
				   : read_disk_setting(piece, &d, err);
		first = false;
	}
	if (rc == 0)
		rc = vmj_disk_request_check(&d, err);
	if (rc == 0)
		*ret = d;
	return rc;
}

int vmj_request_add_disk(struct vmj_request *r, const char *text, struct vmj_error *err)
{
	struct vmj_disk_request d;
	int rc = read_disk(text, &d, err);

	if (rc < 0)
		return rc;
	if (r->n_disks == VMJ_DISKS_MAX)
		return vmj_fail_user(err, ERANGE, "--vm-disk: give at most %d disks",
				     VMJ_DISKS_MAX);
	r->disks[r->n_disks++] = d;
	return 0;
}
