/* SPDX-License-Identifier: GPL-2.0-or-later */
/* At submit, as the user: the file of --vm-user-data. */
#ifndef VMJ_SPANK_USER_DATA_H
#define VMJ_SPANK_USER_DATA_H

#include <stddef.h>

#include "vmjob/base/error.h"

/* The whole file (a pipe too, as of a shell's "<(…)"), checked: vmj_user_data_check(), and a
 * cloud-config is YAML that is a mapping. *ret is the caller's and ends with a NUL beyond *ret_len
 * bytes. All failures but -ENOMEM are the user's fault. */
int vmj_user_data_read(const char *path, char **ret, size_t *ret_len, struct vmj_error *err);

/* One YAML document, whose top is a mapping? `what` names it in the sentence. */
int vmj_cloud_config_check(const char *what, const char *data, size_t len, struct vmj_error *err);

#endif
