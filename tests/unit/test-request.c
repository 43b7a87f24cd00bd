/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "random-request.h"

#include <errno.h>

static struct vmj_request plain(void)
{
	return (struct vmj_request){.image = "tiny"};
}

static struct vmj_request with_net(void)
{
	struct vmj_request r = plain();

	r.n_nets = 2;
	strcpy(r.nets[0].network, "lan");
	strcpy(r.nets[1].network, "user");
	return r;
}

static void refused(const struct vmj_request *r, int code, const char *part)
{
	struct vmj_error err = {0};

	assert_user_refused(vmj_request_check(r, &err), err, code, part);
}

static void the_least_is_good(void **state)
{
	struct vmj_request r = plain();
	struct vmj_error err;

	assert_done(vmj_request_check(&r, &err), err);
}

static void without_image(void **state)
{
	struct vmj_request r = {0};

	refused(&r, EINVAL, "--vm-image: \"\" is not a name");
}

static void image_that_is_a_path(void **state)
{
	struct vmj_request r = {.image = "../../etc/passwd"};

	refused(&r, EINVAL, "--vm-image");
}

static void image_without_an_end(void **state)
{
	struct vmj_request r = {0};

	memset(r.image, 'a', sizeof(r.image)); /* the next member ends it */
	refused(&r, EINVAL, "--vm-image");
}

static void memory_out_of_bounds(void **state)
{
	struct vmj_request r = plain();

	r.memory_mib = VMJ_MEMORY_MIB_MIN - 1;
	refused(&r, ERANGE, "--vm-memory: 15M is out of bounds: give 16M to 16T");
	r.memory_mib = VMJ_MEMORY_MIB_MAX + 1;
	refused(&r, ERANGE, "--vm-memory");
	r.memory_mib = UINT64_MAX;
	refused(&r, ERANGE, "--vm-memory");
}

static void too_many_vcpus(void **state)
{
	struct vmj_request r = plain();

	r.vcpus = VMJ_VCPUS_MAX + 1;
	refused(&r, ERANGE, "1025 vCPUs");
}

static void a_cpu_that_is_xml(void **state)
{
	struct vmj_request r = plain();

	strcpy(r.cpu, "a</model><x/>");
	refused(&r, EINVAL, "--vm-cpu");
}

static void a_script_that_is_none(void **state)
{
	struct vmj_request r = plain();

	r.script = VMJ_SCRIPT_COUNT_;
	refused(&r, EINVAL, "--vm-script");
	r.script = (enum vmj_script) - 1;
	refused(&r, EINVAL, "--vm-script");
}

static void too_long_a_grace(void **state)
{
	struct vmj_request r = plain();

	r.grace_s = VMJ_GRACE_MAX + 1;
	refused(&r, ERANGE, "--vm-grace");
}

static void priority_out_of_bounds(void **state)
{
	struct vmj_request r = plain();

	r.protected_ = true;
	r.priority = VMJ_PRIORITY_MAX + 1;
	refused(&r, ERANGE, "--vm-ha");
}

static void priority_without_protection(void **state)
{
	struct vmj_request r = plain();

	r.priority = 5;
	refused(&r, EINVAL, "without protection");
}

static void too_many_networks(void **state)
{
	struct vmj_request r = plain();

	r.n_nets = VMJ_NETS_MAX + 1;
	refused(&r, ERANGE, "9 networks");
}

static void none_and_a_network(void **state)
{
	struct vmj_request r = with_net();

	r.no_net = true;
	refused(&r, EINVAL, "exclude");
}

static void a_network_that_is_no_name(void **state)
{
	struct vmj_request r = with_net();

	strcpy(r.nets[1].network, "a,b");
	refused(&r, EINVAL, "--vm-net: \"a,b\" is not a name");
}

static void addresses_no_guest_may_have(void **state)
{
	static const char *const wrong[] = {
		"53:54:00:00:00:01", "50:54:00:00:00:01",
		"ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00",
		"52:54:00:00:00:0",  "52:54:00:00:00:0G",
		"52-54-00-00-00-01", "52:54:00:00:00:AA",
		" 52:54:00:00:00:1", "'\"><&",
		"01:00:5e:00:00:01",
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct vmj_request r = with_net();

		strcpy(r.nets[0].mac, wrong[i]);
		refused(&r, EINVAL, "is not an address a guest may have");
	}
}

