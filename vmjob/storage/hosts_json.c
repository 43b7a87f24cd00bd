/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Records of hosts and of deaths: text, and the files below an open PATH/hosts. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/file.h"
#include "vmjob/storage/hosts_private.h"

#define HOST_FORMAT  "vmjob-host"
#define DEATH_FORMAT "vmjob-death"
#define VERSION      1
#define DEPTH_MAX    4
#define FILE_MAX     8192
#define STOP_MAX_MS  (24 * 3600 * 1000)

void vmj_record_open(struct vmj_json *in, struct json_object *o, const char *format,
		     uint32_t version, struct vmj_error *err)
{
	char is[32] = "";
	uint32_t v = 0;

	vmj_json_open(in, o, "", err);
	vmj_json_string(in, "format", VMJ_NEEDED, is, sizeof(is));
	vmj_json_u32(in, "version", VMJ_NEEDED, 1, UINT32_MAX, &v);
	if (in->rc == 0 && strcmp(is, format) != 0)
		vmj_json_refuse(in, "format", EINVAL, "it is not %s", format);
	if (in->rc == 0 && v > version)
		vmj_json_refuse(in, "version", EPROTO,
				"this vmjob knows %u: install the newer vmjob here", version);
}

void vmj_record_name(struct vmj_json *in, const char *key, char *buf, size_t size)
{
	vmj_json_string(in, key, VMJ_NEEDED, buf, size);
	if (in->rc == 0 && !vmj_name_valid(buf))
		vmj_json_refuse(in, key, EINVAL, "it is not a name");
}

/* The host whose file it is. */
static void read_own_name(struct vmj_json *in, const char *host)
{
	char name[VMJ_NAME_MAX + 1] = "";

	vmj_record_name(in, "host", name, sizeof(name));
	if (in->rc == 0 && strcmp(name, host) != 0)
		vmj_json_refuse(in, "host", EINVAL, "it is of another host, %s", name);
}

static int fail_damaged(const char *host, const char *what, const struct vmj_error *why,
			struct vmj_error *err)
{
	return vmj_fail(err, EINVAL, "%s of host %s is damaged: %s", what, host, why->text);
}

int vmj_host_parse(const char *host, const char *text, size_t len, struct vmj_host_record *ret,
		   struct vmj_error *err)
{
	vmj_autojson struct json_object *o = NULL;
	struct vmj_host_record r = {.time = 0};
	struct vmj_error why = {.code = 0};
	struct vmj_json in;

	if (vmj_json_parse("it", text, len, DEPTH_MAX, &o, &why) < 0)
		return fail_damaged(host, "the record", &why, err);
	vmj_record_open(&in, o, HOST_FORMAT, VERSION, &why);
	read_own_name(&in, host);
	vmj_json_string(&in, "boot", VMJ_NEEDED, r.lease.boot, sizeof(r.lease.boot));
	vmj_json_string(&in, "agent", VMJ_NEEDED, r.lease.agent, sizeof(r.lease.agent));
	vmj_json_u64(&in, "generation", VMJ_NEEDED, 1, INT64_MAX, &r.lease.generation);
	vmj_json_u64(&in, "seq", VMJ_NEEDED, 1, INT64_MAX, &r.lease.seq);
	vmj_json_u32(&in, "stop_after_ms", VMJ_NEEDED, 0, STOP_MAX_MS, &r.lease.stop_after_ms);
	vmj_json_i64(&in, "time", VMJ_NEEDED, 0, INT64_MAX, &r.time);
	vmj_json_u32(&in, "interval_ms", VMJ_NEEDED, 1, STOP_MAX_MS, &r.interval_ms);
	vmj_json_u64(&in, "size_bytes", VMJ_NEEDED, 0, INT64_MAX, &r.size_bytes);
	vmj_json_u64(&in, "free_bytes", VMJ_NEEDED, 0, INT64_MAX, &r.free_bytes);
	vmj_json_string(&in, "vmjob", VMJ_NEEDED, r.version, sizeof(r.version));
	if (vmj_json_close(&in) < 0)
		return fail_damaged(host, "the record", &why, err);
	snprintf(r.host, sizeof(r.host), "%s", host);
	*ret = r;
	return 0;
}

struct json_object *vmj_host_to_json(const struct vmj_host_record *r)
{
	struct json_object *o = json_object_new_object();

