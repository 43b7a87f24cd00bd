/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guests and hosts as the command shows them: flat JSON objects with the keys that vmjob(1)
 * documents, made of what agents and Slurm said. Fields that an agent of another version does not
 * send are left out.
 */
#ifndef VMJ_CLI_VIEW_H
#define VMJ_CLI_VIEW_H

#include "vmjob/cli/slurm.h"

struct json_object;

/* A guest as an agent sends it: {"guest": {...}, "stats": {...}} (more keys are ignored). The rows
 * are the caller's; out of memory ends the program. */
struct json_object *vmj_view_guest(const char *host, struct json_object *answer);
/* A guest job of which no agent tells: it waits for a host, or its host does not answer. */
struct json_object *vmj_view_job(const struct vmj_job *job, const char *phase);
/* What Slurm knows of a guest's job and the agent does not. */
void vmj_view_add_job(struct json_object *row, const struct vmj_job *job);

void vmj_view_add_text(struct json_object *row, const char *key,
		       const char *text); /* "": left out */
void vmj_view_add_int(struct json_object *row, const char *key, int64_t n);
/* A failed host as {"host": ..., "error": ...} into the array, and as a sentence on standard error.
 */
void vmj_view_add_failed(struct json_object *unreachable, const char *host,
			 const struct vmj_error *err);

#endif