static void the_same_address_twice(void **state)
{
	struct vmj_request r = with_net();

	strcpy(r.nets[0].mac, "52:54:00:00:00:01");
	strcpy(r.nets[1].mac, "52:54:00:00:00:01");
	refused(&r, EINVAL, "the same address");
}

static void too_many_forwards(void **state)
{
	struct vmj_request r = with_net();

	r.nets[1].n_forwards = VMJ_FORWARDS_MAX + 1;
	refused(&r, ERANGE, "17 forwards");
}

static void forward_to_nowhere(void **state)
{
	struct vmj_request r = with_net();

	r.nets[1].n_forwards = 1;
	refused(&r, ERANGE, "needs the guest's port");
}

static void forward_from_a_system_port(void **state)
{
	struct vmj_request r = with_net();

	r.nets[1].n_forwards = 1;
	r.nets[1].forwards[0] = (struct vmj_forward){.host_port = 1023, .guest_port = 22};
	refused(&r, ERANGE, "port 1023");
}

static void the_same_host_port_twice(void **state)
{
	struct vmj_request r = with_net();
	struct vmj_forward f = {.host_port = 2222, .guest_port = 22};
	struct vmj_error err;

	r.nets[0].n_forwards = 1;
	r.nets[0].forwards[0] = f;
	r.nets[1].n_forwards = 1;
	r.nets[1].forwards[0] = f;
	refused(&r, EINVAL, "tcp port 2222");
	r.nets[1].forwards[0].udp = true;
	assert_done(vmj_request_check(&r, &err), err);
	r.nets[1].n_forwards = 2;
	r.nets[1].forwards[1] = r.nets[1].forwards[0];
	refused(&r, EINVAL, "udp port 2222");
}

static void too_many_disks(void **state)
{
	struct vmj_request r = plain();

	r.n_disks = VMJ_DISKS_MAX + 1;
	refused(&r, ERANGE, "17 disks");
}

static void disk_out_of_bounds(void **state)
{
	struct vmj_request r = plain();

	r.n_disks = 1;
	refused(&r, ERANGE, "--vm-disk: 0M is out of bounds");
	r.disks[0].size_mib = VMJ_DISK_MIB_MAX + 1;
	refused(&r, ERANGE, "--vm-disk");
}

static struct vmj_request with_disk(struct vmj_disk_request d)
{
	struct vmj_request r = plain();

	r.n_disks = 1;
	r.disks[0] = d;
	return r;
}

static void disks_that_are_two_things(void **state)
{
	static const struct {
		struct vmj_disk_request disk;
		const char *part;
	} wrong[] = {
		{{.size_mib = 5, .name = "data"}, "size only"},
		{{.size_mib = 5, .storage = "fast"}, "size only"},
		{{.size_mib = 5, .readonly = true}, "size only"},
		{{.kind = VMJ_DISK_VOLUME}, "volume: \"\" is not a name"},
		{{.kind = VMJ_DISK_VOLUME, .name = "../../etc/shadow"}, "is not a name"},
		{{.kind = VMJ_DISK_VOLUME, .name = "data", .storage = "a/b"}, "storage"},
		{{.kind = VMJ_DISK_VOLUME, .name = "data", .size_mib = 5},
		 "volume data has a size of its own"},
		{{.kind = VMJ_DISK_VOLUME, .name = "data", .owner = "bob"}, "the user's own"},
		{{.kind = VMJ_DISK_VOLUME, .name = "data", .revision = 3}, "no revisions"},
		{{.kind = VMJ_DISK_IMAGE, .name = "tools"},
		 "can only be read: write image=tools,ro"},
		{{.kind = VMJ_DISK_IMAGE, .name = "", .readonly = true}, "is not a name"},
		{{.kind = VMJ_DISK_IMAGE, .name = "tools", .owner = "../b", .readonly = true},
		 "owner before the /"},
		{{.kind = VMJ_DISK_IMAGE, .name = "tools", .storage = "fast", .readonly = true},
		 "leave fast out"},
		{{.kind = VMJ_DISK_COUNT_}, "give size, volume or image"},
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct vmj_request r = with_disk(wrong[i].disk);

		refused(&r, EINVAL, wrong[i].part);
	}
}

