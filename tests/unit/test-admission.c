/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "random-request.h"

#include <errno.h>

#include "vmjob/policy/admission.h"

static const char site[] =
	"storage default { path = /srv/vmjob }\n"
	"storage fast { path = /srv/fast }\n"
	"network lan { kind = bridge bridge = br0 }\n"
	"network user { kind = user }\n"
	"defaults { memory = 2G network = lan grace = 45s cpu = max script = none }\n"
	"limits { memory = 64G vcpus = 16 disk = 100G }\n";

static int load(void **state)
{
	struct vmj_config *c = NULL;
	int rc = vmj_config_parse(site, "site.conf", &c, NULL);

	*state = c;
	return rc;
}

static int unload(void **state)
{
	vmj_config_free(*state);
	return 0;
}

static const struct vmj_job_shape one_node = {.nodes = 1, .cpus_per_node = 4, .has_script = true};

static struct vmj_request plain(void)
{
	return (struct vmj_request){.image = "tiny"};
}

static struct vmj_admission admitted(void **state, const struct vmj_request *r,
				     const struct vmj_job_shape *shape)
{
	struct vmj_admission a;
	struct vmj_error err;

	assert_done(vmj_admit(*state, r, shape, &a, &err), err);
	return a;
}

static void refused(void **state, const struct vmj_request *r, const struct vmj_job_shape *shape,
		    int code, const char *part)
{
	struct vmj_admission a = {.job_mem_mib = 77};
	struct vmj_error err = {0};

	assert_user_refused(vmj_admit(*state, r, shape, &a, &err), err, code, part);
	assert_int_equal(a.job_mem_mib, 77);
}

static void defaults_are_filled(void **state)
{
	struct vmj_request r = plain();
	struct vmj_admission a = admitted(state, &r, &one_node);

	assert_int_equal(a.request.memory_mib, 2048);
	assert_int_equal(a.request.vcpus, 4);
	assert_int_equal(a.request.script, VMJ_SCRIPT_NONE);
	assert_string_equal(a.request.cpu, "max");
	assert_int_equal(a.request.grace_s, 45);
	assert_int_equal(a.request.n_nets, 1);
	assert_string_equal(a.request.nets[0].network, "lan");
	assert_false(a.requeue);
	/* 160 + ceil(2048 * 8 / 1000) + 4 * 4 = 193 */
	assert_int_equal(a.job_mem_mib, 2048 + 193);
	assert_string_equal(a.summary, "vm image=tiny vcpus=4 memory=2G script=none net=lan");
}

static void what_is_asked_stays(void **state)
{
	struct vmj_request r = plain();
	struct vmj_admission a;

	r.memory_mib = 512;
	r.script = VMJ_SCRIPT_HOST;
	r.grace_s = 5;
	r.protected_ = true;
	strcpy(r.cpu, "host");
	r.n_nets = 1;
	strcpy(r.nets[0].network, "user");
	a = admitted(state, &r, &one_node);
	assert_int_equal(a.request.memory_mib, 512);
	assert_int_equal(a.request.script, VMJ_SCRIPT_HOST);
	assert_int_equal(a.request.grace_s, 5);
	assert_string_equal(a.request.cpu, "host");
	assert_int_equal(a.request.n_nets, 1);
	assert_string_equal(a.request.nets[0].network, "user");
	assert_true(a.requeue);
}

static void mem_is_the_guests_memory(void **state)
{
	struct vmj_job_shape shape = one_node;
	struct vmj_request r = plain();
	struct vmj_admission a;

	shape.mem_per_node_mib = 8192;
	a = admitted(state, &r, &shape);
	assert_int_equal(a.request.memory_mib, 8192);
	assert_int_equal(a.job_mem_mib, 8192 + 160 + 66 + 16);
}

