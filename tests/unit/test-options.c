/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "random-request.h"

#include <errno.h>

static const struct vmj_option *option(const char *name)
{
	for (const struct vmj_option *o = vmj_options; o->name; o++)
		if (strcmp(o->name, name) == 0)
			return o;
	fail_msg("there is no option %s", name);
	return NULL;
}

static void the_table_is_whole(void **state)
{
	size_t n = 0;

	for (const struct vmj_option *o = vmj_options; o->name; o++, n++) {
		assert_int_equal(strncmp(o->name, "vm-", 3), 0);
		assert_int_equal(strncmp(o->env, "VMJOB_", 6), 0);
		assert_string_not_equal(o->env, VMJ_REQUEST_ENV);
		assert_int_equal(o->file, strcmp(o->name, "vm-user-data") == 0);
		assert_non_null(o->help);
		assert_non_null(o->set);
		assert_int_equal(o->optional, strcmp(o->name, "vm-ha") == 0);
		for (const struct vmj_option *p = vmj_options; p < o; p++) {
			assert_string_not_equal(p->name, o->name);
			assert_string_not_equal(p->env, o->env);
		}
	}
	assert_true(n >= 11);
}

static void good_values(void **state)
{
	struct vmj_request r = {0};
	struct vmj_error err;

	assert_done(vmj_request_set_image(&r, "debian12@3", &err), err);
	assert_done(vmj_request_set_memory(&r, "8G", &err), err);
	assert_done(vmj_request_set_script(&r, "none", &err), err);
	assert_done(vmj_request_set_cpu(&r, "EPYC-Rome", &err), err);
	assert_done(vmj_request_set_grace(&r, "1:30", &err), err);
	assert_done(vmj_request_set_ha(&r, "500", &err), err);
	assert_done(vmj_request_set_watchdog(&r, NULL, &err), err);
	assert_done(vmj_request_add_net(&r, "lan,mac=52:54:00:AA:bb:01", &err), err);
	assert_done(vmj_request_add_net(&r, "user,tcp=2222:22,udp=53,tcp=80", &err), err);
	assert_done(vmj_request_add_disk(&r, "size=10G", &err), err);
	assert_done(vmj_request_check(&r, &err), err);
	assert_string_equal(r.image, "debian12");
	assert_int_equal(r.revision, 3);
	assert_int_equal(r.memory_mib, 8192);
	assert_int_equal(r.script, VMJ_SCRIPT_NONE);
	assert_string_equal(r.cpu, "EPYC-Rome");
	assert_int_equal(r.grace_s, 90);
	assert_true(r.protected_);
	assert_int_equal(r.priority, 500);
	assert_true(r.watchdog);
	assert_int_equal(r.n_nets, 2);
	assert_string_equal(r.nets[0].mac, "52:54:00:aa:bb:01");
	assert_int_equal(r.nets[1].n_forwards, 3);
	assert_int_equal(r.nets[1].forwards[0].host_port, 2222);
	assert_int_equal(r.nets[1].forwards[0].guest_port, 22);
	assert_true(r.nets[1].forwards[1].udp);
	assert_int_equal(r.nets[1].forwards[2].host_port, 0);
	assert_int_equal(r.disks[0].size_mib, 10240);
}

