/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by virt*.c, for nobody else: the only files that include libvirt's headers. */
#ifndef VMJ_HOST_VIRT_PRIVATE_H
#define VMJ_HOST_VIRT_PRIVATE_H

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/host/virt.h"

static inline void vmj_virt_conn_closep(virConnectPtr *c)
{
	if (*c)
		virConnectClose(*c);
}

static inline void vmj_virt_domain_freep(virDomainPtr *d)
{
	if (*d)
		virDomainFree(*d);
}

#define auto_conn   VMJ_CLEANUP(vmj_virt_conn_closep)
#define auto_domain VMJ_CLEANUP(vmj_virt_domain_freep)

/* libvirt's event loop, on the thread of `loop`: one for the process. Before the first connection.
 */
int vmj_virt_events_start(sd_event *loop, struct vmj_error *err);
/* After the last; nothing of libvirt's is called any more on `loop`. */
void vmj_virt_events_stop(void);

/* The connection with a reference of the caller's own (auto_conn). */
int vmj_virt_connection(struct vmj_virt *v, virConnectPtr *ret, struct vmj_error *err);

/* The running domain of a job; -ENOENT if there is none. */
int vmj_virt_lookup(struct vmj_virt *v, uint32_t job, virDomainPtr *ret, struct vmj_error *err);

/* The thread's last libvirt error as "what: message"; ENOTCONN when the connection was at fault. */
int vmj_virt_fail(struct vmj_error *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Does the thread's last error say that the domain is not there (any more)? */
bool vmj_virt_gone(void);

#endif
