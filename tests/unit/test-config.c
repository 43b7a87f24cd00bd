/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <syslog.h>

#include "vmjob/model/config.h"

VMJ_DEFINE_CLEANUP(struct vmj_config *, vmj_config_free);
#define autoconfig VMJ_CLEANUP(vmj_config_freep) struct vmj_config *

#define STORAGE "storage default { path = \"/srv/vmjob\" }\n"

static const char example[] = STORAGE
	"storage fast { path = /mnt/fast  kind = dir  quota = 500G  limit = 20T\n"
	"  low = 15  critical = 5  renew = 5s  self_stop = yes }\n"
	"scratch = \"/scratch/vmjob\"\n"
	"network lan { kind = bridge  bridge = \"br0\"  subnet = \"10.77.0.0/16\"\n"
	"  pool = \"10.77.128.1-10.77.255.254\"  gateway = \"10.77.0.1\"  filter = no\n"
	"  users = { \"anna\", \"@staff\" } }\n"
	"network user { kind = user }\n"
	"network nat { kind = nat  subnet = \"192.168.130.0/24\" }\n"
	"# a comment\n"
	"defaults { memory = 2G  network = \"lan\"  grace = 45s  cpu = max  script = none }\n"
	"limits { memory = 256G  vcpus = 64  disk = 1T  guests = 20 }\n"
	"overhead { fixed = 200M  per_mille = 10  per_vcpu = 5 }\n"
	"agent { port = 7000  log = debug  operators = { carol, \"@ops\" } }\n";

static void address_is(struct in_addr a, const char *want)
{
	char text[INET_ADDRSTRLEN];

	assert_string_equal(inet_ntop(AF_INET, &a, text, sizeof(text)), want);
}

static void all_is_read(void **state)
{
	autoconfig c = NULL;
	struct vmj_error err;

	assert_done(vmj_config_parse(example, "x.conf", &c, &err), err);
	assert_int_equal(c->n_storages, 2);
	assert_string_equal(c->storages[0].name, "default");
	assert_string_equal(c->storages[0].path, "/srv/vmjob");
	assert_string_equal(c->storages[1].path, "/mnt/fast");
	assert_string_equal(c->scratch, "/scratch/vmjob");
	assert_int_equal(c->n_networks, 3);
	assert_int_equal(c->default_memory_mib, 2048);
	assert_string_equal(c->default_network, "lan");
	assert_int_equal(c->default_grace_s, 45);
	assert_string_equal(c->default_cpu, "max");
	assert_int_equal(c->default_script, VMJ_SCRIPT_NONE);
	assert_int_equal(c->max_memory_mib, 256 * 1024);
	assert_int_equal(c->max_vcpus, 64);
	assert_int_equal(c->max_disk_mib, 1024 * 1024);
	assert_int_equal(c->max_guests, 20);
	assert_int_equal(c->overhead_fixed_mib, 200);
	assert_int_equal(c->overhead_per_mille, 10);
	assert_int_equal(c->overhead_per_vcpu_mib, 5);
	assert_int_equal(c->agent_port, 7000);
	assert_int_equal(c->log_level, LOG_DEBUG);
	assert_string_equal(c->operators[0], "carol");
	assert_string_equal(c->operators[1], "@ops");
	assert_null(c->operators[2]);
}

static void storages_are_read(void **state)
{
	const struct vmj_storage_config *s, *first;
	autoconfig c = NULL;
	struct vmj_error err;

	assert_done(vmj_config_parse(example, "x.conf", &c, &err), err);
	assert_done(vmj_config_storage(c, "fast", &s, &err), err);
	assert_int_equal(s->kind, VMJ_STORAGE_DIR);
	assert_string_equal(vmj_storage_kind_name(s->kind), "dir");
	assert_int_equal(s->quota_mib, 500 * 1024);
	assert_int_equal(s->limit_mib, 20 * 1024 * 1024);
	assert_int_equal(s->low, 15);
	assert_int_equal(s->critical, 5);
	assert_int_equal(s->renew_s, 5);
	assert_true(s->self_stop);
	assert_done(vmj_config_storage(c, NULL, &first, &err), err);
	assert_string_equal(first->name, "default");
	assert_user_refused(vmj_config_storage(c, "slow", &s, &err), err, ENOENT,
			    "\"slow\" does not exist: vmjob.conf has default, fast");
}

