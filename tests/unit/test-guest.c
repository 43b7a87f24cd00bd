/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "random-request.h"

#include <errno.h>

#include "vmjob/model/guest.h"
#include "vmjob/model/json.h"

static void random_disk(uint64_t *seed, struct vmj_guest_disk *d, unsigned int i)
{
	d->kind = (enum vmj_guest_disk_kind)below(seed, VMJ_GUEST_DISK_COUNT_);
	if (d->kind == VMJ_GUEST_DISK_VOLUME) {
		strcpy(d->storage, "default");
		snprintf(d->volume, sizeof(d->volume), "data-%u", i);
	}
	snprintf(d->path, sizeof(d->path), "/srv/vmjob/volumes/1000/data-%u/layer-9.qcow2", i);
	for (unsigned int n = (unsigned int)below(seed, VMJ_DISK_LAYERS_MAX + 1); n; n--)
		snprintf(d->layers[d->n_layers++], sizeof(d->layers[0]), "layer-%u.qcow2", n);
	if (below(seed, 2))
		strcpy(d->base, "/srv/vmjob/images/1000/tiny/1/disk.qcow2");
	d->readonly = below(seed, 2);
	d->attached = below(seed, 2);
	vmj_guest_disk_set_target(d, i);
	snprintf(d->serial, sizeof(d->serial), "vmjob-disk%u", i);
	d->epoch = (uint32_t)below(seed, UINT32_MAX);
}

static struct vmj_guest random_guest(uint64_t *seed)
{
	struct vmj_guest g = {
		.job = 1 + (uint32_t)below(seed, UINT32_MAX),
		.restart = (uint32_t)below(seed, 5),
		.uid = (uid_t)below(seed, UINT32_MAX - 1),
		.gid = (gid_t)below(seed, 70000),
		.user = "anna",
		.host = "n1.cluster",
		.cpus = "0-3,8",
		.request = random_request(seed),
		.phase = (enum vmj_phase)below(seed, VMJ_PHASE_COUNT_),
		.end = (enum vmj_end)below(seed, VMJ_END_COUNT_),
		.pause = (enum vmj_pause)below(seed, VMJ_PAUSE_COUNT_),
		.failure = "image \"tiny\": it's <gone> \xe2\x80\x94 ask its owner",
		.boot_id = "3f2c1b9e-0000-4111-8222-333344445555",
		.image_path = "/srv/vmjob/images/1000/tiny/1/disk.qcow2",
		.pid = (pid_t)below(seed, INT32_MAX),
		.start_us = (int64_t)below(seed, INT64_MAX),
		.end_us = (int64_t)below(seed, INT64_MAX),
		.n_ports = (unsigned int)below(seed, VMJ_NETS_MAX + 1),
	};

	g.n_disks = (unsigned int)below(seed, VMJ_GUEST_DISKS_MAX + 1);
	for (unsigned int i = 0; i < g.n_disks; i++)
		random_disk(seed, &g.disks[i], i);
	for (unsigned int i = 0; i < g.n_ports; i++) {
		struct vmj_port *p = &g.ports[i];

		strcpy(p->network, "lan");
		snprintf(p->device, sizeof(p->device), "vj%u.%u", g.job % 1000000, i);
		snprintf(p->mac, sizeof(p->mac), "52:54:00:00:00:%02x", i);
		strcpy(p->address, "10.77.128.5/16");
		p->n_forwards = (unsigned int)below(seed, VMJ_FORWARDS_MAX + 1);
		for (unsigned int k = 0; k < p->n_forwards; k++)
			p->forwards[k] = (struct vmj_forward){.host_port = (uint16_t)(k + 2000),
							      .guest_port = (uint16_t)(k + 1)};
	}
	return g;
}

static int parse(const char *text, struct vmj_guest *ret, struct vmj_error *err)
{
	vmj_autojson struct json_object *o = NULL;
	int rc = vmj_json_parse("record", text, strlen(text), 8, &o, err);

	return rc < 0 ? rc : vmj_guest_from_json(o, ret, err);
}

