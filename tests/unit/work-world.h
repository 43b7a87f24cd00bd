/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A host that the test plays, under prepare, run and release: domains, filters, files, and a
 * storage with volumes and leases. It fails where it is told to, and watches over the order of
 * things: a lease is taken only by a guest whose record names the volume, a volume is looked at
 * only under its lease, and a lease is given back only when nothing runs any more.
 */
#ifndef TESTS_WORK_WORLD_H
#define TESTS_WORK_WORLD_H

#include "unit.h"

#include <errno.h>
#include <unistd.h>

#include "vmjob/agent/work.h"

#define JOB 7

/* --- the world ------------------------------------------------------------------------------- */

#define VOLUMES_MAX 8
#define FIRST       "/srv/vmjob" /* the storages */
#define SECOND      "/srv/fast"

struct fake_volume {
	char path[64], name[64]; /* of the storage, and its own */
	bool exists;
	uint32_t job; /* whose it is; 0: the user's */
	uint64_t bytes;
	char image[64];
	uint32_t holder; /* job that has the lease; 0: free */
	char host[64];   /* on which host */
	uint32_t epoch;
};

static struct {
	bool domain, running, filter, pinned, joined, process_lives;
	const char *dir;
	const char *no_image_at; /* the storage of this path has no image */
	struct fake_volume volumes[VOLUMES_MAX];
	struct vmj_guest_disk disks[VMJ_GUEST_DISKS_MAX]; /* of the domain */
	unsigned int n_disks;
	bool keeps_disks;    /* the guest lets go of none */
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
	int r = call("image", err);

	if (r == 0 && world.no_image_at && strcmp(world.no_image_at, path) == 0)
		return vmj_fail_user(err, ENOENT, "image \"%s\" does not exist in %s", name, path);
	snprintf(ret->path, sizeof(ret->path), "%s/images/%s", path, name);
	snprintf(ret->name, sizeof(ret->name), "%s", name);
	ret->revision = revision ? revision : 1;
	ret->virtual_bytes = 1 << 30;
	return r;
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

/* --- volumes and leases ---------------------------------------------------------------------- */

static struct fake_volume *volume_of(const char *path, const char *name)
{
	struct fake_volume *free_one = NULL;

	for (unsigned int i = 0; i < VOLUMES_MAX; i++) {
		struct fake_volume *v = &world.volumes[i];

		if (strcmp(v->path, path) == 0 && strcmp(v->name, name) == 0)
			return v;
		if (!v->name[0] && !free_one)
			free_one = v;
	}
	assert_non_null(free_one);
	snprintf(free_one->path, sizeof(free_one->path), "%s", path);
	snprintf(free_one->name, sizeof(free_one->name), "%s", name);
	return free_one;
}

static struct fake_volume *add_volume(const char *path, const char *name, uint64_t mib)
{
	struct fake_volume *v = volume_of(path, name);

	v->exists = true;
	v->bytes = mib << 20;
	return v;
}

static unsigned int leases_held(void)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < VOLUMES_MAX; i++)
		n += world.volumes[i].holder != 0;
	return n;
}

static int fake_quota_admit(const struct vmj_storage_config *s, uid_t uid, uint64_t new_bytes,
			    struct vmj_error *err)
{
	return call("quota", err);
}

static bool is_on_record(const char *volume)
{
	struct vmj_guest g;

	if (vmj_record_read(world.dir, JOB, &g, NULL) < 0)
		return false;
	for (unsigned int i = 0; i < g.n_disks; i++)
		if (strcmp(g.disks[i].volume, volume) == 0)
			return true;
	return false;
}

static int fake_lease_take(const char *domain, uid_t uid, const char *volume,
			   const struct vmj_lease_who *who, uint32_t *ret_epoch,
			   struct vmj_error *err)
{
	struct fake_volume *v = volume_of(domain, volume);
	int r = call("take", err);

	assert_true(who->guest && who->agent && *who->boot && uid == 1000);
	if (r < 0)
		return r;
	if (v->holder && (v->holder != who->job || strcmp(v->host, who->host) != 0))
		return vmj_fail_user(err, EBUSY, "volume \"%s\" is in use by job %u on %s", volume,
				     v->holder, v->host);
	if (!is_on_record(volume))
		fail_msg("the lease of %s is taken, and no record says so", volume);
	if (!v->holder)
		v->epoch++;
	v->holder = who->job;
	snprintf(v->host, sizeof(v->host), "%s", who->host);
	*ret_epoch = v->epoch;
	return 0;
}