	vmj_json_put_string(o, "format", HOST_FORMAT);
	vmj_json_put_u64(o, "version", VERSION);
	vmj_json_put_string(o, "host", r->host);
	vmj_json_put_string(o, "boot", r->lease.boot);
	vmj_json_put_string(o, "agent", r->lease.agent);
	vmj_json_put_u64(o, "generation", r->lease.generation);
	vmj_json_put_u64(o, "seq", r->lease.seq);
	vmj_json_put_u64(o, "stop_after_ms", r->lease.stop_after_ms);
	vmj_json_put_i64(o, "time", r->time);
	vmj_json_put_u64(o, "interval_ms", r->interval_ms);
	vmj_json_put_u64(o, "size_bytes", r->size_bytes);
	vmj_json_put_u64(o, "free_bytes", r->free_bytes);
	vmj_json_put_string(o, "vmjob", r->version);
	return o;
}

static void read_boots(struct vmj_json *in, struct vmj_death *d)
{
	struct json_object *array;
	size_t n;

	vmj_json_array(in, "boots", VMJ_NEEDED, VMJ_DEATH_BOOTS_MAX, &array, &n);
	for (size_t i = 0; i < n; i++) {
		struct json_object *boot = json_object_array_get_idx(array, i);

		if (!json_object_is_type(boot, json_type_string) ||
		    json_object_get_string_len(boot) > VMJ_BOOT_ID_MAX) {
			vmj_json_refuse(in, "boots", EINVAL, "there must be boot ids in it");
			return;
		}
		snprintf(d->boots[i], sizeof(d->boots[i]), "%s", json_object_get_string(boot));
	}
	d->n_boots = (unsigned int)n;
}

int vmj_death_parse(const char *host, const char *text, size_t len, struct vmj_death *ret,
		    struct vmj_error *err)
{
	vmj_autojson struct json_object *o = NULL;
	struct vmj_death d = {.n_boots = 0};
	struct vmj_error why = {.code = 0};
	struct vmj_json in;

	if (vmj_json_parse("it", text, len, DEPTH_MAX, &o, &why) < 0)
		return fail_damaged(host, "the confirmed death", &why, err);
	vmj_record_open(&in, o, DEATH_FORMAT, VERSION, &why);
	read_own_name(&in, host);
	read_boots(&in, &d);
	vmj_json_i64(&in, "time", VMJ_NEEDED, 0, INT64_MAX, &d.time);
	vmj_json_string(&in, "by", VMJ_NEEDED, d.by, sizeof(d.by));
	if (vmj_json_close(&in) < 0)
		return fail_damaged(host, "the confirmed death", &why, err);
	*ret = d;
	return 0;
}

struct json_object *vmj_death_to_json(const char *host, const struct vmj_death *d)
{
	struct json_object *o = json_object_new_object(), *boots = json_object_new_array();

	vmj_json_put_string(o, "format", DEATH_FORMAT);
	vmj_json_put_u64(o, "version", VERSION);
	vmj_json_put_string(o, "host", host);
	for (unsigned int i = 0; i < d->n_boots; i++)
		json_object_array_add(boots, json_object_new_string(d->boots[i]));
	json_object_object_add(o, "boots", boots);
	vmj_json_put_i64(o, "time", d->time);
	vmj_json_put_string(o, "by", d->by);
	return o;
}

bool vmj_death_covers(const struct vmj_death *d, const char *boot)
{
	for (unsigned int i = 0; i < d->n_boots; i++)
		if (strcmp(d->boots[i], boot) == 0)
			return true;
	return false;
}

/* Replaced while it is looked up, it is stale on NFS: once more. -ENOENT: err untouched. */
static int load(int hosts, const char *host, const char *suffix, char **ret, size_t *ret_len,
		struct vmj_error *err)
{
	char name[VMJ_NAME_MAX + 16];
	struct vmj_error e;
	int rc = -ESTALE;

	snprintf(name, sizeof(name), "%s%s", host, suffix);
	for (unsigned int i = 0; i < 3 && rc == -ESTALE; i++)
		rc = vmj_file_read(hosts, name, FILE_MAX, ret, ret_len, &e);
	if (rc == -ENOENT || rc == 0)
		return rc;
	return vmj_fail(err, -rc, "hosts/%s of the storage: %s", name, e.text);
}

int vmj_host_load(int hosts, const char *host, struct vmj_host_record *ret, struct vmj_error *err)
{
	vmj_autofree char *text = NULL;
	size_t len = 0;
	int rc = load(hosts, host, ".json", &text, &len, err);

	return rc < 0 ? rc : vmj_host_parse(host, text, len, ret, err);
}

int vmj_death_load(int hosts, const char *host, struct vmj_death *ret, struct vmj_error *err)
{
	vmj_autofree char *text = NULL;
	size_t len = 0;
	int rc = load(hosts, host, ".dead.json", &text, &len, err);

	return rc < 0 ? rc : vmj_death_parse(host, text, len, ret, err);
}
