/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Snapshots, reverts, merges and clones on a made-up storage, broken off at each call that changes
 * it, by the agent's death or by the host's. A layer is a few blocks of numbers. Whatever happens,
 * each top and each snapshot must hold what was written.
 */
#include "unit.h"

#include <errno.h>

#include "vmjob/storage/snapshot.h"

#define BLOCKS      6
#define FILES_MAX   96
#define INODES_MAX  512
#define VOLUMES_MAX 3
#define NOTHING     (-1) /* a block that a layer does not have */
#define SEEDS       3000
#define ACTIONS     70

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

static unsigned int pick(struct world *w, unsigned int n)
{
	return (unsigned int)(unit_random(&w->random) >> 33) % n;
}

/* --- the storage ------------------------------------------------------------------------------ */

static struct file *find(struct place *p, const char *name)
{
	for (unsigned int i = 0; i < p->n_files; i++)
		if (strcmp(p->files[i].name, name) == 0)
			return &p->files[i];
	return NULL;
}

static struct inode *inode_of(struct place *p, const char *name)
{
	struct file *f = find(p, name);

	return f ? &p->world->inodes[f->inode] : NULL;
}

static struct inode *need(struct place *p, const char *name)
{
	struct inode *i = inode_of(p, name);

	if (!i)
		fail_msg("%s is not there", name);
	return i;
}

static void add_file(struct place *p, const char *name, unsigned int inode)
{
	assert_true(p->n_files < FILES_MAX);
	snprintf(p->files[p->n_files].name, sizeof(p->files[0].name), "%s", name);
	p->files[p->n_files++].inode = inode;
	p->world->inodes[inode].links++;
}

static void remove_file(struct place *p, const char *name)
{
	struct file *f = find(p, name);

	if (!f)
		return;
	p->world->inodes[f->inode].links--;
	*f = p->files[--p->n_files];
}

static unsigned int new_inode(struct world *w, const char *parent)
{
	for (unsigned int i = 0; i < INODES_MAX; i++) {
		if (w->inodes[i].links)
			continue;
		w->inodes[i] = (struct inode){.writable = true};
		for (int b = 0; b < BLOCKS; b++)
			w->inodes[i].blocks[b] = NOTHING;
		snprintf(w->inodes[i].parent, sizeof(w->inodes[i].parent), "%s", parent);
		return i;
	}
	fail_msg("the made-up storage is full");
	return 0;
}

static const char *bare(const char *parent)
{
	const char *slash = strrchr(parent, '/');

	return slash ? slash + 1 : parent;
}

/* As a program reads that follows the headers. from "": zeros. */
static void read_headers(struct place *p, const char *from, int ret[BLOCKS])
{
	for (int b = 0; b < BLOCKS; b++)
		ret[b] = NOTHING;
	for (const char *name = from; *name;) {
		struct inode *i = need(p, name);

		for (int b = 0; b < BLOCKS; b++)
			if (ret[b] == NOTHING)
				ret[b] = i->blocks[b];
		name = bare(i->parent);
	}
}

/* Has the file been renamed by a merge of which volume.json does not say yet that it is done? */
static bool was_moved(struct place *p, const char *file)
{
	const struct vmj_pending *pending = &p->json.pending;

	return pending->op == VMJ_PENDING_MERGE && !pending->pull &&
	       strcmp(vmj_volume_layer(&p->json, pending->file)->parent, file) == 0 &&
	       !find(p, file);
}

/* As a guest reads that is given the chain of volume.json. */
static void read_tree(struct place *p, const char *from, int ret[BLOCKS])
{
	const char *chain[VMJ_CHAIN_MAX];
	unsigned int n;

	assert_int_equal(vmj_volume_chain(&p->json, from, chain, &n, NULL), 0);
	for (int b = 0; b < BLOCKS; b++)
		ret[b] = NOTHING;
	for (unsigned int k = 0; k < n; k++)
		for (int b = 0; b < BLOCKS && !was_moved(p, chain[k]); b++)
			if (ret[b] == NOTHING)
				ret[b] = need(p, chain[k])->blocks[b];
}

/* --- the environment -------------------------------------------------------------------------- */

/* Does it break here? Once it has, nothing works any more. */
static bool breaks(struct place *p)
{
	struct world *w = p->world;

	if (w->broken)
		return true;
	if (w->fuse < 0 || w->fuse-- > 0)
		return false;
	w->broken = true;
	w->crashes++;
	return true;
}

