/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Volumes: disks that have a name, belong to a user and live on after a job.
 *
 * Layout in a domain of version 2 (doc/storage.md). Root (the agent of any host that reaches the
 * domain) keeps directories and metadata; only what is in the layer files is the user's:
 *
 *	PATH/volumes/<uid>/		0711 root
 *	PATH/volumes/<uid>/<name>/	0710 root, group <gid>: QEMU may pass, others may not
 *	    volume.json			0600 root, replaced atomically: the commit point
 *	    base.qcow2			hard link of an image's disk (a copy where link() cannot)
 *	    layer-<n>.qcow2		the user's; 0600 the writable top, 0400 a frozen one
 *	    memory-<n>.save		of a snapshot
 *
 * It appears by rename from <uid>/.new-<name>-<random> (a clone: its source's name, which is the
 *one that is leased) and goes by rename to .gone-<name>-<random>.
 *
 * Theory of operation. The layers are a tree: a layer's header names its parent by its bare name,
 * so directories of hard links (clones) keep right headers. Only the top is ever written to; a
 * frozen layer may have further names in clones, and in images, and its content never changes. A
 * change makes files first, which nobody knows of until volume.json names them, and removes files
 * after volume.json has ceased to name them. Whatever else lies in the directory is an orphan:
 * harmless, removed by vmj_volume_recover(). A change that cannot be made so (the content of a file
 * that volume.json names changes) is announced in `pending` before.
 *
 * Users own the layer files and may have changed them, so before a program opens one it is checked:
 * vmj_volume_verify(). Programs that look into layers run as the volume's user.
 *
 * Whoever changes a volume holds its lease (storage/lease.h). All functions here block, but for
 * those under "the model", which are pure; none but vmj_volume_collect() takes a lease. A damaged
 *volume.json is the host's fault, a volume that does not exist the user's.
 */
#ifndef VMJ_STORAGE_VOLUME_H
#define VMJ_STORAGE_VOLUME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "vmjob/base/error.h"
#include "vmjob/base/parse.h"
#include "vmjob/storage/image.h"

#define VMJ_LAYERS_MAX      64
#define VMJ_SNAPSHOTS_MAX   32
#define VMJ_VOLUMES_MAX     10000 /* of one user */
#define VMJ_CHAIN_MAX       16    /* layers from a top or a snapshot to the root */
#define VMJ_VOLUME_FILE_MAX 32    /* with the end */
#define VMJ_VOLUME_PATH_MAX 512
#define VMJ_IMAGE_LABEL_MAX 144 /* "debian12@3", "anna/debian12@3" */
#define VMJ_VOLUME_JSON_MAX (64u << 10)
#define VMJ_BASE_FILE       "base.qcow2"
#define VMJ_JOB_VOLUME      "job-" /* how the names of jobs' volumes begin, and no other's */

struct vmj_layer {
	char file[VMJ_VOLUME_FILE_MAX];
	char parent[VMJ_VOLUME_FILE_MAX]; /* "": none */
};

struct vmj_snapshot {
	char name[VMJ_NAME_MAX + 1];
	int64_t time;                    /* seconds */
	char layer[VMJ_VOLUME_FILE_MAX]; /* frozen; several snapshots may name the same */
	uint64_t virtual_bytes;          /* of the disk then: a volume may have grown since */
	bool quiesced;
	char memory[VMJ_VOLUME_FILE_MAX]; /* "": none */
};

/* What is being done to files that volume.json names; how vmj_volume_recover() ends it:
 * SNAPSHOT  `snapshot` is to freeze the top and `file`, not yet a layer, is to be the new top over
 *           it: made (again) empty where it is no valid overlay, and committed. For a guest that
 *           runs: QEMU may have switched to it already.
 * MERGE     `file`, a layer, and its parent become one. pull: `file` takes in the parent's content,
 *           and then the parent's parent for its own; else the content goes into the parent, which
 *           takes `file`'s place (snapshot_plan.h). Forgotten where it is not done: what is
 *           read through `file` is right all the time.
 * RESIZE    the top grows to `bytes`: finished if its header says so, else forgotten. */
enum vmj_pending_op {
	VMJ_PENDING_NONE,
	VMJ_PENDING_SNAPSHOT,
	VMJ_PENDING_MERGE,
	VMJ_PENDING_RESIZE,
	VMJ_PENDING_COUNT_,
};

struct vmj_pending {
	enum vmj_pending_op op;
	char file[VMJ_VOLUME_FILE_MAX]; /* SNAPSHOT, MERGE */
	bool pull;                      /* MERGE */
	struct vmj_snapshot snapshot;   /* SNAPSHOT */
	uint64_t bytes;                 /* RESIZE */
};