static bool domain_has(const char *volume)
{
	for (unsigned int i = 0; i < world.n_disks; i++)
		if (strcmp(world.disks[i].volume, volume) == 0)
			return true;
	return false;
}

static int fake_lease_release(const char *domain, uid_t uid, const char *volume,
			      const struct vmj_lease_who *who, struct vmj_error *err)
{
	struct fake_volume *v = volume_of(domain, volume);
	int r = call("return", err);

	if (r < 0 || v->holder != who->job || strcmp(v->host, who->host) != 0)
		return r;
	if ((world.domain && domain_has(volume)) || world.process_lives)
		fail_msg("the lease of %s is given back while the guest lives", volume);
	v->holder = 0;
	return 0;
}

static int fake_volume_read(const char *domain, uid_t uid, const char *name, struct vmj_volume *ret,
			    struct vmj_error *err)
{
	struct fake_volume *v = volume_of(domain, name);

	assert_int_equal(v->holder, JOB);
	if (!v->exists)
		return vmj_fail_user(err, ENOENT, "volume \"%s\" does not exist", name);
	*ret = (struct vmj_volume){.uid = uid, .job = v->job, .virtual_bytes = v->bytes};
	snprintf(ret->name, sizeof(ret->name), "%.63s", v->name);
	snprintf(ret->image, sizeof(ret->image), "%s", v->image);
	strcpy(ret->layers[0].file, VMJ_BASE_FILE);
	strcpy(ret->layers[1].file, "layer-1.qcow2");
	strcpy(ret->layers[1].parent, VMJ_BASE_FILE);
	ret->n_layers = 2;
	strcpy(ret->top, "layer-1.qcow2");
	return call("read", err);
}

static int fake_volume_recover(const char *domain, struct vmj_volume *v, struct vmj_error *err)
{
	assert_int_equal(volume_of(domain, v->name)->holder, JOB);
	assert_false(world.domain && domain_has(v->name));
	return call("recover", err);
}

static int fake_volume_verify(const char *domain, const struct vmj_volume *v, const char *from,
			      struct vmj_error *err)
{
	return call("verify", err);
}

static int fake_volume_lend(const char *domain, struct vmj_volume *v, gid_t gid,
			    struct vmj_error *err)
{
	return call("lend", err);
}

static int fake_volume_sweep(const char *domain, uid_t uid, const char *name, struct vmj_error *err)
{
	return call("sweep", err);
}

static int fake_volume_create(const struct vmj_volume_spec *spec, struct vmj_volume *ret,
			      struct vmj_error *err)
{
	struct fake_volume *v = volume_of(spec->domain, spec->name);
	int r = call("volume", err);

	if (r < 0)
		return r;
	assert_int_equal(v->holder, JOB);
	assert_false(v->exists);
	v->exists = true;
	v->job = spec->job;
	v->bytes = spec->image ? spec->image->virtual_bytes : spec->bytes;
	snprintf(v->image, sizeof(v->image), "%s", spec->image ? spec->label : "");
	return fake_volume_read(spec->domain, spec->uid, spec->name, ret, err);
}

/* --- the rest of the host -------------------------------------------------------------------- */

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
	memcpy(world.disks, spec->guest->disks, sizeof(world.disks));
	world.n_disks = spec->guest->n_disks;
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

static int fake_virt_disks(struct vmj_virt *v, uint32_t job, struct vmj_virt_disk *ret,
			   unsigned int *ret_n, struct vmj_error *err)
{
	if (!world.domain)
		return vmj_fail(err, ENOENT, "there is no domain");
	*ret_n = 0;
	for (unsigned int i = 0; i < world.n_disks; i++)
		strcpy(ret[(*ret_n)++].target, world.disks[i].target);
	return call("look", err);
}

/* The text between two marks in the XML. */
static void cut(const char *xml, const char *before, char after, char *buf, size_t size)
{
	const char *begin = strstr(xml, before);
	const char *end = begin ? strchr(begin + strlen(before), after) : NULL;

	assert_non_null(end);
	begin += strlen(before);
	snprintf(buf, size, "%.*s", (int)(end - begin), begin);
}

/* The answer may be lost: it is there and the call fails. */
static int fake_attach(struct vmj_virt *v, uint32_t job, const char *xml, struct vmj_error *err)
{
	struct vmj_guest_disk *d = &world.disks[world.n_disks];
	int r = call("attach", err);

	if (r < 0)
		return r;
	memset(d, 0, sizeof(*d));
	cut(xml, "dev=\"", '"', d->target, sizeof(d->target));
	cut(xml, "<serial>", '<', d->volume, sizeof(d->volume));
	assert_int_equal(volume_of(FIRST, d->volume)->holder, JOB);
	assert_true(is_on_record(d->volume));
	world.n_disks++;
	return call("answer", err);
}