static void a_volume_twice(void **state)
{
	struct vmj_disk_request data = {.kind = VMJ_DISK_VOLUME, .name = "data"};
	struct vmj_request r = with_disk(data);
	struct vmj_error err;

	r.n_disks = 2;
	r.disks[1] = data;
	r.disks[1].readonly = true;
	refused(&r, EINVAL, "volume data is given twice");
	strcpy(r.disks[1].storage, "fast");
	assert_done(vmj_request_check(&r, &err), err);
	strcpy(r.persistent, "data");
	refused(&r, EINVAL, "volume data is the root disk already");
	strcpy(r.persistent_storage, "other");
	assert_done(vmj_request_check(&r, &err), err);
}

static void persistent_without_a_volume(void **state)
{
	struct vmj_request r = plain();

	strcpy(r.persistent_storage, "fast");
	refused(&r, EINVAL, "a storage without a volume");
	strcpy(r.persistent, "a/b");
	refused(&r, EINVAL, "--vm-persistent: \"a/b\" is not a name");
	strcpy(r.persistent, "web");
	strcpy(r.persistent_storage, "..");
	refused(&r, EINVAL, "--vm-persistent, storage");
}

static void owner_that_is_a_path(void **state)
{
	struct vmj_request r = plain();

	strcpy(r.image_owner, "../1000");
	refused(&r, EINVAL, "owner before the /");
}

static void digests_that_are_none(void **state)
{
	static const char *const wrong[] = {
		"0",
		"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde",
		"0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef",
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct vmj_request r = plain();

		strcpy(r.user_data, wrong[i]);
		refused(&r, EINVAL, "64 hex digits");
	}
}

#define KEY "AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"

static void keys_of_lines(void **state)
{
	static const char *const good[] = {
		"ssh-ed25519 " KEY,
		"ssh-rsa\t" KEY " alice@login\n",
		"sk-ssh-ed25519@openssh.com  " KEY "\r\n",
	};
	static const char *const bad[] = {
		"",
		"\n",
		"# a comment",
		"ssh-ed25519",
		"ssh-ed25519 ",
		"ssh-ed25519 AAAA",
		"ssh-ed25519 " KEY "!",
		"ssh-ed25519 " KEY "=",
		"ssh-dss " KEY,
		"ssh-ed25519\n" KEY,
		" ssh-ed25519 " KEY,
		"cert-authority ssh-ed25519 " KEY,
		"command=\"ssh-rsa " KEY "\" ssh-ed25519 " KEY,
		"ssh-ed25519 " KEY, /* is there already */
	};
	char keys[VMJ_SSH_KEYS_MAX] = "";

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(vmj_ssh_keys_add(keys, sizeof(keys), good[i]));
	assert_string_equal(keys, "ssh-ed25519 " KEY "\nssh-rsa " KEY
				  "\nsk-ssh-ed25519@openssh.com " KEY "\n");
	assert_true(vmj_ssh_keys_valid(keys));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (vmj_ssh_keys_add(keys, sizeof(keys), bad[i]))
			fail_msg("taken: %s", bad[i]);
	assert_true(vmj_ssh_keys_valid(keys));
}

static void keys_have_an_end(void **state)
{
	char keys[sizeof("ssh-rsa " KEY "\n")] = "";

	assert_true(vmj_ssh_keys_add(keys, sizeof(keys), "ssh-rsa " KEY));
	assert_false(vmj_ssh_keys_add(keys, sizeof(keys), "ssh-ed25519 " KEY));
	assert_string_equal(keys, "ssh-rsa " KEY "\n");
	assert_false(vmj_ssh_keys_valid("ssh-rsa " KEY));
	assert_false(vmj_ssh_keys_valid("ssh-rsa " KEY " comment\n"));
	assert_false(vmj_ssh_keys_valid("\n"));
}

