/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <json-c/json.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmjob/base/spawn.h"
#include "vmjob/host/fat.h"
#include "vmjob/host/seed.h"

static struct vmj_net_config networks[] = {
	{.name = "lan", .kind = VMJ_NET_BRIDGE, .prefix = 16},
	{.name = "nat", .kind = VMJ_NET_NAT, .prefix = 24},
	{.name = "user", .kind = VMJ_NET_USER},
};
static struct vmj_config config = {.networks = networks, .n_networks = 3};

static struct vmj_guest guest(void)
{
	return (struct vmj_guest){
		.job = 42,
		.restart = 3,
		.uid = geteuid() == 0 ? 54321 : geteuid(),
		.gid = geteuid() == 0 ? 54322 : getegid(),
		.n_ports = 3,
		.ports = {{.network = "lan", .mac = "52:54:00:00:00:01", .address = "10.77.0.9/16"},
			  {.network = "nat", .mac = "52:54:00:00:00:02", .address = "10.9.0.2/24"},
			  {.network = "user", .mac = "52:54:00:00:00:03"}},
	};
}

static char *output_of(const char *const *argv)
{
	struct vmj_error err = {.code = 0};
	char *text = NULL;
	struct vmj_spawn s = {.argv = argv, .ret_output = &text};

	assert_done(vmj_spawn(&s, &err), err);
	return text;
}

static char *content(const char *file, const char *name)
{
	return output_of((const char *const[]){"mtype", "-i", file, name, NULL});
}

/* A path of keys and indexes: "ethernets/net0/addresses/0". */
static const char *value_at(struct json_object *o, const char *path)
{
	char *copy = strdup(path), *rest = copy, *key;

	while ((key = strsep(&rest, "/"))) {
		if (json_object_is_type(o, json_type_array))
			o = json_object_array_get_idx(o, (size_t)atoi(key));
		else if (!json_object_object_get_ex(o, key, &o))
			o = NULL;
	}
	free(copy);
	return o ? json_object_get_string(o) : "";
}

static void write_seed_of(void **state, const struct vmj_guest *g, const char *user_data,
			  char **ret_file)
{
	struct vmj_error err = {.code = 0};

	free(*ret_file);
	assert_true(asprintf(ret_file, "%s/seed.img", (char *)*state) > 0);
	inet_pton(AF_INET, "10.9.0.1", &networks[1].gateway);
	assert_done(vmj_seed_write(&config, g, user_data, *ret_file, &err), err);
}

static void write_seed(void **state, char **ret_file)
{
	struct vmj_guest g = guest();

	write_seed_of(state, &g, NULL, ret_file);
}

/* Lines of a key and a value in JSON, as an object (caller's). */
static struct json_object *object_of(char *lines)
{
	struct json_object *o = json_object_new_object();
	char *save = NULL;

	for (char *l = strtok_r(lines, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		char *value = strstr(l, ": ");
		struct json_object *parsed = value ? json_tokener_parse(value + 2) : NULL;

		if (!parsed)
			fail_msg("no key and value: %s", l);
		*value = '\0';
		json_object_object_add(o, l, parsed);
	}
	return o;
}

/* One of the seed's files of this guest, behind its head. */
static struct json_object *part(void **state, const struct vmj_guest *g, const char *name,
				const char *head)
{
	vmj_autofree char *file = NULL, *text = NULL;

	write_seed_of(state, g, NULL, &file);
	text = content(file, name);
	assert_memory_equal(text, head, strlen(head));
	return object_of(text + strlen(head));
}

static void test_label_and_owner(void **state)
{
	vmj_autofree char *file = NULL, *label = NULL;
	struct stat st;

	write_seed(state, &file);
	write_seed(state, &file); /* replaces */
	label = output_of((const char *const[]){"mlabel", "-s", "-i", file, "::", NULL});
	assert_non_null(strstr(label, "CIDATA"));
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_uid, guest().uid);
	assert_int_equal(st.st_gid, guest().gid);
}

static void test_meta_data(void **state)
{
	vmj_autofree char *file = NULL, *text = NULL, *user = NULL;
	struct json_object *o;

	write_seed(state, &file);
	text = content(file, "::meta-data");
	o = object_of(text);
	assert_string_equal(value_at(o, "instance-id"), "vmjob-42-3");
	assert_string_equal(value_at(o, "local-hostname"), "vmjob-42");
	json_object_put(o);
	user = content(file, "::user-data");
	assert_memory_equal(user, "#cloud-config\n", 14);
}

static void assert_meta(void **state, const struct vmj_guest *g, const char *id, const char *name)
{
	struct json_object *o = part(state, g, "::meta-data", "");

	assert_string_equal(value_at(o, "instance-id"), id);
	assert_string_equal(value_at(o, "local-hostname"), name);
	json_object_put(o);
}

