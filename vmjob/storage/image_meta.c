/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/storage/image_meta.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmjob/base/parse.h"
#include "vmjob/model/json.h"
#include "vmjob/model/request.h"

#define MEMORY_MIB_MAX (64ull << 20)

static const char *const firmware_names[] = {NULL, "bios", "uefi"};
static const char *const agent_names[] = {NULL, "yes", "no"};

#define N(a) ((int)(sizeof(a) / sizeof(*(a))))

const char *vmj_firmware_name(enum vmj_firmware firmware)
{
	return firmware ? firmware_names[firmware] : "";
}

const char *vmj_has_agent_name(enum vmj_has_agent agent)
{
	return agent ? agent_names[agent] : "";
}

static int set_choice(const char *key, const char *value, const char *const *names, int n, int *ret,
		      struct vmj_error *err)
{
	char quoted[64];

	for (int i = 1; i < n; i++)
		if (strcmp(value, names[i]) == 0) {
			*ret = i;
			return 0;
		}
	return vmj_fail_user(err, EINVAL, "%s=%s: it is %s or %s", key,
			     vmj_quote(value, quoted, sizeof(quoted)), names[1], names[2]);
}

/* Printable ASCII, for terminals; `strict`: what login names have. */
static int set_text(const char *key, const char *value, bool strict, char *ret, size_t size,
		    struct vmj_error *err)
{
	char quoted[128];

	for (const char *c = value; *c; c++)
		if (!isascii(*c) || !isprint(*c) || (strict && !isalnum(*c) && !strchr("._-", *c)))
			return vmj_fail_user(err, EINVAL,
					     "%s=%s: it has a character that it must not have", key,
					     vmj_quote(value, quoted, sizeof(quoted)));
	if (strlen(value) >= size)
		return vmj_fail_user(err, EINVAL, "%s=%s: it is longer than %zu characters", key,
				     vmj_quote(value, quoted, sizeof(quoted)), size - 1);
	snprintf(ret, size, "%s", value);
	return 0;
}

static int set_size(const char *key, const char *value, uint64_t max, uint64_t *ret,
		    struct vmj_error *err)
{
	return vmj_parse_size_mib(key, value, 1, max, ret, err);
}

static int forget(struct vmj_image_meta *m, const char *key)
{
	if (!strcmp(key, "os"))
		m->os[0] = '\0';
	else if (!strcmp(key, "default-user"))
		m->default_user[0] = '\0';
	else if (!strcmp(key, "min-memory"))
		m->min_memory_mib = 0;
	else if (!strcmp(key, "min-disk"))
		m->min_disk_mib = 0;
	else if (!strcmp(key, "firmware"))
		m->firmware = VMJ_FIRMWARE_UNKNOWN;
	else if (!strcmp(key, "agent"))
		m->agent = VMJ_AGENT_UNKNOWN;
	else
		return -EINVAL;
	return 0;
}

int vmj_image_meta_set(struct vmj_image_meta *m, const char *key, const char *value,
		       struct vmj_error *err)
{
	struct vmj_image_meta new = *m;
	char quoted[64];
	int choice = 0, rc;

	if (forget(&new, key) < 0)
		return vmj_fail_user(
			err, EINVAL,
			"\"%s\" cannot be set: it is os, min-memory, min-disk, firmware, "
			"default-user or agent",
			vmj_quote(key, quoted, sizeof(quoted)));
	if (!*value)
		rc = 0;
	else if (!strcmp(key, "os"))
		rc = set_text(key, value, false, new.os, sizeof(new.os), err);
	else if (!strcmp(key, "default-user"))
		rc = set_text(key, value, true, new.default_user, sizeof(new.default_user), err);
	else if (!strcmp(key, "min-memory"))
		rc = set_size(key, value, MEMORY_MIB_MAX, &new.min_memory_mib, err);
	else if (!strcmp(key, "min-disk"))
		rc = set_size(key, value, VMJ_DISK_MIB_MAX, &new.min_disk_mib, err);
	else if (!strcmp(key, "firmware")) {
		rc = set_choice(key, value, firmware_names, N(firmware_names), &choice, err);
		new.firmware = (enum vmj_firmware)choice;
	} else {
		rc = set_choice(key, value, agent_names, N(agent_names), &choice, err);
		new.agent = (enum vmj_has_agent)choice;
	}
	if (rc == 0)
		*m = new;
	return rc;
}

void vmj_image_meta_merge(struct vmj_image_meta *m, const struct vmj_image_meta *over)
{
	if (over->os[0])
		memcpy(m->os, over->os, sizeof(m->os));
	if (over->default_user[0])
		memcpy(m->default_user, over->default_user, sizeof(m->default_user));
	if (over->min_memory_mib)
		m->min_memory_mib = over->min_memory_mib;
	if (over->min_disk_mib)
		m->min_disk_mib = over->min_disk_mib;
	if (over->firmware)
		m->firmware = over->firmware;
	if (over->agent)
		m->agent = over->agent;
}

void vmj_image_meta_read(struct vmj_json *in, struct vmj_image_meta *ret)
{
	int firmware = 0, agent = 0;

	vmj_json_string(in, "os", VMJ_OPTIONAL, ret->os, sizeof(ret->os));
	vmj_json_string(in, "default_user", VMJ_OPTIONAL, ret->default_user,
			sizeof(ret->default_user));
	vmj_json_u64(in, "min_memory_mib", VMJ_OPTIONAL, 1, MEMORY_MIB_MAX, &ret->min_memory_mib);
	vmj_json_u64(in, "min_disk_mib", VMJ_OPTIONAL, 1, VMJ_DISK_MIB_MAX, &ret->min_disk_mib);
	vmj_json_enum(in, "firmware", VMJ_OPTIONAL, firmware_names, N(firmware_names), &firmware);
	vmj_json_enum(in, "agent", VMJ_OPTIONAL, agent_names, N(agent_names), &agent);
	ret->firmware = (enum vmj_firmware)firmware;
	ret->agent = (enum vmj_has_agent)agent;
}

static void put_text(struct json_object *o, const char *key, const char *text)
{
	if (text[0])
		vmj_json_put_string(o, key, text);
}

static void put_mib(struct json_object *o, const char *key, uint64_t mib)
{
	if (mib)
		vmj_json_put_u64(o, key, mib);
}

void vmj_image_meta_write(struct json_object *o, const struct vmj_image_meta *m)
{
	put_text(o, "os", m->os);
	put_text(o, "default_user", m->default_user);
	put_mib(o, "min_memory_mib", m->min_memory_mib);
	put_mib(o, "min_disk_mib", m->min_disk_mib);
	put_text(o, "firmware", vmj_firmware_name(m->firmware));
	put_text(o, "agent", vmj_has_agent_name(m->agent));
}