static char *format(const struct vmj_guest *g)
{
	vmj_autojson struct json_object *o = vmj_guest_to_json(g);

	return strdup(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN));
}

static void what_is_formatted_is_parsed(void **state)
{
	uint64_t seed = 8;

	for (int i = 0; i < 2000; i++) {
		struct vmj_guest g = random_guest(&seed), back;
		vmj_autofree char *text = format(&g);
		struct vmj_error err;

		memset(&back, 0xff, sizeof(back));
		assert_done(parse(text, &back, &err), err);
		assert_memory_equal(&g, &back, sizeof(g));
	}
}

/* The record of a guest with one member replaced (value as JSON; NULL: left out). */
static char *record_with(const char *key, const char *value)
{
	uint64_t seed = 9;
	struct vmj_guest g = random_guest(&seed);
	vmj_autojson struct json_object *o = NULL;

	g.n_ports = 0;
	o = vmj_guest_to_json(&g);
	json_object_object_del(o, key);
	if (value)
		json_object_object_add(o, key, json_tokener_parse(value));
	return strdup(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN));
}

/* What an agent of the version before wrote: its guests live on through the upgrade. */
static void a_record_of_the_version_before_is_read(void **state)
{
	vmj_autojson struct json_object *o = NULL;
	uint64_t seed = 10;
	struct vmj_guest g = random_guest(&seed), back;
	struct vmj_error err = {0};

	o = vmj_guest_to_json(&g);
	json_object_object_del(o, "disks");
	json_object_object_del(o, "pause");
	assert_done(vmj_guest_from_json(o, &back, &err), err);
	assert_int_equal(back.job, g.job);
	assert_int_equal(back.n_disks, 0);
	assert_int_equal(back.pause, VMJ_PAUSE_NONE);
}

/* A disk's record with one member replaced. */
static void assert_disk_refused(const char *key, const char *value)
{
	vmj_autojson struct json_object *disk = json_tokener_parse(
		"{\"kind\":\"volume\",\"storage\":\"default\",\"volume\":\"data\",\"path\":"
		"\"/v/top\",\"layers\":[\"base.qcow2\"],\"base\":\"\",\"readonly\":false,"
		"\"attached\":false,\"target\":\"vdb\",\"serial\":\"data\",\"epoch\":1}");
	vmj_autofree char *disks = NULL, *text = NULL;
	char part[64];
	struct vmj_error err = {0};
	struct vmj_guest g;

	json_object_object_del(disk, key);
	if (value)
		json_object_object_add(disk, key, json_tokener_parse(value));
	assert_true(asprintf(&disks, "[%s]", json_object_to_json_string(disk)) > 0);
	text = record_with("disks", disks);
	snprintf(part, sizeof(part), "guest.disks[0].%s: ", key);
	assert_true(parse(text, &g, &err) < 0);
	if (!strstr(err.text, part))
		fail_msg("\"%s\" does not contain \"%s\"", err.text, part);
}

static void bad_disks_are_refused(void **state)
{
	static const struct {
		const char *key, *value;
	} wrong[] = {
		{"kind", "\"tape\""},
		{"kind", "1"},
		{"storage", "\"../x\""},
		{"volume", "\"a/b\""},
		{"volume", "\"\""},
		{"path", "\"top\""},
		{"layers", "[\"../base.qcow2\"]"},
		{"layers", "[\"/etc/shadow\"]"},
		{"layers", "[\".\"]"},
		{"layers", "[\"\"]"},
		{"layers", "[\"a\\u0000b\"]"},
		{"layers", "[7]"},
		{"layers", "[null]"},
		{"layers", "\"base.qcow2\""},
		{"layers", "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]"},
		{"base", "\"x\""},
		{"readonly", "0"},
		{"target", "\"sda\""},
		{"target", "\"vd\""},
		{"target", "\"vdaa\""},
		{"serial", "\"a-serial-of-21-letters\""},
		{"epoch", "-1"},
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_disk_refused(wrong[i].key, wrong[i].value);
		assert_disk_refused(wrong[i].key, NULL);
	}
	assert_disk_refused("colour", "1");
}

