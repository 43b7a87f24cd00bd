/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/model/json.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "vmjob/base/parse.h"

#define QUOTE_MAX 64

/* --- text to object --- */

/* Members in the whole tree. */
static size_t count_members(struct json_object *o)
{
	size_t n = 0;

	if (json_object_is_type(o, json_type_object)) {
		json_object_object_foreach (o, key, value) {
			(void)key;
			n += 1 + count_members(value);
		}
	} else if (json_object_is_type(o, json_type_array)) {
		for (size_t i = 0; i < json_object_array_length(o); i++)
			n += count_members(json_object_array_get_idx(o, i));
	}
	return n;
}

/* NaN and Infinity are json-c's own addition; a number too large for a double becomes one too. */
static bool all_finite(struct json_object *o)
{
	if (json_object_is_type(o, json_type_double))
		return isfinite(json_object_get_double(o));
	if (json_object_is_type(o, json_type_object)) {
		json_object_object_foreach (o, key, value) {
			(void)key;
			if (!all_finite(value))
				return false;
		}
	} else if (json_object_is_type(o, json_type_array)) {
		for (size_t i = 0; i < json_object_array_length(o); i++)
			if (!all_finite(json_object_array_get_idx(o, i)))
				return false;
	}
	return true;
}

/* Colons outside strings of a text that is known to be JSON. */
static size_t count_colons(const char *text, size_t len)
{
	bool in_string = false;
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		if (text[i] == '"')
			in_string = !in_string;
		else if (text[i] == '\\' && in_string)
			i++;
		else if (text[i] == ':' && !in_string)
			n++;
	}
	return n;
}

static int parse_text(const char *text, size_t len, int depth, struct json_object **ret,
		      const char **ret_why)
{
	struct json_tokener *tok = json_tokener_new_ex(depth);
	vmj_autojson struct json_object *o = NULL;
	enum json_tokener_error e;
	size_t end;

	if (!tok)
		return -ENOMEM;
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	o = json_tokener_parse_ex(tok, text, (int)len);
	e = json_tokener_get_error(tok);
	end = json_tokener_get_parse_end(tok);
	json_tokener_free(tok);
	if (e == json_tokener_continue)
		*ret_why = "it ends too early";
	else if (e != json_tokener_success)
		*ret_why = json_tokener_error_desc(e);
	else if (end != len)
		*ret_why = "something follows its end";
	else if (!json_object_is_type(o, json_type_object))
		*ret_why = "it is not an object";
	else if (!all_finite(o))
		*ret_why = "a number is not finite";
	else if (count_members(o) != count_colons(text, len))
		*ret_why = "a key is there twice"; /* json-c keeps the last one */
	else
		*ret = vmj_steal(o);
	return *ret_why ? -EINVAL : 0;
}

int vmj_json_parse(const char *what, const char *text, size_t len, int depth,
		   struct json_object **ret, struct vmj_error *err)
{
	const char *why = NULL;
	int rc;

	while (len > 0 && strchr(" \t\r\n", text[len - 1]) && text[len - 1])
		len--;
	if (len > INT_MAX)
		return vmj_fail_user(err, EFBIG, "%s: %zu bytes are too long for JSON", what, len);
	rc = parse_text(text, len, depth, ret, &why);
	if (rc == -EINVAL)
		return vmj_fail_user(err, EINVAL, "%s is not JSON as vmjob reads it: %s", what,
				     why);
	if (rc < 0)
		return vmj_fail(err, -rc, "%s: %s", what, vmj_strerror(rc));
	return 0;
}

/* --- object to variables --- */

void vmj_json_refuse(struct vmj_json *in, const char *key, int code, const char *fmt, ...)
{
	char text[VMJ_ERROR_TEXT_MAX];
	va_list ap;

	if (in->rc < 0)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	in->rc = vmj_fail_user(in->err, code, "%s%s%s: %s", in->path, *in->path && *key ? "." : "",
			       key, text);
}

