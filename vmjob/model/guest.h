/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest on one host: what the agent knows of it and writes down, and what it shows.
 * One guest a job and node; its domain's name in libvirt is vmjob-<job>.
 *
 * The record on disk (JSON, strict) is written before each step that leaves something behind, so
 * that a crash after any line ends, after restart, in done or undone.
 */
#ifndef VMJ_MODEL_GUEST_H
#define VMJ_MODEL_GUEST_H

#include <stdint.h>
#include <sys/types.h>

#include "vmjob/model/guest-disk.h"
#include "vmjob/model/request.h"

struct json_object;

enum vmj_phase {
	VMJ_PHASE_PREPARING = 0, /* the prolog waits; whatever exists may be half made */
	VMJ_PHASE_REFUSED,  /* prepare failed by the user's fault; `failure` says why; the step will
			       report it */
	VMJ_PHASE_PREPARED, /* domain paused, nobody runs it yet */
	VMJ_PHASE_RUNNING,  /* joined to the job's cgroups and resumed */
	VMJ_PHASE_PAUSED,   /* by suspend, or by an I/O error */
	VMJ_PHASE_STOPPING, /* asked to power off; destroyed at stop_deadline */
	VMJ_PHASE_ENDED,    /* domain gone, `end` says how; disks and port still there */
	VMJ_PHASE_RELEASING, /* the epilog waits; whatever exists may be half gone */
	VMJ_PHASE_COUNT_,
};

enum vmj_end {
	VMJ_END_NONE = 0,
	VMJ_END_POWEROFF,  /* the guest powered itself off, or followed ACPI */
	VMJ_END_PANIC,     /* pvpanic, or the watchdog's poweroff */
	VMJ_END_KILLED,    /* QEMU died or was killed (out of memory too) */
	VMJ_END_DESTROYED, /* by vmjob stop --force, or after the grace time */
	VMJ_END_RELEASED,  /* by the epilog, still running then */
	VMJ_END_LOST,      /* ended while nobody watched; not known how */
	VMJ_END_COUNT_,
};

enum vmj_pause {
	VMJ_PAUSE_NONE = 0,
	VMJ_PAUSE_USER,  /* by a user, or by Slurm: goes on when they say so */
	VMJ_PAUSE_IO,    /* a disk failed: goes on once its storage answers */
	VMJ_PAUSE_SPACE, /* a disk could not grow: goes on once there is room */
	VMJ_PAUSE_COUNT_,
};
const char *vmj_pause_name(enum vmj_pause pause); /* "none", "user", "io", "space" */
int vmj_pause_parse(const char *name, enum vmj_pause *ret);

/* Exit codes of vmjob-step when the guest (not the script) decides: in the man page and asserted by
 * tests. */
int vmj_end_exit_code(
	enum vmj_end end); /* POWEROFF 0, PANIC 70, KILLED 71, DESTROYED 72, RELEASED 73, LOST 74 */
const char *vmj_end_name(enum vmj_end end);
const char *vmj_end_text(enum vmj_end end); /* a phrase for people */
const char *vmj_phase_name(enum vmj_phase phase);
/* The reverse of the names; -EINVAL for others. */
int vmj_end_parse(const char *name, enum vmj_end *ret);
int vmj_phase_parse(const char *name, enum vmj_phase *ret);

#define VMJ_DOMAIN_NAME_MAX 32
const char *vmj_domain_name(uint32_t job, char buf[VMJ_DOMAIN_NAME_MAX]); /* "vmjob-<job>" */
int vmj_domain_job(const char *domain_name,
		   uint32_t *ret_job); /* the reverse; -EINVAL if not ours */

struct vmj_port { /* one network port of the guest, as made */
	char network[VMJ_NAME_MAX + 1];
	char device[16]; /* the tap's name on the host; "" for user-mode networks */
	char mac[18];
	char address[48]; /* "10.77.128.5/16" or "" where the network gives none */
	unsigned int n_forwards;
	struct vmj_forward forwards[VMJ_FORWARDS_MAX]; /* host_port resolved */
};

struct vmj_guest {
	uint32_t job;
	uint32_t restart; /* SLURM_RESTART_COUNT: a requeued job is a new guest */
	uid_t uid;
	gid_t gid;
	char user[64];
	char host[64];
	char cpus[256]; /* CPUs of the allocation on this host as Slurm lists them (logical:
			   "0-3,8"); "" not known */
	struct vmj_request request;
	enum vmj_phase phase;
	enum vmj_end end;
	enum vmj_pause pause; /* in phase PAUSED; of an earlier version's record: NONE */
	char failure[VMJ_ERROR_TEXT_MAX];
	char boot_id[37];     /* of the host: another one means that the guest is gone */
	char image_path[512]; /* resolved, revision and all */
	pid_t pid;            /* QEMU; 0: none */
	int64_t start_us;     /* CLOCK_REALTIME, microseconds; of the resume; 0: not yet */
	int64_t end_us;
	unsigned int n_ports;
	struct vmj_port ports[VMJ_NETS_MAX];
	/* Disk 0 is the root. None: of a guest that an earlier version made, which had an overlay
	 * and empty disks only, and still runs. The seed is none of these. */
	unsigned int n_disks;
	struct vmj_guest_disk disks[VMJ_GUEST_DISKS_MAX];
};

struct json_object *vmj_guest_to_json(const struct vmj_guest *g); /* caller's */
/* Strict; every failure is the host's fault (the record is the agent's own). */
int vmj_guest_from_json(struct json_object *o, struct vmj_guest *ret, struct vmj_error *err);

#endif