static void test_an_instance_is_a_root_disk(void **state)
{
	struct vmj_guest g = guest();
	char id[128];

	g.request.protected_ = true;
	assert_meta(state, &g, "vmjob-42", "vmjob-42");
	strcpy(g.request.persistent_storage, "fast");
	strcpy(g.request.persistent, "Web_1.old-");
	snprintf(id, sizeof(id), "vmjob-%u-fast-Web_1.old-", (unsigned int)g.uid);
	assert_meta(state, &g, id, "web-1-old");
	memset(g.request.persistent, 'X', VMJ_NAME_MAX);
	snprintf(id, sizeof(id), "vmjob-%u-fast-%s", (unsigned int)g.uid, g.request.persistent);
	assert_meta(state, &g, id,
		    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
}

static struct vmj_guest guest_of(const char *user)
{
	struct vmj_guest g = guest();

	strcpy(g.user, user);
	strcpy(g.request.ssh_keys, "ssh-rsa AAAA/first\nssh-ed25519 AAAAsecond\n");
	return g;
}

static void test_the_submitter_may_log_in(void **state)
{
	struct vmj_guest g = guest_of("alice");
	struct json_object *o = part(state, &g, "::vendor-data", "#cloud-config\n");

	assert_string_equal(value_at(o, "users/0"), "default");
	assert_string_equal(value_at(o, "users/1/name"), "alice");
	assert_string_equal(value_at(o, "users/1/ssh_authorized_keys/0"), "ssh-rsa AAAA/first");
	assert_string_equal(value_at(o, "users/1/ssh_authorized_keys/1"), "ssh-ed25519 AAAAsecond");
	assert_string_equal(value_at(o, "users/1/sudo"), "ALL=(ALL) NOPASSWD:ALL");
	assert_string_equal(value_at(o, "users/1/lock_passwd"), "true");
	assert_string_equal(value_at(o, "users/1/uid"), "");
	assert_string_equal(value_at(o, "disable_root"), "");
	assert_string_equal(value_at(o, "updates/network/when/0"), "boot");
	json_object_put(o);
	o = part(state, &g, "::meta-data", "");
	assert_string_equal(value_at(o, "public-keys/1"), "ssh-ed25519 AAAAsecond");
	json_object_put(o);
}

static void test_users_that_no_guest_can_have(void **state)
{
	static const char *const users[] = {"root",
					    "",
					    "alice@example.org",
					    "a b",
					    "-a",
					    "0day",
					    "an-extremely-long-name-of-33-chars"};

	for (size_t i = 0; i < sizeof(users) / sizeof(users[0]); i++) {
		struct vmj_guest g = guest_of(users[i]);
		struct json_object *o = part(state, &g, "::vendor-data", "#cloud-config\n");

		assert_string_equal(value_at(o, "users/0"), "default");
		assert_string_equal(value_at(o, "users/1"), "");
		assert_string_equal(value_at(o, "disable_root"), i ? "" : "false");
		json_object_put(o);
	}
}

static void test_user_data_is_kept_to_the_byte(void **state)
{
	vmj_autofree char *file = NULL, *text = NULL;
	vmj_autofree char *data = malloc((64u << 10) + 1);
	struct vmj_guest g = guest();

	memset(data, 'x', 64u << 10);
	memcpy(data, "#!/bin/sh\n\xc3\xa4", 12);
	data[64u << 10] = '\0';
	write_seed_of(state, &g, data, &file);
	text = content(file, "::user-data");
	assert_string_equal(text, data);
}

static void test_network_config(void **state)
{
	vmj_autofree char *file = NULL, *text = NULL;
	struct json_object *o;

	write_seed(state, &file);
	text = content(file, "::network-config");
	assert_non_null(strstr(text, "10.77.0.9/16")); /* not "\\/" */
	o = json_tokener_parse(text);
	assert_string_equal(value_at(o, "version"), "2");
	assert_string_equal(value_at(o, "ethernets/net0/match/macaddress"), "52:54:00:00:00:01");
	assert_string_equal(value_at(o, "ethernets/net0/set-name"), "net0");
	assert_string_equal(value_at(o, "ethernets/net0/addresses/0"), "10.77.0.9/16");
	assert_string_equal(value_at(o, "ethernets/net0/routes/0/via"), "");
	assert_string_equal(value_at(o, "ethernets/net1/routes/0/via"), "10.9.0.1");
	assert_string_equal(value_at(o, "ethernets/net1/nameservers/addresses/0"), "10.9.0.1");
	assert_string_equal(value_at(o, "ethernets/net2/dhcp4"), "true");
	assert_string_equal(value_at(o, "ethernets/net2/addresses"), "");
	json_object_put(o);
}

static void test_cannot_be_written(void **state)
{
	struct vmj_error err = {.code = 0};
	struct vmj_guest g = guest();

	assert_true(vmj_seed_write(&config, &g, NULL, "/proc/none/seed.img", &err) < 0);
	assert_int_equal(err.fault, VMJ_FAULT_HOST);
	assert_non_null(strstr(err.text, "seed"));
}

static void test_filesystem_is_sound(void **state)
{
	vmj_autofree char *file = NULL, *list = NULL;
	struct stat st;

	write_seed(state, &file);
	if (access("/usr/sbin/fsck.vfat", X_OK) < 0)
		skip();
	free(output_of((const char *const[]){"fsck.vfat", "-n", file, NULL}));
	list = output_of((const char *const[]){"mdir", "-b", "-i", file, "::", NULL});
	assert_string_equal(list,
			    "::/meta-data\n::/network-config\n::/user-data\n::/vendor-data\n");
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_size, VMJ_FAT_SIZE);
}

