/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The agent's operations on snapshots, on a real storage with real leases; libvirt is made up: a
 * guest's disks are chains of files, and what QEMU would do to them qemu-img does.
 */
#include "unit.h"

#include <errno.h>
#include <json-c/json.h>
#include <sys/stat.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "vmjob/agent/op_snapshot.h"
#include "vmjob/agent/ops.h"
#include "vmjob/agent/volumes.h"
#include "vmjob/base/spawn.h"
#include "vmjob/host/virt_disk.h"
#include "vmjob/host/virt_snapshot.h"
#include "vmjob/storage/layout.h"

#define USER  54321
#define GROUP 54322
#define MIB   (1ull << 20)
#define JOB   42

static struct vmj_storage_config storage = {.name = "default"};
static struct vmj_config config = {.storages = &storage, .n_storages = 1};
static struct vmj_settings settings = {.refs = 1, .config = &config};
static struct vmj_agent agent;
static struct vmj_entry guest; /* of JOB */
static bool has_guest;
static unsigned int saves;

/* --- the made-up libvirt ---------------------------------------------------------------------- */

static struct vmj_virt_chain chains[2]; /* of vda and vdb */
static unsigned int n_disks;
static enum { SWITCHES, REFUSES, ANSWER_LOST } qemu;
static bool locked; /* no commits */

static void run(const char *const *argv)
{
	struct vmj_spawn s = {.argv = argv};
	struct vmj_error err = {.code = 0};

	assert_done(vmj_spawn(&s, &err), err);
}
#define RUN(...) run((const char *const[]){__VA_ARGS__, NULL})

static struct vmj_virt_chain *chain_of(const char *target)
{
	return &chains[target[2] - 'a'];
}

int __wrap_vmj_virt_disks(struct vmj_virt *v, uint32_t job, struct vmj_virt_disk *ret,
			  unsigned int *ret_n, struct vmj_error *err);
int __wrap_vmj_virt_disks(struct vmj_virt *v, uint32_t job, struct vmj_virt_disk *ret,
			  unsigned int *ret_n, struct vmj_error *err)
{
	for (unsigned int i = 0; i < n_disks; i++) {
		snprintf(ret[i].target, sizeof(ret[i].target), "vd%c", 'a' + i);
		snprintf(ret[i].path, sizeof(ret[i].path), "%s", chains[i].files[0]);
	}
	*ret_n = n_disks;
	return 0;
}

int __wrap_vmj_virt_chain(struct vmj_virt *v, uint32_t job, const char *target,
			  struct vmj_virt_chain *ret, struct vmj_error *err);
int __wrap_vmj_virt_chain(struct vmj_virt *v, uint32_t job, const char *target,
			  struct vmj_virt_chain *ret, struct vmj_error *err)
{
	*ret = *chain_of(target);
	return 0;
}

static void switch_to(const char *target, const char *file)
{
	struct vmj_virt_chain *c = chain_of(target);

	memmove(c->files[1], c->files[0], c->n++ * sizeof(c->files[0]));
	snprintf(c->files[0], sizeof(c->files[0]), "%s", file);
}

int __wrap_vmj_virt_snapshot(struct vmj_virt *v, uint32_t job,
			     const struct vmj_virt_overlay *overlays, unsigned int n,
			     bool *ret_quiesced, struct vmj_error *err);
int __wrap_vmj_virt_snapshot(struct vmj_virt *v, uint32_t job,
			     const struct vmj_virt_overlay *overlays, unsigned int n,
			     bool *ret_quiesced, struct vmj_error *err)
{
	assert_int_equal(job, JOB);
	for (unsigned int i = 0; i < n && qemu != REFUSES; i++)
		switch_to(overlays[i].target, overlays[i].file);
	if (qemu != SWITCHES)
		return vmj_fail(err, ENOTCONN, "libvirtd is gone");
	*ret_quiesced = true;
	return 0;
}

