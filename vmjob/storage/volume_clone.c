/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Clones. A linked one has the source's layers by hard links and a top of its own; where the
 * source's top holds something, that is frozen: the source gets a new top, too. The source's
 * volume.json is changed before the clone appears. In between, as after any crash there, the source
 * has an empty layer more than it needs, and nobody is harmed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "vmjob/base/point.h"
#include "vmjob/storage/qcow2.h"
#include "vmjob/storage/qemu_img.h"
#include "vmjob/storage/volume_tree.h"

struct clone {
	const struct vmj_volume_clone *spec;
	struct vmj_volume *source;
	int dir;                        /* the source's */
	char from[VMJ_VOLUME_FILE_MAX]; /* the layer whose content is cloned */
	bool freeze;                    /* it is the source's top */
	struct vmj_volume v;            /* the clone */
	struct vmj_making m;
};

/* Which layer, and how large the clone's disk is. A top that is empty need not be frozen: so a
 * volume that nobody changes can be cloned any number of times. */
static int find_from(struct clone *c, struct vmj_error *err)
{
	const struct vmj_volume *s = c->source;
	const struct vmj_snapshot *snapshot;
	const struct vmj_layer *top = vmj_volume_layer(s, s->top);

	c->v.virtual_bytes = s->virtual_bytes;
	snprintf(c->from, sizeof(c->from), "%s", s->top);
	if (!c->spec->snapshot) {
		vmj_autoclose int fd = vmj_layer_open(c->dir, s, s->top, NULL, err);

		if (fd < 0)
			return fd;
		c->freeze = !c->spec->full;
		if (c->freeze && *top->parent && vmj_qcow2_is_empty(fd)) {
			snprintf(c->from, sizeof(c->from), "%s", top->parent);
			c->freeze = false;
		}
		return 0;
	}
	snapshot = vmj_volume_snapshot(s, c->spec->snapshot);
	if (!snapshot)
		return vmj_fail_user(err, ENOENT,
				     "volume \"%s\" has no snapshot \"%s\": vmjob snapshot list %s "
				     "shows those that it has",
				     s->name, c->spec->snapshot, s->name);
	c->v.virtual_bytes = snapshot->virtual_bytes;
	snprintf(c->from, sizeof(c->from), "%s", snapshot->layer);
	return 0;
}

static void describe(struct clone *c)
{
	const struct vmj_volume *s = c->source;

	c->v = (struct vmj_volume){
		.uid = s->uid,
		.gid = s->gid,
		.time = time(NULL),
		.next = 1,
	};
	snprintf(c->v.name, sizeof(c->v.name), "%s", c->spec->to);
	memcpy(c->v.image, s->image, sizeof(c->v.image));
}

/* --- linked ----------------------------------------------------------------------------------- */

static int link_layer(struct clone *c, const char *file, struct vmj_error *err)
{
	char path[VMJ_VOLUME_PATH_MAX];
	vmj_autoclose int fd = vmj_layer_open(c->dir, c->source, file, NULL, err);

	if (fd < 0)
		return fd;
	vmj_volume_path(c->spec->domain, c->source, file, path);
	return vmj_layer_link(fd, path, c->m.dir, c->m.path, &c->v, file, err);
}

/* Root first, so that each has its parent before it. */
static int link_chain(struct clone *c, struct vmj_error *err)
{
	const char *chain[VMJ_CHAIN_MAX];
	unsigned int n = 0;
	int rc = vmj_volume_chain(c->source, c->from, chain, &n, err);

	for (unsigned int i = n; rc == 0 && i-- > 0;) {
		rc = link_layer(c, chain[i], err);
		if (rc == 0)
			rc = vmj_volume_add_layer(&c->v, chain[i], i + 1 < n ? chain[i + 1] : "",
						  err);
	}
	return rc;
}

static int add_top(struct clone *c, struct vmj_error *err)
{
	struct vmj_volume *v = &c->v;
	int rc;

	v->next = c->source->next;
	rc = vmj_volume_take_layer_name(v, v->top, err);
	if (rc == 0)
		rc = vmj_volume_add_layer(v, v->top, c->from, err);
	if (rc == 0)
		rc = vmj_layer_make(c->m.dir, v, v->top, c->from, v->virtual_bytes, err);
	return rc;
}

