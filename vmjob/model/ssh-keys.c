/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/model/ssh-keys.h"

#include <stdio.h>
#include <string.h>

#define BASE64     "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
#define BASE64_MIN 68 /* of an ed25519 key */

static const char *const types[] = {
	"ssh-ed25519",
	"ssh-rsa",
	"ecdsa-sha2-nistp256",
	"ecdsa-sha2-nistp384",
	"ecdsa-sha2-nistp521",
	"sk-ssh-ed25519@openssh.com",
	"sk-ecdsa-sha2-nistp256@openssh.com",
};

static size_t type_length(const char *text)
{
	size_t len = strcspn(text, " \t\r\n");

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (len == strlen(types[i]) && memcmp(text, types[i], len) == 0)
			return len;
	return 0;
}

/* Whole groups of four, of which the last may end in one or two "=". */
static size_t base64_length(const char *text)
{
	size_t digits = strspn(text, BASE64), len = digits;

	while (text[len] == '=' && len - digits < 2)
		len++;
	return len >= BASE64_MIN && len % 4 == 0 ? len : 0;
}

bool vmj_ssh_keys_valid(const char *keys)
{
	while (*keys) {
		size_t type = type_length(keys), data;

		if (!type || keys[type] != ' ')
			return false;
		keys += type + 1;
		data = base64_length(keys);
		if (!data || keys[data] != '\n')
			return false;
		keys += data + 1;
	}
	return true;
}

bool vmj_ssh_keys_add(char *keys, size_t size, const char *line)
{
	size_t at = strlen(keys), type = type_length(line), data;
	const char *key = line + type + strspn(line + type, " \t");
	int n;

	data = type && key > line + type ? base64_length(key) : 0;
	if (!data || !strchr(" \t\r\n", key[data]))
		return false;
	n = snprintf(keys + at, size - at, "%.*s %.*s\n", (int)type, line, (int)data, key);
	if (n < 0 || (size_t)n >= size - at || strstr(keys, keys + at) != keys + at) {
		memset(keys + at, 0, size - at); /* equal requests are equal byte by byte */
		return false;
	}
	return true;
}