/* A call that does its work at once or not at all: broken before, or right after. */
#define BREAK_BEFORE(p)                                                      \
	do {                                                                 \
		if (breaks(p))                                               \
			return vmj_fail(err, ECANCELED, "broken before it"); \
	} while (0)
#define BREAK_AFTER(p) return breaks(p) ? vmj_fail(err, ECANCELED, "broken after it") : 0

static int env_save(const struct vmj_volume *v, void *arg, struct vmj_error *err)
{
	struct place *p = arg;

	assert_done(vmj_volume_check(v, err), *err);
	BREAK_BEFORE(p);
	p->json = *v;
	BREAK_AFTER(p);
}

static int env_make(const struct vmj_volume *v, const char *file, const char *parent, void *arg,
		    struct vmj_error *err)
{
	struct place *p = arg;

	BREAK_BEFORE(p);
	assert_null(vmj_volume_layer(&p->json, file));
	remove_file(p, file);
	add_file(p, file, new_inode(p->world, parent));
	BREAK_AFTER(p);
}

static int env_set_writable(const struct vmj_volume *v, const char *file, bool writable, void *arg,
			    struct vmj_error *err)
{
	struct place *p = arg;

	BREAK_BEFORE(p);
	assert_int_equal(need(p, file)->links, 1);
	need(p, file)->writable = writable;
	BREAK_AFTER(p);
}

/* How many blocks are copied before it breaks. */
static int copied(struct place *p)
{
	return breaks(p) ? (int)pick(p->world, BLOCKS + 1) : BLOCKS;
}

static int env_commit(const struct vmj_volume *v, const char *child, const char *layer, void *arg,
		      struct vmj_error *err)
{
	struct place *p = arg;
	struct inode *from = need(p, child), *to = need(p, layer);
	int n = copied(p);

	assert_true(to->links == 1 && to->writable);
	assert_string_equal(from->parent, layer); /* the program follows the header */
	assert_string_not_equal(layer, VMJ_BASE_FILE);
	for (int b = 0; b < n; b++)
		if (from->blocks[b] != NOTHING)
			to->blocks[b] = from->blocks[b];
	BREAK_AFTER(p);
}

static int env_pull(const struct vmj_volume *v, const char *child, const char *parent, void *arg,
		    struct vmj_error *err)
{
	struct place *p = arg;
	struct inode *to = need(p, child);
	int before[BLOCKS], after[BLOCKS], n = copied(p);

	assert_true(to->links == 1 && to->writable);
	assert_string_equal(to->parent, vmj_volume_layer(v, child)->parent);
	read_headers(p, child, before);
	read_headers(p, parent, after);
	for (int b = 0; b < n; b++)
		if (to->blocks[b] == NOTHING && before[b] != after[b])
			to->blocks[b] = before[b];
	if (breaks(p))
		return vmj_fail(err, ECANCELED, "broken before the header");
	snprintf(to->parent, sizeof(to->parent), "%s", parent);
	BREAK_AFTER(p);
}

static int env_move(const struct vmj_volume *v, const char *from, const char *to, void *arg,
		    struct vmj_error *err)
{
	struct place *p = arg;
	unsigned int inode = find(p, from)->inode;

	BREAK_BEFORE(p);
	remove_file(p, to);
	add_file(p, to, inode);
	remove_file(p, from);
	BREAK_AFTER(p);
}

static int env_set_parent(const struct vmj_volume *v, const char *file, const char *parent,
			  void *arg, struct vmj_error *err)
{
	struct place *p = arg;

	BREAK_BEFORE(p);
	assert_int_equal(need(p, file)->links, 1);
	for (unsigned int i = 0; i < p->qemu.n && p->qemu.runs; i++)
		assert_string_not_equal(p->qemu.chain[i].name, file);
	snprintf(need(p, file)->parent, sizeof(need(p, file)->parent), "%s", parent);
	BREAK_AFTER(p);
}

static int env_drop(const struct vmj_volume *v, const char *file, void *arg, struct vmj_error *err)
{
	struct place *p = arg;

	BREAK_BEFORE(p);
	assert_null(vmj_volume_layer(&p->json, file));
	for (unsigned int i = 0; i < p->qemu.n && p->qemu.runs; i++)
		assert_string_not_equal(p->qemu.chain[i].name, file);
	remove_file(p, file);
	BREAK_AFTER(p);
}

static int env_exists(const struct vmj_volume *v, const char *file, void *arg,
		      struct vmj_error *err)
{
	BREAK_BEFORE((struct place *)arg);
	return find(arg, file) != NULL;
}

