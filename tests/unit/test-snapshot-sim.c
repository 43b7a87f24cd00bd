/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Snapshots, reverts, merges and clones on a made-up storage, broken off at each call that changes
 * it, by the agent's death or by the host's. A layer is a few blocks of numbers. Whatever happens,
 * each top and each snapshot must hold what was written.
 */
#include "snapshot-world.h"

#define SEEDS   3000
#define ACTIONS 70

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

		if (world_need(p, file)->links == 1 && strcmp(file, VMJ_BASE_FILE) != 0)
			assert_int_equal(world_need(p, file)->writable,
					 strcmp(file, p->json.top) == 0);
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
		assert_int_equal(world_find(p, chain[i])->inode, p->qemu.chain[i].inode);
	}
}

/* recovered: nothing is pending, and headers are right. */
static void check_place(struct place *p, bool recovered)
{
	int got[BLOCKS];

	if (!p->used)
		return;
	world_read_tree(p, NULL, got);
	assert_blocks(got, p->top, "top by volume.json");
	assert_int_equal(p->json.n_snapshots, p->n_snapshots);
	for (unsigned int i = 0; i < p->n_snapshots; i++) {
		const struct vmj_snapshot *s = vmj_volume_snapshot(&p->json, p->snapshots[i].name);

		assert_non_null(s);
		world_read_tree(p, s->layer, got);
		assert_blocks(got, p->snapshots[i].blocks, "snapshot by volume.json");
		if (!recovered)
			continue;
		world_read_headers(p, s->layer, got);
		assert_blocks(got, p->snapshots[i].blocks, "snapshot by headers");
	}
	if (!recovered)
		return;
	assert_int_equal(p->json.pending.op, VMJ_PENDING_NONE);
	world_read_headers(p, p->json.top, got);
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
	unsigned int b = world_pick(w, BLOCKS);
	struct inode *i = p->qemu.runs ? world_open_inode(p, 0) : world_need(p, p->json.top);

	i->blocks[b] = p->top[b] = w->next_value++;
}

static void settle(struct place *p)
{
	struct vmj_error err = {0};

	for (unsigned int tries = 0;; tries++) {
		struct vmj_layers_env env;
		struct vmj_volume v = p->json;

		if (p->world->broken && p->qemu.runs && world_pick(p->world, 2))
			p->qemu.runs = false; /* it was the host that died */
		p->world->broken = false;
		p->world->fuse = tries < 3 && world_pick(p->world, 3) == 0
					 ? (int)world_pick(p->world, 8)
					 : -1;
		env = world_env_of(p);
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
	struct vmj_layers_env env = world_env_of(p);
	struct vmj_volume v = p->json, before = p->json;
	struct vmj_error err = {0};

	assert_done(vmj_layers_recover(&env, &v, &err), err);
	assert_memory_equal(&before, &p->json, sizeof(before));
}

static void arm(struct place *p)
{
	if (world_pick(p->world, 2))
		p->world->fuse = (int)world_pick(p->world, 16);
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
	struct vmj_layers_env env = world_env_of(p);
	int rc = vmj_snapshot_prepare(&env, v, name, 1, err);

	if (rc < 0)
		return rc;
	BREAK_BEFORE(p);
	world_guest_switch(p, v->pending.file);
	if (world_pick(p->world, 2))
		guest_writes(p);
	BREAK_BEFORE(p);
	return vmj_snapshot_complete(&env, v, true, err);
}

static void act_create(struct place *p)
{
	struct vmj_layers_env env = world_env_of(p);
	struct vmj_volume v = p->json;
	struct vmj_error err = {0};
	struct place before = *p;
	char name[16];
	int rc;

	snprintf(name, sizeof(name), "s%u", world_pick(p->world, 12));
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
	return p->n_snapshots ? p->snapshots[world_pick(p->world, p->n_snapshots)].name : NULL;
}

static void act_revert(struct place *p)
{
	struct vmj_layers_env env = world_env_of(p);
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
	struct vmj_layers_env env = world_env_of(p);
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
	struct vmj_layers_env env = world_env_of(p);
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
		world_guest_start(p);
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
	world_remove_file(p, file);
	world_add_file(p, file, world_new_inode(p->world, old));
	world_need(p, old)->writable = false;
	p->json = v;
	assert_int_equal(vmj_volume_chain(&v, old, chain, &n, NULL), 0);
	*q = (struct place){.world = p->world, .used = true, .json = v};
	q->json.n_layers = q->json.n_snapshots = 0;
	memset(q->json.snapshots, 0, sizeof(q->json.snapshots));
	for (unsigned int i = n; i-- > 0;) {
		world_add_file(q, chain[i], world_find(p, chain[i])->inode);
		q->json.layers[q->json.n_layers++] = *vmj_volume_layer(&v, chain[i]);
	}
	q->json.layers[q->json.n_layers++] = *vmj_volume_layer(&v, file);
	world_add_file(q, file, world_new_inode(p->world, old));
	memcpy(q->top, p->top, sizeof(q->top));
	p->world->done[3]++;
}

static void act_destroy(struct place *p)
{
	while (p->n_files)
		world_remove_file(p, p->files[0].name);
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
	world_add_file(p, VMJ_BASE_FILE, world_new_inode(w, ""));
	for (int b = 0; b < BLOCKS; b++)
		p->top[b] = world_need(p, VMJ_BASE_FILE)->blocks[b] = -10 - b;
	world_need(p, VMJ_BASE_FILE)->links++; /* the image's own name */
	world_add_file(p, "layer-1.qcow2", world_new_inode(w, VMJ_BASE_FILE));
}

static void act(struct world *w)
{
	struct place *p = &w->places[world_pick(w, VOLUMES_MAX)];
	struct place *q = &w->places[world_pick(w, VOLUMES_MAX)];

	if (!p->used)
		return;
	switch (world_pick(w, 14)) {
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
		if (p != &w->places[0] && world_pick(w, 3) == 0)
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