static int fake_detach(struct vmj_virt *v, uint32_t job, const char *target, struct vmj_error *err)
{
	for (unsigned int i = 0; i < world.n_disks && !world.keeps_disks; i++)
		if (strcmp(world.disks[i].target, target) == 0)
			world.disks[i] = world.disks[--world.n_disks];
	return call("detach", err);
}

static bool fake_process_lives(pid_t pid, uint32_t job)
{
	return world.process_lives && pid == 42;
}

static const struct vmj_adapters fakes = {
	.storage_check = fake_storage_check,
	.image_find = fake_image_find,
	.disk_overlay = fake_disk_overlay,
	.disk_empty = fake_disk_empty,
	.quota_admit = fake_quota_admit,
	.lease_take = fake_lease_take,
	.lease_release = fake_lease_release,
	.volume_read = fake_volume_read,
	.volume_recover = fake_volume_recover,
	.volume_verify = fake_volume_verify,
	.volume_lend = fake_volume_lend,
	.volume_sweep = fake_volume_sweep,
	.volume_create = fake_volume_create,
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
	.virt_disks = fake_virt_disks,
	.virt_attach_disk = fake_attach,
	.virt_detach_disk = fake_detach,
	.virt_process_lives = fake_process_lives,
};

/* --- the test's guest ------------------------------------------------------------------------ */

static struct vmj_storage_config storages[] = {{.name = "default", .path = FIRST},
					       {.name = "fast", .path = SECOND}};
static struct vmj_config config = {.storages = storages, .n_storages = 2};
static struct vmj_topology *topology;

static struct vmj_work work(const char *dir)
{
	struct vmj_work w = {
		.adapters = &fakes,
		.config = &config,
		.topology = topology,
		.dir = dir,
		.agent_id = "a1",
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
				      .n_disks = 2,
				      .disks = {{.size_mib = 64},
						{.kind = VMJ_DISK_VOLUME,
						 .storage = "fast",
						 .name = "data"}}}},
	};

	return w;
}

/* The agent's memory of the guest, as it is after the agent's start. */
static struct vmj_work work_on_record(const char *dir)
{
	struct vmj_work w = work(dir);
	struct vmj_guest g;

	if (vmj_record_read(dir, JOB, &g, NULL) == 0)
		w.guest = g;
	return w;
}

/* As turn.c has it: the new run's guest, with what of the last one is to be given back. */
static struct vmj_work next_work(const char *dir)
{
	struct vmj_work w = work(dir);
	struct vmj_guest g;

	if (vmj_record_read(dir, JOB, &g, NULL) < 0)
		return w;
	w.guest.pid = g.pid;
	w.guest.n_disks = g.n_disks;
	memcpy(w.guest.disks, g.disks, sizeof(g.disks));
	return w;
}

static bool there(const char *dir, const char *file)
{
	char path[VMJ_GUEST_PATH_MAX];

	return access(vmj_record_path(dir, JOB, file, path), F_OK) == 0;
}

static void assert_nothing_left(const char *dir, const char *when)
{
	if (world.domain || world.filter || there(dir, NULL) || leases_held())
		fail_msg("%s: left are%s%s%s%s", when, world.domain ? " a domain" : "",
			 world.filter ? " a filter" : "", there(dir, NULL) ? " files" : "",
			 leases_held() ? " leases" : "");
}

static int setup(void **state)
{
	memset(&world, 0, sizeof(world));
	vmj_steps_trap(NULL, NULL);
	add_volume(SECOND, "data", 100);
	if (!topology && vmj_topology_load("node:1 core:2 pu:1", &topology, NULL) < 0)
		return -1;
	if (unit_make_dir(state) < 0)
		return -1;
	world.dir = *state;
	return 0;
}

static void prepare(const char *dir)
{
	struct vmj_work w = next_work(dir);
	struct vmj_error err;

	assert_done(vmj_work_prepare(&w, &err), err);
	assert_int_equal(w.guest.phase, VMJ_PHASE_PREPARED);
	assert_int_equal(w.guest.pid, 42);
	assert_true(world.domain && world.filter && !world.running);
	assert_true(there(dir, "disk.n1.qcow2") && there(dir, "disk1.n1.qcow2") &&
		    there(dir, "seed.img"));
	assert_int_equal(volume_of(SECOND, "data")->holder, JOB);
}

static void release(const char *dir)
{
	struct vmj_work w = work_on_record(dir);
	struct vmj_error err;

	assert_done(vmj_work_release(&w, &err), err);
}

#endif