static int env_look(const struct vmj_volume *v, struct vmj_layer_facts *ret, void *arg,
		    struct vmj_error *err)
{
	BREAK_BEFORE((struct place *)arg);
	for (unsigned int i = 0; i < v->n_layers; i++) {
		struct inode *inode = need(arg, v->layers[i].file);

		ret[i] = (struct vmj_layer_facts){.own = inode->links == 1};
		for (int b = 0; b < BLOCKS; b++)
			ret[i].bytes += inode->blocks[b] != NOTHING;
	}
	return 0;
}

/* --- the running guest ------------------------------------------------------------------------ */

static struct inode *open_inode(struct place *p, unsigned int i)
{
	return &p->world->inodes[p->qemu.chain[i].inode];
}

static int place_in_chain(const struct qemu *q, const char *file)
{
	for (unsigned int i = 0; i < q->n; i++)
		if (strcmp(q->chain[i].name, file) == 0)
			return (int)i;
	return -1;
}

static void close_file(struct qemu *q, unsigned int i)
{
	memmove(&q->chain[i], &q->chain[i + 1], (--q->n - i) * sizeof(q->chain[0]));
}

static void guest_start(struct place *p)
{
	const char *chain[VMJ_CHAIN_MAX];

	assert_int_equal(vmj_volume_chain(&p->json, NULL, chain, &p->qemu.n, NULL), 0);
	for (unsigned int i = 0; i < p->qemu.n; i++)
		p->qemu.chain[i] = *find(p, chain[i]);
	p->qemu.runs = true;
}

static void guest_switch(struct place *p, const char *file)
{
	struct qemu *q = &p->qemu;

	memmove(&q->chain[1], &q->chain[0], q->n++ * sizeof(q->chain[0]));
	q->chain[0] = *find(p, file);
}

static int env_live_has(const struct vmj_volume *v, const char *file, void *arg,
			struct vmj_error *err)
{
	BREAK_BEFORE((struct place *)arg);
	return place_in_chain(&((struct place *)arg)->qemu, file) >= 0;
}

static void header_by_qemu(struct inode *i, const char *parent)
{
	if (*parent)
		snprintf(i->parent, sizeof(i->parent), "/abs/%s", parent);
	else
		i->parent[0] = '\0';
}

static int env_live_commit(const struct vmj_volume *v, const char *above, const char *child,
			   const char *layer, void *arg, struct vmj_error *err)
{
	struct place *p = arg;
	int at = place_in_chain(&p->qemu, child), n = copied(p);
	struct inode *from, *to, *over;

	assert_true(at > 0);
	assert_string_equal(p->qemu.chain[at - 1].name, above);
	assert_string_equal(p->qemu.chain[at + 1].name, layer);
	from = open_inode(p, (unsigned int)at);
	to = open_inode(p, (unsigned int)at + 1);
	over = open_inode(p, (unsigned int)at - 1);
	assert_true(to->writable && to->links == 1 && over->writable && over->links == 1);
	for (int b = 0; b < n; b++)
		if (from->blocks[b] != NOTHING)
			to->blocks[b] = from->blocks[b];
	if (breaks(p))
		return vmj_fail(err, ECANCELED, "broken before the header");
	header_by_qemu(over, layer);
	close_file(&p->qemu, (unsigned int)at);
	BREAK_AFTER(p);
}

static int env_live_pull(const struct vmj_volume *v, const char *parent, void *arg,
			 struct vmj_error *err)
{
	struct place *p = arg;
	struct inode *to = open_inode(p, 0), *from = open_inode(p, 1);
	int n = copied(p);

	for (int b = 0; b < n; b++)
		if (to->blocks[b] == NOTHING)
			to->blocks[b] = from->blocks[b];
	if (breaks(p))
		return vmj_fail(err, ECANCELED, "broken before the header");
	header_by_qemu(to, parent);
	close_file(&p->qemu, 1);
	BREAK_AFTER(p);
}

static struct vmj_layers_env env_of(struct place *p)
{
	struct vmj_layers_env env = {
		.save = env_save,
		.make = env_make,
		.set_writable = env_set_writable,
		.commit = env_commit,
		.pull = env_pull,
		.move = env_move,
		.set_parent = env_set_parent,
		.drop = env_drop,
		.exists = env_exists,
		.look = env_look,
		.arg = p,
	};

