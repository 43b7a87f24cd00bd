/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests about volumes. Any host that reaches the storage can serve them, but for what concerns
 * QEMU: that is for the host where a guest has the volume.
 */
#ifndef VMJ_CLI_VOLUME_ASK_H
#define VMJ_CLI_VOLUME_ASK_H

#include "vmjob/base/error.h"
#include "vmjob/base/parse.h"

struct json_object;

/* [STORAGE:]NAME */
struct vmj_volume_name {
	char storage[VMJ_NAME_MAX + 1]; /* "": the agent's default */
	char name[VMJ_NAME_MAX + 1];
};
int vmj_volume_name_parse(const char *text, struct vmj_volume_name *ret, struct vmj_error *err);

/* {"op": OP, "volume": NAME, "storage": STORAGE}; caller's. */
struct json_object *vmj_volume_request(const char *op, const struct vmj_volume_name *v);

/* The local agent is asked first, then those of Slurm's hosts, until one can be reached that
 * reaches the storage. title: of the progress that is shown on a terminal ("Copying data"); NULL:
 * none. *ret (NULL allowed): the answer, caller's. */
int vmj_volume_ask(struct json_object *request, const char *title, struct json_object **ret,
		   struct vmj_error *err);

/* The same, at the host where a guest has the volume, if one has. */
int vmj_volume_ask_holder(const struct vmj_volume_name *v, struct json_object *request,
			  const char *title, struct json_object **ret, struct vmj_error *err);

/* At this host alone. */
int vmj_volume_ask_at(const char *host, struct json_object *request, const char *title,
		      struct json_object **ret, struct vmj_error *err);

#endif
