/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "plugins/spank/user-data.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/file.h"
#include "vmjob/model/user-data.h"

#define DEPTH_MAX 64

struct walk {
	unsigned int depth, documents;
	bool is_mapping;
};

/* One event of the parser; "" or what is wrong. */
static const char *look(struct walk *w, yaml_event_type_t type)
{
	if (w->depth == 0 && w->documents == 1 &&
	    (type == YAML_SCALAR_EVENT || type == YAML_SEQUENCE_START_EVENT ||
	     type == YAML_ALIAS_EVENT))
		return "a cloud-config is a mapping, \"key: value\", and this is not";
	if (type == YAML_DOCUMENT_START_EVENT && ++w->documents > 1)
		return "a second document begins, and there can be one only";
	w->is_mapping |= type == YAML_MAPPING_START_EVENT;
	if (type == YAML_MAPPING_START_EVENT || type == YAML_SEQUENCE_START_EVENT)
		w->depth++;
	if (w->depth > DEPTH_MAX)
		return "it is nested too deeply";
	if (type == YAML_MAPPING_END_EVENT || type == YAML_SEQUENCE_END_EVENT)
		w->depth--;
	return "";
}

static int parse(yaml_parser_t *parser, struct walk *w, const char *what, struct vmj_error *err)
{
	yaml_event_type_t type;

	do {
		yaml_event_t event;
		const char *wrong;
		size_t line;

		if (!yaml_parser_parse(parser, &event)) {
			if (parser->error == YAML_MEMORY_ERROR)
				return vmj_fail(err, ENOMEM, "%s: no memory to read it", what);
			return vmj_fail_user(err, EINVAL, "%s: line %zu is not YAML: %s", what,
					     parser->problem_mark.line + 1,
					     parser->problem ? parser->problem : "unreadable");
		}
		type = event.type;
		line = event.start_mark.line + 1;
		yaml_event_delete(&event);
		wrong = look(w, type);
		if (*wrong)
			return vmj_fail_user(err, EINVAL, "%s: line %zu: %s", what, line, wrong);
	} while (type != YAML_STREAM_END_EVENT);
	return 0;
}

int vmj_cloud_config_check(const char *what, const char *data, size_t len, struct vmj_error *err)
{
	yaml_parser_t parser;
	struct walk w = {0};
	int rc;

	if (!yaml_parser_initialize(&parser))
		return vmj_fail(err, ENOMEM, "%s: no memory to read it", what);
	yaml_parser_set_input_string(&parser, (const unsigned char *)data, len);
	rc = parse(&parser, &w, what, err);
	yaml_parser_delete(&parser);
	if (rc == 0 && !w.is_mapping)
		return vmj_fail_user(err, EINVAL,
				     "%s: a cloud-config is a mapping, \"key: value\", and this is "
				     "empty",
				     what);
	return rc;
}

/* One byte more than is allowed tells that there is more. */
static int read_file(const char *what, const char *path, char *buf, size_t *ret_len,
		     struct vmj_error *err)
{
	vmj_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	ssize_t n = fd < 0 ? -errno : vmj_read_full(fd, buf, VMJ_USER_DATA_MAX + 1);

	if (n < 0)
		return vmj_fail_user(err, (int)-n, "%s cannot be read: %s", what,
				     vmj_strerror((int)n));
	*ret_len = (size_t)n;
	return 0;
}

int vmj_user_data_read(const char *path, char **ret, size_t *ret_len, struct vmj_error *err)
{
	vmj_autofree char *data = calloc(1, VMJ_USER_DATA_MAX + 2);
	char shown[128], what[160];
	size_t len = 0;
	int rc;

	if (!data)
		return vmj_fail(err, ENOMEM, "no memory for user data");
	snprintf(what, sizeof(what), "--vm-user-data: %s", vmj_quote(path, shown, sizeof(shown)));
	rc = read_file(what, path, data, &len, err);
	if (rc == 0)
		rc = vmj_user_data_check(what, data, len, err);
	if (rc == 0 && vmj_user_data_is_config(data))
		rc = vmj_cloud_config_check(what, data, len, err);
	if (rc < 0)
		return rc;
	*ret = data;
	data = NULL;
	*ret_len = len;
	return 0;
}