static int freeze_source(struct clone *c, struct vmj_error *err)
{
	struct vmj_volume s = *c->source;
	int rc = vmj_volume_take_layer_name(&s, s.top, err);

	if (rc == 0)
		rc = vmj_volume_add_layer(&s, s.top, c->from, err);
	if (rc == 0)
		rc = vmj_layer_make(c->dir, &s, s.top, c->from, s.virtual_bytes, err);
	if (rc < 0)
		return rc;
	vmj_point("clone.source-top");
	rc = vmj_volume_store(c->dir, &s, err);
	if (rc < 0)
		return rc;
	vmj_point("clone.commit-source");
	*c->source = s;
	return vmj_layer_freeze(c->dir, &s, c->from, err);
}

/* Both tops are over `from`, so what fits here fits the source, too. */
static int fill_linked(struct clone *c, struct vmj_error *err)
{
	int rc = link_chain(c, err);

	if (rc < 0)
		return rc;
	vmj_point("clone.link");
	rc = add_top(c, err);
	if (rc < 0)
		return rc;
	vmj_point("clone.top");
	rc = vmj_making_seal(&c->m, &c->v, err);
	if (rc < 0)
		return rc;
	vmj_point("clone.seal");
	return c->freeze ? freeze_source(c, err) : 0;
}

/* --- full ------------------------------------------------------------------------------------- */

static int convert(struct clone *c, const char *target, struct vmj_error *err)
{
	char from[VMJ_VOLUME_PATH_MAX], to[VMJ_VOLUME_PATH_MAX + VMJ_VOLUME_FILE_MAX];
	const char *argv[] = {"qemu-img", "convert", "-p", "-f", "qcow2", "-O",
			      "qcow2",    "--",      from, to,   NULL};
	struct vmj_qemu_img q = {.argv = argv,
				 .uid = c->v.uid,
				 .gid = c->v.gid,
				 .progress = c->spec->progress,
				 .arg = c->spec->arg};

	vmj_volume_path(c->spec->domain, c->source, c->from, from);
	snprintf(to, sizeof(to), "%s/%s", c->m.path, target);
	return vmj_qemu_img_run(&q, err);
}

static int sync_layer(struct clone *c, struct vmj_error *err)
{
	uint64_t bytes = 0;
	vmj_autoclose int fd = vmj_layer_open(c->m.dir, &c->v, c->v.top, &bytes, err);

	if (fd < 0)
		return fd;
	if (bytes != c->v.virtual_bytes)
		return vmj_fail(err, EIO, "volume \"%s\": the copy has another size than \"%s\"",
				c->v.name, c->source->name);
	return fsync(fd) < 0 ? vmj_fail(err, errno, "volume \"%s\": cannot sync it: %m", c->v.name)
			     : 0;
}

/* A file of the user's, which qemu-img then overwrites. */
static int fill_full(struct clone *c, struct vmj_error *err)
{
	struct vmj_volume *v = &c->v;
	int rc = vmj_volume_take_layer_name(v, v->top, err);

	if (rc == 0)
		rc = vmj_volume_add_layer(v, v->top, "", err);
	if (rc == 0)
		rc = vmj_layer_make(c->m.dir, v, v->top, "", v->virtual_bytes, err);
	if (rc == 0)
		rc = convert(c, v->top, err);
	if (rc < 0)
		return vmj_fail_prefix(err, "volume \"%s\" cannot be copied", c->source->name);
	vmj_point("clone.copy");
	rc = sync_layer(c, err);
	return rc == 0 ? vmj_making_seal(&c->m, v, err) : rc;
}

/* --- either ----------------------------------------------------------------------------------- */

static int make(struct clone *c, struct vmj_error *err)
{
	int rc = vmj_making_begin(&c->m, c->spec->domain, &c->v, c->source->name, err);

	if (rc < 0)
		return rc;
	vmj_point("clone.make");
	rc = c->spec->full ? fill_full(c, err) : fill_linked(c, err);
	if (rc == 0)
		rc = vmj_making_publish(&c->m, &c->v, err);
	if (rc == 0)
		vmj_point("clone.commit");
	return rc;
}

int vmj_volume_clone(const struct vmj_volume_clone *spec, struct vmj_volume *source,
		     struct vmj_volume *ret, struct vmj_error *err)
{
	struct clone c = {.spec = spec, .source = source, .m = VMJ_MAKING_INIT};
	int rc = vmj_volume_new_name(spec->to, 0, err);

	if (rc < 0)
		return rc;
	describe(&c);
	rc = c.dir = vmj_volume_open(spec->domain, source->uid, source->name, err);
	if (rc < 0)
		return rc;
	rc = find_from(&c, err);
	if (rc == 0)
		rc = vmj_chain_verify(c.dir, source, c.from, err);
	if (rc == 0)
		rc = make(&c, err);
	vmj_making_done(&c.m);
	vmj_close(c.dir);
	if (rc == 0)
		*ret = c.v;
	return rc;
}
