/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Times as one number, of any of the kernel's clocks (clock_gettime(2)). */
#ifndef VMJ_BASE_CLOCK_H
#define VMJ_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

int64_t vmj_clock_us(clockid_t clock);
int64_t vmj_clock_ms(clockid_t clock); /* rounded down */

#endif
