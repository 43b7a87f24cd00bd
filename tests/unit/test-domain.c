/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>
#include <libxml/parser.h>
#include <libxml/relaxng.h>
#include <libxml/xpath.h>
#include <libxml/xpathInternals.h>
#include <sodium.h>
#include <unistd.h>

#include "vmjob/host/domain.h"
#include "vmjob/host/domain_disk.h"

struct world {
	struct vmj_guest guest;
	struct vmj_shape shape;
	struct vmj_domain_spec spec;
};

static int make_world(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->guest = (struct vmj_guest){
		.job = 42,
		.restart = 1,
		.uid = 2001,
		.gid = 2002,
		.user = "alice",
		.boot_id = "6a0e7f5a-0b3c-4a52-9c5c-0c4b8a3c8a11",
		.image_path = "/srv/vmjob/images/2001/tiny/3/disk.qcow2",
		.request = {.image = "tiny", .memory_mib = 512, .vcpus = 2},
	};
	w->shape = (struct vmj_shape){.vcpus = 2, .sockets = 1, .cores = 2, .threads = 1};
	w->spec = (struct vmj_domain_spec){
		.guest = &w->guest,
		.shape = &w->shape,
		.cpu = "host",
		.console_log = "/var/lib/vmjob/guests/42/console.log",
	};
	*state = w;
	return 0;
}

static struct vmj_guest_disk *add_disk(struct world *w, enum vmj_guest_disk_kind kind,
				       const char *path, const char *base)
{
	struct vmj_guest_disk *d = &w->guest.disks[w->guest.n_disks];

	*d = (struct vmj_guest_disk){.kind = kind};
	snprintf(d->path, sizeof(d->path), "%s", path);
	snprintf(d->base, sizeof(d->base), "%s", base);
	snprintf(d->serial, sizeof(d->serial), "serial%u", w->guest.n_disks);
	vmj_guest_disk_set_target(d, w->guest.n_disks++);
	return d;
}

static void add_root(struct world *w)
{
	add_disk(w, VMJ_GUEST_DISK_OVERLAY, "/var/lib/vmjob/guests/42/disk.qcow2",
		 w->guest.image_path);
}

static int free_world(void **state)
{
	free(*state);
	return 0;
}

static void add_tap(struct world *w, const char *bridge)
{
	struct vmj_port *p = &w->guest.ports[w->guest.n_ports];

	snprintf(p->network, sizeof(p->network), "lan");
	snprintf(p->mac, sizeof(p->mac), "52:54:00:00:00:%02x", w->guest.n_ports);
	snprintf(p->device, sizeof(p->device), "vj42.%u", w->guest.n_ports);
	w->spec.bridges[w->guest.n_ports++] = bridge;
}

static xmlDocPtr make(struct world *w)
{
	struct vmj_error err = {.code = 0};
	vmj_autofree char *xml = NULL;
	xmlDocPtr doc;

	assert_done(vmj_domain_xml(&w->spec, &xml, &err), err);
	doc = xmlReadMemory(xml, (int)strlen(xml), NULL, NULL, XML_PARSE_NONET);
	assert_non_null(doc);
	return doc;
}

/* The value of an XPath expression as text; the caller's. */
static char *query(xmlDocPtr doc, const char *expr)
{
	xmlXPathContextPtr ctx = xmlXPathNewContext(doc);
	xmlXPathObjectPtr o;
	xmlChar *text;
	char *copy;

	xmlXPathRegisterNs(ctx, (const xmlChar *)"v", (const xmlChar *)VMJ_DOMAIN_XMLNS);
	xmlXPathRegisterNs(ctx, (const xmlChar *)"q",
			   (const xmlChar *)"http://libvirt.org/schemas/domain/qemu/1.0");
	o = xmlXPathEvalExpression((const xmlChar *)expr, ctx);
	assert_non_null(o);
	text = xmlXPathCastToString(o);
	copy = strdup((const char *)text);
	xmlFree(text);
	xmlXPathFreeObject(o);
	xmlXPathFreeContext(ctx);
	return copy;
}

static void assert_xpath(xmlDocPtr doc, const char *expr, const char *expected)
{
	vmj_autofree char *value = query(doc, expr);

	if (strcmp(value, expected) != 0)
		fail_msg("%s is \"%s\", not \"%s\"", expr, value, expected);
}

static void check_xpaths(struct world *w, const char *const (*pairs)[2])
{
	xmlDocPtr doc = make(w);

	for (; (*pairs)[0]; pairs++)
		assert_xpath(doc, (*pairs)[0], (*pairs)[1]);
	xmlFreeDoc(doc);
}
#define CHECK(w, ...) check_xpaths(w, (const char *const[][2]){__VA_ARGS__, {NULL, NULL}})

