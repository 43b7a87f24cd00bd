/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses and forwards anywhere; the filter with real frames, in a network namespace of its own
 * (root). */
#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sodium.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmjob/base/spawn.h"
#include "vmjob/host/network.h"

static struct vmj_net_config networks[] = {
	{.name = "lan", .kind = VMJ_NET_BRIDGE, .bridge = "vjbr", .prefix = 16, .filter = true},
	{.name = "open", .kind = VMJ_NET_BRIDGE, .bridge = "vjbr", .filter = false},
	{.name = "nat", .kind = VMJ_NET_NAT, .prefix = 24, .filter = true},
	{.name = "user", .kind = VMJ_NET_USER},
	{.name = "staff", .kind = VMJ_NET_USER, .users = (char *[]){(char *)"nobody-of-us", NULL}},
	{.name = "none", .kind = VMJ_NET_BRIDGE, .bridge = "vjnone"},
};
static struct vmj_config config = {.networks = networks,
				   .n_networks = sizeof(networks) / sizeof(networks[0])};

static void set_pool(struct vmj_net_config *n, const char *first, const char *last, const char *gw)
{
	inet_pton(AF_INET, first, &n->pool_first);
	inet_pton(AF_INET, last, &n->pool_last);
	inet_pton(AF_INET, gw, &n->gateway);
}

static int make_guest(void **state)
{
	struct vmj_guest *g = calloc(1, sizeof(*g));

	g->job = 5;
	g->uid = 54321;
	g->gid = 54321;
	snprintf(g->user, sizeof(g->user), "alice");
	set_pool(&networks[0], "10.77.128.1", "10.77.128.10", "10.77.0.1");
	*state = g;
	return 0;
}

static int free_guest(void **state)
{
	free(*state);
	return 0;
}

static struct vmj_net_request *want(struct vmj_guest *g, const char *network)
{
	struct vmj_net_request *r = &g->request.nets[g->request.n_nets++];

	snprintf(r->network, sizeof(r->network), "%s", network);
	return r;
}

static void plan(struct vmj_guest *g, unsigned int node)
{
	struct vmj_error err = {.code = 0};

	assert_done(vmj_ports_plan(&config, g, node, &err), err);
}

static void test_plan(void **state)
{
	struct vmj_guest *g = *state;

	want(g, "lan");
	want(g, "user")->n_forwards = 1;
	g->request.nets[1].forwards[0] = (struct vmj_forward){.host_port = 0, .guest_port = 22};
	want(g, "open");
	plan(g, 0);
	assert_int_equal(g->n_ports, 3);
	assert_string_equal(g->ports[0].device, "vj5.0");
	assert_string_equal(g->ports[0].address, "10.77.128.6/16"); /* first + 5 */
	assert_memory_equal(g->ports[0].mac, "52:54:", 6);
	assert_int_equal(strlen(g->ports[0].mac), 17);
	assert_string_equal(g->ports[1].device, "");
	assert_string_equal(g->ports[1].address, "");
	assert_int_equal(g->ports[1].forwards[0].guest_port, 22);
	assert_string_equal(g->ports[2].device, "vj5.2");
	assert_string_equal(g->ports[2].address, "");
	assert_string_not_equal(g->ports[0].mac, g->ports[2].mac);
}

static void test_plan_is_stable(void **state)
{
	struct vmj_guest *g = *state;
	char mac[18];

	want(g, "lan");
	plan(g, 0);
	memcpy(mac, g->ports[0].mac, 18);
	plan(g, 0);
	assert_string_equal(g->ports[0].mac, mac);
	plan(g, 1);
	assert_string_not_equal(g->ports[0].mac, mac);
}

