/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Strict JSON: text to one object, and its members into C variables.
 *
 *	struct vmj_json in;
 *
 *	vmj_json_open(&in, o, "request", err);
 *	vmj_json_string(&in, "image", VMJ_NEEDED, r.image, sizeof(r.image));
 *	vmj_json_u32(&in, "revision", VMJ_OPTIONAL, 1, UINT32_MAX, &r.revision);
 *	return vmj_json_close(&in);
 *
 * The first failure is kept: it fills `err`, later calls do nothing, vmj_json_close() returns it.
 * vmj_json_close() refuses members that nobody asked for. Sentences name the member by its path
 * ("request.nets[2].mac"). A variable is untouched if its member is absent or wrong. All failures
 * are the user's fault (EINVAL, ERANGE); whoever reads a file of the host's changes that.
 */
#ifndef VMJ_MODEL_JSON_H
#define VMJ_MODEL_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <json-c/json.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/error.h"

static inline void vmj_json_putp(struct json_object **o)
{
	json_object_put(*o);
}
#define vmj_autojson VMJ_CLEANUP(vmj_json_putp)

/* Text to an object (caller's), by RFC 8259: UTF-8, one object, at most `depth` levels; comments,
 * single quotes, NaN, a key twice, bytes after the end are refused. `what` names the text in the
 * sentence. */
int vmj_json_parse(const char *what, const char *text, size_t len, int depth,
		   struct json_object **ret, struct vmj_error *err);

#define VMJ_JSON_MEMBERS_MAX 40
#define VMJ_JSON_PATH_MAX    160

enum vmj_presence { VMJ_OPTIONAL, VMJ_NEEDED };

struct vmj_json {
	struct json_object *object; /* borrowed */
	struct vmj_error *err;
	int rc;
	unsigned int n_asked;
	const char *asked[VMJ_JSON_MEMBERS_MAX]; /* borrowed: string literals */
	char path[VMJ_JSON_PATH_MAX];
};

/* `o` must be an object (NULL: JSON's null, refused). path "" for a message's top. */
void vmj_json_open(struct vmj_json *in, struct json_object *o, const char *path,
		   struct vmj_error *err);
int vmj_json_close(struct vmj_json *in);

void vmj_json_u64(struct vmj_json *in, const char *key, enum vmj_presence p, uint64_t min,
		  uint64_t max, uint64_t *ret);
void vmj_json_u32(struct vmj_json *in, const char *key, enum vmj_presence p, uint32_t min,
		  uint32_t max, uint32_t *ret);
void vmj_json_u16(struct vmj_json *in, const char *key, enum vmj_presence p, uint16_t min,
		  uint16_t max, uint16_t *ret);
void vmj_json_i64(struct vmj_json *in, const char *key, enum vmj_presence p, int64_t min,
		  int64_t max, int64_t *ret);
void vmj_json_bool(struct vmj_json *in, const char *key, enum vmj_presence p, bool *ret);
/* Copies; a longer string than fits, and one with control characters, is refused. */
void vmj_json_string(struct vmj_json *in, const char *key, enum vmj_presence p, char *buf,
		     size_t size);
/* One of names[0..n-1] (NULL entries are none). */
void vmj_json_enum(struct vmj_json *in, const char *key, enum vmj_presence p,
		   const char *const *names, int n, int *ret);

/* Borrowed objects; *ret is NULL if absent, wrong, or after a failure. */
void vmj_json_object(struct vmj_json *in, const char *key, enum vmj_presence p,
		     struct json_object **ret);
/* At most `max` elements; *ret_n is 0 whenever *ret is NULL. */
void vmj_json_array(struct vmj_json *in, const char *key, enum vmj_presence p, size_t max,
		    struct json_object **ret, size_t *ret_n);
/* Element i of in's member `key`, which must be an object, as a reader of its own; a failure in
 * `element` is brought into `in` by vmj_json_close_element(). */
void vmj_json_open_element(struct vmj_json *element, struct vmj_json *in, const char *key,
			   struct json_object *array, size_t i);
void vmj_json_close_element(struct vmj_json *element, struct vmj_json *in);

/* Refuse what was read, on behalf of in's member `key`; the first failure stays. */
void vmj_json_refuse(struct vmj_json *in, const char *key, int code, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Writers: json-c's, in short. */
void vmj_json_put_u64(struct json_object *o, const char *key, uint64_t v);
void vmj_json_put_i64(struct json_object *o, const char *key, int64_t v);
void vmj_json_put_bool(struct json_object *o, const char *key, bool v);
void vmj_json_put_string(struct json_object *o, const char *key, const char *v);

#endif