static void test_identity(void **state)
{
	CHECK(*state, {"/domain/name", "vmjob-42"}, {"/domain/@type", "qemu"},
	      {"string-length(/domain/uuid)", "36"}, {"/domain/metadata/v:guest/@job", "42"},
	      {"/domain/metadata/v:guest/@restart", "1"},
	      {"/domain/metadata/v:guest/@user", "alice"}, {"/domain/memory", "512"},
	      {"/domain/memory/@unit", "MiB"});
}

static void test_uuid_is_the_guests(void **state)
{
	struct world *w = *state;
	xmlDocPtr a = make(w), b = make(w), c;
	vmj_autofree char *first = query(a, "/domain/uuid"), *second = query(b, "/domain/uuid"),
			  *third = NULL;

	w->guest.restart++;
	c = make(w);
	third = query(c, "/domain/uuid");
	assert_string_equal(first, second);
	assert_string_not_equal(first, third);
	xmlFreeDoc(a);
	xmlFreeDoc(b);
	xmlFreeDoc(c);
}

static void test_machine(void **state)
{
	CHECK(*state, {"/domain/os/type/@machine", "q35"}, {"/domain/vcpu/@current", "2"},
	      {"/domain/vcpu", "4"}, {"/domain/cpu/topology/@sockets", "2"},
	      {"/domain/cpu/topology/@cores", "2"}, {"/domain/cpu/topology/@threads", "1"},
	      {"/domain/on_crash", "destroy"}, {"/domain/on_reboot", "restart"},
	      {"/domain/on_poweroff", "destroy"}, {"/domain/devices/panic/@model", "isa"},
	      {"count(/domain/devices/watchdog)", "0"}, {"count(/domain/devices/graphics)", "0"},
	      {"/domain/devices/channel/target/@name", "org.qemu.guest_agent.0"},
	      {"/domain/devices/memballoon/stats/@period", "10"},
	      {"/domain/devices/rng/backend", "/dev/urandom"},
	      {"/domain/devices/serial/log/@file", "/var/lib/vmjob/guests/42/console.log"});
}

static void test_label(void **state)
{
	struct world *w = *state;

	add_root(w);
	w->spec.seed = "/d/seed.img";
	CHECK(w, {"/domain/seclabel/@type", "static"}, {"/domain/seclabel/@model", "dac"},
	      {"/domain/seclabel/@relabel", "yes"}, {"/domain/seclabel/label", "+2001:+2002"},
	      {"count(//disk//source[not(seclabel/@relabel='no' and seclabel/@model='dac')])",
	       "0"});
}

static void test_tcg(void **state)
{
	struct world *w = *state;

	CHECK(w, {"/domain/features/tcg/tb-cache", "32"}, {"/domain/cpu/@mode", "maximum"});
	w->spec.cpu = "EPYC";
	CHECK(w, {"/domain/cpu/@mode", "custom"}, {"/domain/cpu/model", "EPYC"},
	      {"/domain/cpu/model/@fallback", "forbid"}, {"/domain/cpu/@match", "exact"});
}

static void test_kvm(void **state)
{
	struct world *w = *state;

	w->spec.kvm = true;
	CHECK(w, {"/domain/@type", "kvm"}, {"count(/domain/features/tcg)", "0"},
	      {"/domain/cpu/@mode", "host-passthrough"});
	w->spec.cpu = "max";
	CHECK(w, {"/domain/cpu/@mode", "maximum"});
}

