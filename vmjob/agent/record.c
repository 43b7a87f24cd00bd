/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/agent/record.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/file.h"
#include "vmjob/base/parse.h"
#include "vmjob/model/json.h"

#define RECORD       "guest.json"
#define RECORD_MAX   262144
#define RECORD_DEPTH 16

int vmj_record_init(const char *scratch, char *ret_dir, struct vmj_error *err)
{
	int n = snprintf(ret_dir, VMJ_GUEST_PATH_MAX, "%s/guests", scratch);

	if (n < 0 || n > VMJ_GUEST_PATH_MAX - 64)
		return vmj_fail(err, ENAMETOOLONG, "the scratch path is too long: %s", scratch);
	return vmj_mkdir_p(ret_dir, 0711, err);
}

const char *vmj_record_path(const char *dir, uint32_t job, const char *file, char *buf)
{
	snprintf(buf, VMJ_GUEST_PATH_MAX, "%s/%" PRIu32 "%s%s", dir, job, file ? "/" : "",
		 file ? file : "");
	return buf;
}

int vmj_record_write(const char *dir, const struct vmj_guest *g, struct vmj_error *err)
{
	vmj_autojson struct json_object *o = vmj_guest_to_json(g);
	char path[VMJ_GUEST_PATH_MAX];
	const char *text;
	int r;

	if (!o)
		return vmj_fail(err, ENOMEM, "no memory for the record of guest %u", g->job);
	r = vmj_mkdir_p(vmj_record_path(dir, g->job, NULL, path), 0711, err);
	if (r < 0)
		return r;
	text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);
	return vmj_file_replace(AT_FDCWD, vmj_record_path(dir, g->job, RECORD, path), text,
				strlen(text), 0600, err);
}

int vmj_record_read(const char *dir, uint32_t job, struct vmj_guest *ret, struct vmj_error *err)
{
	vmj_autojson struct json_object *o = NULL;
	vmj_autofree char *text = NULL;
	char path[VMJ_GUEST_PATH_MAX];
	struct vmj_guest g;
	size_t len;
	int r;

	vmj_record_path(dir, job, RECORD, path);
	r = vmj_file_read(AT_FDCWD, path, RECORD_MAX, &text, &len, err);
	if (r < 0)
		return r;
	r = vmj_json_parse(path, text, len, RECORD_DEPTH, &o, err);
	if (r < 0)
		return r;
	r = vmj_guest_from_json(o, &g, err);
	if (r < 0)
		return vmj_fail_prefix(err, "%s", path);
	if (g.job != job)
		return vmj_fail(err, EINVAL, "%s is the record of job %u", path, g.job);
	*ret = g;
	return 0;
}

int vmj_record_remove(const char *dir, uint32_t job, struct vmj_error *err)
{
	char path[VMJ_GUEST_PATH_MAX];

	return vmj_remove_tree(AT_FDCWD, vmj_record_path(dir, job, NULL, path), err);
}

int vmj_record_scan(const char *dir, vmj_record_fn found, void *arg, struct vmj_error *err)
{
	vmj_autoclosedir DIR *d = opendir(dir);
	struct dirent *e;

	if (!d)
		return vmj_fail(err, errno, "cannot read %s: %s", dir, vmj_strerror(errno));
	while ((e = readdir(d))) {
		struct vmj_error why = {0};
		struct vmj_guest g;
		uint64_t job;

		if (vmj_parse_u64("job", e->d_name, 1, UINT32_MAX, &job, NULL) < 0)
			continue;
		if (vmj_record_read(dir, (uint32_t)job, &g, &why) < 0)
			found((uint32_t)job, NULL, &why, arg);
		else
			found((uint32_t)job, &g, NULL, arg);
	}
	return 0;
}

/* When process 1 started, in milliseconds after the kernel's boot: proc(5), field 22 of stat, which
 * a time namespace shifts (time_namespaces(7)). About 0 but in a container. */
static int64_t init_start_ms(void)
{
	vmj_autofree char *stat = NULL, *offsets = NULL;
	long long seconds = 0, nanoseconds = 0;
	const char *p;

	if (vmj_file_read(AT_FDCWD, "/proc/1/stat", 4096, &stat, NULL, NULL) < 0)
		return 0;
	p = strrchr(stat, ')');
	for (int field = 2; p && field < 22; field++)
		p = strchr(p + 1, ' ');
	if (!p)
		return 0;
	if (vmj_file_read(AT_FDCWD, "/proc/self/timens_offsets", 4096, &offsets, NULL, NULL) == 0) {
		const char *boottime = strstr(offsets, "boottime");

		if (boottime)
			sscanf(boottime, "boottime %lld %lld", &seconds, &nanoseconds);
	}
	return strtoll(p + 1, NULL, 10) * 1000 / sysconf(_SC_CLK_TCK) -
	       (seconds * 1000 + nanoseconds / 1000000);
}

int vmj_boot_id(char ret[37], struct vmj_error *err)
{
	vmj_autofree char *text = NULL;
	size_t len;
	int r = vmj_file_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &text, &len, err);

	if (r < 0)
		return r;
	if (len < 36)
		return vmj_fail(err, EIO, "the kernel's boot id is too short");
	snprintf(ret, 37, "%.24s%012" PRIx64, text, (uint64_t)init_start_ms() & 0xffffffffffff);
	return 0;
}

int vmj_agent_id(char ret[VMJ_AGENT_ID_MAX + 1], struct vmj_error *err)
{
	uint64_t r[2];

	if (getrandom(r, sizeof(r), 0) != (ssize_t)sizeof(r))
		return vmj_fail(err, EIO, "the kernel gives no random numbers");
	snprintf(ret, VMJ_AGENT_ID_MAX + 1, "%016" PRIx64 "%016" PRIx64, r[0], r[1]);
	return 0;
}