void vmj_json_open(struct vmj_json *in, struct json_object *o, const char *path,
		   struct vmj_error *err)
{
	*in = (struct vmj_json){.object = o, .err = err};
	snprintf(in->path, sizeof(in->path), "%s", path);
	if (!json_object_is_type(o, json_type_object))
		in->rc = vmj_fail_user(err, EINVAL, "%s: this must be an object, not %s",
				       *path ? path : "message",
				       json_type_to_name(json_object_get_type(o)));
}

static bool was_asked(const struct vmj_json *in, const char *key)
{
	for (unsigned int i = 0; i < in->n_asked; i++)
		if (strcmp(in->asked[i], key) == 0)
			return true;
	return false;
}

int vmj_json_close(struct vmj_json *in)
{
	if (in->rc < 0)
		return in->rc;
	json_object_object_foreach (in->object, key, value) {
		char q[QUOTE_MAX];

		(void)value;
		if (was_asked(in, key))
			continue;
		vmj_json_refuse(in, vmj_quote(key, q, sizeof(q)), EINVAL,
				"this version of vmjob does not know such a key");
		break;
	}
	return in->rc;
}

/* The member if it is there and of this type. */
static struct json_object *take(struct vmj_json *in, const char *key, enum vmj_presence p,
				enum json_type type)
{
	struct json_object *o;

	if (in->rc < 0)
		return NULL;
	if (in->n_asked == VMJ_JSON_MEMBERS_MAX) {
		vmj_json_refuse(in, key, E2BIG, "a reader knows at most %d keys",
				VMJ_JSON_MEMBERS_MAX);
		return NULL;
	}
	in->asked[in->n_asked++] = key;
	if (!json_object_object_get_ex(in->object, key, &o)) {
		if (p == VMJ_NEEDED)
			vmj_json_refuse(in, key, EINVAL, "this is missing");
		return NULL;
	}
	if (!json_object_is_type(o, type)) {
		vmj_json_refuse(in, key, EINVAL, "this must be %s, not %s",
				type == json_type_int ? "a whole number" : json_type_to_name(type),
				json_type_to_name(json_object_get_type(o)));
		return NULL;
	}
	return o;
}

/* json-c gives the nearest number for one that does not fit: bounds must lie inside 64 bits. */
void vmj_json_u64(struct vmj_json *in, const char *key, enum vmj_presence p, uint64_t min,
		  uint64_t max, uint64_t *ret)
{
	struct json_object *o = take(in, key, p, json_type_int);
	uint64_t v = o ? json_object_get_uint64(o) : 0;

	if (!o)
		return;
	if (json_object_get_int64(o) < 0 || v < min || v > max)
		vmj_json_refuse(in, key, ERANGE,
				"%s is out of bounds: from %" PRIu64 " to %" PRIu64,
				json_object_get_string(o), min, max);
	else
		*ret = v;
}

void vmj_json_u32(struct vmj_json *in, const char *key, enum vmj_presence p, uint32_t min,
		  uint32_t max, uint32_t *ret)
{
	uint64_t v = *ret;

	vmj_json_u64(in, key, p, min, max, &v);
	*ret = (uint32_t)v;
}

void vmj_json_u16(struct vmj_json *in, const char *key, enum vmj_presence p, uint16_t min,
		  uint16_t max, uint16_t *ret)
{
	uint64_t v = *ret;

	vmj_json_u64(in, key, p, min, max, &v);
	*ret = (uint16_t)v;
}

void vmj_json_i64(struct vmj_json *in, const char *key, enum vmj_presence p, int64_t min,
		  int64_t max, int64_t *ret)
{
	struct json_object *o = take(in, key, p, json_type_int);
	int64_t v = o ? json_object_get_int64(o) : 0;

	if (!o)
		return;
	if (v < min || v > max)
		vmj_json_refuse(in, key, ERANGE,
				"%s is out of bounds: from %" PRId64 " to %" PRId64,
				json_object_get_string(o), min, max);
	else
		*ret = v;
}

