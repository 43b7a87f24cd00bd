/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checksums of files, by libcrypto, which uses the processor's instructions for them. */
#ifndef VMJ_STORAGE_DIGEST_H
#define VMJ_STORAGE_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/error.h"

#define VMJ_DIGEST_HEX_MAX 129 /* SHA-512 in hexadecimal, with its end */

struct vmj_digest;

/* "SHA256", "SHA1", "SHA512"; NULL: not known, or out of memory. */
struct vmj_digest *vmj_digest_new(const char *algorithm);
void vmj_digest_free(struct vmj_digest *d);
void vmj_digest_add(struct vmj_digest *d, const void *data, size_t len);
/* Lower case hexadecimal; ends the digest. "" if anything failed. */
const char *vmj_digest_end(struct vmj_digest *d, char ret[VMJ_DIGEST_HEX_MAX]);

VMJ_DEFINE_CLEANUP(struct vmj_digest *, vmj_digest_free);
#define vmj_auto_digest VMJ_CLEANUP(vmj_digest_freep)

/* SHA-256 of a whole regular file, from its beginning. on_bytes (NULL: none): how many were read so
 * far. */
int vmj_digest_file(int fd, char ret[65], void (*on_bytes)(uint64_t done, void *arg), void *arg);
/* The same while another thread makes the file durable (fsync): neither waits for the other. */
int vmj_digest_and_sync(int fd, char ret[65], void (*on_bytes)(uint64_t done, void *arg),
			void *arg);

#endif