static void watermarks_have_defaults(void **state)
{
	static const struct {
		const char *low;
		uint32_t want_low, want_critical;
	} cases[] = {{"", 10, 3}, {"low = 20", 20, 3}, {"low = 2", 2, 2}, {"low = 0", 0, 0}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		autoconfig c = NULL;
		struct vmj_error err;
		char text[128];

		snprintf(text, sizeof(text), "storage a { path = /a %s }\n", cases[i].low);
		assert_done(vmj_config_parse(text, "x.conf", &c, &err), err);
		assert_int_equal(c->storages[0].low, cases[i].want_low);
		assert_int_equal(c->storages[0].critical, cases[i].want_critical);
		assert_int_equal(c->storages[0].quota_mib, 0);
		assert_int_equal(c->storages[0].limit_mib, 0);
		assert_int_equal(c->storages[0].renew_s, 10);
		assert_false(c->storages[0].self_stop);
	}
}

static void networks_are_read(void **state)
{
	autoconfig c = NULL;
	const struct vmj_net_config *n;
	struct vmj_error err;

	assert_done(vmj_config_parse(example, "x.conf", &c, &err), err);
	n = vmj_config_network(c, "lan");
	assert_int_equal(n->kind, VMJ_NET_BRIDGE);
	assert_string_equal(n->bridge, "br0");
	assert_int_equal(n->prefix, 16);
	address_is(n->subnet, "10.77.0.0");
	address_is(n->pool_first, "10.77.128.1");
	address_is(n->pool_last, "10.77.255.254");
	address_is(n->gateway, "10.77.0.1");
	assert_false(n->filter);
	assert_string_equal(n->users[0], "anna");
	assert_string_equal(n->users[1], "@staff");
	assert_null(n->users[2]);
	n = vmj_config_network(c, "user");
	assert_int_equal(n->kind, VMJ_NET_USER);
	assert_true(n->filter);
	n = vmj_config_network(c, "nat");
	assert_int_equal(n->kind, VMJ_NET_NAT);
	address_is(n->gateway, "192.168.130.1");
	address_is(n->pool_first, "192.168.130.2");
	address_is(n->pool_last, "192.168.130.254");
	assert_null(vmj_config_network(c, "la"));
}

static void the_least_has_defaults(void **state)
{
	autoconfig c = NULL;
	struct vmj_error err;

	assert_done(vmj_config_parse(STORAGE, "x.conf", &c, &err), err);
	assert_int_equal(c->default_memory_mib, 1024);
	assert_int_equal(c->default_grace_s, 30);
	assert_string_equal(c->default_network, "");
	assert_string_equal(c->default_cpu, "host");
	assert_int_equal(c->default_script, VMJ_SCRIPT_HOST);
	assert_int_equal(c->agent_port, 6829);
	assert_int_equal(c->log_level, LOG_INFO);
	assert_string_equal(c->operators[0], "slurm");
	assert_null(c->operators[1]);
	assert_int_equal(c->scratch[0], '/');
}