struct vmj_volume {
	char name[VMJ_NAME_MAX + 1];
	uid_t uid;
	gid_t gid;
	int64_t time;           /* of its making, seconds */
	uint64_t virtual_bytes; /* of the top's disk; a multiple of 512 */
	uint32_t job; /* 0: the user's; else that job's, gone with it ("job-<N>.<index>") */
	char image[VMJ_IMAGE_LABEL_MAX]; /* what it was made from, for people; "": empty */
	unsigned int n_layers, n_snapshots;
	struct vmj_layer layers[VMJ_LAYERS_MAX]; /* parents before their children */
	struct vmj_snapshot snapshots[VMJ_SNAPSHOTS_MAX];
	char top[VMJ_VOLUME_FILE_MAX]; /* the writable one; no snapshot's, nobody's parent */
	uint32_t next;                 /* number of the next layer- or memory-file, at least 1 */
	struct vmj_pending pending;
};

/* --- the model: pure -------------------------------------------------------------------------- */

/* What the comments above and the bounds say: names, numbers, every reference. EINVAL or ERANGE, by
 * the user's fault. Strings must have their end. */
int vmj_volume_check(const struct vmj_volume *v, struct vmj_error *err);

struct json_object;
/* volume.json. parse: strict, and the result is checked; failures are the user's fault. format:
 * caller's, NULL: no memory. */
int vmj_volume_parse(const char *text, size_t len, struct vmj_volume *ret, struct vmj_error *err);
char *vmj_volume_format(const struct vmj_volume *v);
/* The same as an object, for answers. from_json is strict as parse is; `path` names it in
 * sentences. */
struct json_object *vmj_volume_to_json(const struct vmj_volume *v); /* caller's */
int vmj_volume_from_json(struct json_object *o, const char *path, struct vmj_volume *ret,
			 struct vmj_error *err);

/* Borrowed; NULL: none of that name. */
const struct vmj_layer *vmj_volume_layer(const struct vmj_volume *v, const char *file);
const struct vmj_snapshot *vmj_volume_snapshot(const struct vmj_volume *v, const char *name);
/* How many layers have this one for their parent; how many snapshots name it. */
unsigned int vmj_volume_children(const struct vmj_volume *v, const char *file);
unsigned int vmj_volume_marks(const struct vmj_volume *v, const char *file);

/* The chain of `from` (NULL: the top), `from` first, the root last: ret[0..*ret_n-1], borrowed from
 * v. -ENOENT, by the user's fault: no such layer. */
int vmj_volume_chain(const struct vmj_volume *v, const char *from, const char *ret[VMJ_CHAIN_MAX],
		     unsigned int *ret_n, struct vmj_error *err);

/* "layer-<next>.qcow2" or "memory-<next>.save"; counts `next` on. -EOVERFLOW: numbers used up. */
int vmj_volume_take_layer_name(struct vmj_volume *v, char ret[VMJ_VOLUME_FILE_MAX],
			       struct vmj_error *err);
int vmj_volume_take_memory_name(struct vmj_volume *v, char ret[VMJ_VOLUME_FILE_MAX],
				struct vmj_error *err);

/* Another layer over `parent` ("": none). By the user's fault -E2BIG: too many layers, or a chain
 * that would become too long; the sentence says what to do. */
int vmj_volume_add_layer(struct vmj_volume *v, const char *file, const char *parent,
			 struct vmj_error *err);
/* Takes a layer out; its children get its parent. Not the top, and none that a snapshot names:
 * -EBUSY. */
int vmj_volume_drop_layer(struct vmj_volume *v, const char *file, struct vmj_error *err);

/* "layer-7.qcow2": a name that such files have. *ret_n: the number; may be NULL. */
bool vmj_layer_name_valid(const char *file, uint32_t *ret_n);
bool vmj_memory_name_valid(const char *file, uint32_t *ret_n);

/* --- files ------------------------------------------------------------------------------------ */

/* -ENOENT, by the user's fault: there is none. */
int vmj_volume_read(const char *domain, uid_t uid, const char *name, struct vmj_volume *ret,
		    struct vmj_error *err);
/* Checked, atomic, durable. The caller holds the lease. */
int vmj_volume_write(const char *domain, const struct vmj_volume *v, struct vmj_error *err);
/* Of a file of the volume (NULL: its directory); returns buf. */
const char *vmj_volume_path(const char *domain, const struct vmj_volume *v, const char *file,
			    char buf[VMJ_VOLUME_PATH_MAX]);
/* The volume's directory, every part of the way root's and no link; for openat() and renameat().
 * The caller's to close; or as vmj_volume_read(). */
int vmj_volume_open(const char *domain, uid_t uid, const char *name, struct vmj_error *err);

/* fn for every volume of uid, or of all users; in no order. A result other than 0 ends it and is
 * returned. What is damaged is counted in *ret_damaged (NULL allowed) and left out. Reads one small
 * file a volume. A user without volumes, and one who is unknown: none. */