static void test_disks(void **state)
{
	struct world *w = *state;

	add_root(w);
	add_disk(w, VMJ_GUEST_DISK_EMPTY, "/d/disk1.qcow2", "");
	add_disk(w, VMJ_GUEST_DISK_IMAGE, "/srv/tools/disk.qcow2", "")->readonly = true;
	w->spec.seed = "/d/seed.img";
	CHECK(w, {"count(//disk)", "4"},
	      {"//disk[1]/source/@file", "/var/lib/vmjob/guests/42/disk.qcow2"},
	      {"//disk[1]/driver/@type", "qcow2"}, {"//disk[1]/driver/@cache", "writeback"},
	      {"//disk[1]/driver/@discard", "unmap"}, {"//disk[1]/target/@dev", "vda"},
	      {"//disk[1]/boot/@order", "1"}, {"count(//boot)", "1"},
	      {"//disk[1]/backingStore/source/@file", w->guest.image_path},
	      {"//disk[1]/backingStore/format/@type", "qcow2"},
	      {"count(//disk[1]/backingStore/backingStore/*)", "0"},
	      {"count(//disk[1]/backingStore/backingStore)", "1"},
	      {"//disk[2]/source/@file", "/d/disk1.qcow2"}, {"//disk[2]/serial", "serial1"},
	      {"//disk[2]/target/@dev", "vdb"}, {"count(//disk[2]/backingStore)", "1"},
	      {"count(//disk[2]/backingStore/*)", "0"}, {"count(//disk[3]/driver/@discard)", "0"},
	      {"count(//disk[3]/readonly)", "1"}, {"//disk[4]/source/@file", "/d/seed.img"},
	      {"//disk[4]/driver/@type", "raw"}, {"//disk[4]/target/@dev", "vdz"},
	      {"count(//disk/readonly)", "2"}, {"count(//disk[4]/readonly)", "1"});
	w->spec.direct_io[0] = true;
	CHECK(w, {"//disk[1]/driver/@cache", "none"}, {"//disk[2]/driver/@cache", "writeback"},
	      {"//disk[4]/driver/@cache", "writeback"});
}

/* A guest whose disk is full, or whose storage is gone, waits. */
static void test_disks_stop_on_errors(void **state)
{
	struct world *w = *state;

	add_root(w);
	add_disk(w, VMJ_GUEST_DISK_EMPTY, "/d/disk1.qcow2", "");
	CHECK(w, {"count(//disk/driver[@error_policy='stop' and @rerror_policy='stop'])", "2"});
}

/* The deepest chain: top, the layers, an image elsewhere; each link is named, none relabelled. */
static void test_chain(void **state)
{
	struct world *w = *state;
	struct vmj_guest_disk *d =
		add_disk(w, VMJ_GUEST_DISK_VOLUME, "/srv/vmjob/volumes/2001/data/layer-20.qcow2",
			 "/srv/vmjob/images/public/a/1/disk.qcow2");
	char expr[64], file[64];
	xmlDocPtr doc;

	for (; d->n_layers < VMJ_DISK_LAYERS_MAX; d->n_layers++)
		snprintf(d->layers[d->n_layers], sizeof(d->layers[0]), "layer-%u.qcow2",
			 19 - d->n_layers);
	doc = make(w);
	for (int i = 1; i <= VMJ_DISK_LAYERS_MAX; i++) {
		snprintf(expr, sizeof(expr), "(//backingStore)[%d]/source/@file", i);
		snprintf(file, sizeof(file), "/srv/vmjob/volumes/2001/data/layer-%d.qcow2", 20 - i);
		assert_xpath(doc, expr, file);
	}
	assert_xpath(doc, "(//backingStore)[16]/source/@file",
		     "/srv/vmjob/images/public/a/1/disk.qcow2");
	assert_xpath(doc, "count(//backingStore)", "17");
	assert_xpath(doc, "count((//backingStore)[17]/*)", "0");
	assert_xpath(doc, "count(//disk//source[not(seclabel/@relabel='no')])", "0");
	xmlFreeDoc(doc);
}

static void test_disk_alone(void **state)
{
	struct world *w = *state;
	struct vmj_guest_disk *d =
		add_disk(w, VMJ_GUEST_DISK_VOLUME, "/srv/v/2001/data/layer-2.qcow2", "");
	struct vmj_error err = {.code = 0};
	vmj_autofree char *xml = NULL;
	xmlDocPtr doc;

	d->n_layers = 1;
	strcpy(d->layers[0], "base.qcow2");
	vmj_guest_disk_set_target(d, 4);
	assert_done(vmj_domain_disk_xml(d, true, &xml, &err), err);
	doc = xmlReadMemory(xml, (int)strlen(xml), NULL, NULL, XML_PARSE_NONET);
	assert_xpath(doc, "/disk/source/@file", "/srv/v/2001/data/layer-2.qcow2");
	assert_xpath(doc, "/disk/backingStore/source/@file", "/srv/v/2001/data/base.qcow2");
	assert_xpath(doc, "/disk/target/@dev", "vde");
	assert_xpath(doc, "/disk/driver/@cache", "none");
	assert_xpath(doc, "count(//boot)", "0");
	xmlFreeDoc(doc);
}

/* As many places for disks as disks may come, beside what is plugged in from the start. */
static void test_places_for_disks(void **state)
{
	struct world *w = *state;
	const char *const ports = "count(//controller[@model='pcie-root-port'])";

	CHECK(w, {ports, "8"});
	add_root(w);
	add_tap(w, "br0");
	add_tap(w, NULL); /* has its place elsewhere */
	w->spec.seed = "/d/seed.img";
	CHECK(w, {ports, "11"}, {"(//controller[@model='pcie-root-port'])[11]/@index", "11"});
}