static void names_of_volumes_and_images(void **state)
{
	struct vmj_request r = {0};
	struct vmj_error err;

	assert_done(vmj_request_set_image(&r, "bob/debian12@3", &err), err);
	assert_done(vmj_request_set_persistent(&r, "fast:web", &err), err);
	assert_done(vmj_request_add_disk(&r, "volume=data", &err), err);
	assert_done(vmj_request_add_disk(&r, "volume=fast:data,ro", &err), err);
	assert_done(vmj_request_add_disk(&r, "image=bob/tools@2,ro", &err), err);
	assert_done(vmj_request_add_disk(&r, "image=tools,ro", &err), err);
	assert_done(vmj_request_check(&r, &err), err);
	assert_string_equal(r.image_owner, "bob");
	assert_string_equal(r.image, "debian12");
	assert_int_equal(r.revision, 3);
	assert_string_equal(r.persistent_storage, "fast");
	assert_string_equal(r.persistent, "web");
	assert_int_equal(r.n_disks, 4);
	assert_int_equal(r.disks[0].kind, VMJ_DISK_VOLUME);
	assert_string_equal(r.disks[0].storage, "");
	assert_string_equal(r.disks[0].name, "data");
	assert_false(r.disks[0].readonly);
	assert_string_equal(r.disks[1].storage, "fast");
	assert_true(r.disks[1].readonly);
	assert_int_equal(r.disks[2].kind, VMJ_DISK_IMAGE);
	assert_string_equal(r.disks[2].owner, "bob");
	assert_string_equal(r.disks[2].name, "tools");
	assert_int_equal(r.disks[2].revision, 2);
	assert_true(r.disks[2].readonly);
	assert_int_equal(r.disks[3].revision, 0);
	assert_done(vmj_request_set_image(&r, "debian12", &err), err);
	assert_string_equal(r.image_owner, "");
	assert_done(vmj_request_set_persistent(&r, "web", &err), err);
	assert_string_equal(r.persistent_storage, "");
}

static void optional_arguments(void **state)
{
	struct vmj_request r = {0};

	assert_int_equal(vmj_request_set_ha(&r, NULL, NULL), 0);
	assert_true(r.protected_ && r.priority == 0);
	r.protected_ = false;
	assert_int_equal(vmj_request_set_ha(&r, "", NULL), 0);
	assert_true(r.protected_);
	assert_int_equal(vmj_request_set_watchdog(&r, "yes", NULL), 0);
	assert_true(r.watchdog);
	assert_int_equal(vmj_request_set_watchdog(&r, "no", NULL), 0);
	assert_false(r.watchdog);
}

static void an_image_without_revision_is_the_latest(void **state)
{
	struct vmj_request r = {.revision = 7};

	assert_int_equal(vmj_request_set_image(&r, "tiny", NULL), 0);
	assert_int_equal(r.revision, 0);
}