	if (p->qemu.runs) {
		env.live_commit = env_live_commit;
		env.live_pull = env_live_pull;
		env.live_has = env_live_has;
	}
	return env;
}

/* --- what must be true ------------------------------------------------------------------------ */

static void assert_blocks(const int got[BLOCKS], const int wanted[BLOCKS], const char *what)
{
	for (int b = 0; b < BLOCKS; b++)
		if (got[b] != wanted[b])
			fail_msg("%s: block %d is %d, not %d", what, b, got[b], wanted[b]);
}

static void check_modes(struct place *p)
{
	for (unsigned int i = 0; i < p->json.n_layers; i++) {
		const char *file = p->json.layers[i].file;

		if (need(p, file)->links == 1 && strcmp(file, VMJ_BASE_FILE) != 0)
			assert_int_equal(need(p, file)->writable, strcmp(file, p->json.top) == 0);
	}
}

static void check_guest(struct place *p)
{
	const char *chain[VMJ_CHAIN_MAX];
	unsigned int n;

	assert_int_equal(vmj_volume_chain(&p->json, NULL, chain, &n, NULL), 0);
	assert_int_equal(n, p->qemu.n);
	for (unsigned int i = 0; i < n; i++) {
		assert_string_equal(chain[i], p->qemu.chain[i].name);
		assert_int_equal(find(p, chain[i])->inode, p->qemu.chain[i].inode);
	}
}

/* recovered: nothing is pending, and headers are right. */
static void check_place(struct place *p, bool recovered)
{
	int got[BLOCKS];

	if (!p->used)
		return;
	read_tree(p, NULL, got);
	assert_blocks(got, p->top, "top by volume.json");
	assert_int_equal(p->json.n_snapshots, p->n_snapshots);
	for (unsigned int i = 0; i < p->n_snapshots; i++) {
		const struct vmj_snapshot *s = vmj_volume_snapshot(&p->json, p->snapshots[i].name);

		assert_non_null(s);
		read_tree(p, s->layer, got);
		assert_blocks(got, p->snapshots[i].blocks, "snapshot by volume.json");
		if (!recovered)
			continue;
		read_headers(p, s->layer, got);
		assert_blocks(got, p->snapshots[i].blocks, "snapshot by headers");
	}
	if (!recovered)
		return;
	assert_int_equal(p->json.pending.op, VMJ_PENDING_NONE);
	read_headers(p, p->json.top, got);
	assert_blocks(got, p->top, "top by headers");
	check_modes(p);
	if (p->qemu.runs)
		check_guest(p);
}

static void check_world(struct world *w)
{
	for (unsigned int i = 0; i < VOLUMES_MAX; i++)
		check_place(&w->places[i], true);
}

/* --- actions ---------------------------------------------------------------------------------- */

static void expect_snapshot(struct place *p, const char *name)
{
	struct expected *e = &p->snapshots[p->n_snapshots++];

	snprintf(e->name, sizeof(e->name), "%s", name);
	memcpy(e->blocks, p->top, sizeof(e->blocks));
}

static struct expected *expected_of(struct place *p, const char *name)
{
	for (unsigned int i = 0; i < p->n_snapshots; i++)
		if (strcmp(p->snapshots[i].name, name) == 0)
			return &p->snapshots[i];
	return NULL;
}

static void guest_writes(struct place *p)
{
	struct world *w = p->world;
	unsigned int b = pick(w, BLOCKS);
	struct inode *i = p->qemu.runs ? open_inode(p, 0) : need(p, p->json.top);

	i->blocks[b] = p->top[b] = w->next_value++;
}

static void settle(struct place *p)
{
	struct vmj_error err = {0};

	for (unsigned int tries = 0;; tries++) {
		struct vmj_layers_env env;
		struct vmj_volume v = p->json;

		if (p->world->broken && p->qemu.runs && pick(p->world, 2))
			p->qemu.runs = false; /* it was the host that died */
		p->world->broken = false;
		p->world->fuse = tries < 3 && pick(p->world, 3) == 0 ? (int)pick(p->world, 8) : -1;
		env = env_of(p);
		if (vmj_layers_recover(&env, &v, &err) == 0)
			break;
		assert_int_equal(err.code, ECANCELED);
	}
	p->world->fuse = -1;
	p->world->broken = false;
}

/* The same again changes nothing. */
static void settle_again(struct place *p)
{
	struct vmj_layers_env env = env_of(p);
	struct vmj_volume v = p->json, before = p->json;
	struct vmj_error err = {0};

	assert_done(vmj_layers_recover(&env, &v, &err), err);
	assert_memory_equal(&before, &p->json, sizeof(before));
}