static void keys_that_are_none(void **state)
{
	struct vmj_request r = plain();

	strcpy(r.ssh_keys, "ssh-rsa x\n");
	refused(&r, EINVAL, "ssh keys");
}

/* What a queued job of an earlier version carries. */
static void disks_of_an_earlier_version_are_read(void **state)
{
	struct vmj_request r;
	struct vmj_error err;

	assert_done(
		vmj_request_parse("{\"image\":\"tiny\",\"disks\":[{\"size\":10240},{\"size\":1}]}",
				  &r, &err),
		err);
	assert_int_equal(r.n_disks, 2);
	assert_int_equal(r.disks[0].kind, VMJ_DISK_SIZE);
	assert_int_equal(r.disks[0].size_mib, 10240);
	assert_int_equal(r.disks[1].size_mib, 1);
}

/* Every random request survives the way through JSON bit for bit. */
static void what_is_formatted_is_parsed(void **state)
{
	uint64_t seed = 20;

	for (int i = 0; i < 5000; i++) {
		struct vmj_request r = random_request(&seed), back;
		vmj_autofree char *text = vmj_request_format(&r);
		vmj_autofree char *again = NULL;
		struct vmj_error err;

		memset(&back, 0xff, sizeof(back));
		assert_true(strlen(text) <= VMJ_REQUEST_JSON_MAX);
		assert_done(vmj_request_parse(text, &back, &err), err);
		again = vmj_request_format(&back);
		assert_string_equal(text, again);
		assert_memory_equal(&r, &back, sizeof(r));
	}
}

/* The longest of all still fits. */
static void the_largest_request_fits(void **state)
{
	struct vmj_request r = plain();
	vmj_autofree char *text = NULL;
	struct vmj_request back;
	struct vmj_error err;

	memset(r.image, 'i', VMJ_NAME_MAX);
	memset(r.cpu, 'c', VMJ_NAME_MAX);
	r.revision = UINT32_MAX;
	r.memory_mib = VMJ_MEMORY_MIB_MAX;
	r.vcpus = VMJ_VCPUS_MAX;
	r.script = VMJ_SCRIPT_GUEST;
	r.grace_s = VMJ_GRACE_MAX;
	r.protected_ = r.watchdog = true;
	r.priority = VMJ_PRIORITY_MAX;
	r.n_nets = VMJ_NETS_MAX;
	for (unsigned int i = 0; i < VMJ_NETS_MAX; i++) {
		memset(r.nets[i].network, 'n', VMJ_NAME_MAX);
		snprintf(r.nets[i].mac, sizeof(r.nets[i].mac), "52:54:00:00:00:%02x", i);
		r.nets[i].n_forwards = VMJ_FORWARDS_MAX;
		for (unsigned int j = 0; j < VMJ_FORWARDS_MAX; j++)
			r.nets[i].forwards[j] = (struct vmj_forward){
				.udp = true,
				.host_port = (uint16_t)(60000 + i * VMJ_FORWARDS_MAX + j),
				.guest_port = 65535};
	}
	r.n_disks = VMJ_DISKS_MAX;
	for (unsigned int i = 0; i < VMJ_DISKS_MAX; i++) {
		r.disks[i] = (struct vmj_disk_request){
			.kind = VMJ_DISK_IMAGE, .revision = UINT32_MAX, .readonly = true};
		memset(r.disks[i].name, 'd', VMJ_NAME_MAX);
		memset(r.disks[i].owner, 'o', VMJ_NAME_MAX);
	}
	memset(r.image_owner, 'o', VMJ_NAME_MAX);
	memset(r.persistent, 'p', VMJ_NAME_MAX);
	memset(r.persistent_storage, 's', VMJ_NAME_MAX);
	memset(r.user_data, 'a', VMJ_DIGEST_MAX - 1);
	for (unsigned int i = 0; i < 100; i++) {
		char line[] = "ssh-rsa " KEY;

		memcpy(line + 20, (char[]){(char)('A' + i / 10), (char)('A' + i % 10)}, 2);
		vmj_ssh_keys_add(r.ssh_keys, sizeof(r.ssh_keys), line);
	}
	assert_true(strlen(r.ssh_keys) > VMJ_SSH_KEYS_MAX - 100);
	text = vmj_request_format(&r);
	assert_true(strlen(text) <= VMJ_REQUEST_JSON_MAX);
	assert_done(vmj_request_parse(text, &back, &err), err);
	assert_memory_equal(&r, &back, sizeof(r));
}