static void test_plan_addresses(void **state)
{
	struct vmj_guest *g = *state;
	char seen[10][48];

	want(g, "lan");
	for (uint32_t i = 0; i < 10; i++) { /* as many jobs as the pool has addresses */
		g->job = 100 + i;
		plan(g, 0);
		memcpy(seen[i], g->ports[0].address, 48);
		for (uint32_t k = 0; k < i; k++)
			assert_string_not_equal(seen[i], seen[k]);
	}
	set_pool(&networks[0], "10.77.128.1", "10.77.128.2",
		 "10.77.128.1"); /* never the gateway's */
	for (g->job = 1; g->job < 5; g->job++) {
		plan(g, 0);
		assert_string_equal(g->ports[0].address, "10.77.128.2/16");
	}
	set_pool(&networks[0], "0.0.0.0", "0.0.0.0", "0.0.0.0");
	plan(g, 0);
	assert_string_equal(g->ports[0].address, "");
	g->job = UINT32_MAX;
	plan(g, 0);
	assert_string_equal(g->ports[0].device, "vj4294967295.0");
}

static void test_plan_own_mac(void **state)
{
	struct vmj_guest *g = *state;

	snprintf(want(g, "lan")->mac, 18, "02:00:00:00:00:07");
	plan(g, 0);
	assert_string_equal(g->ports[0].mac, "02:00:00:00:00:07");
}

static void test_plan_unknown_network(void **state)
{
	struct vmj_guest *g = *state;
	struct vmj_error err = {.code = 0};

	g->n_ports = 7;
	want(g, "nowhere");
	assert_user_refused(vmj_ports_plan(&config, g, 0, &err), err, ENOENT, "\"nowhere\"");
	assert_int_equal(g->n_ports, 7);
}

static void test_plan_forbidden_network(void **state)
{
	struct vmj_error err = {.code = 0};

	want(*state, "staff");
	assert_user_refused(vmj_ports_plan(&config, *state, 0, &err), err, EPERM, "may not use");
}

static void test_plan_forward_on_a_bridge(void **state)
{
	struct vmj_error err = {.code = 0};

	want(*state, "lan")->n_forwards = 1;
	assert_user_refused(vmj_ports_plan(&config, *state, 0, &err), err, EINVAL, "user-mode");
}

static void test_forwards(void **state)
{
	struct vmj_guest *g = *state;
	struct vmj_error err = {.code = 0};
	struct vmj_net_request *r = want(g, "user");
	struct vmj_forward *f = g->ports[0].forwards;

	r->n_forwards = VMJ_FORWARDS_MAX;
	for (unsigned int i = 0; i < VMJ_FORWARDS_MAX; i++)
		r->forwards[i] = (struct vmj_forward){.udp = i % 2, .guest_port = 22};
	plan(g, 0);
	assert_done(vmj_ports_check(&config, g, &err), err);
	for (unsigned int i = 0; i < VMJ_FORWARDS_MAX; i++) {
		assert_true(f[i].host_port >= 1024);
		for (unsigned int k = 0; k < i; k++)
			assert_false(f[i].udp == f[k].udp && f[i].host_port == f[k].host_port);
	}
}

static void test_forward_refused(void **state)
{
	struct vmj_guest *g = *state;
	struct vmj_error err = {.code = 0};
	struct sockaddr_in a = {.sin_family = AF_INET};
	socklen_t len = sizeof(a);
	vmj_autoclose int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	want(g, "user")->n_forwards = 1;
	g->request.nets[0].forwards[0] =
		(struct vmj_forward){.host_port = ntohs(a.sin_port), .guest_port = 22};
	plan(g, 0);
	assert_user_refused(vmj_ports_check(&config, g, &err), err, EADDRINUSE, "in use");
	g->ports[0].forwards[0].host_port = 80;
	assert_user_refused(vmj_ports_check(&config, g, &err), err, EACCES, "root only");
}

static void test_bridge_names(void **state)
{
	char a[16], b[16];

	assert_string_equal(vmj_net_bridge(&networks[0], a), "vjbr");
	assert_int_equal(strlen(vmj_net_bridge(&networks[2], a)), 11);
	networks[2].name[0] = 'N';
	assert_string_not_equal(vmj_net_bridge(&networks[2], b), a);
	networks[2].name[0] = 'n';
	assert_null(vmj_net_bridge(&networks[3], a));
}

/* Frames. */

static void ip(const char *const *args)
{
	const char *argv[16] = {"ip"};
	struct vmj_spawn s = {.argv = argv};
	struct vmj_error err = {.code = 0};

	for (size_t i = 0; args[i]; i++)
		argv[i + 1] = args[i];
	assert_done(vmj_spawn(&s, &err), err);
}
#define IP(...) ip((const char *const[]){__VA_ARGS__, NULL})

