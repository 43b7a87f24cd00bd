/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A storage domain of kind dir: its mark, its version and its folders (doc/storage.md). Blocking.
 */
#ifndef VMJ_STORAGE_LAYOUT_H
#define VMJ_STORAGE_LAYOUT_H

#include "vmjob/base/error.h"

/* Make PATH a domain called `name` (root). Idempotent; a domain of another name is refused. */
int vmj_storage_format(const char *path, const char *name, struct vmj_error *err);
/* Mounted, answering within 15 s, a domain, version known: else the host's fault. */
int vmj_storage_check(const char *path, struct vmj_error *err);

#endif