/* Sizes around a cluster's, an empty file, and all that fits. */
static void test_files_of_all_sizes(void **state)
{
	static const size_t sizes[] = {0, 1, 511, 512, 513, 100000, 800000};
	struct vmj_fat_file files[7];
	vmj_autofree char *file = NULL;
	vmj_autofree unsigned char *image = NULL;
	struct vmj_error err = {.code = 0};
	char names[7][27];
	uint64_t seed = 3;
	size_t len;

	for (size_t i = 0; i < 7; i++) {
		char *data = malloc(sizes[i] + 1);

		for (size_t k = 0; k < sizes[i]; k++)
			data[k] = (char)unit_random(&seed);
		snprintf(names[i], sizeof(names[i]), "a-file-of-%016zu", sizes[i]);
		files[i] = (struct vmj_fat_file){.name = names[i], .data = data, .len = sizes[i]};
	}
	assert_true(asprintf(&file, "%s/fat.img", (char *)*state) > 0);
	assert_done(vmj_fat_make("LABEL", files, 7, &image, &len, &err), err);
	assert_int_equal(vmj_file_write_atomic(-1, file, (char *)image, len, 0600, NULL), 0);
	assert_int_equal(truncate(file, VMJ_FAT_SIZE), 0);
	if (access("/usr/sbin/fsck.vfat", X_OK) == 0)
		free(output_of((const char *const[]){"fsck.vfat", "-n", file, NULL}));
	for (size_t i = 0; i < 7; i++) {
		vmj_autofree char *path = NULL, *copy = NULL, *back = NULL;
		size_t back_len;

		assert_true(asprintf(&path, "::%s", names[i]) > 0);
		assert_true(asprintf(&copy, "%s/copy", (char *)*state) > 0);
		free(output_of((const char *const[]){"mcopy", "-n", "-i", file, path, copy, NULL}));
		assert_int_equal(vmj_file_read(-1, copy, VMJ_FAT_SIZE, &back, &back_len, NULL), 0);
		assert_int_equal(back_len, sizes[i]);
		assert_memory_equal(back, files[i].data, sizes[i]);
		free((char *)files[i].data);
	}
}

static void test_does_not_fit(void **state)
{
	struct vmj_fat_file file = {.name = "big", .data = "", .len = VMJ_FAT_SIZE};
	struct vmj_error err = {.code = 0};
	unsigned char *image = NULL;
	size_t len;

	assert_refused(vmj_fat_make("L", &file, 1, &image, &len, &err), err, ENOSPC, "do not fit");
	file.len = SIZE_MAX;
	assert_refused(vmj_fat_make("L", &file, 1, &image, &len, &err), err, ENOSPC, "do not fit");
	file = (struct vmj_fat_file){.name = "a-name-of-more-than-26-chars", .data = ""};
	assert_refused(vmj_fat_make("L", &file, 1, &image, &len, &err), err, ENAMETOOLONG, "long");
	assert_null(image);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, unit_make_dir, unit_remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_label_and_owner),
		TEST(test_meta_data),
		TEST(test_an_instance_is_a_root_disk),
		TEST(test_the_submitter_may_log_in),
		TEST(test_users_that_no_guest_can_have),
		TEST(test_user_data_is_kept_to_the_byte),
		TEST(test_network_config),
		TEST(test_cannot_be_written),
		TEST(test_filesystem_is_sound),
		TEST(test_files_of_all_sizes),
		TEST(test_does_not_fit),
	};

	if (access("/usr/bin/mcopy", X_OK) < 0) {
		printf("1..0 # SKIP mtools is missing\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
