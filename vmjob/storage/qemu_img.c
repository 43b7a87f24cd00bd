/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/storage/qemu_img.h"

#include <stdlib.h>
#include <string.h>

#include "vmjob/base/spawn.h"

#define TIMEOUT_MS (24 * 3600 * 1000)

/* qemu-img -p writes "    (12.34/100%)\r". */
static void on_output(const char *chunk, size_t len, void *arg)
{
	const struct vmj_qemu_img *q = arg;
	const char *open = memrchr(chunk, '(', len);
	char number[16] = "";

	if (!open)
		return;
	len -= (size_t)(open + 1 - chunk);
	memcpy(number, open + 1, len < sizeof(number) - 1 ? len : sizeof(number) - 1);
	q->progress(strtod(number, NULL) / 100, q->arg);
}

int vmj_qemu_img_run(const struct vmj_qemu_img *q, struct vmj_error *err)
{
	struct vmj_spawn s = {
		.argv = q->argv,
		.uid = q->uid,
		.gid = q->gid,
		.on_output = q->progress ? on_output : NULL,
		.arg = (void *)q,
		.timeout_ms = TIMEOUT_MS,
	};

	return vmj_spawn(&s, err);
}
