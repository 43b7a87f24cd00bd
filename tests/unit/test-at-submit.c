/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plugins/spank/keys.h"
#include "plugins/spank/presence.h"
#include "plugins/spank/user-data.h"
#include "vmjob/model/user-data.h"

/* base64(1) and sha256sum(1) of it */
#define HELLO        "#!/bin/sh\necho hello\n"
#define HELLO_TEXT   "IyEvYmluL3NoCmVjaG8gaGVsbG8K"
#define HELLO_DIGEST "bfdeaeb08cffb6a36438bcd12dda25417e3cdd36f1e7e482a2849d539225288b"

static const struct {
	const char *data;
	int code;
	const char *part;
} kinds[] = {
	{"#cloud-config\n{}\n", 0, NULL},
	{"#cloud-config", 0, NULL},
	{"#cloud-config \t\r\nhostname: a\r\n", 0, NULL},
	{"#!/bin/sh\n", 0, NULL},
	{"#! /usr/bin/env python3\nprint(1)\n", 0, NULL},
	{"#!/bin/sh\n# \xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\n", 0, NULL},
	{"", EINVAL, "neither a cloud-config nor a script"},
	{"\n#cloud-config\n", EINVAL, "neither"},
	{" #cloud-config\n", EINVAL, "neither"},
	{"#cloud-configs\n", EINVAL, "neither"},
	{"#cloud-config x\n", EINVAL, "neither"},
	{"#Cloud-Config\n", EINVAL, "neither"},
	{"\xef\xbb\xbf#cloud-config\n", EINVAL, "neither"},
	{"#!\n", EINVAL, "neither"},
	{"#!sh\n", EINVAL, "neither"},
	{"echo hello\n", EINVAL, "neither"},
	{"{\"a\": 1}", EINVAL, "neither"},
	{"#include\nhttp://example.org/\n", EINVAL, "addresses to fetch"},
	{"#include-once\nhttp://example.org/\n", EINVAL, "addresses to fetch"},
	{"#cloud-boothook\n", EINVAL, "boot hook"},
	{"#cloud-config-archive\n", EINVAL, "archive"},
	{"#cloud-config-jsonp\n", EINVAL, "JSON patch"},
	{"#part-handler\n", EINVAL, "part handler"},
	{"#upstart-job\n", EINVAL, "upstart"},
	{"## template: jinja\n#cloud-config\n", EINVAL, "template"},
	{"## Template:jinja\n#cloud-config\n", EINVAL, "template"},
	{"Content-Type: multipart/mixed; boundary=x\n", EINVAL, "MIME"},
	{"MIME-Version: 1.0\n", EINVAL, "MIME"},
	{"From nobody Fri Jan 11 07:00:00 1980\n", EINVAL, "MIME"},
	{"\x1f\x8b\x08", EINVAL, "gzip"},
	{"#!/bin/sh\n\xff\n", EINVAL, "line 2 is not text in UTF-8"},
	{"#!/bin/sh\n\n\x80\n", EINVAL, "line 3"},
	{"#!/bin/sh\n\xc3", EINVAL, "line 2"},             /* cut */
	{"#!/bin/sh\n\xc0\xaf", EINVAL, "line 2"},         /* a slash, the long way */
	{"#!/bin/sh\n\xe0\x80\xaf", EINVAL, "line 2"},     /* the same */
	{"#!/bin/sh\n\xed\xa0\x80", EINVAL, "line 2"},     /* half of a surrogate pair */
	{"#!/bin/sh\n\xf4\x90\x80\x80", EINVAL, "line 2"}, /* beyond U+10FFFF */
	{"#!/bin/sh\n\xe2\x28\xa1", EINVAL, "line 2"},
};

static void kinds_are_told_apart(void **state)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct vmj_error err = {0};
		int rc = vmj_user_data_check("it", kinds[i].data, strlen(kinds[i].data), &err);

		if (rc != -kinds[i].code || (rc < 0 && !strstr(err.text, kinds[i].part)))
			fail_msg("%s: %d \"%s\"", kinds[i].data, rc, err.text);
		if (rc < 0)
			assert_int_equal(err.fault, VMJ_FAULT_USER);
		else
			assert_int_equal(vmj_user_data_is_config(kinds[i].data),
					 kinds[i].data[1] == 'c');
	}
}

static void a_nul_is_refused(void **state)
{
	static const char data[] = "#!/bin/sh\n\0echo\n";
	struct vmj_error err = {0};

	assert_user_refused(vmj_user_data_check("it", data, sizeof(data) - 1, &err), err, EINVAL,
			    "NUL");
}