/* Each is refused with this in the sentence, and leaves the request as it was. */
static const struct {
	const char *name, *text, *part;
	int code;
} bad[] = {
	{"vm-image", "", "--vm-image", EINVAL},
	{"vm-image", "@1", "--vm-image", EINVAL},
	{"vm-image", "tiny@", "revision", EINVAL},
	{"vm-image", "tiny@0", "revision", ERANGE},
	{"vm-image", "tiny@-1", "revision", EINVAL},
	{"vm-image", "tiny@latest", "revision", EINVAL},
	{"vm-image", "tiny@1@2", "revision", EINVAL},
	{"vm-image", "tiny@4294967296", "revision", ERANGE},
	{"vm-image", "../../etc/shadow", "--vm-image", EINVAL},
	{"vm-image", "/srv/vmjob/images/tiny", "--vm-image", EINVAL},
	{"vm-image", "tiny disk", "--vm-image", EINVAL},
	{"vm-image", "tiny\n#SBATCH --uid=0", "--vm-image", EINVAL},
	{"vm-image", "<disk type='file'/>", "--vm-image", EINVAL},
	{"vm-image", "$(id)", "--vm-image", EINVAL},
	{"vm-image", "t\xc3\xadny", "--vm-image", EINVAL},
	{"vm-memory", "", "--vm-memory", EINVAL},
	{"vm-memory", "lots", "not a size", EINVAL},
	{"vm-memory", "-1G", "not a size", EINVAL},
	{"vm-memory", "1.5G", "not a size", EINVAL},
	{"vm-memory", "8GB", "not a size", EINVAL},
	{"vm-memory", "0", "give 16M to 16T", ERANGE},
	{"vm-memory", "15M", "give 16M to 16T", ERANGE},
	{"vm-memory", "17T", "give 16M to 16T", ERANGE},
	{"vm-memory", "99999999999999999999T", "give 16M to 16T", ERANGE},
	{"vm-script", "", "guest, host and none", EINVAL},
	{"vm-script", "Host", "guest, host and none", EINVAL},
	{"vm-script", "default", "guest, host and none", EINVAL},
	{"vm-script", "host;id", "guest, host and none", EINVAL},
	{"vm-cpu", "", "--vm-cpu", EINVAL},
	{"vm-cpu", "host,+vmx", "--vm-cpu", EINVAL},
	{"vm-cpu", "<model/>", "--vm-cpu", EINVAL},
	{"vm-grace", "", "not a time", EINVAL},
	{"vm-grace", "soon", "not a time", EINVAL},
	{"vm-grace", "-1", "not a time", EINVAL},
	{"vm-grace", "0", "at least 1s", ERANGE},
	{"vm-grace", "0s", "at least 1s", ERANGE},
	{"vm-grace", "25h", "at most 86400 seconds", ERANGE},
	{"vm-grace", "99999999999999999999", "at most 86400 seconds", ERANGE},
	{"vm-ha", "0", "from 1 to 1000", ERANGE},
	{"vm-ha", "1001", "from 1 to 1000", ERANGE},
	{"vm-ha", "high", "from 1 to 1000", EINVAL},
	{"vm-watchdog", "maybe", "neither yes nor no", EINVAL},
	{"vm-net", "", "not a name", EINVAL},
	{"vm-net", ",", "not a name", EINVAL},
	{"vm-net", "a/b", "not a name", EINVAL},
	{"vm-net", "lan,", "is unknown", EINVAL},
	{"vm-net", "lan,ip=10.0.0.1", "is unknown", EINVAL},
	{"vm-net", "lan,mac=", "is not an address", EINVAL},
	{"vm-net", "lan,mac=01:00:5e:00:00:01", "is not an address", EINVAL},
	{"vm-net", "lan,mac=52:54:00:00:00:01'/>", "is not an address", EINVAL},
	{"vm-net", "user,tcp=", "not a number", EINVAL},
	{"vm-net", "user,tcp=0", "from 1 to 65535", ERANGE},
	{"vm-net", "user,tcp=65536", "from 1 to 65535", ERANGE},
	{"vm-net", "user,tcp=:22", "not a number", EINVAL},
	{"vm-net", "user,tcp=22:", "forwarded port", ERANGE},
	{"vm-net", "user,tcp=2222:", "not a number", EINVAL},
	{"vm-net", "user,tcp=80:80", "from 1024 to 65535", ERANGE},
	{"vm-net", "user,tcp=1:2:3", "forwarded port", ERANGE},
	{"vm-net", "user,tcp=2222:22:3", "not a number", EINVAL},
	{"vm-net", "user,tcp=127.0.0.1:22", "not a number", EINVAL},
	{"vm-net", "none,tcp=22", "none", EINVAL},
	{"vm-image", "/tiny", "owner before the /", EINVAL},
	{"vm-image", "bob/", "--vm-image", EINVAL},
	{"vm-image", "../tiny", "owner before the /", EINVAL},
	{"vm-image", "a/b/tiny", "--vm-image", EINVAL},
	{"vm-image", "bob/tiny@0", "revision", ERANGE},
	{"vm-persistent", "", "--vm-persistent", EINVAL},
	{"vm-persistent", ":", "storage before the :", EINVAL},
	{"vm-persistent", ":web", "storage before the :", EINVAL},
	{"vm-persistent", "fast:", "--vm-persistent", EINVAL},
	{"vm-persistent", "a:b:c", "--vm-persistent", EINVAL},
	{"vm-persistent", "../web", "--vm-persistent", EINVAL},
	{"vm-persistent", "web,ro", "--vm-persistent", EINVAL},
	{"vm-persistent", "web@2", "--vm-persistent", EINVAL},
	{"vm-persistent", "web\nx", "--vm-persistent", EINVAL},
	{"vm-user-data", "", "which file", EINVAL},
	{"vm-disk", "volume=", "--vm-disk, volume", EINVAL},
	{"vm-disk", "volume=../data", "--vm-disk, volume", EINVAL},
	{"vm-disk", "volume=/etc/shadow", "--vm-disk, volume", EINVAL},
	{"vm-disk", "volume=fast:", "--vm-disk, volume", EINVAL},
	{"vm-disk", "volume=../x:data", "storage before the :", EINVAL},
	{"vm-disk", "volume=data,rw", "behind the comma is unknown: give ro", EINVAL},
	{"vm-disk", "volume=data,", "behind the comma is unknown: give ro", EINVAL},
	{"vm-disk", "volume=data,size=5G", "has a size of its own", EINVAL},
	{"vm-disk", "volume=data,volume=more", "behind the comma", EINVAL},
	{"vm-disk", "volume=da\nta", "--vm-disk, volume", EINVAL},
	{"vm-disk", "image=tools", "can only be read", EINVAL},
	{"vm-disk", "image=tools@x,ro", "revision", EINVAL},
	{"vm-disk", "image=../tools,ro", "owner before the /", EINVAL},
	{"vm-disk", "image=,ro", "--vm-disk, image", EINVAL},
	{"vm-disk", "size=1G,ro", "a fresh disk has its size only", EINVAL},
	{"vm-disk", "size=1G,", "a fresh disk has its size only", EINVAL},
	{"vm-disk", "ro", "give size=SIZE", EINVAL},
	{"vm-disk", "", "give size=SIZE", EINVAL},
	{"vm-disk", "10G", "give size=SIZE", EINVAL},
	{"vm-disk", "path=/dev/sda", "give size=SIZE", EINVAL},
	{"vm-disk", "size=", "not a size", EINVAL},
	{"vm-disk", "size=0", "out of bounds", ERANGE},
	{"vm-disk", "size=-1", "not a size", EINVAL},
	{"vm-disk", "size=65T", "out of bounds", ERANGE},
	{"vm-disk", "size=1G,backing=/etc/shadow", "behind the comma", EINVAL},
};