static void a_larger_mem_stays(void **state)
{
	struct vmj_job_shape shape = one_node;
	struct vmj_request r = plain();
	struct vmj_admission a;

	shape.mem_per_node_mib = 8192;
	r.memory_mib = 1024;
	a = admitted(state, &r, &shape);
	assert_int_equal(a.request.memory_mib, 1024);
	assert_int_equal(a.job_mem_mib, 8192);
}

static void a_smaller_mem_is_raised(void **state)
{
	struct vmj_job_shape shape = one_node;
	struct vmj_request r = plain();

	shape.mem_per_node_mib = 1;
	r.memory_mib = 1024;
	assert_int_equal(admitted(state, &r, &shape).job_mem_mib, 1024 + 160 + 9 + 16);
}

static void overhead_rounds_up(void **state)
{
	struct vmj_config c = {.overhead_per_mille = 8};

	assert_int_equal(vmj_overhead_mib(&c, 0, 0), 0);
	assert_int_equal(vmj_overhead_mib(&c, 1, 0), 1);
	assert_int_equal(vmj_overhead_mib(&c, 125, 0), 1);
	assert_int_equal(vmj_overhead_mib(&c, 126, 0), 2);
	c.overhead_per_vcpu_mib = 1024;
	c.overhead_per_mille = 1000;
	assert_int_equal(vmj_overhead_mib(&c, VMJ_MEMORY_MIB_MAX, VMJ_VCPUS_MAX),
			 VMJ_MEMORY_MIB_MAX + 1024 * 1024);
}

static void vcpus_cannot_be_forged(void **state)
{
	struct vmj_request r = plain();

	r.vcpus = 1000;
	assert_int_equal(admitted(state, &r, &one_node).request.vcpus, 4);
}

static void a_command_runs_on_the_host(void **state)
{
	struct vmj_job_shape shape = one_node;
	struct vmj_request r = plain();

	shape.has_script = false;
	assert_int_equal(admitted(state, &r, &shape).request.script, VMJ_SCRIPT_HOST);
}

static void none_means_no_network(void **state)
{
	struct vmj_request r = plain();

	r.no_net = true;
	assert_int_equal(admitted(state, &r, &one_node).request.n_nets, 0);
}

static void a_bad_request_is_refused_first(void **state)
{
	struct vmj_request r = {.image = "../tiny"};

	refused(state, &r, &one_node, EINVAL, "--vm-image");
}

static void memory_above_the_limit(void **state)
{
	struct vmj_job_shape shape = one_node;
	struct vmj_request r = plain();

	r.memory_mib = 64 * 1024 + 1;
	refused(state, &r, &one_node, ERANGE,
		"--vm-memory: a guest of 65537M is above this site's limit: give at most 64G");
	r.memory_mib = 0;
	shape.mem_per_node_mib = 65 * 1024;
	refused(state, &r, &shape, ERANGE, "--mem: a guest of 65G is above");
}

static void mem_too_small_for_a_guest(void **state)
{
	struct vmj_job_shape shape = one_node;
	struct vmj_request r = plain();

	shape.mem_per_node_mib = 15;
	refused(state, &r, &shape, ERANGE, "--mem: 15M is too little for a guest");
}

static void vcpus_above_the_limit(void **state)
{
	struct vmj_job_shape shape = one_node;
	struct vmj_request r = plain();

	shape.cpus_per_node = 17;
	refused(state, &r, &shape, ERANGE, "17 vCPUs");
	shape.cpus_per_node = UINT32_MAX;
	refused(state, &r, &shape, ERANGE, "at most 16");
}

static void disks_above_the_limit(void **state)
{
	struct vmj_request r = plain();

	r.n_disks = 2;
	r.disks[0].size_mib = 60 * 1024;
	r.disks[1].size_mib = 41 * 1024;
	refused(state, &r, &one_node, ERANGE, "--vm-disk: 101G in all");
}

static struct vmj_request with_volume(const char *storage, const char *name)
{
	struct vmj_request r = plain();