static int open_packets(const char *device)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
	struct sockaddr_ll a = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};

	a.sll_ifindex = (int)if_nametoindex(device);
	assert_true(fd >= 0 && a.sll_ifindex > 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

/* A bridge with the guest's tap (a veth: gx is the guest's side) and one other machine's port (px).
 */
static int make_lan(void **state)
{
	if (geteuid() != 0 || unshare(CLONE_NEWNET | CLONE_NEWNS) < 0)
		return make_guest(state);
	mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL); /* shows the new namespace's devices */
	IP("link", "add", "vjbr", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0");
	IP("link", "add", "vj5.0", "type", "veth", "peer", "name", "gx");
	IP("link", "add", "other", "type", "veth", "peer", "name", "px");
	IP("link", "set", "vj5.0", "master", "vjbr");
	IP("link", "set", "other", "master", "vjbr");
	for (size_t i = 0; i < 5; i++)
		IP("link", "set", (const char *[]){"vjbr", "vj5.0", "gx", "other", "px"}[i], "up");
	return make_guest(state);
}

static void need_lan(void)
{
	if (if_nametoindex("vj5.0") == 0)
		skip();
}

struct frame {
	unsigned char bytes[128];
	size_t len;
};

static void put(struct frame *f, const void *data, size_t len)
{
	memcpy(f->bytes + f->len, data, len);
	f->len += len;
}
#define PUT(f, literal) put(f, literal, sizeof(literal) - 1)

#define OWN_MAC   "\x02\0\0\0\0\7"
#define OTHER_MAC "\x02\0\0\0\0\x55"
#define OWN_IP    "\x0a\x4d\x80\6" /* 10.77.128.6 */
#define OTHER_IP  "\x0a\x4d\x80\7"
#define NO_IP     "\0\0\0\0"

static void start_frame(struct frame *f, const char *mac, const char *type)
{
	*f = (struct frame){.len = 0};
	PUT(f, "\xff\xff\xff\xff\xff\xff");
	put(f, mac, 6);
	put(f, type, 2);
}

static struct frame arp(const char *mac, const char *sender_mac, const char *sender_ip)
{
	struct frame f;

	start_frame(&f, mac, "\x08\x06");
	PUT(&f, "\0\1\x08\0\6\4\0\1");
	put(&f, sender_mac, 6);
	put(&f, sender_ip, 4);
	PUT(&f, "\0\0\0\0\0\0\x0a\x4d\0\1");
	return f;
}

/* RFC 1071; br_netfilter drops what has a wrong one. */
static void set_checksum(unsigned char *header)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < 20; i += 2)
		sum += (uint32_t)header[i] << 8 | header[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = ~(sum + (sum >> 16)) & 0xffff;
	header[10] = (unsigned char)(sum >> 8);
	header[11] = (unsigned char)sum;
}

static struct frame udp4(const char *mac, const char *from, uint16_t sport, uint16_t dport)
{
	uint16_t ports[2] = {htons(sport), htons(dport)};
	struct frame f;

	start_frame(&f, mac, "\x08\0");
	PUT(&f, "\x45\0\0\x20\0\0\0\0\x40\x11\0\0");
	put(&f, from, 4);
	PUT(&f, "\x0a\x4d\0\1");
	put(&f, ports, 4);
	PUT(&f, "\0\x0c\0\0abcd");
	set_checksum(f.bytes + 14);
	return f;
}

#define OWN_IP6   "\xfe\x80\0\0\0\0\0\0\0\0\0\xff\xfe\0\0\7" /* of 02:00:00:00:00:07 */
#define OTHER_IP6 "\xfe\x80\0\0\0\0\0\0\0\0\0\xff\xfe\0\0\x55"
#define NO_IP6    "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"

static struct frame icmp6(const char *from, unsigned char type, const char *target)
{
	unsigned char head[8] = {type};
	struct frame f;

	start_frame(&f, OWN_MAC, "\x86\xdd");
	PUT(&f, "\x60\0\0\0\0\x18\x3a\xff");
	put(&f, from, 16);
	PUT(&f, "\xff\2\0\0\0\0\0\0\0\0\0\0\0\0\0\1");
	put(&f, head, 8);
	put(&f, target, 16);
	return f;
}

