/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Prepare, run and release over a host that the test plays: each step fails once, by whose fault
 * it may be, and the agent dies once after each; then nothing of the guest may be left, or what is
 * left must go with the next try or with the release.
 */
#include "unit.h"

#include <errno.h>
#include <unistd.h>

#include "vmjob/agent/work.h"

#define JOB 7

/* --- the world ------------------------------------------------------------------------------- */

static struct {
	bool domain, running, filter, pinned, joined;
	const char *fail_at; /* the call of this name fails */
	enum vmj_fault fault;
	bool undo_fails; /* destroying and unfiltering fail */
	unsigned int creates;
} world;

static int call(const char *name, struct vmj_error *err)
{
	if (!world.fail_at || strcmp(world.fail_at, name) != 0)
		return 0;
	return world.fault == VMJ_FAULT_USER ? vmj_fail_user(err, ENOENT, "%s fails", name)
					     : vmj_fail(err, EIO, "%s fails", name);
}

static int touch(const char *file, struct vmj_error *err)
{
	return vmj_file_write_atomic(-1, file, "x", 1, 0600, err);
}

static int fake_storage_check(const char *path, struct vmj_error *err)
{
	return call("storage", err);
}

static int fake_image_find(const char *path, const char *owner, const char *name, uint32_t revision,
			   uid_t uid, gid_t gid, struct vmj_image *ret, struct vmj_error *err)
{
	snprintf(ret->path, sizeof(ret->path), "%s/images/%s", path, name);
	return call("image", err);
}

/* Half made when it fails: the file is there. */
static int fake_disk_overlay(const struct vmj_image *image, const char *file, uid_t uid, gid_t gid,
			     struct vmj_error *err)
{
	int r = touch(file, err);

	return r < 0 ? r : call("overlay", err);
}

static int fake_disk_empty(const char *file, uint64_t size_mib, uid_t uid, gid_t gid,
			   struct vmj_error *err)
{
	int r = touch(file, err);

	return r < 0 ? r : call("disk", err);
}

static int fake_seed_write(const struct vmj_config *c, const struct vmj_guest *guest,
			   const char *user_data, const char *file, struct vmj_error *err)
{
	int r = touch(file, err);

	return r < 0 ? r : call("seed", err);
}

static int fake_ports_plan(const struct vmj_config *c, struct vmj_guest *guest,
			   unsigned int node_index, struct vmj_error *err)
{
	return call("plan", err);
}

static int fake_ports_check(const struct vmj_config *c, struct vmj_guest *guest,
			    struct vmj_error *err)
{
	return call("ports", err);
}

static int fake_ports_filter(const struct vmj_config *c, const struct vmj_guest *guest,
			     struct vmj_error *err)
{
	world.filter = true;
	return call("filter", err);
}

static int fake_ports_unfilter(const struct vmj_guest *guest, struct vmj_error *err)
{
	if (world.undo_fails && world.filter)
		return vmj_fail(err, EIO, "nftables is stuck");
	world.filter = false;
	return 0;
}

static int fake_domain_xml(const struct vmj_domain_spec *spec, char **ret, struct vmj_error *err)
{
	*ret = strdup("<domain/>");
	return call("xml", err);
}

static int fake_cgroups_join(const struct vmj_cgroups *c, pid_t pid, struct vmj_error *err)
{
	world.joined = pid == 42;
	return call("join", err);
}

static int fake_cgroups_cpuset(const struct vmj_cgroups *c, char *ret_cpus, size_t cpus_size,
			       struct vmj_error *err)
{
	snprintf(ret_cpus, cpus_size, "0-1");
	return call("cpuset", err);
}

static int fake_has_kvm(struct vmj_virt *v, bool *ret, struct vmj_error *err)
{
	*ret = false;
	return call("kvm", err);
}

static int fake_ensure_nat(struct vmj_virt *v, const struct vmj_net_config *n,
			   struct vmj_error *err)
{
	return call("nat", err);
}

static int fake_info(struct vmj_virt *v, uint32_t job, struct vmj_virt_info *ret,
		     struct vmj_error *err)
{
	*ret = (struct vmj_virt_info){
		.job = job,
		.state = !world.domain   ? VMJ_VIRT_GONE
			 : world.running ? VMJ_VIRT_IS_RUNNING
					 : VMJ_VIRT_IS_PAUSED,
		.pid = 42,
	};
	return call("info", err);
}

