/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libvirt; only virt*.c include its headers (virt_events.c is its event loop on sd-event).
 *
 * One struct vmj_virt for the process: connects to qemu:///system, reconnects by itself with
 * back-off when libvirtd goes (close callback), and calls `on_event` on the loop's thread for each
 * change of a domain of ours (name vmjob-N), and `on_connect` at each new connection, after which
 * the caller looks at every domain anew (vmj_virt_list) because events may have been lost. All
 * other calls block and are for worker threads; they are thread-safe and fail with ENOTCONN (host's
 * fault) while there is no connection.
 */
#ifndef VMJ_HOST_VIRT_H
#define VMJ_HOST_VIRT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "vmjob/base/error.h"
#include "vmjob/model/config.h"
#include "vmjob/model/guest.h"

typedef struct sd_event sd_event;
struct vmj_virt;

enum vmj_virt_event {
	VMJ_VIRT_STARTED,
	VMJ_VIRT_RESUMED,
	VMJ_VIRT_PAUSED,    /* by a call */
	VMJ_VIRT_PAUSED_IO, /* by an I/O error (disk full, storage gone) */
	VMJ_VIRT_ENDED,     /* `end` is set */
	VMJ_VIRT_REBOOTED,
	VMJ_VIRT_WATCHDOG,
	VMJ_VIRT_AGENT_UP,
	VMJ_VIRT_AGENT_DOWN,
	VMJ_VIRT_DISK_REMOVED, /* the guest has let go of a device; which: vmj_virt_disks() */
};

struct vmj_virt_ops {
	void (*on_event)(uint32_t job, enum vmj_virt_event event, enum vmj_end end, void *arg);
	void (*on_connect)(bool connected, void *arg);
};

int vmj_virt_new(sd_event *loop, const struct vmj_virt_ops *ops, void *arg, struct vmj_virt **ret,
		 struct vmj_error *err);
void vmj_virt_free(struct vmj_virt *v);
bool vmj_virt_connected(struct vmj_virt *v);

/* Can this host run KVM guests? By the processor, a probe of /dev/kvm and libvirt's domain
 * capabilities; cached. EACCES (host's fault) where it can, but the job's users may not open
 * /dev/kvm. */
int vmj_virt_has_kvm(struct vmj_virt *v, bool *ret, struct vmj_error *err);

enum vmj_virt_state { VMJ_VIRT_GONE, VMJ_VIRT_IS_RUNNING, VMJ_VIRT_IS_PAUSED, VMJ_VIRT_IS_ENDING };
struct vmj_virt_info {
	uint32_t job;
	enum vmj_virt_state state;
	bool io_error; /* IS_PAUSED, by an I/O error rather than by a call */
	pid_t pid;
};
int vmj_virt_list(struct vmj_virt *v, struct vmj_virt_info **ret, size_t *ret_n,
		  struct vmj_error *err); /* caller's */
int vmj_virt_info(struct vmj_virt *v, uint32_t job, struct vmj_virt_info *ret,
		  struct vmj_error *err); /* GONE is no error */

/* Without libvirt: is the process the QEMU of this job's guest, and not a zombie? */
bool vmj_virt_process_lives(pid_t pid, uint32_t job);

int vmj_virt_create_paused(
	struct vmj_virt *v, const char *xml, pid_t *ret_pid,
	struct vmj_error *err); /* transient domain; a CPU model that does not exist, a
				   port that is taken, a disk that another guest has locked are the
				   user's fault */
int vmj_virt_pin(struct vmj_virt *v, uint32_t job, uint32_t vcpus, const char (*pins)[64],
		 const char *emulator, struct vmj_error *err);
int vmj_virt_resume(struct vmj_virt *v, uint32_t job, struct vmj_error *err);
int vmj_virt_suspend(struct vmj_virt *v, uint32_t job, struct vmj_error *err);
int vmj_virt_shutdown(struct vmj_virt *v, uint32_t job,
		      struct vmj_error *err); /* ACPI; the agent's way too where it answers */
int vmj_virt_reset(struct vmj_virt *v, uint32_t job, struct vmj_error *err);
int vmj_virt_destroy(struct vmj_virt *v, uint32_t job,
		     struct vmj_error *err); /* gone already: success */
int vmj_virt_set_time(
	struct vmj_virt *v, uint32_t job,
	struct vmj_error *err); /* guest clock from the host's, after a pause; best effort */
int vmj_virt_set_vcpus(struct vmj_virt *v, uint32_t job, uint32_t vcpus, struct vmj_error *err);
int vmj_virt_ensure_nat(struct vmj_virt *v, const struct vmj_net_config *n,
			struct vmj_error *err); /* libvirt network vmjob-NAME, active */

struct vmj_virt_stats {
	/* CPU time and memory are those of the whole QEMU. rx is what the guest received. The
	 * balloon's figures are 0 where the guest has no driver; they and the disks' are 0 while
	 * the guest is paused or QEMU's monitor is busy. */
	uint64_t cpu_ns, rss_kib, balloon_available_kib, balloon_unused_kib;
	uint64_t rd_bytes, wr_bytes, rx_bytes, tx_bytes;
};
int vmj_virt_stats(struct vmj_virt *v, uint32_t job, struct vmj_virt_stats *ret,
		   struct vmj_error *err);

/* The serial console as a byte stream: the pty itself, raw and non-blocking, which the caller polls
 * on its loop and closes. EIO or a hang-up when the guest ends. Open it once a guest: two readers
 * would share the bytes. QEMU notices a reader within a second; what it wrote before is in the log
 * only. */
int vmj_virt_console(struct vmj_virt *v, uint32_t job, int *ret_fd, struct vmj_error *err);

#endif