/* Each must be refused at that line with that part in the sentence, by the host's fault. */
static const struct {
	const char *text;
	int line;
	const char *part;
} bad[] = {
	{STORAGE "colour = red\n", 2, "colour"},
	{STORAGE "\n\nlimits {\n  memory = 1G\n  colour = 1\n}\n", 6, "colour"},
	{STORAGE "network a {\n kind = user\n colour = 1\n}\n", 4, "colour"},
	{STORAGE "limits { memory = 1Q }\n", 2, "limits, memory: \"1Q\" is not a size"},
	{STORAGE "limits {\n\n memory = 4M }\n", 4, "out of bounds"},
	{STORAGE "limits { memory = 99999999T }\n", 2, "out of bounds"},
	{STORAGE "limits { vcpus = -1 }\n", 2, "not a number"},
	{STORAGE "limits { vcpus = 0 }\n", 2, "from 1 to 1024"},
	{STORAGE "limits { guests = 18446744073709551616 }\n", 2, "out of bounds"},
	{STORAGE "defaults { grace = 0s }\n", 2, "at least 1s"},
	{STORAGE "defaults { grace = 25h }\n", 2, "too long"},
	{STORAGE "defaults { grace = soon }\n", 2, "not a time"},
	{STORAGE "defaults { cpu = \"a b\" }\n", 2, "not a name"},
	{STORAGE "defaults { script = there }\n", 2, "guest, host and none"},
	{STORAGE "defaults { script = guest }\n", 2, "host or none"},
	{STORAGE "defaults { network = \"../x\" }\n", 2, "not a name"},
	{STORAGE "agent { port = 65536 }\n", 2, "out of bounds"},
	{STORAGE "agent { log = loud }\n", 2, "err, warning, info or debug"},
	{STORAGE "agent { operators = { \"a;b\" } }\n", 2, "names of users"},
	{STORAGE "agent { operators = { \"-rf\" } }\n", 2, "names of users"},
	{STORAGE "overhead { per_mille = 1001 }\n", 2, "out of bounds"},
	{STORAGE "scratch = \"var/x\"\n", 2, "absolute path"},
	{STORAGE "scratch = \"/var/../x\"\n", 2, "absolute path"},
	{STORAGE "scratch = \"/var/..\"\n", 2, "absolute path"},
	{STORAGE "scratch = \"/a\x01"
		 "b\"\n",
	 2, "control"},
	{STORAGE "network \"a/b\" { kind = user }\n", 2, "not a name"},
	{STORAGE "network none { kind = user }\n", 2, "choose another name"},
	{STORAGE "network a { }\n", 2, "say its kind"},
	{STORAGE "network a { kind = token }\n", 2, "bridge, nat or user"},
	{STORAGE "network a { kind = bridge }\n", 2, "needs bridge"},
	{STORAGE "network a { kind = nat }\n", 2, "needs subnet"},
	{STORAGE "network a { kind = user bridge = br0 }\n", 2, "neither bridge"},
	{STORAGE "network a { kind = bridge bridge = \"a-name-longer-than-it\" }\n", 2, "15"},
	{STORAGE "network a { kind = bridge bridge = \"br;0\" }\n", 2, "interface"},
	{STORAGE "network a { kind = nat subnet = \"10.0.0.0\" }\n", 2, "with its prefix"},
	{STORAGE "network a { kind = nat subnet = \"10.0.0.0/31\" }\n", 2, "with its prefix"},
	{STORAGE "network a { kind = nat subnet = \"10.0.0.0/7\" }\n", 2, "with its prefix"},
	{STORAGE "network a { kind = nat subnet = \"10.0.0.1/8\" }\n", 2, "host bits"},
	{STORAGE "network a { kind = nat subnet = \"10.0.0/24\" }\n", 2, "with its prefix"},
	{STORAGE "network a { kind = nat subnet = \"::/16\" }\n", 2, "with its prefix"},
	{STORAGE "network a { kind = bridge bridge = b pool = \"10.0.0.1-10.0.0.2\" }\n", 2,
	 "need a subnet"},
	{STORAGE "network a { kind = nat subnet = \"10.0.0.0/24\" pool = \"10.0.0.9\" }\n", 2,
	 "two IPv4 addresses"},
	{STORAGE "network a { kind = nat subnet = \"10.0.0.0/24\" pool = \"10.0.0.9-10.0.0.8\" }\n",
	 2, "two IPv4 addresses"},
	{STORAGE "network a { kind = nat subnet = \"10.0.0.0/24\" pool = \"10.0.1.1-10.0.1.9\" }\n",
	 2, "pool is not in"},
	{STORAGE
	 "network a { kind = nat subnet = \"10.0.0.0/24\" pool = \"10.0.0.5-10.0.0.255\" }\n",
	 2, "pool is not in"},
	{STORAGE "network a { kind = nat subnet = \"10.0.0.0/24\" pool = \"10.0.0.1-10.0.0.9\" }\n",
	 2, "gateway is in the pool"},
	{STORAGE "network a { kind = nat subnet = \"10.0.0.0/24\" gateway = \"10.0.1.1\" }\n", 2,
	 "gateway is not in"},
	{STORAGE "network a { kind = nat subnet = \"10.0.0.0/24\" gateway = \"x\" }\n", 2,
	 "IPv4 address"},
	{STORAGE "network a { kind = user filter = maybe }\n", 2, "yes or no"},
	{STORAGE "network a { kind = user users = { \"a b\" } }\n", 2, "names of users"},
	{STORAGE "network a { kind = user }\nnetwork a { kind = user }\n", 3, "a"},
	{STORAGE STORAGE, 2, "default"},
	{"storage default { }\n", 1, "say where it is"},
	{"storage a { path = /a kind = rbd }\n", 1, "\"rbd\" is wrong: give dir"},
	{"storage a { path = /a quota = lots }\n", 1, "not a size"},
	{"storage a { path = /a limit = 9999999T }\n", 1, "out of bounds"},
	{"storage a { path = /a quota = 2G limit = 1G }\n", 1, "above the limit of all"},
	{"storage a { path = /a low = 91 }\n", 1, "from 0 to 90"},
	{"storage a { path = /a low = 5 critical = 6 }\n", 1, "critical (6 %) is above low (5 %)"},
	{"storage a { path = /a renew = 0s }\n", 1, "at least 1s"},
	{"storage a { path = /a renew = 2m }\n", 1, "too long"},
	{"storage a { path = /a self_stop = perhaps }\n", 1, "yes or no"},
	{STORAGE "limits { memory = 1G\n", 4, "ends within limits"},
	{STORAGE "limits memory\n", 2, "missing opening brace"},
	{STORAGE "}\n", 2, "unexpected closing brace"},
	{STORAGE "include(\"/etc/passwd\")\n", 2, "include"},
	{"# one\n\t# two\n" STORAGE "# four\nnonsense = 1\n", 5, "nonsense"},
	{"# one\n" STORAGE "limits { memory = 1G # it's here\n# four\n", 6, "ends within limits"},
	{"# don't\n" STORAGE "nonsense = 1\n", 3, "nonsense"},
	{"storage \"a#b\" { path = \"/srv\" }\n", 1, "a#b"},
};