static int fake_create(struct vmj_virt *v, const char *xml, pid_t *ret_pid, struct vmj_error *err)
{
	if (world.domain)
		return vmj_fail(err, EEXIST, "a domain of this name runs");
	world.domain = true;
	world.running = false;
	world.creates++;
	*ret_pid = 42;
	return call("create", err);
}

static int fake_pin(struct vmj_virt *v, uint32_t job, uint32_t vcpus, const char (*pins)[64],
		    const char *emulator, struct vmj_error *err)
{
	world.pinned = true;
	return call("pin", err);
}

static int fake_resume(struct vmj_virt *v, uint32_t job, struct vmj_error *err)
{
	int r = call("resume", err);

	world.running = r == 0;
	return r;
}

static int fake_destroy(struct vmj_virt *v, uint32_t job, struct vmj_error *err)
{
	if (world.undo_fails && world.domain)
		return vmj_fail(err, EIO, "libvirt is stuck");
	world.domain = world.running = false;
	return call("destroy", err);
}

static const struct vmj_adapters fakes = {
	.storage_check = fake_storage_check,
	.image_find = fake_image_find,
	.disk_overlay = fake_disk_overlay,
	.disk_empty = fake_disk_empty,
	.seed_write = fake_seed_write,
	.ports_plan = fake_ports_plan,
	.ports_check = fake_ports_check,
	.ports_filter = fake_ports_filter,
	.ports_unfilter = fake_ports_unfilter,
	.domain_xml = fake_domain_xml,
	.cgroups_join = fake_cgroups_join,
	.cgroups_cpuset = fake_cgroups_cpuset,
	.virt_has_kvm = fake_has_kvm,
	.virt_ensure_nat = fake_ensure_nat,
	.virt_info = fake_info,
	.virt_create_paused = fake_create,
	.virt_pin = fake_pin,
	.virt_resume = fake_resume,
	.virt_destroy = fake_destroy,
};

/* --- the test's guest ------------------------------------------------------------------------ */

static struct vmj_storage_config storage = {.name = "default", .path = "/srv/vmjob"};
static struct vmj_config config = {.storages = &storage, .n_storages = 1};
static struct vmj_topology *topology;

static struct vmj_work work(const char *dir)
{
	struct vmj_work w = {
		.adapters = &fakes,
		.config = &config,
		.topology = topology,
		.dir = dir,
		.guest = {.job = JOB,
			  .uid = 1000,
			  .gid = 1000,
			  .user = "alice",
			  .host = "n1",
			  .cpus = "0-1",
			  .boot_id = "00000000-0000-0000-0000-000000000000",
			  .request = {.image = "tiny",
				      .memory_mib = 128,
				      .vcpus = 2,
				      .script = VMJ_SCRIPT_NONE,
				      .n_disks = 1,
				      .disks = {{.size_mib = 64}}}},
	};

	return w;
}

static bool there(const char *dir, const char *file)
{
	char path[VMJ_GUEST_PATH_MAX];

	return access(vmj_record_path(dir, JOB, file, path), F_OK) == 0;
}

static void assert_nothing_left(const char *dir, const char *when)
{
	if (world.domain || world.filter || there(dir, NULL))
		fail_msg("%s: left are%s%s%s", when, world.domain ? " a domain" : "",
			 world.filter ? " a filter" : "", there(dir, NULL) ? " files" : "");
}

static int setup(void **state)
{
	memset(&world, 0, sizeof(world));
	vmj_steps_trap(NULL, NULL);
	if (!topology && vmj_topology_load("node:1 core:2 pu:1", &topology, NULL) < 0)
		return -1;
	return unit_make_dir(state);
}

static void prepare(const char *dir)
{
	struct vmj_work w = work(dir);
	struct vmj_error err;

	assert_done(vmj_work_prepare(&w, &err), err);
	assert_int_equal(w.guest.phase, VMJ_PHASE_PREPARED);
	assert_int_equal(w.guest.pid, 42);
	assert_true(world.domain && world.filter && !world.running);
	assert_true(there(dir, "disk.n1.qcow2") && there(dir, "disk1.n1.qcow2") &&
		    there(dir, "seed.img"));
}

static void release(const char *dir)
{
	struct vmj_work w = work(dir);
	struct vmj_error err;

	assert_done(vmj_work_release(&w, &err), err);
}

/* --- the tests ------------------------------------------------------------------------------- */

