/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/base/clock.h"

int64_t vmj_clock_us(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t vmj_clock_ms(clockid_t clock)
{
	return vmj_clock_us(clock) / 1000;
}
