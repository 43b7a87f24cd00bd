/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Volumes that come to and leave a guest that runs: what workers do (op_attach.c is the loop's
 * side). All block, and run on the guest's main lane.
 *
 * The rules are those of volumes.h. What the domain has decides: a volume on record that the domain
 * does not have is given back and forgotten, whether an attach came to nothing, the guest has let
 * go of it, or we died in between.
 */
#ifndef VMJ_AGENT_PLUG_H
#define VMJ_AGENT_PLUG_H

#include "vmjob/agent/work.h"

/* Into w->guest.disks, at the first free place: by the user's fault if the guest has it, or has no
 * place left. *ret_index: which it is. Pure. */
int vmj_plug_plan(struct vmj_guest *g, const char *storage, const char *volume, bool readonly,
		  struct vmj_error *err);

/* The last disk of w->guest: on record, lease, chain, and into the domain. On success it is
 * complete, also on record. On failure it is among w->returned; where it cannot be seen what became
 * of it, it is not. */
int vmj_work_attach(struct vmj_work *w, struct vmj_error *err);

/* Ask the guest to let go of w->guest.disks[index]; then as vmj_work_settle(). */
int vmj_work_detach(struct vmj_work *w, unsigned int index, struct vmj_error *err);

/* Give back the volumes that the domain does not have (any more): those are in w->returned then,
 * and to be forgotten. What an attach that was broken off did not write down is filled in. No
 * domain: nothing is done. */
int vmj_work_settle(struct vmj_work *w, struct vmj_error *err);

/* Of w->guest; NULL: none such. */
struct vmj_guest_disk *vmj_guest_disk_of(struct vmj_guest *g, const char *storage,
					 const char *volume);
void vmj_guest_disk_forget(struct vmj_guest *g, struct vmj_guest_disk *d);

extern const struct vmj_step vmj_attach_steps[], vmj_detach_steps[];

#endif
