/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "snapshot-world.h"

unsigned int world_pick(struct world *w, unsigned int n)
{
	return (unsigned int)(unit_random(&w->random) >> 33) % n;
}

/* --- the storage ------------------------------------------------------------------------------ */

struct file *world_find(struct place *p, const char *name)
{
	for (unsigned int i = 0; i < p->n_files; i++)
		if (strcmp(p->files[i].name, name) == 0)
			return &p->files[i];
	return NULL;
}

static struct inode *inode_of(struct place *p, const char *name)
{
	struct file *f = world_find(p, name);

	return f ? &p->world->inodes[f->inode] : NULL;
}

struct inode *world_need(struct place *p, const char *name)
{
	struct inode *i = inode_of(p, name);

	if (!i)
		fail_msg("%s is not there", name);
	return i;
}

void world_add_file(struct place *p, const char *name, unsigned int inode)
{
	assert_true(p->n_files < FILES_MAX);
	snprintf(p->files[p->n_files].name, sizeof(p->files[0].name), "%s", name);
	p->files[p->n_files++].inode = inode;
	p->world->inodes[inode].links++;
}

void world_remove_file(struct place *p, const char *name)
{
	struct file *f = world_find(p, name);

	if (!f)
		return;
	p->world->inodes[f->inode].links--;
	*f = p->files[--p->n_files];
}

unsigned int world_new_inode(struct world *w, const char *parent)
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

void world_read_headers(struct place *p, const char *from, int ret[BLOCKS])
{
	for (int b = 0; b < BLOCKS; b++)
		ret[b] = NOTHING;
	for (const char *name = from; *name;) {
		struct inode *i = world_need(p, name);

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
	       !world_find(p, file);
}

void world_read_tree(struct place *p, const char *from, int ret[BLOCKS])
{
	const char *chain[VMJ_CHAIN_MAX];
	unsigned int n;

	assert_int_equal(vmj_volume_chain(&p->json, from, chain, &n, NULL), 0);
	for (int b = 0; b < BLOCKS; b++)
		ret[b] = NOTHING;
	for (unsigned int k = 0; k < n; k++)
		for (int b = 0; b < BLOCKS && !was_moved(p, chain[k]); b++)
			if (ret[b] == NOTHING)
				ret[b] = world_need(p, chain[k])->blocks[b];
}

/* --- the environment -------------------------------------------------------------------------- */

bool world_breaks(struct place *p)
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
	world_remove_file(p, file);
	world_add_file(p, file, world_new_inode(p->world, parent));
	BREAK_AFTER(p);
}

static int env_set_writable(const struct vmj_volume *v, const char *file, bool writable, void *arg,
			    struct vmj_error *err)
{
	struct place *p = arg;

	BREAK_BEFORE(p);
	assert_int_equal(world_need(p, file)->links, 1);
	world_need(p, file)->writable = writable;
	BREAK_AFTER(p);
}

/* How many blocks are copied before it breaks. */
static int copied(struct place *p)
{
	return world_breaks(p) ? (int)world_pick(p->world, BLOCKS + 1) : BLOCKS;
}

static int env_commit(const struct vmj_volume *v, const char *child, const char *layer, void *arg,
		      struct vmj_error *err)
{
	struct place *p = arg;
	struct inode *from = world_need(p, child), *to = world_need(p, layer);
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
	struct inode *to = world_need(p, child);
	int before[BLOCKS], after[BLOCKS], n = copied(p);

	assert_true(to->links == 1 && to->writable);
	assert_string_equal(to->parent, vmj_volume_layer(v, child)->parent);
	world_read_headers(p, child, before);
	world_read_headers(p, parent, after);
	for (int b = 0; b < n; b++)
		if (to->blocks[b] == NOTHING && before[b] != after[b])
			to->blocks[b] = before[b];
	if (world_breaks(p))
		return vmj_fail(err, ECANCELED, "broken before the header");
	snprintf(to->parent, sizeof(to->parent), "%s", parent);
	BREAK_AFTER(p);
}

static int env_move(const struct vmj_volume *v, const char *from, const char *to, void *arg,
		    struct vmj_error *err)
{
	struct place *p = arg;
	unsigned int inode = world_find(p, from)->inode;

