/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmjob/storage/volume.h"

/*
 *	base ── layer-1 ── layer-2 ("done")
 *	   └─── layer-5 (top)
 */
static struct vmj_volume tree(void)
{
	return (struct vmj_volume){
		.name = "data",
		.uid = 2001,
		.gid = 100,
		.time = 1700000000,
		.virtual_bytes = 2048,
		.image = "anna/debian12@3",
		.n_layers = 4,
		.layers = {{"base.qcow2", ""},
			   {"layer-1.qcow2", "base.qcow2"},
			   {"layer-2.qcow2", "layer-1.qcow2"},
			   {"layer-5.qcow2", "base.qcow2"}},
		.n_snapshots = 1,
		.snapshots = {{.name = "done",
			       .time = 5,
			       .layer = "layer-2.qcow2",
			       .virtual_bytes = 1024,
			       .quiesced = true,
			       .memory = "memory-3.save"}},
		.top = "layer-5.qcow2",
		.next = 6,
	};
}

/* Compared as text: what lies between a struct's members is nobody's. */
static void assert_same(const struct vmj_volume *a, const struct vmj_volume *b)
{
	vmj_autofree char *x = vmj_volume_format(a), *y = vmj_volume_format(b);

	assert_non_null(x);
	assert_string_equal(x, y);
}

static void assert_comes_back(const struct vmj_volume *v)
{
	vmj_autofree char *text = vmj_volume_format(v);
	struct vmj_error err = {.code = 0};
	struct vmj_volume back;

	assert_non_null(text);
	assert_done(vmj_volume_parse(text, strlen(text), &back, &err), err);
	assert_same(&back, v);
}

static void json_comes_back(void **state)
{
	struct vmj_volume v = tree();

	assert_comes_back(&v);
	v.pending = (struct vmj_pending){.op = VMJ_PENDING_RESIZE, .bytes = 4096};
	assert_comes_back(&v);
	v.pending = (struct vmj_pending){
		.op = VMJ_PENDING_MERGE, .file = "layer-2.qcow2", .pull = true};
	assert_comes_back(&v);
	v.next = 7;
	v.pending = (struct vmj_pending){
		.op = VMJ_PENDING_SNAPSHOT,
		.file = "layer-6.qcow2",
		.snapshot = {.name = "x", .layer = "layer-5.qcow2", .virtual_bytes = 2048}};
	assert_comes_back(&v);
	strcpy(v.name, "job-42.0");
	v.job = 42;
	assert_comes_back(&v);
}

/* Every volume that is full to its bounds, too. */
static void bounds_fit(void **state)
{
	struct vmj_volume v = tree();

	v.n_layers = v.n_snapshots = 0;
	v.next = UINT32_MAX;
	memset(v.name, 'n', VMJ_NAME_MAX);
	for (uint32_t i = 0; i < VMJ_LAYERS_MAX; i++) {
		struct vmj_layer *l = &v.layers[v.n_layers++];

		*l = (struct vmj_layer){0};
		snprintf(l->file, sizeof(l->file), "layer-%u.qcow2", UINT32_MAX - 100 + i);
		if (i % VMJ_CHAIN_MAX)
			memcpy(l->parent, l[-1].file, sizeof(l->parent));
	}
	for (uint32_t i = 0; i < VMJ_SNAPSHOTS_MAX; i++) {
		struct vmj_snapshot *s = &v.snapshots[v.n_snapshots++];

		*s = (struct vmj_snapshot){.time = INT64_MAX, .virtual_bytes = 1ull << 46};
		memset(s->name, 's', VMJ_NAME_MAX);
		s->name[0] = (char)('A' + i % 26);
		s->name[1] = (char)('a' + i / 26);
		strcpy(s->layer, v.layers[i].file);
		snprintf(s->memory, sizeof(s->memory), "memory-%u.save", UINT32_MAX - 100 + i);
	}
	strcpy(v.top, v.layers[VMJ_LAYERS_MAX - 1].file);
	assert_comes_back(&v);
}

static struct vmj_volume broken;

static void refused(int code, const char *part)
{
	struct vmj_error err = {.code = 0};
	vmj_autofree char *text = vmj_volume_format(&broken);
	struct vmj_volume out = {.job = 77};

	assert_user_refused(vmj_volume_check(&broken, &err), err, code, part);
	/* Nor is it read from a file. */
	assert_non_null(text);
	assert_true(vmj_volume_parse(text, strlen(text), &out, &err) < 0);
	assert_int_equal(out.job, 77);
	broken = tree();
}

