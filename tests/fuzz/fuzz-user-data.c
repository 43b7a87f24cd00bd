/* SPDX-License-Identifier: GPL-2.0-or-later */
/* User data, as a file of a user's and as a job's variable: what is accepted is text of a kind that
 * we take, and comes back the same. The first line of the input may be a digest. */
#include "fuzz.h"

#include "plugins/spank/user-data.h"
#include "vmjob/base/cleanup.h"
#include "vmjob/model/ssh-keys.h"
#include "vmjob/model/user-data.h"

static void as_variable(const char *text, const char *digest)
{
	vmj_autofree char *data = NULL;
	struct vmj_error err = {0};
	size_t len = 0;

	if (vmj_user_data_decode(text, digest, &data, &len, &err) < 0) {
		must(err.code > 0 && err.fault == VMJ_FAULT_USER && !data);
		return;
	}
	must(len <= VMJ_USER_DATA_MAX && strlen(data) == len);
	must(vmj_user_data_check("fuzz", data, len, NULL) == 0);
}

static void as_file(const char *data, size_t len)
{
	vmj_autofree char *text = NULL, *back = NULL;
	char digest[VMJ_DIGEST_MAX];
	struct vmj_error err = {0};
	size_t back_len;

	if (vmj_user_data_check("fuzz", data, len, &err) < 0) {
		must(err.code > 0 && err.fault == VMJ_FAULT_USER);
		return;
	}
	must(data[0] == '#' && strlen(data) == len);
	vmj_cloud_config_check("fuzz", data, len, &err);
	must(vmj_user_data_encode(data, len, &text, digest, NULL) == 0);
	must(vmj_user_data_decode(text, digest, &back, &back_len, NULL) == 0);
	must(back_len == len && memcmp(back, data, len) == 0);
	digest[0] ^= 1;
	as_variable(text, digest);
}

static void as_keys(const char *line)
{
	char keys[VMJ_SSH_KEYS_MAX] = "";

	must(vmj_ssh_keys_add(keys, sizeof(keys), line) == (*keys != '\0'));
	must(vmj_ssh_keys_valid(keys));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	vmj_autofree char *text = fuzz_text(data, size);
	char *rest = strchr(text, '\n');

	as_file(text, size);
	as_keys(text);
	if (rest) {
		*rest = '\0';
		as_variable(rest + 1, text);
	}
	return 0;
}