/* A script of just `len` bytes; the caller's. */
static char *script_of(size_t len)
{
	char *data = malloc(len + 1);

	memset(data, 'x', len);
	memcpy(data, "#!/bin/sh\n", 10);
	data[len] = '\0';
	return data;
}

static void sizes_are_bounded(void **state)
{
	vmj_autofree char *data = script_of(VMJ_USER_DATA_MAX + 1), *text = NULL, *back = NULL;
	char digest[VMJ_DIGEST_MAX];
	struct vmj_error err = {0};
	size_t len;

	assert_user_refused(vmj_user_data_check("it", data, VMJ_USER_DATA_MAX + 1, &err), err,
			    EFBIG, "64 KiB");
	data[VMJ_USER_DATA_MAX] = '\0';
	assert_done(vmj_user_data_check("it", data, VMJ_USER_DATA_MAX, &err), err);
	assert_done(vmj_user_data_encode(data, VMJ_USER_DATA_MAX, &text, digest, &err), err);
	assert_int_equal(strlen(text) + 1, VMJ_USER_DATA_TEXT_MAX);
	assert_true(strlen("SLURM_SPANK_" VMJ_USER_DATA_ENV "=") + strlen(text) < 128u << 10);
	assert_done(vmj_user_data_decode(text, digest, &back, &len, &err), err);
	assert_int_equal(len, VMJ_USER_DATA_MAX);
	assert_string_equal(back, data);
}

static void what_is_encoded_is_decoded(void **state)
{
	vmj_autofree char *text = NULL, *back = NULL;
	char digest[VMJ_DIGEST_MAX];
	struct vmj_error err;
	size_t len = 0;

	assert_done(vmj_user_data_encode(HELLO, strlen(HELLO), &text, digest, &err), err);
	assert_string_equal(text, HELLO_TEXT);
	assert_string_equal(digest, HELLO_DIGEST);
	assert_done(vmj_user_data_decode(text, digest, &back, &len, &err), err);
	assert_int_equal(len, strlen(HELLO));
	assert_string_equal(back, HELLO);
}