/* Out of the chain; returns the file that was above it. */
static const char *leave(const struct vmj_virt_merge *m)
{
	struct vmj_virt_chain *c = chain_of(m->target);

	for (unsigned int i = 1; i < c->n; i++) {
		if (strcmp(c->files[i], m->gone) != 0)
			continue;
		memmove(c->files[i], c->files[i + 1], (--c->n - i) * sizeof(c->files[0]));
		return c->files[i - 1];
	}
	fail_msg("%s is not in the chain of %s", m->gone, m->target);
	return NULL;
}

int __wrap_vmj_virt_commit(struct vmj_virt *v, const struct vmj_virt_merge *m,
			   struct vmj_error *err);
int __wrap_vmj_virt_commit(struct vmj_virt *v, const struct vmj_virt_merge *m,
			   struct vmj_error *err)
{
	if (locked)
		return vmj_fail(err, EBUSY, "a lock is left over");
	RUN("qemu-img", "commit", "-q", "-d", "-f", "qcow2", m->gone);
	RUN("qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b", m->below, leave(m));
	return 0;
}

int __wrap_vmj_virt_pull(struct vmj_virt *v, const struct vmj_virt_merge *m, struct vmj_error *err);
int __wrap_vmj_virt_pull(struct vmj_virt *v, const struct vmj_virt_merge *m, struct vmj_error *err)
{
	RUN("qemu-img", "rebase", "-f", "qcow2", "-F", "qcow2", "-b", m->below ? m->below : "",
	    leave(m));
	return 0;
}

int __wrap_vmj_virt_abort_merge(struct vmj_virt *v, uint32_t job, const char *target,
				struct vmj_error *err);
int __wrap_vmj_virt_abort_merge(struct vmj_virt *v, uint32_t job, const char *target,
				struct vmj_error *err)
{
	return 0;
}

/* --- the rest of the agent -------------------------------------------------------------------- */

int64_t vmj_now_us(void)
{
	return 1700000000000000;
}

static struct {
	bool ended;
	int code; /* 0: done */
	struct vmj_error err;
	struct json_object *o;
} answers[16];

static unsigned int answer_of(struct vmj_call *call)
{
	unsigned int i = (unsigned int)call->id;

	assert_false(answers[i].ended);
	answers[i].ended = true;
	json_object_put(call->args);
	free(call);
	return i;
}

void __wrap_vmj_call_ok(struct vmj_call *call, struct json_object *answer);
void __wrap_vmj_call_ok(struct vmj_call *call, struct json_object *answer)
{
	answers[answer_of(call)].o = answer;
}

void __wrap_vmj_call_fail(struct vmj_call *call, const struct vmj_error *err);
void __wrap_vmj_call_fail(struct vmj_call *call, const struct vmj_error *err)
{
	unsigned int i = answer_of(call);

	answers[i].err = *err;
	answers[i].code = err->code;
}

void __wrap_vmj_entry_save(struct vmj_entry *e);
void __wrap_vmj_entry_save(struct vmj_entry *e)
{
	assert_ptr_equal(e, &guest);
	saves++;
}

void __wrap_vmj_eventlog_add(struct vmj_eventlog *l, uint32_t job, uid_t uid, const char *what,
			     const char *text_format, ...);
void __wrap_vmj_eventlog_add(struct vmj_eventlog *l, uint32_t job, uid_t uid, const char *what,
			     const char *text_format, ...)
{
	assert_int_equal(job, JOB);
	assert_string_equal(what, "snapshot");
}

struct vmj_entry *__wrap_vmj_guests_find(struct vmj_guests *g, uint32_t job);
struct vmj_entry *__wrap_vmj_guests_find(struct vmj_guests *g, uint32_t job)
{
	return has_guest && job == JOB ? &guest : NULL;
}

/* Begins answers[i]. */
static void ask(unsigned int i, const char *request)
{
	struct vmj_call *call = calloc(1, sizeof(*call));
	struct json_object *job;
	uint32_t number = 0;

	json_object_put(answers[i].o);
	memset(&answers[i], 0, sizeof(answers[i]));
	call->args = json_tokener_parse(request);
	assert_non_null(call->args);
	call->op = json_object_get_string(json_object_object_get(call->args, "op"));
	call->has_id = true;
	call->id = i;
	call->peer = (struct vmj_peer){.local = true, .uid = USER, .gid = GROUP};
	if (json_object_object_get_ex(call->args, "job", &job))
		number = (uint32_t)json_object_get_int64(job);
	vmj_op_find(call->op)->handle(&agent, call, number, __wrap_vmj_guests_find(NULL, number));
}