static void each_mistake_has_its_line(void **state)
{
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct vmj_config *c = NULL;
		struct vmj_error err = {0};
		char place[32];

		snprintf(place, sizeof(place), "x.conf:%d: ", bad[i].line);
		if (vmj_config_parse(bad[i].text, "x.conf", &c, &err) != -err.code || c)
			fail_msg("accepted: %s", bad[i].text);
		if (strncmp(err.text, place, strlen(place)) != 0 || !strstr(err.text, bad[i].part))
			fail_msg("\"%s\" should begin with \"%s\" and contain \"%s\" for:\n%s",
				 err.text, place, bad[i].part, bad[i].text);
		assert_int_equal(err.fault, VMJ_FAULT_HOST);
	}
}

static void what_is_missing_is_said(void **state)
{
	struct vmj_config *c = NULL;
	struct vmj_error err;

	assert_refused(vmj_config_parse("", "x.conf", &c, &err), err, EINVAL, "storage default {");
	assert_refused(vmj_config_parse(STORAGE "defaults { network = lan }", "x.conf", &c, &err),
		       err, EINVAL, "no \"network lan\"");
	assert_refused(vmj_config_parse(STORAGE "limits { memory = 512M }", "x.conf", &c, &err),
		       err, EINVAL, "1G) is above the limit (512M)");
	assert_refused(vmj_config_parse(STORAGE "/* open", "x.conf", &c, &err), err, EINVAL,
		       "ends within");
	assert_refused(vmj_config_parse(STORAGE "scratch = \"/a", "x.conf", &c, &err), err, EINVAL,
		       "");
	assert_null(c);
}

static void too_many_networks(void **state)
{
	vmj_autofree char *text = calloc(1, 1 << 16);
	struct vmj_config *c = NULL;
	struct vmj_error err;
	size_t at = 0;

	at += (size_t)sprintf(text, STORAGE);
	for (int i = 0; i < VMJ_CONFIG_ITEMS_MAX + 1; i++)
		at += (size_t)sprintf(text + at, "network n%d { kind = user }\n", i);
	assert_refused(vmj_config_parse(text, "x.conf", &c, &err), err, ERANGE, "x.conf:66: ");
}

static void too_many_users(void **state)
{
	vmj_autofree char *text = calloc(1, 1 << 16);
	struct vmj_config *c = NULL;
	struct vmj_error err;
	size_t at = 0;

	at += (size_t)sprintf(text, STORAGE "agent { operators = { ");
	for (int i = 0; i < VMJ_CONFIG_WORDS_MAX + 1; i++)
		at += (size_t)sprintf(text + at, "%su%d", i ? "," : "", i);
	strcpy(text + at, "} }\n");
	assert_refused(vmj_config_parse(text, "x.conf", &c, &err), err, ERANGE, "or a group");
}