/* What a user may forge; each is refused with this in the sentence. */
static const struct {
	const char *json, *part;
} forged[] = {
	{"", "ends too early"},
	{" ", "ends too early"},
	{"null", "not JSON"},
	{"[]", "not an object"},
	{"\"image\"", "not an object"},
	{"{", "ends too early"},
	{"{}", "request.image: this is missing"},
	{"{\"image\":\"tiny\"", "ends too early"},
	{"{\"image\":\"tiny\"}x", "not JSON"},
	{"{\"image\":\"tiny\"}{}", "not JSON"},
	{"{\"image\":\"tiny\"} ,", "not JSON"},
	{"{'image':'tiny'}", "not JSON"},
	{"{image:\"tiny\"}", "not JSON"},
	{"/* c */{\"image\":\"tiny\"}", "not JSON"},
	{"{\"image\":\"tiny\",}", "not JSON"},
	{"{\"image\":null}", "request.image: this must be string, not null"},
	{"{\"image\":5}", "request.image: this must be string, not int"},
	{"{\"image\":[\"tiny\"]}", "request.image"},
	{"{\"image\":\"../tiny\"}", "not a name"},
	{"{\"image\":\"\"}", "not a name"},
	{"{\"image\":\"a\\u0000b\"}", "control character"},
	{"{\"image\":\"a\\nb\"}", "control character"},
	{"{\"image\":\"a\\u001bb\"}", "control character"},
	{"{\"image\":\"\xff\xfe\"}", "not JSON"},
	{"{\"image\":\"&lt;\"}", "not a name"},
	{"{\"image\":\"$(reboot)\"}", "not a name"},
	{"{\"image\":\"tiny\",\"image\":\"other\"}", "twice"},
	{"{\"image\":\"tiny\",\"disks\":[{\"size\":1,\"size\":2}]}", "twice"},
	{"{\"image\":\"tiny\",\"colour\":1}", "request.colour"},
	{"{\"image\":\"tiny\",\"\\u001b[2J\":1}", "request.\\x1b[2J"},
	{"{\"image\":\"tiny\",\"memory\":NaN}", "finite"},
	{"{\"image\":\"tiny\",\"memory\":Infinity}", "finite"},
	{"{\"image\":\"tiny\",\"memory\":-Infinity}", "finite"},
	{"{\"image\":\"tiny\",\"memory\":1.5}", "whole number, not double"},
	{"{\"image\":\"tiny\",\"memory\":1e3}", "whole number, not double"},
	{"{\"image\":\"tiny\",\"memory\":\"512\"}", "whole number, not string"},
	{"{\"image\":\"tiny\",\"memory\":-1}", "out of bounds"},
	{"{\"image\":\"tiny\",\"memory\":0}", "out of bounds"},
	{"{\"image\":\"tiny\",\"memory\":18446744073709551615}", "out of bounds"},
	{"{\"image\":\"tiny\",\"memory\":99999999999999999999999999}", "request.memory"},
	{"{\"image\":\"tiny\",\"memory\":-99999999999999999999999999}", "request.memory"},
	{"{\"image\":\"tiny\",\"memory\":0512}", "not JSON"},
	{"{\"image\":\"tiny\",\"revision\":4294967296}", "request.revision"},
	{"{\"image\":\"tiny\",\"vcpus\":1025}", "request.vcpus"},
	{"{\"image\":\"tiny\",\"script\":\"default\"}", "request.script"},
	{"{\"image\":\"tiny\",\"script\":\"Host\"}", "request.script"},
	{"{\"image\":\"tiny\",\"cpu\":\"a b\"}", "--vm-cpu"},
	{"{\"image\":\"tiny\",\"grace\":86401}", "request.grace"},
	{"{\"image\":\"tiny\",\"ha\":1}", "request.ha"},
	{"{\"image\":\"tiny\",\"ha\":\"true\"}", "request.ha"},
	{"{\"image\":\"tiny\",\"priority\":5}", "without protection"},
	{"{\"image\":\"tiny\",\"ha\":true,\"priority\":1001}", "request.priority"},
	{"{\"image\":\"tiny\",\"watchdog\":null}", "request.watchdog"},
	{"{\"image\":\"tiny\",\"nets\":{}}", "request.nets: this must be array"},
	{"{\"image\":\"tiny\",\"nets\":[1]}", "request.nets[0]: this must be an object"},
	{"{\"image\":\"tiny\",\"nets\":[null]}", "request.nets[0]"},
	{"{\"image\":\"tiny\",\"nets\":[{}]}", "request.nets[0].network: this is missing"},
	{"{\"image\":\"tiny\",\"nets\":[{\"network\":\"a\"},{\"network\":\"b\",\"x\":1}]}",
	 "request.nets[1].x"},
	{"{\"image\":\"tiny\",\"nets\":[{\"network\":\"a\",\"mac\":\"zz\"}]}", "\"zz\""},
	{"{\"image\":\"tiny\",\"nets\":[{\"network\":\"a\",\"mac\":\"52:54:00:00:00:00:00\"}]}",
	 "request.nets[0].mac: 20 bytes are too long"},
	{"{\"image\":\"tiny\",\"nets\":[{\"network\":\"a\",\"forwards\":[{\"guest\":0}]}]}",
	 "request.nets[0].forwards[0].guest"},
	{"{\"image\":\"tiny\",\"nets\":[{\"network\":\"a\",\"forwards\":[{\"guest\":65536}]}]}",
	 "request.nets[0].forwards[0].guest"},
	{"{\"image\":\"tiny\",\"nets\":[{\"network\":\"a\",\"forwards\":[{\"guest\":1,\"host\":80}]"
	 "}]}",
	 "port 80"},
	{"{\"image\":\"tiny\",\"nets\":[{},{},{},{},{},{},{},{},{}]}", "9 elements are too many"},
	{"{\"image\":\"tiny\",\"no_net\":true,\"nets\":[{\"network\":\"a\"}]}", "exclude"},
	{"{\"image\":\"tiny\",\"disks\":[{\"size\":0}]}", "request.disks[0].size"},
	{"{\"image\":\"tiny\",\"disks\":[{}]}", "request.disks[0].size: this is missing"},
	{"{\"image\":\"tiny\",\"disks\":[{\"size_mib\":5}]}",
	 "request.disks[0].size: this is missing"},
	{"{\"image\":\"tiny\",\"disks\":[{\"volume\":\"a\",\"size\":5}]}", "request.disks[0].size"},
	{"{\"image\":\"tiny\",\"disks\":[{\"volume\":\"a\",\"image\":\"b\"}]}",
	 "request.disks[0].image"},
	{"{\"image\":\"tiny\",\"disks\":[{\"volume\":\"../a\"}]}", "not a name"},
	{"{\"image\":\"tiny\",\"disks\":[{\"volume\":5}]}", "request.disks[0].volume"},
	{"{\"image\":\"tiny\",\"disks\":[{\"volume\":\"a\",\"storage\":\"b/c\"}]}", "not a name"},
	{"{\"image\":\"tiny\",\"disks\":[{\"volume\":\"a\"},{\"volume\":\"a\"}]}", "twice"},
	{"{\"image\":\"tiny\",\"disks\":[{\"image\":\"a\"}]}", "can only be read"},
	{"{\"image\":\"tiny\",\"disks\":[{\"image\":\"a\",\"readonly\":\"yes\"}]}",
	 "request.disks[0].readonly"},
	{"{\"image\":\"tiny\",\"image_owner\":\"../b\"}", "not a name"},
	{"{\"image\":\"tiny\",\"persistent\":\"a\\nb\"}", "control character"},
	{"{\"image\":\"tiny\",\"persistent\":true}", "request.persistent"},
	{"{\"image\":\"tiny\",\"persistent_storage\":\"a\"}", "without a volume"},
	{"{\"image\":\"tiny\",\"user_data\":\"#cloud-config\"}", "64 hex digits"},
	{"{\"image\":\"tiny\",\"ssh_keys\":\"ssh-rsa AAAA\"}", "request.ssh_keys"},
	{"{\"image\":\"tiny\",\"ssh_keys\":[5]}", "request.ssh_keys: element 0"},
	{"{\"image\":\"tiny\",\"ssh_keys\":[\"" KEY "\"]}", "request.ssh_keys: element 0"},
	{"{\"image\":\"tiny\",\"ssh_keys\":[\"ssh-rsa " KEY "\",\"ssh-rsa " KEY "\"]}",
	 "element 1"},
	{"{\"image\":\"tiny\",\"disks\":[[[[[[[[[[]]]]]]]]]]}", "nesting"},
};