static void wrong_layers(void **state)
{
	broken = tree();
	broken.n_layers = 0;
	refused(ERANGE, "1 to 64");
	strcpy(broken.layers[1].parent, "layer-2.qcow2");
	refused(EINVAL, "the parent of layer-1.qcow2, \"layer-2.qcow2\", is not before it");
	strcpy(broken.layers[3].parent, "layer-5.qcow2");
	refused(EINVAL, "the parent of layer-5.qcow2");
	strcpy(broken.layers[3].parent, "layer-4.qcow2");
	refused(EINVAL, "is not before it");
	strcpy(broken.layers[0].parent, "layer-1.qcow2");
	refused(EINVAL, "base.qcow2 has a parent");
	strcpy(broken.layers[3].file, "layer-2.qcow2");
	refused(EINVAL, "layer-2.qcow2 is there twice");
	broken.next = 5;
	refused(EINVAL, "is not below \"next\", 5");
	broken.next = 0;
	refused(EINVAL, "next");
	strcpy(broken.top, "layer-1.qcow2");
	refused(EINVAL, "top: layer-1.qcow2 is the parent");
	strcpy(broken.top, "base.qcow2");
	refused(EINVAL, "can be written");
	strcpy(broken.top, "layer-4.qcow2");
	refused(EINVAL, "top");
}

static void names_that_are_no_files_of_ours(void **state)
{
	static const char *const names[] = {
		"",
		"../../etc/passwd",
		"layer-0.qcow2",
		"layer-01.qcow2",
		"layer-.qcow2",
		"layer-4294967296.qcow2",
		"layer-5.qcow2/",
		"Layer-5.qcow2",
		"layer-5.qcow2.x",
		"volume.json",
		"memory-5.save",
		"layer--5.qcow2",
		"/layer-5.qcow2",
		"layer- 5.qcow2",
		"layer-+5.qcow2",
		".",
	};

	broken = tree();
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		strcpy(broken.layers[3].file, names[i]);
		strcpy(broken.top, names[i]);
		refused(EINVAL, "is no name of such a file");
		strcpy(broken.snapshots[0].memory, names[i]);
		if (*names[i] && strcmp(names[i], "memory-5.save") != 0)
			refused(EINVAL, "is no name of such a file");
		broken = tree();
	}
}

static void wrong_numbers_and_names(void **state)
{
	broken = tree();
	strcpy(broken.name, "../x");
	refused(EINVAL, "is no name");
	strcpy(broken.name, "job-1.0");
	refused(EINVAL, "are for volumes of jobs");
	broken.job = 3;
	refused(EINVAL, "called job-3.");
	broken.uid = (uid_t)-1;
	refused(EINVAL, "uid and gid");
	broken.time = -1;
	refused(EINVAL, "time");
	broken.virtual_bytes = 0;
	refused(ERANGE, "virtual_bytes");
	broken.virtual_bytes = 513;
	refused(ERANGE, "multiple of 512");
	broken.virtual_bytes = UINT64_MAX & ~511ull;
	refused(ERANGE, "virtual_bytes");
	strcpy(broken.image, "a b");
	refused(EINVAL, "image");
}

static void wrong_snapshots(void **state)
{
	broken = tree();
	broken.snapshots[1] = broken.snapshots[0];
	broken.n_snapshots = 2;
	refused(EINVAL, "\"done\" is there twice");
	broken.snapshots[1] = broken.snapshots[0];
	broken.n_snapshots = 2;
	strcpy(broken.snapshots[1].name, "other");
	refused(EINVAL, "two have the memory memory-3.save");
	strcpy(broken.snapshots[0].layer, "layer-5.qcow2");
	refused(EINVAL, "is the top");
	strcpy(broken.snapshots[0].layer, "layer-4.qcow2");
	refused(EINVAL, "does not exist");
	strcpy(broken.snapshots[0].name, "a/b");
	refused(EINVAL, "is no name");
	broken.snapshots[0].virtual_bytes = 0;
	refused(ERANGE, "no size");
	strcpy(broken.snapshots[0].memory, "memory-6.save");
	refused(EINVAL, "not below");
}