/* What users may write into the variable. */
static void forged_data_is_refused(void **state)
{
	static const struct {
		const char *text, *digest, *part;
	} cases[] = {
		{"", HELLO_DIGEST, "digest"},
		{"!", HELLO_DIGEST, "not base64"},
		{"IyEvYmluL3NoCmVjaG8gaGVsbG8", HELLO_DIGEST, "not base64"},
		{"IyEvYmluL3NoCmVjaG8gaGVsbG8K=", HELLO_DIGEST, "not base64"},
		{"IyEvYmluL3NoCmVjaG8gaGVsbG8K\n", HELLO_DIGEST, "not base64"},
		{"IyEv YmluL3NoCmVjaG8gaGVsbG8K", HELLO_DIGEST, "not base64"},
		{"IyEvYmluL3NoCmVjaG8gaGVsbG8L", HELLO_DIGEST, "digest"},
		{HELLO_TEXT, "bfdeaeb0", "digest"},
		{HELLO_TEXT, "", "digest"},
		/* sha256sum(1) of nothing, of "x" */
		{"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "neither"},
		{"eA==", "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
		 "neither"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vmj_error err = {0};
		char *data = NULL;
		size_t len = 7;
		int rc = vmj_user_data_decode(cases[i].text, cases[i].digest, &data, &len, &err);

		if (rc >= 0 || !strstr(err.text, cases[i].part))
			fail_msg("\"%s\": %d \"%s\"", cases[i].text, rc, err.text);
		assert_int_equal(err.fault, VMJ_FAULT_USER);
		assert_null(data);
		assert_int_equal(len, 7);
	}
}

static void a_megabyte_is_refused(void **state)
{
	vmj_autofree char *text = malloc((1u << 20) + 1), *data = NULL;
	struct vmj_error err = {0};
	size_t len;

	memset(text, 'A', 1u << 20);
	text[1u << 20] = '\0';
	assert_user_refused(vmj_user_data_decode(text, HELLO_DIGEST, &data, &len, &err), err, EFBIG,
			    "64 KiB");
}

static void cloud_configs_are_yaml(void **state)
{
	static const struct {
		const char *data, *part; /* NULL: is one */
	} cases[] = {
		{"#cloud-config\n{}\n", NULL},
		{"#cloud-config\nhostname: a\nruncmd:\n- [ls, -l]\n- |\n  a\n  b\n", NULL},
		{"#cloud-config\n---\na: 1\n...\n", NULL},
		{"#cloud-config\na: &x [1]\nb: *x\n", NULL},
		{"#cloud-config\n", "this is empty"},
		{"#cloud-config\n---\n", "a cloud-config is a mapping"},
		{"#cloud-config\n- a\n- b\n", "line 2: a cloud-config is a mapping"},
		{"#cloud-config\nhello\n", "line 2: a cloud-config is a mapping"},
		{"#cloud-config\na: 1\n---\nb: 2\n", "second document"},
		{"#cloud-config\na: [1\n", "is not YAML"},
		{"#cloud-config\na: b: c\n", "line 2 is not YAML: mapping values"},
		{"#cloud-config\na: 1\n\tb: 2\n", "line 3 is not YAML"},
		{"#cloud-config\na: *nothing\nb: \"\n", "is not YAML"},
		{"#cloud-config\na: \x01\n", "is not YAML"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vmj_error err = {0};
		int rc = vmj_cloud_config_check("it", cases[i].data, strlen(cases[i].data), &err);

		if (cases[i].part ? rc >= 0 || !strstr(err.text, cases[i].part) : rc < 0)
			fail_msg("%s: %d \"%s\"", cases[i].data, rc, err.text);
		if (rc < 0)
			assert_int_equal(err.fault, VMJ_FAULT_USER);
	}
}

static void deep_nesting_is_refused(void **state)
{
	char data[1000] = "#cloud-config\na: ";
	struct vmj_error err = {0};

	memset(data + strlen(data), '[', 900);
	assert_user_refused(vmj_cloud_config_check("it", data, strlen(data), &err), err, EINVAL,
			    "nested too deeply");
}

/* A file in the test's directory; the path is the caller's. */
static char *put(void **state, const char *name, const char *text)
{
	char *path = NULL;

	assert_true(asprintf(&path, "%s/%s", (char *)*state, name) > 0);
	assert_int_equal(vmj_file_write_atomic(-1, path, text, strlen(text), 0600, NULL), 0);
	return path;
}

static void files_are_read(void **state)
{
	vmj_autofree char *path = put(state, "a b", HELLO), *data = NULL;
	struct vmj_error err;
	size_t len = 0;

	assert_done(vmj_user_data_read(path, &data, &len, &err), err);
	assert_string_equal(data, HELLO);
	assert_int_equal(len, strlen(HELLO));
}

static void files_that_cannot_be_taken(void **state)
{
	vmj_autofree char *list = put(state, "list", "#cloud-config\n- a\n");
	vmj_autofree char *text = put(state, "text", "hello\n");
	vmj_autofree char *big = script_of(VMJ_USER_DATA_MAX + 1), *long_ = put(state, "long", big);
	const struct {
		const char *path;
		int code;
		const char *part;
	} cases[] = {
		{list, EINVAL, "list: line 2: a cloud-config is a mapping"},
		{text, EINVAL, "text: it is neither"},
		{long_, EFBIG, "long: more than 64 KiB"},
		{"/nonexistent\n", ENOENT, "--vm-user-data: /nonexistent\\x0a cannot be read"},
		{*state, EISDIR, "cannot be read"},
		{"/dev/zero", EFBIG, "64 KiB"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vmj_error err = {0};
		char *data = NULL;
		size_t len;

		assert_user_refused(vmj_user_data_read(cases[i].path, &data, &len, &err), err,
				    cases[i].code, cases[i].part);
		assert_null(data);
	}
}

#define KEY "AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"

static void keys_come_from_home(void **state)
{
	char ssh[256], keys[VMJ_SSH_KEYS_MAX];

	snprintf(ssh, sizeof(ssh), "%s/.ssh", (char *)*state);
	assert_int_equal(mkdir(ssh, 0700), 0);
	vmj_keys_gather(*state, keys);
	assert_string_equal(keys, "");
	free(put(state, ".ssh/authorized_keys",
		 "# mine\nssh-ed25519 " KEY " laptop\n\nfrom=\"10.0.0.1\" ssh-rsa " KEY
		 "\nssh-rsa " KEY "\ngarbage\xff\n"));
	free(put(state, ".ssh/id_rsa.pub", "ssh-rsa " KEY " alice@login\n"));
	free(put(state, ".ssh/id_rsa", "ecdsa-sha2-nistp256 " KEY "\n"));
	vmj_keys_gather(*state, keys);
	assert_string_equal(keys, "ssh-rsa " KEY "\nssh-ed25519 " KEY "\n");
}

/* A pipe in the place of a file would be waited for. */
static void what_is_no_file_has_no_keys(void **state)
{
	char path[256], keys[VMJ_SSH_KEYS_MAX];

	snprintf(path, sizeof(path), "%s/.ssh", (char *)*state);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/.ssh/authorized_keys", (char *)*state);
	assert_int_equal(mkfifo(path, 0600), 0);
	vmj_keys_gather(*state, keys);
	assert_string_equal(keys, "");
	vmj_keys_gather("/nonexistent", keys);
	assert_string_equal(keys, "");
}

/* An image's revision in the test's directory, which is a storage then. */
static void have_image(void **state, const char *owner, const char *name_and_revision)
{
	vmj_autofree char *dir = NULL;

	free(put(state, "vmjob-domain.json", "{}"));
	assert_true(asprintf(&dir, "%s/images/%s/%s", (char *)*state, owner, name_and_revision) >
		    0);
	assert_int_equal(vmj_mkdir_p(dir, 0700, NULL), 0);
}

static void images_that_are_there(void **state)
{
	struct vmj_request r = {.image = "tiny", .revision = 2, .n_disks = 1};
	struct vmj_disk_request *d = &r.disks[0];
	char own[16];
	struct vmj_error err;

	snprintf(own, sizeof(own), "%u", (unsigned int)getuid());
	have_image(state, own, "tiny/2");
	have_image(state, "public", "tools/1");
	have_image(state, "54321", "theirs/7");
	*d = (struct vmj_disk_request){.kind = VMJ_DISK_IMAGE, .name = "tools", .readonly = true};
	assert_done(vmj_image_presence_in(*state, &r, &err), err);
	strcpy(d->owner, "public");
	assert_done(vmj_image_presence_in(*state, &r, &err), err);
	strcpy(d->owner, "54321");
	strcpy(d->name, "theirs");
	d->revision = 7;
	assert_done(vmj_image_presence_in(*state, &r, &err), err);
	strcpy(r.image_owner, "nobody-has-this-name");
	assert_done(vmj_image_presence_in(*state, &r, &err), err);
	assert_done(vmj_image_presence_in("/nonexistent", &r, &err), err);
}

static void images_that_are_not_there(void **state)
{
	struct vmj_request r = {.image = "tiny", .revision = 3}, disk = {.image = "tools"};
	struct vmj_error err = {0};

	have_image(state, "public", "tools/1");
	have_image(state, "public", "tiny/2");
	assert_user_refused(vmj_image_presence_in(*state, &r, &err), err, ENOENT,
			    "--vm-image=tiny@3: there is no such image");
	strcpy(r.image_owner, "root");
	assert_user_refused(vmj_image_presence_in(*state, &r, &err), err, ENOENT,
			    "--vm-image=root/tiny@3: root has no such image");
	strcpy(r.persistent, "web"); /* may be there already */
	assert_done(vmj_image_presence_in(*state, &r, &err), err);
	disk.n_disks = 2;
	disk.disks[0] = (struct vmj_disk_request){.kind = VMJ_DISK_VOLUME, .name = "data"};
	disk.disks[1] = (struct vmj_disk_request){
		.kind = VMJ_DISK_IMAGE, .name = "nothing", .readonly = true};
	assert_user_refused(vmj_image_presence_in(*state, &disk, &err), err, ENOENT,
			    "--vm-disk=image=nothing: there is no such image");
}

#define IN_DIR(f) cmocka_unit_test_setup_teardown(f, unit_make_dir, unit_remove_dir)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(kinds_are_told_apart),
		cmocka_unit_test(a_nul_is_refused),
		cmocka_unit_test(sizes_are_bounded),
		cmocka_unit_test(what_is_encoded_is_decoded),
		cmocka_unit_test(forged_data_is_refused),
		cmocka_unit_test(a_megabyte_is_refused),
		cmocka_unit_test(cloud_configs_are_yaml),
		cmocka_unit_test(deep_nesting_is_refused),
		IN_DIR(files_are_read),
		IN_DIR(files_that_cannot_be_taken),
		IN_DIR(keys_come_from_home),
		IN_DIR(what_is_no_file_has_no_keys),
		IN_DIR(images_that_are_there),
		IN_DIR(images_that_are_not_there),
	};

	return cmocka_run_group_tests_name("at-submit", tests, NULL, NULL);
}