static void forged_requests_are_refused(void **state)
{
	for (size_t i = 0; i < sizeof(forged) / sizeof(forged[0]); i++) {
		struct vmj_request r = {.vcpus = 77};
		struct vmj_error err = {0};
		int rc = vmj_request_parse(forged[i].json, &r, &err);

		if (rc >= 0)
			fail_msg("accepted: %s", forged[i].json);
		if (!strstr(err.text, forged[i].part))
			fail_msg("\"%s\" does not contain \"%s\" for %s", err.text, forged[i].part,
				 forged[i].json);
		assert_int_equal(err.fault, VMJ_FAULT_USER);
		assert_int_equal(r.vcpus, 77);
		assert_string_equal(r.image, "");
	}
}

static void a_megabyte_is_refused(void **state)
{
	static const char fill[] = {'a', ' ', '[', '{', '"', '\\', '1'};
	vmj_autofree char *text = malloc((1u << 20) + 1);

	for (size_t i = 0; i < sizeof(fill); i++) {
		struct vmj_request r;
		struct vmj_error err;

		memset(text, fill[i], 1u << 20);
		text[1u << 20] = '\0';
		assert_user_refused(vmj_request_parse(text, &r, &err), err, ERANGE, "16384 bytes");
	}
}

static void deep_nesting_is_refused(void **state)
{
	char text[VMJ_REQUEST_JSON_MAX + 1];
	struct vmj_request r;
	struct vmj_error err;

	memset(text, '[', VMJ_REQUEST_JSON_MAX);
	text[VMJ_REQUEST_JSON_MAX] = '\0';
	assert_user_refused(vmj_request_parse(text, &r, &err), err, EINVAL, "nesting");
	for (size_t i = 0; i + 5 <= VMJ_REQUEST_JSON_MAX; i += 5)
		memcpy(text + i, "{\"a\":", 5);
	assert_user_refused(vmj_request_parse(text, &r, &err), err, EINVAL, "nesting");
}