static void await(unsigned int i)
{
	while (!answers[i].ended)
		assert_true(sd_event_run(agent.loop, 30000000) > 0);
}

/* What we do by ourselves. */
static void await_quiet(void)
{
	while (!LIST_EMPTY(&agent.volume_tasks))
		assert_true(sd_event_run(agent.loop, 30000000) > 0);
}

static void does(const char *request)
{
	ask(0, request);
	await(0);
	if (answers[0].code)
		fail_msg("%s: %s", request, answers[0].err.text);
	await_quiet();
}

static void refuses(const char *request, int code, const char *part)
{
	ask(0, request);
	await(0);
	assert_user_refused(-answers[0].code, answers[0].err, code, part);
}

/* --- worlds ----------------------------------------------------------------------------------- */

static struct vmj_volume read_back(const char *name)
{
	struct vmj_error err = {.code = 0};
	struct vmj_volume v;

	assert_done(vmj_volume_read(storage.path, USER, name, &v, &err), err);
	return v;
}

static void make_volume(const char *name)
{
	struct vmj_volume_spec spec = {
		.domain = storage.path, .name = name, .uid = USER, .gid = GROUP, .bytes = 8 * MIB};
	struct vmj_error err = {.code = 0};
	struct vmj_volume v;

	assert_done(vmj_volume_create(&spec, &v, &err), err);
}

static int begin(void **state)
{
	struct vmj_error err = {.code = 0};

	umask(077);
	if (unit_make_dir(state) < 0 || chmod(*state, 0755) < 0)
		return -1;
	snprintf(storage.path, sizeof(storage.path), "%s", (char *)*state);
	assert_done(vmj_storage_format(storage.path, storage.name, &err), err);
	make_volume("data");
	make_volume("more");
	memset(&guest, 0, sizeof(guest));
	agent = (struct vmj_agent){.settings = &settings,
				   .host = "n1",
				   .boot_id = "11111111-2222-3333-4444-555555555555",
				   .id = "a1"};
	has_guest = locked = false;
	qemu = SWITCHES;
	n_disks = saves = 0;
	LIST_INIT(&agent.volume_tasks);
	assert_true(sd_event_new(&agent.loop) >= 0);
	assert_done(vmj_pool_new(agent.loop, &agent.pool, &err), err);
	return 0;
}

static int end(void **state)
{
	vmj_pool_free(agent.pool);
	sd_event_unref(agent.loop);
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		json_object_put(answers[i].o);
		answers[i].o = NULL;
	}
	return unit_remove_dir(state);
}

static void give_disk(const char *name)
{
	struct vmj_lease_who who = {.host = agent.host,
				    .boot = agent.boot_id,
				    .agent = agent.id,
				    .guest = true,
				    .job = JOB};
	struct vmj_guest_disk *d = &guest.rec.disks[n_disks];
	struct vmj_volume v = read_back(name);
	struct vmj_error err = {.code = 0};
	uint32_t epoch;

	assert_done(vmj_lease_take(storage.path, USER, name, &who, &epoch, &err), err);
	*d = (struct vmj_guest_disk){.kind = VMJ_GUEST_DISK_VOLUME};
	snprintf(d->storage, sizeof(d->storage), "%s", storage.name);
	snprintf(d->volume, sizeof(d->volume), "%s", name);
	assert_done(vmj_guest_disk_set_chain(d, storage.path, &v, &err), err);
	chains[n_disks].n = 1;
	snprintf(chains[n_disks].files[0], sizeof(chains[0].files[0]), "%s", d->path);
	guest.rec.n_disks = ++n_disks;
	guest.agent = &agent;
	guest.rec.job = JOB;
	guest.rec.uid = USER;
	guest.known = has_guest = true;
}