static void test_networks(void **state)
{
	struct world *w = *state;
	struct vmj_port *user;

	CHECK(w, {"count(//interface)", "0"}, {"count(/domain/q:commandline)", "0"});
	add_tap(w, "br0");
	add_tap(w, NULL);
	user = &w->guest.ports[1];
	user->n_forwards = 2;
	user->forwards[0] = (struct vmj_forward){.host_port = 40022, .guest_port = 22};
	user->forwards[1] = (struct vmj_forward){.udp = true, .host_port = 40053, .guest_port = 53};
	CHECK(w, {"count(//interface)", "1"}, {"//interface/source/@bridge", "br0"},
	      {"//interface/target/@dev", "vj42.0"},
	      {"//interface/mac/@address", "52:54:00:00:00:00"},
	      {"//q:commandline/q:arg[1]/@value", "-netdev"},
	      {"//q:commandline/q:arg[2]/@value",
	       "user,id=vjuser1,hostfwd=tcp::40022-:22,hostfwd=udp::40053-:53"},
	      {"//q:commandline/q:arg[4]/@value",
	       "virtio-net-pci,netdev=vjuser1,bus=pcie.0,addr=0x11,mac=52:54:00:00:00:01"});
}

static void test_watchdog(void **state)
{
	struct world *w = *state;

	w->guest.request.watchdog = true;
	CHECK(w, {"//watchdog/@model", "i6300esb"}, {"//watchdog/@action", "reset"});
}

static void make_cells(struct world *w)
{
	w->shape = (struct vmj_shape){
		.vcpus = 4,
		.sockets = 2,
		.cores = 2,
		.threads = 1,
		.n_cells = 2,
		.cells = {{.first_vcpu = 0, .n_vcpus = 2, .memory_mib = 256, .host_node = 0},
			  {.first_vcpu = 2, .n_vcpus = 2, .memory_mib = 256, .host_node = 3}}};
}

static void test_numa(void **state)
{
	struct world *w = *state;

	make_cells(w);
	CHECK(w, {"count(/domain/cpu/numa/cell)", "2"}, {"/domain/cpu/numa/cell[2]/@cpus", "2-3"},
	      {"/domain/cpu/numa/cell[2]/@memory", "256"}, {"/domain/vcpu", "4"},
	      {"/domain/numatune/memnode[2]/@nodeset", "3"},
	      {"/domain/numatune/memnode[2]/@cellid", "1"},
	      {"/domain/numatune/memnode[1]/@mode", "strict"});
	w->shape.cells[0].host_node = w->shape.cells[1].host_node = -1;
	CHECK(w, {"count(/domain/numatune)", "0"}, {"count(/domain/cpu/numa/cell)", "2"});
}

static void test_refuses_too_many_vcpus(void **state)
{
	struct world *w = *state;
	struct vmj_error err = {.code = 0};
	char *xml = NULL;

	w->shape = (struct vmj_shape){.vcpus = 256, .sockets = 1, .cores = 256, .threads = 1};
	assert_user_refused(vmj_domain_xml(&w->spec, &xml, &err), err, ERANGE, "at most 255");
	assert_null(xml);
	w->shape = (struct vmj_shape){.vcpus = 3, .sockets = 1, .cores = 2, .threads = 1};
	assert_refused(vmj_domain_xml(&w->spec, &xml, &err), err, EINVAL, "3 vCPUs are not");
}

static void test_refuses_bad_macs(void **state)
{
	static const char *const macs[] = {"",
					   "52:54:00:00:00",
					   "52-54-00-00-00-01",
					   "52:54:00:00:00:0,",
					   "52:54:00:00:00:0g",
					   "x,netdev=vjuser0"};
	struct world *w = *state;
	char *xml = NULL;

	add_tap(w, NULL);
	for (size_t i = 0; i < sizeof(macs) / sizeof(macs[0]); i++) {
		struct vmj_error err = {.code = 0};

		snprintf(w->guest.ports[0].mac, sizeof(w->guest.ports[0].mac), "%s", macs[i]);
		assert_user_refused(vmj_domain_xml(&w->spec, &xml, &err), err, EINVAL, "MAC");
	}
}

/* Every text of the record that gets into the document, with everything that means something to XML
 * or to a shell: it must come back as it was, and change nothing else. */
