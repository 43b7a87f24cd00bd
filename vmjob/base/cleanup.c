/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/base/cleanup.h"

#include <errno.h>

int vmj_close(int fd)
{
	int saved = errno;

	/* Linux releases the descriptor even when close() is interrupted: never repeat it. */
	if (fd >= 0)
		close(fd);
	errno = saved;
	return -1;
}