	r.n_disks = 1;
	r.disks[0].kind = VMJ_DISK_VOLUME;
	strcpy(r.disks[0].storage, storage);
	strcpy(r.disks[0].name, name);
	return r;
}

static void volumes_are_of_the_first_storage(void **state)
{
	struct vmj_request r = with_volume("", "data");
	struct vmj_admission a;

	strcpy(r.persistent, "web");
	a = admitted(state, &r, &one_node);
	assert_string_equal(a.request.disks[0].storage, "default");
	assert_string_equal(a.request.persistent_storage, "default");
	strcpy(r.disks[0].storage, "fast");
	strcpy(r.persistent_storage, "fast");
	a = admitted(state, &r, &one_node);
	assert_string_equal(a.request.disks[0].storage, "fast");
	assert_string_equal(a.request.persistent_storage, "fast");
}

static void a_storage_that_is_not_there(void **state)
{
	struct vmj_request r = with_volume("tape", "data");

	refused(state, &r, &one_node, ENOENT, "--vm-disk: there is no storage tape");
	r = plain();
	strcpy(r.persistent, "web");
	strcpy(r.persistent_storage, "tape");
	refused(state, &r, &one_node, ENOENT, "--vm-persistent: there is no storage tape");
}

static void one_volume_by_two_names(void **state)
{
	struct vmj_request r = with_volume("", "data");

	r.n_disks = 2;
	r.disks[1] = r.disks[0];
	strcpy(r.disks[1].storage, "default");
	refused(state, &r, &one_node, EINVAL, "volume data is given twice");
	r.n_disks = 1;
	strcpy(r.persistent, "data");
	strcpy(r.persistent_storage, "default");
	refused(state, &r, &one_node, EINVAL, "volume data is the root disk already");
}

static void a_volume_for_several_guests(void **state)
{
	struct vmj_request r = with_volume("", "data");
	struct vmj_job_shape shape = one_node;

	shape.nodes = 2;
	refused(state, &r, &shape, EINVAL, "--vm-disk: volume data cannot be in 2 guests");
	r = plain();
	strcpy(r.persistent, "web");
	refused(state, &r, &shape, EINVAL, "--vm-persistent: volume web cannot be in 2 guests");
}

/* Volumes have been paid for when they were made, images by their owners. */
static void only_fresh_disks_count(void **state)
{
	struct vmj_request r = with_volume("", "data");

	r.n_disks = 3;
	r.disks[1] = (struct vmj_disk_request){.size_mib = 100 * 1024};
	r.disks[2] = (struct vmj_disk_request){
		.kind = VMJ_DISK_IMAGE, .name = "tools", .readonly = true};
	admitted(state, &r, &one_node);
	r.disks[1].size_mib++;
	refused(state, &r, &one_node, ERANGE, "--vm-disk: 102401M in all");
}

static void scripts_inside_the_guest(void **state)
{
	struct vmj_request r = plain();

	r.script = VMJ_SCRIPT_GUEST;
	refused(state, &r, &one_node, ENOTSUP, "give host");
}

static void an_unknown_network(void **state)
{
	struct vmj_request r = plain();

	r.n_nets = 1;
	strcpy(r.nets[0].network, "wan");
	refused(state, &r, &one_node, ENOENT, "there is no network wan: this site has lan, user");
}

static void forwards_where_there_are_none(void **state)
{
	struct vmj_request r = plain();

	r.n_nets = 1;
	strcpy(r.nets[0].network, "lan");
	r.nets[0].n_forwards = 1;
	r.nets[0].forwards[0].guest_port = 22;
	refused(state, &r, &one_node, EINVAL, "network lan is of kind bridge");
}

static void one_address_for_many_guests(void **state)
{
	struct vmj_job_shape shape = one_node;
	struct vmj_request r = plain();

	r.n_nets = 1;
	strcpy(r.nets[0].network, "lan");
	strcpy(r.nets[0].mac, "52:54:00:00:00:01");
	admitted(state, &r, &one_node);
	shape.nodes = 3;
	refused(state, &r, &shape, EINVAL, "cannot be the address of 3 guests");
}