static void test_hostile_strings(void **state)
{
	static const char evil[] = "'\"/><evil a='&amp;]]>$(id)`id`;../\xc3\xa9<!--";
	struct world *w = *state;
	xmlDocPtr doc;

	add_disk(w, VMJ_GUEST_DISK_OVERLAY, evil, evil);
	add_disk(w, VMJ_GUEST_DISK_EMPTY, evil, "");
	add_tap(w, evil);
	snprintf(w->guest.ports[0].device, sizeof(w->guest.ports[0].device), "'/><evil");
	snprintf(w->guest.user, sizeof(w->guest.user), "%s", evil);
	w->spec.cpu = w->spec.seed = w->spec.console_log = evil;
	doc = make(w);
	assert_xpath(doc, "count(//evil)", "0");
	assert_xpath(doc, "count(//comment())", "0");
	assert_xpath(doc, "/domain/metadata/v:guest/@user", evil);
	assert_xpath(doc, "/domain/cpu/model", evil);
	assert_xpath(doc, "//disk[1]/source/@file", evil);
	assert_xpath(doc, "//disk[1]/backingStore/source/@file", evil);
	assert_xpath(doc, "//disk[2]/source/@file", evil);
	assert_xpath(doc, "//disk[3]/source/@file", evil);
	assert_xpath(doc, "//serial/log/@file", evil);
	assert_xpath(doc, "//interface/source/@bridge", evil);
	assert_xpath(doc, "//interface/target/@dev", "'/><evil");
	xmlFreeDoc(doc);
}

static void assert_unwritable(struct world *w)
{
	struct vmj_error err = {.code = 0};
	char *xml = NULL;

	assert_user_refused(vmj_domain_xml(&w->spec, &xml, &err), err, EINVAL, "cannot hold");
	assert_null(xml);
}

static void test_refuses_control_characters(void **state)
{
	struct world *w = *state;

	snprintf(w->guest.user, sizeof(w->guest.user), "a\1b");
	assert_unwritable(w);
	snprintf(w->guest.user, sizeof(w->guest.user), "a\nb");
	assert_unwritable(w);
	snprintf(w->guest.user, sizeof(w->guest.user), "\xff\xfe");
	assert_unwritable(w);
	snprintf(w->guest.user, sizeof(w->guest.user), "alice");
	w->spec.cpu = "EP\tYC";
	assert_unwritable(w);
}

#define SCHEMA "/usr/share/libvirt/schemas/domain.rng"

static xmlRelaxNGPtr load_schema(void)
{
	xmlRelaxNGParserCtxtPtr p = xmlRelaxNGNewParserCtxt(SCHEMA);
	xmlRelaxNGPtr schema = xmlRelaxNGParse(p);

	xmlRelaxNGFreeParserCtxt(p);
	assert_non_null(schema);
	return schema;
}

/* libvirt's own schema, where it is installed: the fullest guest. */
static void test_schema(void **state)
{
	struct world *w = *state;
	xmlRelaxNGValidCtxtPtr v;
	xmlRelaxNGPtr schema;
	xmlDocPtr doc;

	if (access(SCHEMA, R_OK) < 0)
		skip();
	make_cells(w);
	add_tap(w, "br0");
	add_tap(w, NULL);
	w->guest.request.watchdog = true;
	add_root(w);
	add_disk(w, VMJ_GUEST_DISK_IMAGE, "/d/disk1.qcow2", "/d/x.qcow2")->readonly = true;
	w->spec.seed = "/d/seed.img";
	w->spec.cpu = "EPYC";
	doc = make(w);
	schema = load_schema();
	v = xmlRelaxNGNewValidCtxt(schema);
	assert_int_equal(xmlRelaxNGValidateDoc(v, doc), 0);
	xmlRelaxNGFreeValidCtxt(v);
	xmlRelaxNGFree(schema);
	xmlFreeDoc(doc);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_world, free_world)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_identity),
		TEST(test_uuid_is_the_guests),
		TEST(test_machine),
		TEST(test_label),
		TEST(test_tcg),
		TEST(test_kvm),
		TEST(test_disks),
		TEST(test_disks_stop_on_errors),
		TEST(test_chain),
		TEST(test_disk_alone),
		TEST(test_places_for_disks),
		TEST(test_networks),
		TEST(test_watchdog),
		TEST(test_numa),
		TEST(test_refuses_too_many_vcpus),
		TEST(test_refuses_bad_macs),
		TEST(test_hostile_strings),
		TEST(test_refuses_control_characters),
		TEST(test_schema),
	};

	if (sodium_init() < 0)
		return 99;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