/* No prefix of a good text is good, and no crash (the sanitizers watch). */
static void truncated_requests_are_refused(void **state)
{
	uint64_t seed = 3;
	struct vmj_request r = random_request(&seed);
	vmj_autofree char *text = vmj_request_format(&r);

	for (size_t len = strlen(text); len-- > 0;) {
		text[len] = '\0';
		assert_true(vmj_request_parse(text, &r, NULL) < 0);
	}
}

/* Whatever comes out of a mutated text has passed the check. */
static void mutated_requests_are_checked(void **state)
{
	uint64_t seed = 4;

	for (int i = 0; i < 20000; i++) {
		struct vmj_request r = random_request(&seed);
		vmj_autofree char *text = vmj_request_format(&r);
		size_t len = strlen(text);

		for (uint64_t n = 1 + below(&seed, 3); n > 0; n--)
			text[below(&seed, len)] = (char)(1 + below(&seed, 255));
		if (vmj_request_parse(text, &r, NULL) == 0)
			assert_int_equal(vmj_request_check(&r, NULL), 0);
	}
}

static void the_summary_reads_well(void **state)
{
	struct vmj_request r = with_net();
	char buf[VMJ_SUMMARY_MAX];

	r.revision = 2;
	r.vcpus = 2;
	r.memory_mib = 512;
	r.script = VMJ_SCRIPT_HOST;
	r.protected_ = true;
	r.priority = 7;
	r.n_disks = 1;
	r.disks[0].size_mib = 10240;
	assert_string_equal(vmj_request_summary(&r, buf, sizeof(buf)),
			    "vm image=tiny@2 vcpus=2 memory=512M script=host ha=7 net=lan,user "
			    "disk=10G");
	strcpy(r.image_owner, "bob");
	r.n_disks = 2;
	r.disks[1] = (struct vmj_disk_request){.kind = VMJ_DISK_VOLUME, .name = "data"};
	strcpy(r.persistent, "web");
	memset(r.user_data, 'a', VMJ_DIGEST_MAX - 1);
	assert_string_equal(vmj_request_summary(&r, buf, sizeof(buf)),
			    "vm image=bob/tiny@2 vcpus=2 memory=512M script=host ha=7 net=lan,user "
			    "disk=10G,volume:data persistent=web user-data");
}

