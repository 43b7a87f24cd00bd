/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The protocol as it is, but able to make mistakes on purpose: only this build of it is. */
#define VMJ_LEASE_MISTAKES
#include "vmjob/policy/lease.c"
