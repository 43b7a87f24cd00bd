/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/storage/digest.h"

#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE (1u << 20)

struct vmj_digest {
	EVP_MD_CTX *ctx;
	bool failed;
};

struct vmj_digest *vmj_digest_new(const char *algorithm)
{
	struct vmj_digest *d = calloc(1, sizeof(*d));
	const EVP_MD *md = EVP_get_digestbyname(algorithm);

	if (!d)
		return NULL;
	d->ctx = EVP_MD_CTX_new();
	if (!md || !d->ctx || EVP_DigestInit_ex(d->ctx, md, NULL) != 1) {
		vmj_digest_free(d);
		return NULL;
	}
	return d;
}

void vmj_digest_free(struct vmj_digest *d)
{
	if (!d)
		return;
	EVP_MD_CTX_free(d->ctx);
	free(d);
}

void vmj_digest_add(struct vmj_digest *d, const void *data, size_t len)
{
	if (EVP_DigestUpdate(d->ctx, data, len) != 1)
		d->failed = true;
}

const char *vmj_digest_end(struct vmj_digest *d, char ret[VMJ_DIGEST_HEX_MAX])
{
	unsigned char raw[EVP_MAX_MD_SIZE];
	unsigned int len = 0;

	if (EVP_DigestFinal_ex(d->ctx, raw, &len) != 1 || d->failed)
		len = 0;
	ret[0] = '\0';
	for (unsigned int i = 0; i < len; i++)
		snprintf(ret + 2 * i, 3, "%02x", raw[i]);
	return ret;
}

int vmj_digest_file(int fd, char ret[65], void (*on_bytes)(uint64_t done, void *arg), void *arg)
{
	vmj_auto_digest struct vmj_digest *d = vmj_digest_new("SHA256");
	vmj_autofree unsigned char *buf = malloc(PIECE);
	char hex[VMJ_DIGEST_HEX_MAX];
	uint64_t done = 0;
	ssize_t n;

	if (!buf || !d)
		return -ENOMEM;
	while ((n = pread(fd, buf, PIECE, (off_t)done)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		vmj_digest_add(d, buf, (size_t)n);
		done += (uint64_t)n;
		if (on_bytes)
			on_bytes(done, arg);
	}
	if (strlen(vmj_digest_end(d, hex)) != 64)
		return -EIO;
	memcpy(ret, hex, 65);
	return 0;
}

struct syncing {
	int fd, rc;
};

static void *sync_file(void *arg)
{
	struct syncing *s = arg;

	s->rc = fsync(s->fd) < 0 ? -errno : 0;
	return NULL;
}

int vmj_digest_and_sync(int fd, char ret[65], void (*on_bytes)(uint64_t done, void *arg), void *arg)
{
	struct syncing s = {.fd = fd};
	char hex[65];
	pthread_t thread;
	int rc, alone;

	alone = pthread_create(&thread, NULL, sync_file, &s);
	rc = vmj_digest_file(fd, hex, on_bytes, arg);
	if (alone)
		sync_file(&s);
	else
		pthread_join(thread, NULL);
	if (rc == 0)
		rc = s.rc;
	if (rc == 0)
		memcpy(ret, hex, sizeof(hex));
	return rc;
}