static void the_summary_always_fits(void **state)
{
	uint64_t seed = 5;

	for (int i = 0; i < 1000; i++) {
		struct vmj_request r = random_request(&seed);
		char buf[VMJ_SUMMARY_MAX];

		for (size_t size = 1; size <= sizeof(buf); size += 17) {
			memset(buf, 'x', sizeof(buf));
			vmj_request_summary(&r, buf, size);
			assert_true(strnlen(buf, size) < size);
		}
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_least_is_good),
		cmocka_unit_test(without_image),
		cmocka_unit_test(image_that_is_a_path),
		cmocka_unit_test(image_without_an_end),
		cmocka_unit_test(memory_out_of_bounds),
		cmocka_unit_test(too_many_vcpus),
		cmocka_unit_test(a_cpu_that_is_xml),
		cmocka_unit_test(a_script_that_is_none),
		cmocka_unit_test(too_long_a_grace),
		cmocka_unit_test(priority_out_of_bounds),
		cmocka_unit_test(priority_without_protection),
		cmocka_unit_test(too_many_networks),
		cmocka_unit_test(none_and_a_network),
		cmocka_unit_test(a_network_that_is_no_name),
		cmocka_unit_test(addresses_no_guest_may_have),
		cmocka_unit_test(the_same_address_twice),
		cmocka_unit_test(too_many_forwards),
		cmocka_unit_test(forward_to_nowhere),
		cmocka_unit_test(forward_from_a_system_port),
		cmocka_unit_test(the_same_host_port_twice),
		cmocka_unit_test(too_many_disks),
		cmocka_unit_test(disk_out_of_bounds),
		cmocka_unit_test(disks_that_are_two_things),
		cmocka_unit_test(a_volume_twice),
		cmocka_unit_test(persistent_without_a_volume),
		cmocka_unit_test(owner_that_is_a_path),
		cmocka_unit_test(digests_that_are_none),
		cmocka_unit_test(keys_of_lines),
		cmocka_unit_test(keys_have_an_end),
		cmocka_unit_test(keys_that_are_none),
		cmocka_unit_test(disks_of_an_earlier_version_are_read),
		cmocka_unit_test(what_is_formatted_is_parsed),
		cmocka_unit_test(the_largest_request_fits),
		cmocka_unit_test(forged_requests_are_refused),
		cmocka_unit_test(a_megabyte_is_refused),
		cmocka_unit_test(deep_nesting_is_refused),
		cmocka_unit_test(truncated_requests_are_refused),
		cmocka_unit_test(mutated_requests_are_checked),
		cmocka_unit_test(the_summary_reads_well),
		cmocka_unit_test(the_summary_always_fits),
	};

	return cmocka_run_group_tests_name("request", tests, NULL, NULL);
}
