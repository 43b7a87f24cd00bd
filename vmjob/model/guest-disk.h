/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One disk of a guest as it is on its host: which files, in which order, under which lease.
 *
 * The chain of a disk is its top, which alone is ever written, the layers below it, which are in
 * the top's directory, and the image's file at the end where there is one elsewhere. It is spelt
 * out here, since what a file's header claims as its backing is never believed.
 *
 * A disk whose `volume` is set is held by a lease of that volume; it is on record before the lease
 * is taken, and until it has been given back.
 */
#ifndef VMJ_MODEL_GUEST_DISK_H
#define VMJ_MODEL_GUEST_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "vmjob/base/parse.h"
#include "vmjob/model/request.h"

#define VMJ_ATTACHED_MAX    4 /* places for volumes that come while the guest runs */
#define VMJ_GUEST_DISKS_MAX (1 + VMJ_DISKS_MAX + VMJ_ATTACHED_MAX)
#define VMJ_DISK_PATH_MAX   400
#define VMJ_DISK_FILE_MAX   80
#define VMJ_DISK_LAYERS_MAX 15 /* below the top, the image elsewhere not counted */
#define VMJ_DISK_LINKS_MAX  (1 + VMJ_DISK_LAYERS_MAX + 1)
#define VMJ_DISK_SERIAL_MAX 20 /* what virtio-blk can tell a guest */

enum vmj_guest_disk_kind {
	VMJ_GUEST_DISK_OVERLAY, /* node-local, over an image; gone with the guest */
	VMJ_GUEST_DISK_EMPTY,   /* node-local, empty at first; gone with the guest */
	VMJ_GUEST_DISK_VOLUME,  /* a volume, held by a lease */
	VMJ_GUEST_DISK_IMAGE,   /* an image itself, to be read */
	VMJ_GUEST_DISK_COUNT_,
};

struct vmj_guest_disk {
	enum vmj_guest_disk_kind kind;
	char storage[VMJ_NAME_MAX + 1]; /* name of the domain in vmjob.conf; "" if node-local */
	char volume[VMJ_NAME_MAX + 1];  /* "" but of a volume; its owner is the guest's user */
	char path[VMJ_DISK_PATH_MAX];   /* of the top; "" while it is not known yet */
	unsigned int n_layers;
	char layers[VMJ_DISK_LAYERS_MAX][VMJ_DISK_FILE_MAX]; /* names, the top's parent first */
	char base[VMJ_DISK_PATH_MAX]; /* the image at the chain's end; "": none elsewhere */
	bool readonly;
	bool attached;  /* came while the guest ran; else it was there from the start */
	char target[8]; /* "vda" */
	char serial[VMJ_DISK_SERIAL_MAX + 1];
	uint32_t epoch; /* of the lease; 0: none, or not taken yet */
};

const char *vmj_guest_disk_kind_name(enum vmj_guest_disk_kind kind);

/* How many files the chain has, at most VMJ_DISK_LINKS_MAX, and the path of file i of it, 0: the
 * top. buf of VMJ_DISK_PATH_MAX, returned or not. */
unsigned int vmj_guest_disk_links(const struct vmj_guest_disk *d);
const char *vmj_guest_disk_link(const struct vmj_guest_disk *d, unsigned int i, char *buf);

/* "vda" for 0 to "vdz" for 25. */
void vmj_guest_disk_set_target(struct vmj_guest_disk *d, unsigned int index);

struct json_object;
struct vmj_json;
/* "disks" of a guest's record: writer (caller's), and reader of an optional member of `in` (ret:
 * VMJ_GUEST_DISKS_MAX). */
struct json_object *vmj_guest_disks_to_json(const struct vmj_guest_disk *d, unsigned int n);
void vmj_guest_disks_from_json(struct vmj_json *in, struct vmj_guest_disk *ret,
			       unsigned int *ret_n);

#endif