/* Writes into the top, as a guest or one who has it for himself. */
static void put(const char *name, int pattern, int at, int kib)
{
	struct vmj_volume v = read_back(name);
	char path[VMJ_VOLUME_PATH_MAX], command[64];

	snprintf(command, sizeof(command), "write -q -P %d %dM %dk", pattern, at, kib);
	RUN("qemu-io", "-f", "qcow2", "-c", command,
	    vmj_volume_path(storage.path, &v, v.top, path));
}

static void holds(const char *name, const char *snapshot, int pattern, int at, int kib)
{
	struct vmj_volume v = read_back(name);
	const char *file = snapshot ? vmj_volume_snapshot(&v, snapshot)->layer : v.top;
	char path[VMJ_VOLUME_PATH_MAX], command[64];
	vmj_autofree char *out = NULL;
	const char *argv[] = {"qemu-io", "-r", "-f", "qcow2", "-c", command, path, NULL};
	struct vmj_spawn s = {.argv = argv, .ret_output = &out};

	snprintf(command, sizeof(command), "read -P %d %dM %dk", pattern, at, kib);
	vmj_volume_path(storage.path, &v, file, path);
	if (vmj_spawn(&s, NULL) < 0 || strstr(out, "verification failed"))
		fail_msg("%s of %s: not %s", snapshot ? snapshot : "top", name, command);
}

/* The guest's record, and what QEMU has open, are as volume.json says. */
static void assert_followed(unsigned int i, const char *name)
{
	struct vmj_guest_disk now = guest.rec.disks[i];
	struct vmj_volume v = read_back(name);
	struct vmj_error err = {.code = 0};
	char path[VMJ_DISK_PATH_MAX];

	assert_int_equal(v.pending.op, VMJ_PENDING_NONE);
	assert_done(vmj_guest_disk_set_chain(&now, storage.path, &v, &err), err);
	assert_memory_equal(&now, &guest.rec.disks[i], sizeof(now));
	assert_int_equal(vmj_guest_disk_links(&now), chains[i].n);
	for (unsigned int k = 0; k < chains[i].n; k++)
		assert_string_equal(vmj_guest_disk_link(&now, k, path), chains[i].files[k]);
}

/* --- tests ------------------------------------------------------------------------------------ */

static void test_of_nobodys_volume(void **state)
{
	struct json_object *rows;

	put("data", 1, 0, 64);
	does("{\"op\":\"snapshot-create\",\"volume\":\"data\",\"name\":\"one\"}");
	rows = json_object_object_get(answers[0].o, "snapshot");
	assert_string_equal(json_object_get_string(json_object_object_get(rows, "name")), "one");
	put("data", 2, 0, 64);
	refuses("{\"op\":\"snapshot-create\",\"volume\":\"data\",\"name\":\"one\"}", EEXIST,
		"\"one\" already");
	does("{\"op\":\"snapshot-list\",\"volume\":\"data\"}");
	rows = json_object_object_get(answers[0].o, "snapshots");
	assert_int_equal(json_object_array_length(rows), 1);
	does("{\"op\":\"snapshot-revert\",\"volume\":\"data\",\"name\":\"one\"}");
	holds("data", NULL, 1, 0, 64);
	does("{\"op\":\"snapshot-rm\",\"volume\":\"data\",\"name\":\"one\"}");
	assert_int_equal(read_back("data").n_layers, 1);
	holds("data", NULL, 1, 0, 64);
	refuses("{\"op\":\"snapshot-rm\",\"volume\":\"data\",\"name\":\"one\"}", ENOENT,
		"no snapshot \"one\"");
}