static void write_file(void **state, const char *text, size_t len, char path[256])
{
	struct vmj_error err;

	snprintf(path, 256, "%s/vmjob.conf", (const char *)*state);
	assert_done(vmj_file_write_atomic(-1, path, text, len, 0644, &err), err);
}

static void a_file_is_loaded(void **state)
{
	autoconfig c = NULL;
	autoconfig linked = NULL;
	struct vmj_error err;
	char path[256], link[300];

	write_file(state, example, strlen(example), path);
	assert_done(vmj_config_load(path, &c, &err), err);
	snprintf(link, sizeof(link), "%s.link", path);
	assert_int_equal(symlink(path, link), 0);
	setenv(VMJ_CONFIG_PATH_ENV, link, 1);
	assert_done(vmj_config_load(NULL, &linked, &err), err);
	unsetenv(VMJ_CONFIG_PATH_ENV);
	assert_int_equal(linked->agent_port, 7000);
}

static void a_missing_file_says_what_to_write(void **state)
{
	struct vmj_config *c = NULL;
	struct vmj_error err;

	assert_refused(vmj_config_load("/nonexistent/vmjob.conf", &c, &err), err, ENOENT,
		       "cannot open /nonexistent/vmjob.conf: No such file or directory: vmjob "
		       "needs this file");
}

static void odd_files_are_refused(void **state)
{
	vmj_autofree char *big = malloc(VMJ_CONFIG_FILE_MAX + 1);
	struct vmj_config *c = NULL;
	struct vmj_error err;
	char path[256];

	write_file(state, STORAGE "\0x", sizeof(STORAGE) + 1, path);
	assert_refused(vmj_config_load(path, &c, &err), err, EINVAL, "NUL");
	memset(big, '\n', VMJ_CONFIG_FILE_MAX + 1);
	write_file(state, big, VMJ_CONFIG_FILE_MAX + 1, path);
	assert_refused(vmj_config_load(path, &c, &err), err, EFBIG, "longer");
	assert_refused(vmj_config_load(*state, &c, &err), err, EISDIR, "regular");
	assert_null(c);
}

static void users_and_groups_decide(void **state)
{
	char *by_name[] = {"root", "nobody", NULL}, *by_group[] = {"@daemon", NULL};
	char *strange[] = {"no-such-user-here", "@no-such-group-here", NULL};
	struct vmj_net_config n = {.users = NULL};
	struct passwd *nobody = getpwnam("nobody");
	struct group *group = getgrnam("daemon");

	if (!nobody || !group)
		skip();
	assert_true(vmj_net_allows(&n, 12345, 12345));
	n.users = by_name;
	assert_true(vmj_net_allows(&n, nobody->pw_uid, nobody->pw_gid));
	assert_false(vmj_net_allows(&n, nobody->pw_uid - 1, nobody->pw_gid));
	n.users = by_group;
	assert_true(vmj_net_allows(&n, nobody->pw_uid, group->gr_gid));
	assert_false(vmj_net_allows(&n, nobody->pw_uid, nobody->pw_gid));
	n.users = strange;
	assert_false(vmj_net_allows(&n, nobody->pw_uid, nobody->pw_gid));
	assert_true(vmj_net_allows(&n, 0, 0));
}

static void operators_are_known(void **state)
{
	char *names[] = {"nobody", NULL};
	struct vmj_config c = {.operators = names};
	struct passwd *nobody = getpwnam("nobody");

	if (!nobody)
		skip();
	assert_true(vmj_config_operator(&c, 0));
	assert_true(vmj_config_operator(&c, nobody->pw_uid));
	assert_false(vmj_config_operator(&c, nobody->pw_uid - 1));
}

int main(void)
{
#define dir_test(f) cmocka_unit_test_setup_teardown(f, unit_make_dir, unit_remove_dir)
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_is_read),
		cmocka_unit_test(storages_are_read),
		cmocka_unit_test(watermarks_have_defaults),
		cmocka_unit_test(networks_are_read),
		cmocka_unit_test(the_least_has_defaults),
		cmocka_unit_test(each_mistake_has_its_line),
		cmocka_unit_test(what_is_missing_is_said),
		cmocka_unit_test(too_many_networks),
		cmocka_unit_test(too_many_users),
		dir_test(a_file_is_loaded),
		cmocka_unit_test(a_missing_file_says_what_to_write),
		dir_test(odd_files_are_refused),
		cmocka_unit_test(users_and_groups_decide),
		cmocka_unit_test(operators_are_known),
	};

	return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