static void prepared_and_released(void **state)
{
	struct vmj_guest g;
	struct vmj_error err;

	prepare(*state);
	assert_done(vmj_record_read(*state, JOB, &g, &err), err);
	assert_int_equal(g.phase, VMJ_PHASE_PREPARED);
	assert_string_equal(g.image_path, "/srv/vmjob/images/tiny");
	release(*state);
	assert_nothing_left(*state, "after the release");
	release(*state); /* again: no harm */
	assert_nothing_left(*state, "after a second release");
}

static void prepared_twice_is_prepared_once(void **state)
{
	prepare(*state);
	prepare(*state);
	assert_int_equal(world.creates, 2); /* the first was destroyed: nobody ran it */
}

static const char *const prepare_calls[] = {"destroy", "storage", "image", "plan",
					    "ports",   "overlay", "disk",  "seed",
					    "filter",  "kvm",     "xml",   "create"};
#define N_CALLS (sizeof(prepare_calls) / sizeof(prepare_calls[0]))

/* A directory of the guest from before: it has to be cleared. */
static void leave_something(const char *dir)
{
	char path[VMJ_GUEST_PATH_MAX];
	struct vmj_error err;

	assert_done(vmj_mkdir_p(vmj_record_path(dir, JOB, NULL, path), 0711, &err), err);
}

static void what_was_never_made_is_not_cleared(void **state)
{
	world.fail_at = "destroy";
	world.fault = VMJ_FAULT_HOST;
	prepare(*state);
	world.fail_at = NULL;
	release(*state);
	assert_nothing_left(*state, "after the release");
}

static void a_failure_of_the_host_leaves_nothing(void **state)
{
	for (size_t i = 0; i < N_CALLS; i++) {
		struct vmj_work w = work(*state);
		struct vmj_error err;

		leave_something(*state);
		world.fail_at = prepare_calls[i];
		world.fault = VMJ_FAULT_HOST;
		assert_refused(vmj_work_prepare(&w, &err), err, EIO, prepare_calls[i]);
		assert_int_equal(err.fault, VMJ_FAULT_HOST);
		if (strcmp(prepare_calls[i], "destroy") == 0) {
			world.fail_at = NULL;
			release(*state);
		}
		assert_nothing_left(*state, prepare_calls[i]);
	}
}

static void a_failure_of_the_user_is_kept_for_the_step(void **state)
{
	for (size_t i = 1; i < N_CALLS; i++) {
		struct vmj_work w = work(*state);
		struct vmj_guest g;
		struct vmj_error err;

		world.fail_at = prepare_calls[i];
		world.fault = VMJ_FAULT_USER;
		assert_user_refused(vmj_work_prepare(&w, &err), err, ENOENT, prepare_calls[i]);
		assert_done(vmj_record_read(*state, JOB, &g, &err), err);
		assert_int_equal(g.phase, VMJ_PHASE_REFUSED);
		assert_non_null(strstr(g.failure, prepare_calls[i]));
		assert_false(world.domain || world.filter || there(*state, "disk.n1.qcow2") ||
			     there(*state, "seed.img"));
		release(*state);
		assert_nothing_left(*state, prepare_calls[i]);
	}
}

static void what_cannot_be_undone_is_on_record(void **state)
{
	struct vmj_work w = work(*state);
	struct vmj_guest g;
	struct vmj_error err;

	world.fail_at = "create";
	world.undo_fails = true;
	assert_refused(vmj_work_prepare(&w, &err), err, EIO, "create fails");
	assert_int_equal(w.leftovers, 2);
	assert_done(vmj_record_read(*state, JOB, &g, &err), err);
	assert_int_equal(g.phase, VMJ_PHASE_RELEASING);
	world.undo_fails = false;
	release(*state);
	assert_nothing_left(*state, "after the release");
}

static void died(void)
{
}

static void death_at_any_step_of_prepare(void **state)
{
	for (const struct vmj_step *s = vmj_prepare_steps; s->name; s++) {
		struct vmj_work w = work(*state);

		vmj_steps_trap(s->name, died);
		assert_int_equal(vmj_work_prepare(&w, NULL), -ECANCELED);
		assert_true(there(*state, "guest.json"));
		vmj_steps_trap(NULL, NULL);
		prepare(*state); /* the prolog comes again */
		release(*state);
		assert_nothing_left(*state, s->name);

		vmj_steps_trap(s->name, died);
		assert_int_equal(vmj_work_prepare(&w, NULL), -ECANCELED);
		vmj_steps_trap(NULL, NULL);
		release(*state); /* or the epilog does at once */
		assert_nothing_left(*state, s->name);
	}
}