static void test_refusals(void **state)
{
	refuses("{\"op\":\"snapshot-create\",\"volume\":\"none\",\"name\":\"x\"}", ENOENT, "none");
	refuses("{\"op\":\"snapshot-create\",\"volume\":\"../x\",\"name\":\"x\"}", EINVAL, "name");
	refuses("{\"op\":\"snapshot-create\",\"volume\":\"data\",\"name\":\"a/b\"}", EINVAL,
		"name");
	refuses("{\"op\":\"snapshot-create\",\"volume\":\"data\"}", EINVAL, "name");
	refuses("{\"op\":\"snapshot-create\",\"volume\":\"data\",\"name\":\"x\",\"memory\":true}",
		EOPNOTSUPP, "--memory");
	refuses("{\"op\":\"snapshot-list\",\"volume\":\"data\",\"uid\":1}", EPERM, "operators");
	refuses("{\"op\":\"snapshot-list\",\"volume\":\"data\",\"storage\":\"other\"}", ENOENT,
		"other");
	refuses("{\"op\":\"snapshot-create\",\"job\":7,\"name\":\"x\"}", ENOENT, "job 7");
	assert_int_equal(read_back("data").n_snapshots, 0);
}

static void test_bounds(void **state)
{
	unsigned int refused = 0;

	for (unsigned int i = 0; i < VMJ_VOLUME_TASKS_UID + 2; i++)
		ask(i, "{\"op\":\"snapshot-list\",\"volume\":\"data\"}");
	for (unsigned int i = 0; i < VMJ_VOLUME_TASKS_UID + 2; i++) {
		await(i);
		refused += answers[i].code == EBUSY;
	}
	assert_int_equal(refused, 2);
	await_quiet();
}

static void test_of_a_guest(void **state)
{
	give_disk("data");
	put("data", 1, 0, 2048);
	does("{\"op\":\"snapshot-create\",\"volume\":\"data\",\"name\":\"one\"}");
	assert_followed(0, "data");
	assert_int_equal(saves, 1);
	assert_true(read_back("data").snapshots[0].quiesced);
	put("data", 2, 0, 64);
	does("{\"op\":\"snapshot-create\",\"volume\":\"data\",\"name\":\"two\"}");
	put("data", 3, 1, 64);
	does("{\"op\":\"snapshot-create\",\"volume\":\"data\",\"name\":\"three\"}");
	put("data", 4, 2, 64);
	refuses("{\"op\":\"snapshot-revert\",\"volume\":\"data\",\"name\":\"one\"}", EBUSY,
		"vmjob stop 42");
	does("{\"op\":\"snapshot-rm\",\"volume\":\"data\",\"name\":\"two\"}"); /* committed */
	assert_followed(0, "data");
	assert_int_equal(chains[0].n, 3);
	holds("data", "three", 2, 0, 64);
	holds("data", "three", 3, 1, 64);
	holds("data", "one", 1, 0, 2048);
	does("{\"op\":\"snapshot-rm\",\"volume\":\"data\",\"name\":\"three\"}"); /* pulled */
	does("{\"op\":\"snapshot-rm\",\"volume\":\"data\",\"name\":\"one\"}");
	assert_followed(0, "data");
	assert_int_equal(chains[0].n, 1);
	holds("data", NULL, 2, 0, 64);
	holds("data", NULL, 4, 2, 64);
}

/* What cannot be merged while the guest runs is merged later. */
static void test_no_commit(void **state)
{
	const struct vmj_lease_who who = {.host = agent.host,
					  .boot = agent.boot_id,
					  .agent = agent.id,
					  .guest = true,
					  .job = JOB};

	give_disk("data");
	put("data", 1, 0, 2048);
	does("{\"op\":\"snapshot-create\",\"volume\":\"data\",\"name\":\"one\"}");
	put("data", 2, 0, 64);
	does("{\"op\":\"snapshot-create\",\"volume\":\"data\",\"name\":\"two\"}");
	put("data", 3, 1, 64);
	locked = true;
	does("{\"op\":\"snapshot-rm\",\"volume\":\"data\",\"name\":\"one\"}");
	assert_followed(0, "data");
	assert_int_equal(chains[0].n, 3);
	does("{\"op\":\"snapshot-create\",\"volume\":\"data\",\"name\":\"three\"}");
	does("{\"op\":\"snapshot-rm\",\"volume\":\"data\",\"name\":\"three\"}");
	assert_followed(0, "data");
	assert_int_equal(chains[0].n, 3); /* that one was pulled */
	has_guest = false;
	assert_int_equal(vmj_lease_release(storage.path, USER, "data", &who, NULL), 0);
	does("{\"op\":\"snapshot-rm\",\"volume\":\"data\",\"name\":\"two\"}");
	assert_int_equal(read_back("data").n_layers, 1);
	holds("data", NULL, 2, 0, 64);
	holds("data", NULL, 3, 1, 64);
}