static void a_site_without_networks(void **state)
{
	struct vmj_config *c = NULL;
	struct vmj_admission a;
	struct vmj_request r = plain();
	struct vmj_error err;

	assert_done(vmj_config_parse("storage s { path = /s }", "x", &c, &err), err);
	assert_done(vmj_admit(c, &r, &one_node, &a, &err), err);
	assert_int_equal(a.request.n_nets, 0);
	r.n_nets = 1;
	strcpy(r.nets[0].network, "lan");
	assert_user_refused(vmj_admit(c, &r, &one_node, &a, &err), err, ENOENT,
			    "there are none here");
	vmj_config_free(c);
}

/* A requeued or updated job comes through again, with the memory that was set the first time. */
static void admitting_again_changes_nothing(void **state)
{
	uint64_t seed = 11;
	int n = 0;

	for (int i = 0; i < 5000; i++) {
		struct vmj_request r = random_request(&seed);
		struct vmj_job_shape shape = {.nodes = 1 + (uint32_t)below(&seed, 3),
					      .cpus_per_node = 1 + (uint32_t)below(&seed, 16),
					      .mem_per_node_mib =
						      below(&seed, 2) ? below(&seed, 100000) : 0,
					      .has_script = below(&seed, 2)};
		struct vmj_admission a, b;
		struct vmj_error err;

		r.memory_mib = below(&seed, 2) ? 0 : 16 + below(&seed, 65520);
		r.n_disks = below(&seed, 2) ? 1 : 0;
		r.disks[0] = (struct vmj_disk_request){.size_mib = 1 + below(&seed, 100 * 1024)};
		strcpy(r.persistent_storage, *r.persistent ? "default" : "");
		if (r.n_nets > 1)
			r.n_nets = 1;
		strcpy(r.nets[0].network, "user");
		if (vmj_admit(*state, &r, &shape, &a, NULL) < 0)
			continue;
		n++;
		assert_int_equal(vmj_request_check(&a.request, NULL), 0);
		assert_true(a.job_mem_mib > a.request.memory_mib);
		shape.mem_per_node_mib = a.job_mem_mib;
		assert_done(vmj_admit(*state, &a.request, &shape, &b, &err), err);
		assert_memory_equal(&a, &b, sizeof(a));
	}
	assert_true(n > 500);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_filled),
		cmocka_unit_test(what_is_asked_stays),
		cmocka_unit_test(mem_is_the_guests_memory),
		cmocka_unit_test(a_larger_mem_stays),
		cmocka_unit_test(a_smaller_mem_is_raised),
		cmocka_unit_test(overhead_rounds_up),
		cmocka_unit_test(vcpus_cannot_be_forged),
		cmocka_unit_test(a_command_runs_on_the_host),
		cmocka_unit_test(none_means_no_network),
		cmocka_unit_test(a_bad_request_is_refused_first),
		cmocka_unit_test(memory_above_the_limit),
		cmocka_unit_test(mem_too_small_for_a_guest),
		cmocka_unit_test(vcpus_above_the_limit),
		cmocka_unit_test(disks_above_the_limit),
		cmocka_unit_test(volumes_are_of_the_first_storage),
		cmocka_unit_test(a_storage_that_is_not_there),
		cmocka_unit_test(one_volume_by_two_names),
		cmocka_unit_test(a_volume_for_several_guests),
		cmocka_unit_test(only_fresh_disks_count),
		cmocka_unit_test(scripts_inside_the_guest),
		cmocka_unit_test(an_unknown_network),
		cmocka_unit_test(forwards_where_there_are_none),
		cmocka_unit_test(one_address_for_many_guests),
		cmocka_unit_test(a_site_without_networks),
		cmocka_unit_test(admitting_again_changes_nothing),
	};

	return cmocka_run_group_tests_name("admission", tests, load, unload);
}
