/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A made-up storage for volumes, with guests: a layer is a few blocks of numbers. Every call that
 * changes it can be the one at which the agent dies, in the middle of it too.
 */
#ifndef TESTS_SNAPSHOT_WORLD_H
#define TESTS_SNAPSHOT_WORLD_H

#include "unit.h"

#include <errno.h>

#include "vmjob/storage/snapshot.h"

#define BLOCKS      6
#define FILES_MAX   96
#define INODES_MAX  512
#define VOLUMES_MAX 3
#define NOTHING     (-1) /* a block that a layer does not have */

struct inode {
	unsigned int links; /* 0: free */
	bool writable;
	char parent[VMJ_VOLUME_FILE_MAX + 8]; /* as its header says: "NAME", "/abs/NAME" or "" */
	int blocks[BLOCKS];
};

struct file {
	char name[VMJ_VOLUME_FILE_MAX];
	unsigned int inode;
};

/* A guest that runs on a volume. */
struct qemu {
	bool runs;
	unsigned int n;
	struct file chain[VMJ_CHAIN_MAX + 1]; /* the top first */
};

struct expected {
	char name[VMJ_NAME_MAX + 1];
	int blocks[BLOCKS];
};

struct place { /* a volume, and what must be in it */
	struct world *world;
	bool used;
	struct vmj_volume json; /* on the disk */
	unsigned int n_files;
	struct file files[FILES_MAX];
	struct qemu qemu;
	int top[BLOCKS];
	unsigned int n_snapshots;
	struct expected snapshots[VMJ_SNAPSHOTS_MAX];
};

struct world {
	uint64_t random;
	int fuse; /* calls until it breaks; -1: never */
	bool broken;
	int next_value;
	struct inode inodes[INODES_MAX];
	struct place places[VOLUMES_MAX];
	unsigned int crashes, done[8], merges[8];
};

unsigned int world_pick(struct world *w, unsigned int n); /* less than n */

/* Files. need: fails the test if there is none. */
struct file *world_find(struct place *p, const char *name);
struct inode *world_need(struct place *p, const char *name);
void world_add_file(struct place *p, const char *name, unsigned int inode);
void world_remove_file(struct place *p, const char *name);
unsigned int world_new_inode(struct world *w, const char *parent);

/* As a program reads that follows the headers (from "": zeros); as a guest reads that is given the
 * chain of volume.json (from NULL: the top). */
void world_read_headers(struct place *p, const char *from, int ret[BLOCKS]);
void world_read_tree(struct place *p, const char *from, int ret[BLOCKS]);

/* Does it break here? Once it has, nothing works any more. */
bool world_breaks(struct place *p);

/* A call that does its work at once or not at all: broken before, or right after. */
#define BREAK_BEFORE(p)                                                      \
	do {                                                                 \
		if (world_breaks(p))                                         \
			return vmj_fail(err, ECANCELED, "broken before it"); \
	} while (0)
#define BREAK_AFTER(p) return world_breaks(p) ? vmj_fail(err, ECANCELED, "broken after it") : 0

/* What snapshot.h works on; with the live functions while the guest runs. */
struct vmj_layers_env world_env_of(struct place *p);

/* A guest begins to run; is given another top; what it has open, 0 the top. */
void world_guest_start(struct place *p);
void world_guest_switch(struct place *p, const char *file);
struct inode *world_open_inode(struct place *p, unsigned int i);

#endif