static void nonsense_is_refused(void **state)
{
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct vmj_request r = {.image = "same"}, before;
		struct vmj_error err = {0};
		int rc;

		before = r;
		rc = option(bad[i].name)->set(&r, bad[i].text, &err);
		if (rc != -bad[i].code || !strstr(err.text, bad[i].part))
			fail_msg("--%s=%s: %d \"%s\" does not contain \"%s\"", bad[i].name,
				 bad[i].text, rc, err.text, bad[i].part);
		assert_int_equal(err.fault, VMJ_FAULT_USER);
		assert_memory_equal(&r, &before, sizeof(r));
	}
}

static void every_option_refuses_a_megabyte(void **state)
{
	vmj_autofree char *text = malloc((1u << 20) + 1);
	static const char fill[] = "a1,=:;@-\x01\xff\"";

	for (const char *f = fill; *f; f++) {
		memset(text, *f, 1u << 20);
		text[1u << 20] = '\0';
		for (const struct vmj_option *o = vmj_options; o->name; o++) {
			struct vmj_request r = {0}, before = {0};
			struct vmj_error err = {0};

			assert_true(o->set(&r, text, &err) < 0);
			assert_int_equal(err.fault, VMJ_FAULT_USER);
			assert_true(strlen(err.text) > 10);
			assert_memory_equal(&r, &before, sizeof(r));
		}
	}
}

/* Whatever setters accept in a row passes the check or is refused by it in a sentence; single
 * fields they set are always good. */