static void arm(struct place *p)
{
	if (pick(p->world, 2))
		p->world->fuse = (int)pick(p->world, 16);
}

/* After an action, whole or broken off. */
static void after(struct place *p, int rc, const struct vmj_error *err)
{
	if (rc < 0 && err->code == ECANCELED) {
		settle(p);
		settle_again(p);
	}
	p->world->fuse = -1;
	p->world->broken = false;
}

static int create_live(struct place *p, struct vmj_volume *v, const char *name,
		       struct vmj_error *err)
{
	struct vmj_layers_env env = env_of(p);
	int rc = vmj_snapshot_prepare(&env, v, name, 1, err);

	if (rc < 0)
		return rc;
	BREAK_BEFORE(p);
	guest_switch(p, v->pending.file);
	if (pick(p->world, 2))
		guest_writes(p);
	BREAK_BEFORE(p);
	return vmj_snapshot_complete(&env, v, true, err);
}

static void act_create(struct place *p)
{
	struct vmj_layers_env env = env_of(p);
	struct vmj_volume v = p->json;
	struct vmj_error err = {0};
	struct place before = *p;
	char name[16];
	int rc;

	snprintf(name, sizeof(name), "s%u", pick(p->world, 12));
	arm(p);
	rc = p->qemu.runs ? create_live(p, &v, name, &err)
			  : vmj_snapshot_create(&env, &v, name, 1, &err);
	after(p, rc, &err);
	if (!vmj_volume_snapshot(&before.json, name) && vmj_volume_snapshot(&p->json, name)) {
		int top[BLOCKS];

		memcpy(top, p->top, sizeof(top));
		memcpy(p->top, before.top, sizeof(top)); /* as it was when it was taken */
		expect_snapshot(p, name);
		memcpy(p->top, top, sizeof(top));
		p->world->done[0]++;
	} else {
		assert_true(rc < 0);
	}
}

static const char *any_snapshot(struct place *p)
{
	return p->n_snapshots ? p->snapshots[pick(p->world, p->n_snapshots)].name : NULL;
}

static void act_revert(struct place *p)
{
	struct vmj_layers_env env = env_of(p);
	struct vmj_volume v = p->json, before = p->json;
	const char *name = any_snapshot(p);
	struct vmj_error err = {0};
	int rc;

	if (!name || p->qemu.runs)
		return;
	arm(p);
	rc = vmj_snapshot_go_back(&env, &v, name, &err);
	after(p, rc, &err);
	if (strcmp(before.top, p->json.top) != 0) {
		memcpy(p->top, expected_of(p, name)->blocks, sizeof(p->top));
		p->world->done[1]++;
	} else {
		assert_true(rc < 0);
	}
}

static void act_remove(struct place *p)
{
	struct vmj_layers_env env = env_of(p);
	struct vmj_volume v = p->json;
	const char *name = any_snapshot(p);
	struct vmj_error err = {0};
	int rc;

	if (!name)
		return;
	arm(p);
	rc = vmj_snapshot_remove(&env, &v, name, &err);
	after(p, rc, &err);
	if (vmj_volume_snapshot(&p->json, name)) {
		assert_true(rc < 0);
		return;
	}
	*expected_of(p, name) = p->snapshots[p->n_snapshots - 1];
	p->n_snapshots--;
	p->world->done[2]++;
}

static void act_merge(struct place *p)
{
	struct vmj_layers_env env = env_of(p);
	struct vmj_volume v = p->json;
	struct vmj_error err = {0};
	unsigned int n = 0;
	int rc;

	arm(p);
	while ((rc = vmj_volume_merge(&env, &v, &err)) > 0) {
		check_place(p, false);
		p->world->merges[p->qemu.runs]++;
		assert_true(n++ < VMJ_LAYERS_MAX);
	}
	if (rc < 0)
		check_place(p, false); /* before anything is mended */
	after(p, rc, &err);
}

static void act_guest(struct place *p)
{
	if (!p->qemu.runs) {
		guest_start(p);
	} else {
		p->qemu.runs = false;
		settle(p); /* as before its next start */
	}
}