/* A frame that every filter lets through. */
static struct frame mark(const char *text)
{
	struct frame f;

	start_frame(&f, OWN_MAC, "\x80\x35");
	put(&f, text, strlen(text));
	return f;
}

static bool arrived(const struct frame *f, const unsigned char *buf, ssize_t n)
{
	return n >= (ssize_t)f->len && memcmp(buf, f->bytes, f->len) == 0;
}

/* A port forwards some time after it is up, and drops what comes before. */
static void await_forwarding(int guest, int other)
{
	struct frame first = mark("the first");
	struct pollfd p = {.fd = other, .events = POLLIN};
	unsigned char buf[256];

	for (int i = 0; i < 500; i++) {
		assert_int_equal(send(guest, first.bytes, first.len, 0), first.len);
		while (poll(&p, 1, 10) == 1)
			if (arrived(&first, buf, recv(other, buf, sizeof(buf), 0)))
				return;
	}
	fail_msg("the bridge forwards nothing");
}

/* A mark tells the end: what was sent before it has come by then, or never will. */
static bool passes(struct frame f)
{
	vmj_autoclose int guest = open_packets("gx"), other = open_packets("px");
	struct frame last = mark("the last");
	unsigned char buf[256];
	bool seen = false;

	await_forwarding(guest, other);
	assert_int_equal(send(guest, f.bytes, f.len, 0), f.len);
	assert_int_equal(send(guest, last.bytes, last.len, 0), last.len);
	for (;;) {
		struct pollfd p = {.fd = other, .events = POLLIN};
		ssize_t n;

		assert_int_equal(poll(&p, 1, 5000), 1);
		n = recv(other, buf, sizeof(buf), 0);
		if (arrived(&last, buf, n))
			return seen;
		seen |= arrived(&f, buf, n);
	}
}

static void filter(struct vmj_guest *g)
{
	struct vmj_error err = {.code = 0};

	snprintf(want(g, "lan")->mac, 18, "02:00:00:00:00:07");
	plan(g, 0);
	assert_done(vmj_ports_check(&config, g, &err), err);
	assert_done(vmj_ports_filter(&config, g, &err), err);
}

static void test_filter_ipv4(void **state)
{
	need_lan();
	filter(*state);
	assert_true(passes(arp(OWN_MAC, OWN_MAC, OWN_IP)));
	assert_true(passes(arp(OWN_MAC, OWN_MAC, NO_IP)));
	assert_false(passes(arp(OTHER_MAC, OTHER_MAC, OWN_IP)));
	assert_false(passes(arp(OWN_MAC, OTHER_MAC, OWN_IP)));
	assert_false(passes(arp(OWN_MAC, OWN_MAC, OTHER_IP)));
	assert_true(passes(udp4(OWN_MAC, OWN_IP, 1000, 2000)));
	assert_false(passes(udp4(OTHER_MAC, OWN_IP, 1000, 2000)));
	assert_false(passes(udp4(OWN_MAC, OTHER_IP, 1000, 2000)));
	assert_false(passes(udp4(OWN_MAC, NO_IP, 1000, 2000)));
	assert_true(passes(udp4(OWN_MAC, NO_IP, 68, 67)));
	assert_false(passes(udp4(OWN_MAC, OWN_IP, 67, 68)));
}

static void test_filter_ipv6(void **state)
{
	need_lan();
	filter(*state);
	assert_true(passes(icmp6(OWN_IP6, 135, OTHER_IP6)));
	assert_true(passes(icmp6(NO_IP6, 135, OWN_IP6)));
	assert_true(passes(icmp6(OWN_IP6, 136, OWN_IP6)));
	assert_false(passes(icmp6(OWN_IP6, 136, OTHER_IP6)));
	assert_false(passes(icmp6(OTHER_IP6, 135, OWN_IP6)));
	assert_false(passes(icmp6(NO_IP6, 128, OWN_IP6)));
	assert_false(passes(icmp6(OWN_IP6, 134, OWN_IP6)));
}