/* Either QEMU has not switched, and nothing was done; or it has, and the answer was lost. */
static void test_libvirt_fails(void **state)
{
	give_disk("data");
	put("data", 1, 0, 64);
	qemu = REFUSES;
	ask(0, "{\"op\":\"snapshot-create\",\"volume\":\"data\",\"name\":\"one\"}");
	await(0);
	assert_int_equal(answers[0].code, ENOTCONN);
	assert_followed(0, "data");
	assert_int_equal(read_back("data").n_snapshots, 0);
	qemu = ANSWER_LOST;
	ask(0, "{\"op\":\"snapshot-create\",\"volume\":\"data\",\"name\":\"one\"}");
	await(0);
	assert_int_equal(answers[0].code, ENOTCONN);
	assert_followed(0, "data");
	assert_int_equal(read_back("data").n_snapshots, 1);
	put("data", 2, 0, 64);
	holds("data", "one", 1, 0, 64);
}

static void test_of_all_disks(void **state)
{
	give_disk("data");
	give_disk("more");
	put("data", 1, 0, 64);
	put("more", 1, 0, 64);
	qemu = REFUSES;
	ask(0, "{\"op\":\"snapshot-create\",\"job\":42,\"name\":\"both\"}");
	await(0);
	assert_int_equal(answers[0].code, ENOTCONN);
	assert_int_equal(read_back("data").n_snapshots + read_back("more").n_snapshots, 0);
	qemu = SWITCHES;
	does("{\"op\":\"snapshot-create\",\"volume\":\"more\",\"name\":\"taken\"}");
	refuses("{\"op\":\"snapshot-create\",\"job\":42,\"name\":\"taken\"}", EEXIST, "\"taken\"");
	assert_int_equal(read_back("data").n_snapshots, 0);
	does("{\"op\":\"snapshot-create\",\"job\":42,\"name\":\"both\"}");
	put("data", 2, 0, 64);
	put("more", 2, 0, 64);
	holds("data", "both", 1, 0, 64);
	holds("more", "both", 1, 0, 64);
	assert_followed(0, "data");
	assert_followed(1, "more");
}

/* The agent was killed when QEMU had switched and volume.json did not say so; its next start finds
 * the guest. */
static void test_our_own_restart(void **state)
{
	struct vmj_volume v;
	char path[VMJ_VOLUME_PATH_MAX];
	struct vmj_error err = {.code = 0};

	give_disk("data");
	put("data", 1, 0, 64);
	v = read_back("data");
	{
		vmj_auto_layer_files struct vmj_layer_files files = {.dir = -1};
		struct vmj_layers_env env = vmj_layer_files_env(&files);

		assert_done(vmj_layer_files_open(&files, storage.path, &v, &err), err);
		assert_done(vmj_snapshot_prepare(&env, &v, "late", 1, &err), err);
	}
	switch_to("vda", vmj_volume_path(storage.path, &v, v.pending.file, path));
	vmj_snapshots_recover(&guest);
	await_quiet();
	assert_followed(0, "data");
	v = read_back("data");
	assert_non_null(vmj_volume_snapshot(&v, "late"));
	put("data", 2, 0, 64);
	holds("data", "late", 1, 0, 64);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_of_nobodys_volume), TEST(test_refusals),        TEST(test_bounds),
		TEST(test_of_a_guest),        TEST(test_no_commit),       TEST(test_libvirt_fails),
		TEST(test_of_all_disks),      TEST(test_our_own_restart),
	};

	if (geteuid() != 0) {
		print_message("1..0 # SKIP needs root, for files of another user\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