void vmj_json_bool(struct vmj_json *in, const char *key, enum vmj_presence p, bool *ret)
{
	struct json_object *o = take(in, key, p, json_type_boolean);

	if (o)
		*ret = json_object_get_boolean(o);
}

static bool has_controls(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			return true;
	return false;
}

void vmj_json_string(struct vmj_json *in, const char *key, enum vmj_presence p, char *buf,
		     size_t size)
{
	struct json_object *o = take(in, key, p, json_type_string);
	const char *text = o ? json_object_get_string(o) : NULL;
	size_t len = o ? (size_t)json_object_get_string_len(o) : 0;

	if (!o)
		return;
	if (len >= size)
		vmj_json_refuse(in, key, ERANGE, "%zu bytes are too long: at most %zu", len,
				size - 1);
	else if (has_controls(text, len)) /* NUL too */
		vmj_json_refuse(in, key, EINVAL, "there is a control character in it");
	else
		memcpy(buf, text, len + 1);
}

void vmj_json_enum(struct vmj_json *in, const char *key, enum vmj_presence p,
		   const char *const *names, int n, int *ret)
{
	struct json_object *o = take(in, key, p, json_type_string);
	const char *text = o ? json_object_get_string(o) : NULL;
	char q[QUOTE_MAX];

	if (!o)
		return;
	if (strlen(text) == (size_t)json_object_get_string_len(o)) {
		for (int i = 0; i < n; i++) {
			if (names[i] && strcmp(names[i], text) == 0) {
				*ret = i;
				return;
			}
		}
	}
	vmj_json_refuse(in, key, EINVAL, "\"%s\" is none of the known words",
			vmj_quote(text, q, sizeof(q)));
}

void vmj_json_object(struct vmj_json *in, const char *key, enum vmj_presence p,
		     struct json_object **ret)
{
	*ret = take(in, key, p, json_type_object);
}

void vmj_json_array(struct vmj_json *in, const char *key, enum vmj_presence p, size_t max,
		    struct json_object **ret, size_t *ret_n)
{
	struct json_object *o = take(in, key, p, json_type_array);
	size_t n = o ? json_object_array_length(o) : 0;

	if (n > max) {
		vmj_json_refuse(in, key, ERANGE, "%zu elements are too many: at most %zu", n, max);
		o = NULL;
		n = 0;
	}
	*ret = o;
	*ret_n = n;
}

void vmj_json_open_element(struct vmj_json *element, struct vmj_json *in, const char *key,
			   struct json_object *array, size_t i)
{
	char path[VMJ_JSON_PATH_MAX];

	snprintf(path, sizeof(path), "%.80s%s%.40s[%zu]", in->path, *in->path ? "." : "", key, i);
	if (in->rc < 0)
		*element = (struct vmj_json){.rc = in->rc};
	else
		vmj_json_open(element, json_object_array_get_idx(array, i), path, in->err);
}

void vmj_json_close_element(struct vmj_json *element, struct vmj_json *in)
{
	int rc = vmj_json_close(element);

	if (in->rc == 0)
		in->rc = rc;
}

/* --- variables to object --- */

void vmj_json_put_u64(struct json_object *o, const char *key, uint64_t v)
{
	json_object_object_add(o, key, json_object_new_uint64(v));
}

void vmj_json_put_i64(struct json_object *o, const char *key, int64_t v)
{
	json_object_object_add(o, key, json_object_new_int64(v));
}

void vmj_json_put_bool(struct json_object *o, const char *key, bool v)
{
	json_object_object_add(o, key, json_object_new_boolean(v));
}

void vmj_json_put_string(struct json_object *o, const char *key, const char *v)
{
	json_object_object_add(o, key, json_object_new_string(v));
}