static void test_filter_other_protocols(void **state)
{
	struct frame vlan, ipx;

	need_lan();
	filter(*state);
	start_frame(&vlan, OWN_MAC, "\x81\0");
	PUT(&vlan, "\0\1\x08\0abcdefghijklmnopqrst");
	assert_false(passes(vlan));
	start_frame(&ipx, OWN_MAC, "\x81\x37");
	PUT(&ipx, "abcdefghijklmnopqrst");
	assert_false(passes(ipx));
}

static void test_filter_goes_and_comes(void **state)
{
	struct vmj_guest *g = *state;
	struct vmj_error err = {.code = 0};

	need_lan();
	assert_done(vmj_ports_unfilter(g, &err), err);
	filter(g);
	assert_done(vmj_ports_filter(&config, g, &err), err); /* again: the same */
	assert_false(passes(arp(OWN_MAC, OWN_MAC, OTHER_IP)));
	assert_done(vmj_ports_unfilter(g, &err), err);
	assert_done(vmj_ports_unfilter(g, &err), err);
	assert_true(passes(arp(OWN_MAC, OWN_MAC, OTHER_IP)));
	g->ports[0].address[0] = '\0'; /* a network that gives no addresses: any, but its own MAC */
	assert_done(vmj_ports_filter(&config, g, &err), err);
	assert_true(passes(arp(OWN_MAC, OWN_MAC, OTHER_IP)));
	assert_false(passes(arp(OTHER_MAC, OTHER_MAC, OTHER_IP)));
	assert_done(vmj_ports_unfilter(g, &err), err);
}

static void test_filter_off(void **state)
{
	struct vmj_guest *g = *state;
	struct vmj_error err = {.code = 0};

	need_lan();
	want(g, "open");
	plan(g, 0);
	assert_done(vmj_ports_filter(&config, g, &err), err);
	assert_true(passes(arp(OTHER_MAC, OTHER_MAC, OTHER_IP)));
}

/* Two guests: removing one's filter leaves the other's. */
static void test_filters_are_apart(void **state)
{
	struct vmj_guest *g = *state, neighbour;
	struct vmj_error err = {.code = 0};

	need_lan();
	filter(g);
	neighbour = *g;
	neighbour.job = 6;
	assert_done(vmj_ports_filter(&config, &neighbour, &err), err);
	assert_done(vmj_ports_unfilter(&neighbour, &err), err);
	assert_false(passes(arp(OWN_MAC, OWN_MAC, OTHER_IP)));
	assert_done(vmj_ports_unfilter(g, &err), err);
}

static void test_no_bridge(void **state)
{
	struct vmj_guest *g = *state;
	struct vmj_error err = {.code = 0};

	need_lan();
	want(g, "none");
	plan(g, 0);
	assert_refused(vmj_ports_check(&config, g, &err), err, ENODEV, "no bridge vjnone");
	assert_int_equal(err.fault, VMJ_FAULT_HOST);
	snprintf(networks[5].bridge, 16, "px");
	assert_refused(vmj_ports_check(&config, g, &err), err, ENODEV, "px is no bridge");
	snprintf(networks[5].bridge, 16, "vjbr");
	IP("link", "set", "vjbr", "down");
	assert_refused(vmj_ports_check(&config, g, &err), err, ENETDOWN, "is down");
}

#define TEST(f)  cmocka_unit_test_setup_teardown(f, make_guest, free_guest)
#define FRAME(f) cmocka_unit_test_setup_teardown(f, make_lan, free_guest)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_plan),
		TEST(test_plan_is_stable),
		TEST(test_plan_addresses),
		TEST(test_plan_own_mac),
		TEST(test_plan_unknown_network),
		TEST(test_plan_forbidden_network),
		TEST(test_plan_forward_on_a_bridge),
		TEST(test_forwards),
		TEST(test_forward_refused),
		TEST(test_bridge_names),
		FRAME(test_filter_ipv4),
		FRAME(test_filter_ipv6),
		FRAME(test_filter_other_protocols),
		FRAME(test_filter_goes_and_comes),
		FRAME(test_filter_off),
		FRAME(test_filters_are_apart),
		FRAME(test_no_bridge),
	};

	if (sodium_init() < 0)
		return 99;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
