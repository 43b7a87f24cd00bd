/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The keys of vmjob.conf as data: where each goes and who reads it. Only config*.c include this. */
#ifndef VMJ_MODEL_CONFIG_FIELDS_H
#define VMJ_MODEL_CONFIG_FIELDS_H

#include <stddef.h>

#include "vmjob/model/config.h"

struct vmj_field {
	const char *section; /* "": the top */
	const char *key;
	/* at: where the value goes. what: names it in the sentence. */
	int (*read)(const struct vmj_field *f, void *at, const char *what, const char *text,
		    struct vmj_error *err);
	size_t offset;     /* in struct vmj_config, vmj_net_config (network), vmj_storage_config
			    * (storage)
			    */
	uint64_t min, max; /* where the reader has bounds */
	bool list;         /* the reader is called for each element */
};
extern const struct vmj_field vmj_config_fields[]; /* ends with key == NULL */

/* What a storage has that says nothing else. */
void vmj_storage_config_defaults(struct vmj_storage_config *s);
/* What must hold within one section, and what it leaves out. */
int vmj_net_config_finish(struct vmj_net_config *n, struct vmj_error *err);
int vmj_storage_config_finish(struct vmj_storage_config *s, struct vmj_error *err);

#endif