static void wrong_pending(void **state)
{
	struct vmj_pending snapshot = {
		.op = VMJ_PENDING_SNAPSHOT,
		.file = "layer-4.qcow2",
		.snapshot = {.name = "x", .layer = "layer-5.qcow2", .virtual_bytes = 2048}};

	broken = tree();
	broken.pending = snapshot;
	strcpy(broken.pending.file, "layer-2.qcow2");
	refused(EINVAL, "is a layer already");
	broken.pending = snapshot;
	strcpy(broken.pending.snapshot.layer, "layer-2.qcow2");
	refused(EINVAL, "is not the top");
	broken.pending = snapshot;
	strcpy(broken.pending.snapshot.name, "done");
	refused(EINVAL, "there already");
	broken.pending = snapshot;
	strcpy(broken.pending.snapshot.memory, "memory-3.save");
	refused(EINVAL, "another snapshot's");
	broken.pending = (struct vmj_pending){.op = VMJ_PENDING_MERGE, .file = "base.qcow2"};
	refused(EINVAL, "no layer that has a parent");
	broken.pending = (struct vmj_pending){.op = VMJ_PENDING_MERGE, .file = "layer-4.qcow2"};
	refused(EINVAL, "no layer that has a parent");
	broken.pending = (struct vmj_pending){.op = VMJ_PENDING_RESIZE, .bytes = 1};
	refused(ERANGE, "pending");
}

static void assert_text_refused(const char *text, const char *part)
{
	struct vmj_error err = {.code = 0};
	struct vmj_volume v;
	int rc = vmj_volume_parse(text, strlen(text), &v, &err);

	assert_user_refused(rc, err, EINVAL, part);
}

static void json_that_is_not_ours(void **state)
{
	vmj_autofree char *good = NULL;
	struct vmj_volume v = tree();

	assert_text_refused("", "not JSON");
	assert_text_refused("{}", "volume.format: this is missing");
	assert_text_refused("{\"format\":\"vmjob-volume\",\"version\":2}", "version 1");
	assert_text_refused("{\"format\":\"vmjob-domain\",\"version\":1}", "format");
	good = vmj_volume_format(&v);
	memcpy(strstr(good, "\"image\""), "\"imagf\"", 7);
	assert_text_refused(good, "volume.image");
}

static void a_chain_is_followed_to_its_root(void **state)
{
	struct vmj_volume v = tree();
	const char *chain[VMJ_CHAIN_MAX];
	struct vmj_error err;
	unsigned int n = 99;

	assert_done(vmj_volume_chain(&v, NULL, chain, &n, &err), err);
	assert_int_equal(n, 2);
	assert_string_equal(chain[0], "layer-5.qcow2");
	assert_string_equal(chain[1], "base.qcow2");
	assert_done(vmj_volume_chain(&v, "layer-2.qcow2", chain, &n, &err), err);
	assert_int_equal(n, 3);
	assert_string_equal(chain[2], "base.qcow2");
	assert_user_refused(vmj_volume_chain(&v, "layer-9.qcow2", chain, &n, &err), err, ENOENT,
			    "no layer layer-9.qcow2");
	assert_int_equal(n, 3);
	assert_int_equal(vmj_volume_children(&v, "base.qcow2"), 2);
	assert_int_equal(vmj_volume_marks(&v, "layer-2.qcow2"), 1);
	assert_int_equal(vmj_volume_marks(&v, "layer-5.qcow2"), 0);
}

static void layers_come_and_go(void **state)
{
	struct vmj_volume v = tree();
	char file[VMJ_VOLUME_FILE_MAX];
	struct vmj_error err;

	assert_done(vmj_volume_take_layer_name(&v, file, &err), err);
	assert_string_equal(file, "layer-6.qcow2");
	assert_done(vmj_volume_add_layer(&v, file, v.top, &err), err);
	strcpy(v.top, file);
	assert_done(vmj_volume_check(&v, &err), err);
	assert_refused(vmj_volume_drop_layer(&v, "layer-6.qcow2", &err), err, EBUSY, "in use");
	assert_refused(vmj_volume_drop_layer(&v, "layer-2.qcow2", &err), err, EBUSY, "in use");
	assert_done(vmj_volume_drop_layer(&v, "layer-1.qcow2", &err), err);
	assert_string_equal(vmj_volume_layer(&v, "layer-2.qcow2")->parent, "base.qcow2");
	assert_null(vmj_volume_layer(&v, "layer-1.qcow2"));
	assert_done(vmj_volume_check(&v, &err), err);
	assert_done(vmj_volume_take_memory_name(&v, file, &err), err);
	assert_string_equal(file, "memory-7.save");
	v.next = UINT32_MAX;
	assert_refused(vmj_volume_take_memory_name(&v, file, &err), err, EOVERFLOW, "numbers");
}