static void links_of_a_chain(void **state)
{
	struct vmj_guest_disk d = {.path = "/v/1000/data/layer-3.qcow2"};
	char buf[VMJ_DISK_PATH_MAX];

	assert_int_equal(vmj_guest_disk_links(&d), 1);
	d.n_layers = 1;
	strcpy(d.layers[0], "base.qcow2");
	strcpy(d.base, "/images/x.qcow2");
	assert_int_equal(vmj_guest_disk_links(&d), 3);
	assert_string_equal(vmj_guest_disk_link(&d, 0, buf), "/v/1000/data/layer-3.qcow2");
	assert_string_equal(vmj_guest_disk_link(&d, 1, buf), "/v/1000/data/base.qcow2");
	assert_string_equal(vmj_guest_disk_link(&d, 2, buf), "/images/x.qcow2");
}

static void each_member_is_needed(void **state)
{
	static const char *const keys[] = {"job",     "restart", "uid",        "gid",   "user",
					   "host",    "cpus",    "request",    "phase", "end",
					   "failure", "boot_id", "image_path", "pid",   "start_us",
					   "end_us",  "ports"};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		vmj_autofree char *text = record_with(keys[i], NULL);
		char part[64];
		struct vmj_guest g;
		struct vmj_error err;
		int rc = parse(text, &g, &err);

		snprintf(part, sizeof(part), "guest.%s: ", keys[i]);
		assert_refused(rc, err, EINVAL, part);
		assert_int_equal(err.fault, VMJ_FAULT_HOST);
	}
}

static void bad_members_are_refused(void **state)
{
	static const struct {
		const char *key, *value, *part;
	} wrong[] = {
		{"job", "0", "guest.job"},
		{"job", "4294967296", "guest.job"},
		{"job", "-1", "guest.job"},
		{"job", "\"7\"", "guest.job"},
		{"uid", "4294967295", "guest.uid"},
		{"uid", "-1", "guest.uid"},
		{"user", "\"a\\nb\"", "guest.user"},
		{"cpus", "\"0-3;id\"", "guest.cpus"},
		{"boot_id", "\"../x\"", "guest.boot_id"},
		{"image_path", "\"disk.qcow2\"", "guest.image_path"},
		{"phase", "\"\"", "guest.phase"},
		{"phase", "\"flying\"", "guest.phase"},
		{"end", "\"bored\"", "guest.end"},
		{"pause", "\"tea\"", "guest.pause"},
		{"pid", "-1", "guest.pid"},
		{"pid", "2147483648", "guest.pid"},
		{"start_us", "9223372036854775807", "guest.start_us"},
		{"request", "{}", "guest.request.image"},
		{"request", "{\"image\":\"tiny\",\"x\":1}", "guest.request.x"},
		{"request", "[]", "guest.request"},
		{"ports", "[{}]", "guest.ports[0].network"},
		{"ports", "[1]", "guest.ports[0]"},
		{"ports", "[{},{},{},{},{},{},{},{},{}]", "guest.ports"},
		{"colour", "1", "guest.colour"},
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		vmj_autofree char *text = record_with(wrong[i].key, wrong[i].value);
		struct vmj_guest g = {.job = 77};
		struct vmj_error err = {0};

		assert_true(parse(text, &g, &err) < 0);
		if (!strstr(err.text, wrong[i].part))
			fail_msg("\"%s\" does not contain \"%s\"", err.text, wrong[i].part);
		assert_int_equal(err.fault, VMJ_FAULT_HOST);
		assert_int_equal(g.job, 77);
	}
}

