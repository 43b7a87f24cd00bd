/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * User data: what cloud-init in the guest gets from the user, a cloud-config or a script.
 *
 * It travels beside the request as base64 in a variable of its own, and the request has its digest:
 * so what is forged, cut or another's is found out wherever it is read. One string of an
 * environment can have 128 KiB (execve(2)); in base64, with its name, this is below 86 KiB.
 */
#ifndef VMJ_MODEL_USER_DATA_H
#define VMJ_MODEL_USER_DATA_H

#include <stdbool.h>
#include <stddef.h>

#include "vmjob/base/error.h"
#include "vmjob/model/request.h"

#define VMJ_USER_DATA_ENV "VMJOB_USER_DATA" /* as VMJ_REQUEST_ENV, in the same places */
#define VMJ_USER_DATA_MAX (64u << 10)
#define VMJ_USER_DATA_TEXT_MAX \
	((VMJ_USER_DATA_MAX + 2) / 3 * 4 + 1) /* of the base64, with its end */

/* Is it of a kind, size and encoding that we take: "#cloud-config" or "#!/…" in the first line,
 * UTF-8 without NUL? Whether a cloud-config is YAML is looked at when it is submitted. `what` names
 * it in the sentence. -EINVAL, -EFBIG, by the user's fault. */
int vmj_user_data_check(const char *what, const char *data, size_t len, struct vmj_error *err);
/* Is it a cloud-config? Of what vmj_user_data_check() has passed. */
bool vmj_user_data_is_config(const char *data);

/* Base64 and digest. *ret is the caller's. */
int vmj_user_data_encode(const char *data, size_t len, char **ret, char ret_digest[VMJ_DIGEST_MAX],
			 struct vmj_error *err);
/* Back: checked, and of just that digest. *ret is the caller's and ends with a NUL beyond *ret_len
 * bytes. All failures but -ENOMEM are the user's fault. */
int vmj_user_data_decode(const char *text, const char *digest, char **ret, size_t *ret_len,
			 struct vmj_error *err);

#endif
