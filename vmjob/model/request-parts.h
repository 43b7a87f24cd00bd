/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parts of vmj_request_check(), inside of vmjob/model. */
#ifndef VMJ_MODEL_REQUEST_PARTS_H
#define VMJ_MODEL_REQUEST_PARTS_H

#include "vmjob/model/request.h"

int vmj_request_check_size(const char *what, uint64_t mib, uint64_t min, uint64_t max,
			   struct vmj_error *err);

/* Extra disks, and the volume that is the root disk. */
int vmj_request_check_disks(const struct vmj_request *r, struct vmj_error *err);

#endif