static void death_at_any_step_of_release(void **state)
{
	for (const struct vmj_step *s = vmj_release_steps; s->name; s++) {
		struct vmj_work w = work(*state);
		struct vmj_guest g;

		prepare(*state);
		vmj_steps_trap(s->name, died);
		assert_int_equal(vmj_work_release(&w, NULL), -ECANCELED);
		vmj_steps_trap(NULL, NULL);
		if (s[1].name) { /* else the record has gone with the last step */
			assert_int_equal(vmj_record_read(*state, JOB, &g, NULL), 0);
			assert_int_equal(g.phase, VMJ_PHASE_RELEASING);
		}
		release(*state);
		assert_nothing_left(*state, s->name);
	}
}

static struct vmj_work prepared_work(const char *dir)
{
	struct vmj_work w = work(dir);
	struct vmj_error err;

	prepare(dir);
	assert_done(vmj_record_read(dir, JOB, &w.guest, &err), err);
	return w;
}

static void a_guest_is_joined_and_pinned_before_it_runs(void **state)
{
	struct vmj_work w = prepared_work(*state);
	struct vmj_error err;

	world.fail_at = "resume";
	assert_refused(vmj_work_run(&w, &err), err, EIO, "resume fails");
	assert_true(world.joined && world.pinned && !world.running);
	world.fail_at = "pin";
	w = prepared_work(*state);
	assert_refused(vmj_work_run(&w, &err), err, EIO, "pin fails");
	assert_false(world.running);
	world.fail_at = "join";
	w = prepared_work(*state);
	world.pinned = false;
	assert_refused(vmj_work_run(&w, &err), err, EIO, "join fails");
	assert_false(world.running || world.pinned);
}

static void death_at_any_step_of_run(void **state)
{
	for (const struct vmj_step *s = vmj_run_steps; s->name; s++) {
		struct vmj_work w = prepared_work(*state);
		struct vmj_error err;

		vmj_steps_trap(s->name, died);
		assert_int_equal(vmj_work_run(&w, NULL), -ECANCELED);
		vmj_steps_trap(NULL, NULL);
		w = work(*state);
		assert_done(vmj_record_read(*state, JOB, &w.guest, &err), err);
		assert_done(vmj_work_run(&w, &err), err); /* the step is back */
		assert_int_equal(w.guest.phase, VMJ_PHASE_RUNNING);
		assert_true(world.running && w.guest.start_us > 0);
		release(*state);
		assert_nothing_left(*state, s->name);
	}
}

static void a_paused_guest_stays_paused(void **state)
{
	struct vmj_work w = prepared_work(*state);
	struct vmj_error err;

	w.guest.phase = VMJ_PHASE_PAUSED;
	assert_done(vmj_work_run(&w, &err), err);
	assert_int_equal(w.guest.phase, VMJ_PHASE_PAUSED);
	assert_true(world.joined && !world.running);
}

static void a_guest_that_is_gone_is_not_run(void **state)
{
	struct vmj_work w = prepared_work(*state);
	struct vmj_error err;

	world.domain = false;
	assert_done(vmj_work_run(&w, &err), err);
	assert_true(w.gone);
	assert_false(world.joined);
}

#define IN_WORLD(f) cmocka_unit_test_setup_teardown(f, setup, unit_remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_WORLD(prepared_and_released),
		IN_WORLD(prepared_twice_is_prepared_once),
		IN_WORLD(what_was_never_made_is_not_cleared),
		IN_WORLD(a_failure_of_the_host_leaves_nothing),
		IN_WORLD(a_failure_of_the_user_is_kept_for_the_step),
		IN_WORLD(what_cannot_be_undone_is_on_record),
		IN_WORLD(death_at_any_step_of_prepare),
		IN_WORLD(death_at_any_step_of_release),
		IN_WORLD(a_guest_is_joined_and_pinned_before_it_runs),
		IN_WORLD(death_at_any_step_of_run),
		IN_WORLD(a_paused_guest_stays_paused),
		IN_WORLD(a_guest_that_is_gone_is_not_run),
	};
	int r = cmocka_run_group_tests_name("work", tests, NULL, NULL);

	vmj_topology_free(topology);
	return r;
}
