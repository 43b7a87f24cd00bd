/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The request: what a user asks of a guest, from the command line to the host.
 *
 * It travels as compact JSON (VMJ_REQUEST_ENV in the job's SPANK environment), strict in both
 * directions: unknown keys, wrong types and values out of bounds are refused with their path. Users
 * can forge it, so every reader validates anew: a `struct vmj_request` that vmj_request_parse()
 * gave has passed vmj_request_check().
 */
#ifndef VMJ_MODEL_REQUEST_H
#define VMJ_MODEL_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmjob/base/error.h"
#include "vmjob/base/parse.h"

#define VMJ_REQUEST_ENV \
	"VMJOB_REQUEST" /* name in spank_job_control_setenv(); prolog sees SPANK_VMJOB_REQUEST */
#define VMJ_REQUEST_JSON_MAX 16384
#define VMJ_NETS_MAX         8
#define VMJ_DISKS_MAX        16
#define VMJ_FORWARDS_MAX     16
#define VMJ_MEMORY_MIB_MIN   16
#define VMJ_MEMORY_MIB_MAX   (16ull << 20)
#define VMJ_VCPUS_MAX        1024
#define VMJ_GRACE_MAX        86400
#define VMJ_PRIORITY_MAX     1000
#define VMJ_HOST_PORT_MIN    1024
#define VMJ_DISK_MIB_MAX     (64ull << 20)

enum vmj_script {
	VMJ_SCRIPT_DEFAULT = 0, /* resolved by job_submit */
	VMJ_SCRIPT_GUEST,       /* inside the guest: a later version; refused with a sentence */
	VMJ_SCRIPT_HOST,        /* on the host, beside the guest; the job ends with it */
	VMJ_SCRIPT_NONE,        /* not run: the job lives as long as the guest (service guests) */
	VMJ_SCRIPT_COUNT_,
};

struct vmj_forward { /* user-mode networks only */
	bool udp;
	uint16_t host_port; /* 0: any free one, shown by `vmjob show` */
	uint16_t guest_port;
};

struct vmj_net_request {
	char network[VMJ_NAME_MAX + 1];
	char mac[18]; /* "" : made from the job id; else a locally administered unicast address */
	unsigned int n_forwards;
	struct vmj_forward forwards[VMJ_FORWARDS_MAX];
};

enum vmj_disk_kind {
	VMJ_DISK_SIZE = 0, /* fresh and empty, gone at the job's end */
	VMJ_DISK_VOLUME,   /* a volume of the user's, there before and after the job */
	VMJ_DISK_IMAGE,    /* an image, only read */
	VMJ_DISK_COUNT_,
};

/* What is not of its kind is 0 or "". */
struct vmj_disk_request {
	enum vmj_disk_kind kind;
	uint64_t size_mib;              /* SIZE only: the others have their own */
	char storage[VMJ_NAME_MAX + 1]; /* VOLUME: of vmjob.conf; "": resolved by job_submit */
	char name[VMJ_NAME_MAX + 1];    /* VOLUME, IMAGE */
	char owner[VMJ_NAME_MAX + 1];   /* IMAGE: as request.image_owner */
	uint32_t revision;              /* IMAGE: 0: the latest */
	bool readonly;                  /* VOLUME; always with IMAGE */
};

#define VMJ_DIGEST_MAX   65   /* SHA-256 in lower-case hex, with its end */
#define VMJ_SSH_KEYS_MAX 4096 /* bytes of all keys with their ends */

struct vmj_request {
	char image[VMJ_NAME_MAX + 1];
	char image_owner[VMJ_NAME_MAX + 1]; /* OWNER/NAME; "": the user's own, else a public one */
	uint32_t revision;                  /* NAME@REV; 0: the latest */
	/* The root disk is this volume, made from the image when it is not there yet. "": a fresh
	 * one for each job. */
	char persistent[VMJ_NAME_MAX + 1];
	char persistent_storage[VMJ_NAME_MAX + 1]; /* as a disk's storage */
	char user_data[VMJ_DIGEST_MAX];            /* what VMJ_USER_DATA_ENV carries; "": nothing */
	/* Public keys that may log in: "TYPE BASE64" and a newline each; "": none. */
	char ssh_keys[VMJ_SSH_KEYS_MAX];
	uint64_t memory_mib; /* the guest's own; 0: default, resolved by job_submit */
	uint32_t vcpus;      /* on each node; 0: resolved by job_submit from the CPUs asked for */
	enum vmj_script script;
	char cpu[VMJ_NAME_MAX + 1]; /* "" default, "host", "max", or a libvirt model name */
	uint32_t grace_s;  /* from the first request to end until the guest is destroyed; 0: default
			    */
	bool protected_;   /* --vm-ha */
	uint32_t priority; /* --vm-ha=PRIORITY, 1 (low) to 1000; 0: default */
	bool watchdog;     /* --vm-watchdog: i6300esb, resets the guest */
	bool no_net;       /* --vm-net=none: not even the default network */
	unsigned int n_nets;
	struct vmj_net_request nets[VMJ_NETS_MAX];
	unsigned int n_disks;
	struct vmj_disk_request disks[VMJ_DISKS_MAX];
};

/* Readers of single options, as typed after --vm-X= or in VMJOB_X. They change only the field they
 * are about; `repeat` options append. Where no argument is needed, NULL and "" mean none (an
 * environment variable that is set but empty). At most VMJ_OPTION_TEXT_MAX bytes. */
#define VMJ_OPTION_TEXT_MAX 1024
int vmj_request_set_image(struct vmj_request *r, const char *text,
			  struct vmj_error *err); /* [OWNER/]NAME[@REV] */
int vmj_request_set_persistent(struct vmj_request *r, const char *text,
			       struct vmj_error *err); /* [STORAGE:]NAME */
int vmj_request_check_path(struct vmj_request *r, const char *text,
			   struct vmj_error *err); /* FILE: see struct vmj_option */
int vmj_request_set_memory(struct vmj_request *r, const char *text,
			   struct vmj_error *err); /* SIZE */
int vmj_request_set_script(struct vmj_request *r, const char *text,
			   struct vmj_error *err); /* guest|host|none */
int vmj_request_set_cpu(struct vmj_request *r, const char *text, struct vmj_error *err); /* MODEL */
int vmj_request_set_grace(struct vmj_request *r, const char *text,
			  struct vmj_error *err); /* TIME */
int vmj_request_set_ha(struct vmj_request *r, const char *text,
		       struct vmj_error *err); /* NULL or PRIORITY */
int vmj_request_set_watchdog(struct vmj_request *r, const char *text,
			     struct vmj_error *err); /* NULL, yes, no */
int vmj_request_add_net(struct vmj_request *r, const char *text,
			struct vmj_error *err); /* NAME[,mac=…][,tcp=[HOST:]GUEST][,udp=…], or none;
						   several networks: repeat */
int vmj_request_add_disk(struct vmj_request *r, const char *text,
			 struct vmj_error *err); /* size=SIZE, volume=[STORAGE:]NAME[,ro],
						    image=[OWNER/]NAME[@REV],ro */

/* The table of all options, for SPANK, the environment, usage texts and completion: one place that
 * knows them. */
struct vmj_option {
	const char *name; /* "vm-image" */
	const char *env;  /* "VMJOB_IMAGE" */
	const char *arg;  /* "[OWNER/]NAME[@REV]"; NULL: no argument */
	const char *help; /* one line */
	bool optional;    /* the argument may be left out */
	bool repeat;      /* in the environment: separated by ';' */
	/* The argument is a file's path. `set` changes nothing: who submits reads the file and puts
	 * its content beside the request (vmjob/model/user-data.h). */
	bool file;
	int (*set)(struct vmj_request *r, const char *text, struct vmj_error *err);
};

/* An environment variable's whole text: split at ';' where the option repeats, each piece to
 * `set`. */
int vmj_option_set_env(const struct vmj_option *o, struct vmj_request *r, const char *text,
		       struct vmj_error *err);
extern const struct vmj_option vmj_options[]; /* ends with name == NULL */

/* All bounds and combinations that need no knowledge of the site. */
int vmj_request_check(const struct vmj_request *r, struct vmj_error *err);
/* Of one disk alone. */
int vmj_disk_request_check(const struct vmj_disk_request *d, struct vmj_error *err);

struct json_object;
/* JSON. format: compact, caller's, defaults left out (NULL: no memory). parse: strict, at most
 * VMJ_REQUEST_JSON_MAX bytes, result checked. */
char *vmj_request_format(const struct vmj_request *r);
int vmj_request_parse(const char *json, struct vmj_request *ret, struct vmj_error *err);
/* The same as an object, for what carries a request among other things. path: names it in
 * sentences. */
struct json_object *vmj_request_to_json(const struct vmj_request *r); /* caller's */
int vmj_request_from_json(struct json_object *o, const char *path, struct vmj_request *ret,
			  struct vmj_error *err);

/* "guest", "host", "none", "default". */
const char *vmj_script_name(enum vmj_script script);
int vmj_script_parse(const char *what, const char *text, enum vmj_script *ret,
		     struct vmj_error *err); /* not "default" */

/* "52:54:00:12:34:56": six octets, unicast, locally administered. */
bool vmj_mac_valid(const char *text);

/* "forwards" in JSON, of a request's network and of a guest's port: writer (caller's) and reader
 * (an optional member of `in`; ret: VMJ_FORWARDS_MAX). */
struct vmj_json;
struct json_object *vmj_forwards_to_json(const struct vmj_forward *f, unsigned int n);
void vmj_forwards_from_json(struct vmj_json *in, struct vmj_forward *ret, unsigned int *ret_n);

/* "size", "volume", "image": their keys in an option. */
const char *vmj_disk_kind_name(enum vmj_disk_kind kind);

/* The one-line summary for AdminComment: "vm image=tiny@2 vcpus=2 memory=512M net=lan". buf of
 * VMJ_SUMMARY_MAX. */
#define VMJ_SUMMARY_MAX 256
const char *vmj_request_summary(const struct vmj_request *r, char *buf, size_t size);

#endif