static void chains_have_an_end(void **state)
{
	char file[VMJ_VOLUME_FILE_MAX];
	struct vmj_volume v = tree();
	struct vmj_error err;
	unsigned int layers;

	for (unsigned int i = 2; i < VMJ_CHAIN_MAX; i++) {
		assert_done(vmj_volume_take_layer_name(&v, file, &err), err);
		assert_done(vmj_volume_add_layer(&v, file, v.top, &err), err);
		strcpy(v.top, file);
		assert_done(vmj_volume_check(&v, &err), err);
	}
	layers = v.n_layers;
	assert_user_refused(vmj_volume_add_layer(&v, "layer-99.qcow2", v.top, &err), err, E2BIG,
			    "more than 16 layers");
	assert_int_equal(v.n_layers, layers);
	broken = v;
	broken.next = 100;
	broken.layers[broken.n_layers] = (struct vmj_layer){.file = "layer-99.qcow2"};
	strcpy(broken.layers[broken.n_layers++].parent, v.top);
	strcpy(broken.top, "layer-99.qcow2");
	refused(EINVAL, "more than 15 below it");
}

/* --- files ------------------------------------------------------------------------------------ */

static void in_dir(void **state, const char *sub, char path[256])
{
	snprintf(path, 256, "%s/%s", (char *)*state, sub);
}

static int make_domain(void **state)
{
	static const char *const dirs[] = {"volumes", "volumes/2001", "volumes/2001/data"};
	char path[256];

	if (unit_make_dir(state) < 0)
		return -1;
	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		in_dir(state, dirs[i], path);
		if (mkdir(path, 0711) < 0)
			return -1;
	}
	return 0;
}

static void written_is_read(void **state)
{
	struct vmj_volume v = tree(), back;
	struct vmj_error err;
	char path[256], buf[VMJ_VOLUME_PATH_MAX];
	struct stat st;

	assert_user_refused(vmj_volume_read(*state, 2001, "data", &back, &err), err, ENOENT,
			    "volume \"data\" does not exist");
	assert_done(vmj_volume_write(*state, &v, &err), err);
	assert_done(vmj_volume_read(*state, 2001, "data", &back, &err), err);
	assert_same(&v, &back);
	in_dir(state, "volumes/2001/data/volume.json", path);
	assert_string_equal(vmj_volume_path(*state, &v, "volume.json", buf), path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	v.next = 0;
	assert_refused(vmj_volume_write(*state, &v, &err), err, EINVAL, "cannot be written");
	assert_int_equal(err.fault, VMJ_FAULT_HOST);
}

static void no_way_out_of_the_domain(void **state)
{
	struct vmj_volume v = tree();
	struct vmj_error err;
	char a[256], b[256];

	assert_done(vmj_volume_write(*state, &v, &err), err);
	assert_user_refused(vmj_volume_read(*state, 2001, "../2001/data", &v, &err), err, EINVAL,
			    "name");
	assert_user_refused(vmj_volume_read(*state, 2002, "data", &v, &err), err, ENOENT, "data");
	in_dir(state, "volumes/2001/data", a);
	in_dir(state, "volumes/2001/link", b);
	assert_int_equal(symlink(a, b), 0);
	assert_true(vmj_volume_read(*state, 2001, "link", &v, &err) < 0);
	assert_int_equal(err.fault, VMJ_FAULT_HOST);
	assert_int_equal(chmod(a, 0733), 0);
	assert_refused(vmj_volume_read(*state, 2001, "data", &v, &err), err, EPERM, "0733");
	assert_int_equal(chmod(a, 0711), 0);
	in_dir(state, "volumes/2001/other", b);
	assert_int_equal(rename(a, b), 0);
	assert_refused(vmj_volume_read(*state, 2001, "other", &v, &err), err, EINVAL,
		       "is that of \"data\"");
}

static void a_domain_without_volumes(void **state)
{
	struct vmj_volume v;
	struct vmj_error err;
	char path[256];

	in_dir(state, "volumes/2001/data", path);
	assert_refused(vmj_volume_read(path, 2001, "data", &v, &err), err, ENOENT,
		       "vmjob storage format");
	assert_int_equal(err.fault, VMJ_FAULT_HOST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(json_comes_back),
		cmocka_unit_test(bounds_fit),
		cmocka_unit_test(wrong_layers),
		cmocka_unit_test(names_that_are_no_files_of_ours),
		cmocka_unit_test(wrong_numbers_and_names),
		cmocka_unit_test(wrong_snapshots),
		cmocka_unit_test(wrong_pending),
		cmocka_unit_test(json_that_is_not_ours),
		cmocka_unit_test(a_chain_is_followed_to_its_root),
		cmocka_unit_test(layers_come_and_go),
		cmocka_unit_test(chains_have_an_end),
		cmocka_unit_test_setup_teardown(written_is_read, make_domain, unit_remove_dir),
		cmocka_unit_test_setup_teardown(no_way_out_of_the_domain, make_domain,
						unit_remove_dir),
		cmocka_unit_test_setup_teardown(a_domain_without_volumes, make_domain,
						unit_remove_dir),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