	BREAK_BEFORE(p);
	world_remove_file(p, to);
	world_add_file(p, to, inode);
	world_remove_file(p, from);
	BREAK_AFTER(p);
}

static int env_set_parent(const struct vmj_volume *v, const char *file, const char *parent,
			  void *arg, struct vmj_error *err)
{
	struct place *p = arg;

	BREAK_BEFORE(p);
	assert_int_equal(world_need(p, file)->links, 1);
	for (unsigned int i = 0; i < p->qemu.n && p->qemu.runs; i++)
		assert_string_not_equal(p->qemu.chain[i].name, file);
	snprintf(world_need(p, file)->parent, sizeof(world_need(p, file)->parent), "%s", parent);
	BREAK_AFTER(p);
}

static int env_drop(const struct vmj_volume *v, const char *file, void *arg, struct vmj_error *err)
{
	struct place *p = arg;

	BREAK_BEFORE(p);
	assert_null(vmj_volume_layer(&p->json, file));
	for (unsigned int i = 0; i < p->qemu.n && p->qemu.runs; i++)
		assert_string_not_equal(p->qemu.chain[i].name, file);
	world_remove_file(p, file);
	BREAK_AFTER(p);
}

static int env_exists(const struct vmj_volume *v, const char *file, void *arg,
		      struct vmj_error *err)
{
	BREAK_BEFORE((struct place *)arg);
	return world_find(arg, file) != NULL;
}

static int env_look(const struct vmj_volume *v, struct vmj_layer_facts *ret, void *arg,
		    struct vmj_error *err)
{
	BREAK_BEFORE((struct place *)arg);
	for (unsigned int i = 0; i < v->n_layers; i++) {
		struct inode *inode = world_need(arg, v->layers[i].file);

		ret[i] = (struct vmj_layer_facts){.own = inode->links == 1};
		for (int b = 0; b < BLOCKS; b++)
			ret[i].bytes += inode->blocks[b] != NOTHING;
	}
	return 0;
}

/* --- the running guest ------------------------------------------------------------------------ */

struct inode *world_open_inode(struct place *p, unsigned int i)
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

void world_guest_start(struct place *p)
{
	const char *chain[VMJ_CHAIN_MAX];

	assert_int_equal(vmj_volume_chain(&p->json, NULL, chain, &p->qemu.n, NULL), 0);
	for (unsigned int i = 0; i < p->qemu.n; i++)
		p->qemu.chain[i] = *world_find(p, chain[i]);
	p->qemu.runs = true;
}

void world_guest_switch(struct place *p, const char *file)
{
	struct qemu *q = &p->qemu;

	memmove(&q->chain[1], &q->chain[0], q->n++ * sizeof(q->chain[0]));
	q->chain[0] = *world_find(p, file);
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
	from = world_open_inode(p, (unsigned int)at);
	to = world_open_inode(p, (unsigned int)at + 1);
	over = world_open_inode(p, (unsigned int)at - 1);
	assert_true(to->writable && to->links == 1 && over->writable && over->links == 1);
	for (int b = 0; b < n; b++)
		if (from->blocks[b] != NOTHING)
			to->blocks[b] = from->blocks[b];
	if (world_breaks(p))
		return vmj_fail(err, ECANCELED, "broken before the header");
	header_by_qemu(over, layer);
	close_file(&p->qemu, (unsigned int)at);
	BREAK_AFTER(p);
}

static int env_live_pull(const struct vmj_volume *v, const char *parent, void *arg,
			 struct vmj_error *err)
{
	struct place *p = arg;
	struct inode *to = world_open_inode(p, 0), *from = world_open_inode(p, 1);
	int n = copied(p);

	for (int b = 0; b < n; b++)
		if (to->blocks[b] == NOTHING)
			to->blocks[b] = from->blocks[b];
	if (world_breaks(p))
		return vmj_fail(err, ECANCELED, "broken before the header");
	header_by_qemu(to, parent);
	close_file(&p->qemu, 1);
	BREAK_AFTER(p);
}

struct vmj_layers_env world_env_of(struct place *p)
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