/* A linked clone of p in q, in one step: its making is somebody else's. */
static void act_clone(struct place *p, struct place *q)
{
	char old[VMJ_VOLUME_FILE_MAX], file[VMJ_VOLUME_FILE_MAX];
	const char *chain[VMJ_CHAIN_MAX];
	struct vmj_volume v = p->json;
	unsigned int n;

	if (q->used || p->qemu.runs)
		return;
	snprintf(old, sizeof(old), "%s", v.top);
	vmj_volume_take_layer_name(&v, file, NULL);
	if (vmj_volume_add_layer(&v, file, old, NULL) < 0)
		return;
	snprintf(v.top, sizeof(v.top), "%s", file);
	remove_file(p, file);
	add_file(p, file, new_inode(p->world, old));
	need(p, old)->writable = false;
	p->json = v;
	assert_int_equal(vmj_volume_chain(&v, old, chain, &n, NULL), 0);
	*q = (struct place){.world = p->world, .used = true, .json = v};
	q->json.n_layers = q->json.n_snapshots = 0;
	memset(q->json.snapshots, 0, sizeof(q->json.snapshots));
	for (unsigned int i = n; i-- > 0;) {
		add_file(q, chain[i], find(p, chain[i])->inode);
		q->json.layers[q->json.n_layers++] = *vmj_volume_layer(&v, chain[i]);
	}
	q->json.layers[q->json.n_layers++] = *vmj_volume_layer(&v, file);
	add_file(q, file, new_inode(p->world, old));
	memcpy(q->top, p->top, sizeof(q->top));
	p->world->done[3]++;
}

static void act_destroy(struct place *p)
{
	while (p->n_files)
		remove_file(p, p->files[0].name);
	p->used = p->qemu.runs = false;
}

static void make_first(struct world *w)
{
	struct place *p = &w->places[0];

	*p = (struct place){.world = w, .used = true};
	p->json = (struct vmj_volume){
		.name = "data", .uid = 1000, .gid = 1000, .time = 1, .virtual_bytes = 1 << 20};
	p->json.next = 2;
	snprintf(p->json.image, sizeof(p->json.image), "tiny@1");
	snprintf(p->json.top, sizeof(p->json.top), "layer-1.qcow2");
	p->json.n_layers = 2;
	snprintf(p->json.layers[0].file, VMJ_VOLUME_FILE_MAX, VMJ_BASE_FILE);
	snprintf(p->json.layers[1].file, VMJ_VOLUME_FILE_MAX, "layer-1.qcow2");
	snprintf(p->json.layers[1].parent, VMJ_VOLUME_FILE_MAX, VMJ_BASE_FILE);
	add_file(p, VMJ_BASE_FILE, new_inode(w, ""));
	for (int b = 0; b < BLOCKS; b++)
		p->top[b] = need(p, VMJ_BASE_FILE)->blocks[b] = -10 - b;
	need(p, VMJ_BASE_FILE)->links++; /* the image's own name */
	add_file(p, "layer-1.qcow2", new_inode(w, VMJ_BASE_FILE));
}

static void act(struct world *w)
{
	struct place *p = &w->places[pick(w, VOLUMES_MAX)];
	struct place *q = &w->places[pick(w, VOLUMES_MAX)];

	if (!p->used)
		return;
	switch (pick(w, 14)) {
	case 0 ... 2:
		guest_writes(p);
		break;
	case 3 ... 5:
		act_create(p);
		break;
	case 6:
		act_revert(p);
		break;
	case 7 ... 8:
		act_remove(p);
		break;
	case 9 ... 10:
		act_merge(p);
		break;
	case 11:
		act_guest(p);
		break;
	case 12:
		act_clone(p, q);
		break;
	default:
		if (p != &w->places[0] && pick(w, 3) == 0)
			act_destroy(p);
	}
	check_world(w);
}

static void test_random_lives(void **state)
{
	static struct world w;
	unsigned int crashes = 0, done[4] = {0}, merges[2] = {0};

	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		memset(&w, 0, sizeof(w));
		w.random = seed * 0x9e3779b97f4a7c15u;
		w.fuse = -1;
		make_first(&w);
		for (unsigned int i = 0; i < ACTIONS; i++)
			act(&w);
		crashes += w.crashes;
		for (int i = 0; i < 4; i++)
			done[i] += w.done[i];
		for (int i = 0; i < 2; i++)
			merges[i] += w.merges[i];
	}
	print_message("# %u crashes; snapshots %u, reverts %u, removals %u, clones %u; "
		      "merges %u, live %u\n",
		      crashes, done[0], done[1], done[2], done[3], merges[0], merges[1]);
	assert_true(crashes > SEEDS && merges[0] > SEEDS / 2 && merges[1] > SEEDS / 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_lives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
