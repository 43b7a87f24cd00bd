/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/storage/image_json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/file.h"
#include "vmjob/model/json.h"
#include "vmjob/model/request.h"
#include "vmjob/storage/image_tree.h"

#define FORMAT  "vmjob-image"
#define VERSION 1
#define DEPTH   2

static int parse(const char *text, size_t len, struct vmj_image *img, struct vmj_error *err)
{
	vmj_autojson struct json_object *o = NULL;
	char format[16] = "", name[VMJ_NAME_MAX + 1];
	uint32_t version;
	uint64_t bytes;
	struct vmj_json in;
	int rc = vmj_json_parse(IMAGE_META, text, len, DEPTH, &o, err);

	if (rc < 0)
		return rc;
	vmj_json_open(&in, o, "", err);
	vmj_json_string(&in, "format", VMJ_OPTIONAL, format, sizeof(format));
	vmj_json_u32(&in, "version", VMJ_NEEDED, VERSION, VERSION, &version);
	vmj_json_string(&in, "name", VMJ_OPTIONAL, name, sizeof(name));
	vmj_json_string(&in, "sha256", VMJ_NEEDED, img->sha256, sizeof(img->sha256));
	vmj_json_u64(&in, "virtual_bytes", VMJ_OPTIONAL, 1, VMJ_DISK_MIB_MAX << 20, &bytes);
	vmj_json_string(&in, "source", VMJ_OPTIONAL, img->source, sizeof(img->source));
	vmj_json_i64(&in, "time", VMJ_NEEDED, 0, INT64_MAX, &img->time);
	vmj_image_meta_read(&in, &img->meta);
	if (strspn(img->sha256, "0123456789abcdef") != 64)
		vmj_json_refuse(&in, "sha256", EINVAL, "is no SHA-256");
	return vmj_json_close(&in);
}

int vmj_image_json_read(int dir, const char *name, struct vmj_image *img, struct vmj_error *err)
{
	struct vmj_error e = {.code = 0};
	struct vmj_image read = *img;
	vmj_autofree char *text = NULL;
	size_t len;
	int rc;

	rc = vmj_file_read(dir, IMAGE_META, IMAGE_META_MAX, &text, &len, NULL);
	if (rc < 0)
		return vmj_image_fail(err, -rc, name, IMAGE_META);
	rc = parse(text, len, &read, &e);
	if (rc < 0)
		return vmj_fail_user(
			err, EINVAL,
			"image \"%s\": its " IMAGE_META
			" is damaged or of a newer version: import the image anew (%s)",
			name, e.text);
	*img = read;
	return 0;
}

int vmj_image_json_write(int dir, const struct vmj_image *img, struct vmj_error *err)
{
	vmj_autojson struct json_object *o = json_object_new_object();
	const char *text;

	if (!o)
		return vmj_fail(err, ENOMEM, "out of memory");
	vmj_json_put_string(o, "format", FORMAT);
	vmj_json_put_u64(o, "version", VERSION);
	vmj_json_put_string(o, "name", img->name);
	vmj_json_put_string(o, "sha256", img->sha256);
	vmj_json_put_u64(o, "virtual_bytes", img->virtual_bytes);
	vmj_json_put_string(o, "source", img->source);
	vmj_json_put_i64(o, "time", img->time);
	vmj_image_meta_write(o, &img->meta);
	text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);
	return vmj_file_write_atomic(dir, IMAGE_META, text, strlen(text), 0444, err);
}

int vmj_image_describe(const struct vmj_image *image, const struct vmj_image_meta *meta,
		       struct vmj_error *err)
{
	struct vmj_image changed = *image;
	vmj_autoclose int dir = -1;
	char path[sizeof(image->path)];

	if (image->owner != geteuid())
		return vmj_fail_user(err, EPERM, "image \"%s\" is not yours to change",
				     image->name);
	memcpy(path, image->path, sizeof(path));
	*strrchr(path, '/') = '\0';
	dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return vmj_image_fail(err, errno, image->name, "its directory");
	changed.meta = *meta;
	return vmj_image_json_write(dir, &changed, err);
}