#define VMJ_ALL_USERS ((uid_t)-1)
typedef int (*vmj_volume_fn)(const struct vmj_volume *v, void *arg);
int vmj_volume_each(const char *domain, uid_t uid, vmj_volume_fn fn, void *arg,
		    unsigned int *ret_damaged, struct vmj_error *err);

/* Is every layer of the chain of `from` (NULL: the top) what it should be, as far as its header and
 * its owner tell: nothing of it points out of the chain. By the user's fault if not, for the files
 * are the user's. Before any program opens the chain. */
int vmj_volume_verify(const char *domain, const struct vmj_volume *v, const char *from,
		      struct vmj_error *err);

/* Let programs of the volume's user with this primary group pass into its directory, if they may
 * not yet; v in and out. The caller holds the lease. Before a guest whose job has another group. */
int vmj_volume_lend(const char *domain, struct vmj_volume *v, gid_t gid, struct vmj_error *err);

/* Bytes on disk that would be free without this volume: its files that have no other name. */
int vmj_volume_used(const char *domain, const struct vmj_volume *v, uint64_t *ret,
		    struct vmj_error *err);

/* Bytes on disk of the present state's chain, shared ones too: what a full clone takes at most. */
int vmj_volume_stored(const char *domain, const struct vmj_volume *v, uint64_t *ret,
		      struct vmj_error *err);

/* --- changes ---------------------------------------------------------------------------------- */

/* The points of all that follows (base/point.h), for tests; ends with NULL. */
extern const char *const vmj_volume_points[];

struct vmj_volume_spec {
	const char *domain, *name;
	uid_t uid;
	gid_t gid;
	uint32_t job;   /* 0: the user's own */
	uint64_t bytes; /* of the disk, rounded up to 512; 0: the image's. Not less than that */
	const struct vmj_image *image; /* as vmj_image_find() gave it for this user; NULL: empty */
	const char *label;             /* of the image; NULL: NAME@REVISION */
};
/* Appears whole, by one rename. The caller holds the lease of the name, or knows that nobody else
 * makes one of it (a job's volume). -EEXIST, and -EDQUOT where there are VMJ_VOLUMES_MAX, by the
 * user's fault. */
int vmj_volume_create(const struct vmj_volume_spec *spec, struct vmj_volume *ret,
		      struct vmj_error *err);

struct vmj_volume_clone {
	const char *domain;
	const char *snapshot; /* NULL: the present state; then nobody may be writing the source */
	const char *to;       /* its name; of the same user */
	bool full;            /* copied, sharing nothing; else hard links, in a time that does not
				 depend on the size */
	vmj_progress_fn progress; /* of a full one; NULL: none */
	void *arg;
};
/* source: as read under its lease; in and out, for a linked clone of the present state freezes its
 * top, unless that is empty. -EEXIST, -ENOENT (snapshot) and -E2BIG (chain) by the user's fault. */
int vmj_volume_clone(const struct vmj_volume_clone *c, struct vmj_volume *source,
		     struct vmj_volume *ret, struct vmj_error *err);

/* Grow the disk while nobody uses it; v as read under the lease, in and out. Less than now is the
 * user's fault (ERANGE); as much as now is done. */
int vmj_volume_resize(const char *domain, struct vmj_volume *v, uint64_t bytes,
		      struct vmj_error *err);
/* The same where a guest runs on it, in three: begin, then QEMU's block resize, then settle, which
 * looks at what has come of it. */
int vmj_volume_resize_begin(const char *domain, struct vmj_volume *v, uint64_t bytes,
			    struct vmj_error *err);
int vmj_volume_resize_settle(const char *domain, struct vmj_volume *v, struct vmj_error *err);

/* Out of sight at once, then its files. Nobody uses it. -ENOENT by the user's fault. */
int vmj_volume_remove(const char *domain, uid_t uid, const char *name, struct vmj_error *err);

/* Finish or undo what a crash left: `pending`, and files that volume.json does not name.
 * Idempotent; v in and out. The caller holds the lease and no guest runs on it. */
int vmj_volume_recover(const char *domain, struct vmj_volume *v, struct vmj_error *err);
/* Remove what a crash left of a volume of this name that never appeared or is removed, and of
 * clones of it that never appeared. The caller holds the name's lease. */
int vmj_volume_sweep(const char *domain, uid_t uid, const char *name, struct vmj_error *err);

/* Remove the volumes of jobs that have ended, with their leases. Those in use are left. */
struct vmj_lease_who;
int vmj_volume_collect(const char *domain, const struct vmj_lease_who *who,
		       bool (*ended)(uint32_t job, void *arg), void *arg, unsigned int *ret_removed,
		       struct vmj_error *err);

#endif