static void bad_ports_are_refused(void **state)
{
	static const struct {
		const char *network, *device, *mac, *address, *part;
	} wrong[] = {
		{"../lan", "vj1.0", "", "", "ports[0].network"},
		{"lan", "vj1;0", "", "", "ports[0].device"},
		{"lan", "a-name-longer-than-it", "", "", "ports[0].device"},
		{"lan", "", "zz", "", "ports[0].mac"},
		{"lan", "", "", "10.0.0.1; drop", "ports[0].address"},
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		char ports[256];
		vmj_autofree char *text = NULL;
		struct vmj_guest g;
		struct vmj_error err;

		snprintf(
			ports, sizeof(ports),
			"[{\"network\":\"%s\",\"device\":\"%s\",\"mac\":\"%s\",\"address\":\"%s\"}]",
			wrong[i].network, wrong[i].device, wrong[i].mac, wrong[i].address);
		text = record_with("ports", ports);
		assert_true(parse(text, &g, &err) < 0);
		assert_non_null(strstr(err.text, wrong[i].part));
	}
}

static void exit_codes_are_as_documented(void **state)
{
	assert_int_equal(vmj_end_exit_code(VMJ_END_POWEROFF), 0);
	assert_int_equal(vmj_end_exit_code(VMJ_END_PANIC), 70);
	assert_int_equal(vmj_end_exit_code(VMJ_END_KILLED), 71);
	assert_int_equal(vmj_end_exit_code(VMJ_END_DESTROYED), 72);
	assert_int_equal(vmj_end_exit_code(VMJ_END_RELEASED), 73);
	assert_int_equal(vmj_end_exit_code(VMJ_END_LOST), 74);
	assert_int_equal(vmj_end_exit_code(VMJ_END_COUNT_), 74);
}

static void names_are_read_back(void **state)
{
	for (int i = 0; i < VMJ_PHASE_COUNT_; i++) {
		enum vmj_phase phase = VMJ_PHASE_COUNT_;

		assert_int_equal(vmj_phase_parse(vmj_phase_name((enum vmj_phase)i), &phase), 0);
		assert_int_equal(phase, i);
	}
	for (int i = 0; i < VMJ_END_COUNT_; i++) {
		enum vmj_end end = VMJ_END_COUNT_;

		assert_int_equal(vmj_end_parse(vmj_end_name((enum vmj_end)i), &end), 0);
		assert_int_equal(end, i);
		assert_true(strlen(vmj_end_text(end)) > 5);
	}
}

static void domain_names(void **state)
{
	static const char *const wrong[] = {
		"",         "vmjob-",   "vmjob-0",  "vmjob-01",
		"vmjob-1x", "vmjob--1", "vmjob-+1", "vmjob-4294967296",
		"VMJOB-1",  "xvmjob-1", "vmjob-1 ", "vmjob-99999999999999999999"};
	uint32_t job = 7;
	char buf[VMJ_DOMAIN_NAME_MAX];

	assert_string_equal(vmj_domain_name(42, buf), "vmjob-42");
	assert_int_equal(vmj_domain_job("vmjob-4294967295", &job), 0);
	assert_true(job == UINT32_MAX);
	job = 7;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(vmj_domain_job(wrong[i], &job), -EINVAL);
	assert_int_equal(job, 7);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_formatted_is_parsed),
		cmocka_unit_test(each_member_is_needed),
		cmocka_unit_test(bad_members_are_refused),
		cmocka_unit_test(bad_ports_are_refused),
		cmocka_unit_test(a_record_of_the_version_before_is_read),
		cmocka_unit_test(bad_disks_are_refused),
		cmocka_unit_test(links_of_a_chain),
		cmocka_unit_test(exit_codes_are_as_documented),
		cmocka_unit_test(names_are_read_back),
		cmocka_unit_test(domain_names),
	};

	return cmocka_run_group_tests_name("guest", tests, NULL, NULL);
}
