/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/model/user-data.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "vmjob/base/cleanup.h"

#define BLANK "\t\r "

/* What else cloud-init knows by its first bytes: it fetches, runs or unpacks more than what is
 * here, which nobody could bound or look into.
 * https://cloudinit.readthedocs.io/en/latest/explanation/format.html */
static const struct {
	const char *start, *what;
} others[] = {
	{"#include", "a list of addresses to fetch"},
	{"#cloud-boothook", "a boot hook"},
	{"#cloud-config-archive", "an archive of parts"},
	{"#cloud-config-jsonp", "a JSON patch"},
	{"#part-handler", "a part handler"},
	{"#upstart-job", "an upstart job"},
	{"## template:", "a template"},
	{"Content-Type:", "a MIME message"},
	{"MIME-Version:", "a MIME message"},
	{"From nobody", "a MIME message"},
	{"\x1f\x8b", "compressed by gzip"},
};

static bool starts(const char *data, const char *with)
{
	return strncasecmp(data, with, strlen(with)) == 0;
}

bool vmj_user_data_is_config(const char *data)
{
	static const char head[] = "#cloud-config";

	if (strncmp(data, head, strlen(head)) != 0)
		return false;
	data += strlen(head);
	data += strspn(data, BLANK);
	return !*data || *data == '\n';
}

static bool is_script(const char *data)
{
	return data[0] == '#' && data[1] == '!' && data[2 + strspn(data + 2, BLANK)] == '/';
}

/* Bytes of the UTF-8 character at `p`, of which `left` are there; 0: it is none (RFC 3629). */
static size_t utf8_length(const unsigned char *p, size_t left)
{
	static const struct {
		unsigned char mask, lead;
		unsigned int least;
	} shapes[] = {
		{0x80, 0x00, 1}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};

	for (size_t n = 1; n <= 4; n++) {
		unsigned int c = p[0] & (unsigned char)~shapes[n - 1].mask;

		if ((p[0] & shapes[n - 1].mask) != shapes[n - 1].lead)
			continue;
		if (n > left)
			return 0;
		for (size_t i = 1; i < n; i++) {
			if ((p[i] & 0xc0) != 0x80)
				return 0;
			c = c << 6 | (p[i] & 0x3f);
		}
		return c < shapes[n - 1].least || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? 0
											      : n;
	}
	return 0;
}

static int check_text(const char *what, const char *data, size_t len, struct vmj_error *err)
{
	unsigned int line = 1;

	for (size_t at = 0, n; at < len; at += n) {
		n = utf8_length((const unsigned char *)data + at, len - at);
		if (n == 0)
			return vmj_fail_user(err, EINVAL, "%s: line %u is not text in UTF-8", what,
					     line);
		line += data[at] == '\n';
	}
	return 0;
}

int vmj_user_data_check(const char *what, const char *data, size_t len, struct vmj_error *err)
{
	if (len > VMJ_USER_DATA_MAX)
		return vmj_fail_user(
			err, EFBIG,
			"%s: more than %u KiB are too much: let the guest fetch the rest", what,
			VMJ_USER_DATA_MAX >> 10);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (starts(data, others[i].start))
			return vmj_fail_user(
				err, EINVAL,
				"%s: it is %s, which is not taken: give a cloud-config "
				"or a script",
				what, others[i].what);
	if (memchr(data, '\0', len))
		return vmj_fail_user(err, EINVAL, "%s: it has a NUL byte and so is not text", what);
	if (!vmj_user_data_is_config(data) && !is_script(data))
		return vmj_fail_user(
			err, EINVAL,
			"%s: it is neither a cloud-config nor a script: the first line "
			"must be #cloud-config, or #! and an interpreter's path",
			what);
	return check_text(what, data, len, err);
}

static void digest_of(const char *data, size_t len, char ret[VMJ_DIGEST_MAX])
{
	unsigned char digest[crypto_hash_sha256_BYTES];

	static_assert(2 * sizeof(digest) + 1 == VMJ_DIGEST_MAX, "in hex");
	crypto_hash_sha256(digest, (const unsigned char *)data, len);
	sodium_bin2hex(ret, VMJ_DIGEST_MAX, digest, sizeof(digest));
}

int vmj_user_data_encode(const char *data, size_t len, char **ret, char ret_digest[VMJ_DIGEST_MAX],
			 struct vmj_error *err)
{
	size_t size = sodium_base64_ENCODED_LEN(len, sodium_base64_VARIANT_ORIGINAL);
	char *text = malloc(size);

	if (!text)
		return vmj_fail(err, ENOMEM, "no memory for user data of %zu bytes", len);
	sodium_bin2base64(text, size, (const unsigned char *)data, len,
			  sodium_base64_VARIANT_ORIGINAL);
	digest_of(data, len, ret_digest);
	*ret = text;
	return 0;
}

int vmj_user_data_decode(const char *text, const char *digest, char **ret, size_t *ret_len,
			 struct vmj_error *err)
{
	static const char what[] = "user data";
	size_t text_len = strnlen(text, VMJ_USER_DATA_TEXT_MAX), len = 0;
	vmj_autofree char *data = calloc(1, VMJ_USER_DATA_MAX + 1);
	char own[VMJ_DIGEST_MAX];
	int rc;

	if (!data)
		return vmj_fail(err, ENOMEM, "no memory for user data");
	if (text_len == VMJ_USER_DATA_TEXT_MAX)
		return vmj_fail_user(err, EFBIG, "%s: more than %u KiB are too much", what,
				     VMJ_USER_DATA_MAX >> 10);
	if (sodium_base642bin((unsigned char *)data, VMJ_USER_DATA_MAX, text, text_len, NULL, &len,
			      NULL, sodium_base64_VARIANT_ORIGINAL) < 0)
		return vmj_fail_user(err, EINVAL, "%s: it is not base64", what);
	digest_of(data, len, own);
	if (strcmp(own, digest) != 0)
		return vmj_fail_user(err, EINVAL,
				     "%s: it is not what the request has the digest of", what);
	rc = vmj_user_data_check(what, data, len, err);
	if (rc < 0)
		return rc;
	*ret = data;
	data = NULL;
	*ret_len = len;
	return 0;
}
