/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/agent/eventlog.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmjob/agent/agent.h"
#include "vmjob/agent/pool.h"
#include "vmjob/base/cleanup.h"
#include "vmjob/base/file.h"
#include "vmjob/base/log.h"

struct vmj_eventlog {
	struct vmj_pool *pool;
	char path[512], old_path[520];
	void (*heard)(struct json_object *o, void *arg);
	void *heard_arg;
};

int vmj_eventlog_new(const char *scratch, struct vmj_pool *pool, struct vmj_eventlog **ret,
		     struct vmj_error *err)
{
	struct vmj_eventlog *l = calloc(1, sizeof(*l));

	if (!l)
		return vmj_fail(err, ENOMEM, "no memory for the event log");
	l->pool = pool;
	snprintf(l->path, sizeof(l->path), "%s/events.log", scratch);
	snprintf(l->old_path, sizeof(l->old_path), "%s.1", l->path);
	*ret = l;
	return 0;
}

void vmj_eventlog_free(struct vmj_eventlog *l)
{
	free(l);
}

void vmj_eventlog_listen(struct vmj_eventlog *l, void (*heard)(struct json_object *o, void *arg),
			 void *arg)
{
	l->heard = heard;
	l->heard_arg = arg;
}

/* --- writing --------------------------------------------------------------------------------- */

struct writing {
	struct vmj_eventlog *log;
	char *line;
	size_t len;
};

/* One write, so that a crash leaves whole lines, or half of the last, which readers skip. */
static void write_work(void *arg)
{
	struct writing *w = arg;
	vmj_autoclose int fd =
		open(w->log->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || vmj_write_full(fd, w->line, w->len) < 0)
		vmj_log_warning("cannot write %s: %s", w->log->path, vmj_strerror(errno));
	else if (st.st_size + (off_t)w->len > VMJ_EVENTLOG_BYTES_MAX)
		rename(w->log->path, w->log->old_path);
}

static void write_done(void *arg)
{
	struct writing *w = arg;

	free(w->line);
	free(w);
}

static void write_line(struct vmj_eventlog *l, struct json_object *o)
{
	struct writing *w = calloc(1, sizeof(*w));
	int len;

	if (!w)
		return;
	w->log = l;
	len = asprintf(&w->line, "%s\n",
		       json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN |
								 JSON_C_TO_STRING_NOSLASHESCAPE));
	if (len < 0) {
		free(w);
		return;
	}
	w->len = (size_t)len;
	if (vmj_pool_submit(l->pool, VMJ_LANE_LOG, write_work, write_done, w) < 0)
		write_done(w);
}

void vmj_eventlog_add(struct vmj_eventlog *l, uint32_t job, uid_t uid, const char *what,
		      const char *text_format, ...)
{
	struct json_object *o = json_object_new_object();
	char text[VMJ_ERROR_TEXT_MAX];
	va_list ap;

	va_start(ap, text_format);
	vsnprintf(text, sizeof(text), text_format, ap);
	va_end(ap);
	json_object_object_add(o, "time", json_object_new_int64(vmj_now_us()));
	json_object_object_add(o, "job", json_object_new_int64(job));
	json_object_object_add(o, "uid", json_object_new_int64(uid));
	json_object_object_add(o, "what", json_object_new_string(what));
	json_object_object_add(o, "text", json_object_new_string(text));
	vmj_log_info("guest %u: %s", job, text);
	write_line(l, o);
	if (l->heard)
		l->heard(o, l->heard_arg);
	json_object_put(o);
}

/* --- reading --------------------------------------------------------------------------------- */

struct reading {
	struct vmj_eventlog *log;
	uint32_t job;
	uid_t uid;
	struct json_object *array;
	void (*got)(struct json_object *array, void *arg);
	void *arg;
};

static int64_t member(struct json_object *o, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(o, key, &v) ? json_object_get_int64(v) : -1;
}

static bool wanted(const struct reading *r, struct json_object *o)
{
	return json_object_is_type(o, json_type_object) &&
	       (!r->job || member(o, "job") == r->job) &&
	       (r->uid == (uid_t)-1 || member(o, "uid") == (int64_t)r->uid);
}

static void keep_newest(struct json_object *array, size_t most)
{
	size_t n = json_object_array_length(array);

	if (n > most)
		json_object_array_del_idx(array, 0, n - VMJ_EVENTLOG_SHOWN_MAX);
}

static void read_file(struct reading *r, const char *path)
{
	vmj_autofree char *text = NULL;
	char *rest, *line;

	if (vmj_file_read(AT_FDCWD, path, 2 * VMJ_EVENTLOG_BYTES_MAX, &text, NULL, NULL) < 0)
		return;
	rest = text;
	while ((line = strsep(&rest, "\n"))) {
		struct json_object *o = *line ? json_tokener_parse(line) : NULL;

		if (wanted(r, o))
			json_object_array_add(r->array, o);
		else
			json_object_put(o);
		keep_newest(r->array, 2 * VMJ_EVENTLOG_SHOWN_MAX);
	}
}

static void read_work(void *arg)
{
	struct reading *r = arg;

	r->array = json_object_new_array();
	read_file(r, r->log->old_path);
	read_file(r, r->log->path);
	keep_newest(r->array, VMJ_EVENTLOG_SHOWN_MAX);
}

static void read_done(void *arg)
{
	struct reading *r = arg;

	r->got(r->array, r->arg);
	free(r);
}

void vmj_eventlog_read(struct vmj_eventlog *l, uint32_t job, uid_t uid,
		       void (*got)(struct json_object *array, void *arg), void *arg)
{
	struct reading *r = calloc(1, sizeof(*r));

	if (r) {
		*r = (struct reading){l, job, uid, NULL, got, arg};
		if (vmj_pool_submit(l->pool, VMJ_LANE_LOG, read_work, read_done, r) == 0)
			return;
	}
	free(r);
	got(NULL, arg);
}