static void random_texts_never_break_the_request(void **state)
{
	static const char alphabet[] = "0123456789aglnoru.,:;=@-_ \"'<>&%\\/\n\x7f\xc3MGsizetcpud";
	uint64_t seed = 6;

	for (int i = 0; i < 100000; i++) {
		struct vmj_request r = {.image = "tiny"};
		char text[40];
		size_t len = below(&seed, sizeof(text));
		const struct vmj_option *o = &vmj_options[below(&seed, 11)];

		for (size_t k = 0; k < len; k++)
			text[k] = alphabet[below(&seed, sizeof(alphabet) - 1)];
		text[len] = '\0';
		if (o->set(&r, text, NULL) == 0)
			assert_int_equal(vmj_request_check(&r, NULL), 0);
	}
}

static void repeated_options_have_an_end(void **state)
{
	struct vmj_request r = {.image = "tiny"};
	struct vmj_error err;
	char text[512] = "user";

	for (int i = 0; i < VMJ_NETS_MAX; i++)
		assert_done(vmj_request_add_net(&r, "lan", &err), err);
	assert_user_refused(vmj_request_add_net(&r, "lan", &err), err, ERANGE, "at most 8");
	for (int i = 0; i < VMJ_DISKS_MAX; i++)
		assert_done(vmj_request_add_disk(&r, "size=1", &err), err);
	assert_user_refused(vmj_request_add_disk(&r, "size=1", &err), err, ERANGE, "at most 16");
	assert_done(vmj_request_check(&r, &err), err);
	r = (struct vmj_request){0};
	for (int i = 0; i < VMJ_FORWARDS_MAX + 1; i++)
		strcat(text, ",tcp=22");
	assert_user_refused(vmj_request_add_net(&r, text, &err), err, ERANGE, "at most 16");
	assert_int_equal(r.n_nets, 0);
}

static void none_excludes_all_others(void **state)
{
	struct vmj_request r = {0};
	struct vmj_error err;

	assert_done(vmj_request_add_net(&r, "none", &err), err);
	assert_done(vmj_request_add_net(&r, "none", &err), err);
	assert_true(r.no_net);
	assert_user_refused(vmj_request_add_net(&r, "lan", &err), err, EINVAL, "excludes");
	r = (struct vmj_request){0};
	assert_done(vmj_request_add_net(&r, "lan", &err), err);
	assert_user_refused(vmj_request_add_net(&r, "none", &err), err, EINVAL, "excludes");
}

static void the_environment_repeats_by_semicolons(void **state)
{
	struct vmj_request r = {0};
	struct vmj_error err;

	assert_done(vmj_option_set_env(option("vm-net"), &r, "lan;user,tcp=22,tcp=80", &err), err);
	assert_int_equal(r.n_nets, 2);
	assert_int_equal(r.nets[1].n_forwards, 2);
	assert_done(vmj_option_set_env(option("vm-disk"), &r, "size=1G", &err), err);
	assert_int_equal(r.n_disks, 1);
	assert_done(vmj_option_set_env(option("vm-image"), &r, "tiny@2", &err), err);
	assert_int_equal(r.revision, 2);
	assert_user_refused(vmj_option_set_env(option("vm-image"), &r, "a;b", &err), err, EINVAL,
			    "not a name");
	assert_user_refused(vmj_option_set_env(option("vm-net"), &r, "lan;;user", &err), err,
			    EINVAL, "not a name");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_table_is_whole),
		cmocka_unit_test(good_values),
		cmocka_unit_test(names_of_volumes_and_images),
		cmocka_unit_test(optional_arguments),
		cmocka_unit_test(an_image_without_revision_is_the_latest),
		cmocka_unit_test(nonsense_is_refused),
		cmocka_unit_test(every_option_refuses_a_megabyte),
		cmocka_unit_test(random_texts_never_break_the_request),
		cmocka_unit_test(repeated_options_have_an_end),
		cmocka_unit_test(none_excludes_all_others),
		cmocka_unit_test(the_environment_repeats_by_semicolons),
	};

	return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
