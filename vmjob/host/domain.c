/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libvirt's words for each element: https://libvirt.org/formatdomain.html. What is said about
 * labels and backing chains was found by doc/decisions/qemu-as-the-user.md. */
#include "vmjob/host/domain.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/host/domain_disk.h"
#include "vmjob/host/xml.h"

#define TB_CACHE_MIB                                                                \
	32 /* TCG's translations would else grow to 1 GiB beside the guest's memory \
	    */
#define BALLOON_PERIOD_S "10"
#define USER_PORT_SLOT   0x10 /* libvirt, which does not know of these devices, fills up from 1 */
#define HELPERS          4 /* what put_helpers() adds on PCI: virtio-serial, balloon, rng, watchdog */
#define QEMU_XMLNS       "http://libvirt.org/schemas/domain/qemu/1.0"

VMJ_DEFINE_CLEANUP(struct vmj_xml *, vmj_xml_free);
#define auto_xml VMJ_CLEANUP(vmj_xml_freep)

/* The same for the same guest at every try, another for each restart: cloud-init and systemd take
 * it as the machine's identity. */
static void format_uuid(const struct vmj_guest *g, char buf[37])
{
	char seed[128];
	unsigned char h[16];
	int n = snprintf(seed, sizeof(seed), "vmjob %s %" PRIu32 " %" PRIu32 " %u", g->boot_id,
			 g->job, g->restart, (unsigned int)g->uid);

	crypto_generichash(h, sizeof(h), (unsigned char *)seed, (unsigned long long)n, NULL, 0);
	h[6] = (h[6] & 0x0f) | 0x80; /* RFC 9562, version 8: made by our own rule */
	h[8] = (h[8] & 0x3f) | 0x80;
	snprintf(buf, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
		 h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7], h[8], h[9], h[10], h[11], h[12],
		 h[13], h[14], h[15]);
}

static void put_identity(struct vmj_xml *x, const struct vmj_guest *g)
{
	char name[VMJ_DOMAIN_NAME_MAX], uuid[37];

	format_uuid(g, uuid);
	vmj_xml_leaf(x, "name", "%s", vmj_domain_name(g->job, name));
	vmj_xml_leaf(x, "uuid", "%s", uuid);
	vmj_xml_open(x, "metadata");
	vmj_xml_open(x, "vmjob:guest");
	vmj_xml_attr(x, "xmlns:vmjob", "%s", VMJ_DOMAIN_XMLNS);
	vmj_xml_attr(x, "job", "%" PRIu32, g->job);
	vmj_xml_attr(x, "restart", "%" PRIu32, g->restart);
	vmj_xml_attr(x, "uid", "%u", (unsigned int)g->uid);
	vmj_xml_attr(x, "user", "%s", g->user);
	vmj_xml_close(x);
	vmj_xml_close(x);
}

static uint32_t max_vcpus(const struct vmj_shape *s)
{
	return s->n_cells == 0 && 2 * s->vcpus <= VMJ_DOMAIN_VCPUS_MAX ? 2 * s->vcpus : s->vcpus;
}

static void put_cells(struct vmj_xml *x, const struct vmj_shape *s)
{
	vmj_xml_open(x, "numa");
	for (unsigned int i = 0; i < s->n_cells; i++) {
		const struct vmj_cell *c = &s->cells[i];

		vmj_xml_open(x, "cell");
		vmj_xml_attr(x, "id", "%u", i);
		vmj_xml_attr(x, "cpus", "%" PRIu32 "-%" PRIu32, c->first_vcpu,
			     c->first_vcpu + c->n_vcpus - 1);
		vmj_xml_attr(x, "memory", "%" PRIu64, c->memory_mib);
		vmj_xml_attr(x, "unit", "MiB");
		vmj_xml_close(x);
	}
	vmj_xml_close(x);
}

/* Models are those of libvirt's CPU map. check='none': what this host lacks is left out, rather
 * than that the node is blamed. */
static void put_cpu(struct vmj_xml *x, const struct vmj_domain_spec *spec)
{
	const struct vmj_shape *s = spec->shape;
	bool host = strcmp(spec->cpu, "host") == 0, max = strcmp(spec->cpu, "max") == 0;

	vmj_xml_open(x, "cpu");
	if (host && spec->kvm)
		vmj_xml_attr(x, "mode", "host-passthrough");
	else if (host || max)
		vmj_xml_attr(x, "mode", "maximum");
	else
		vmj_xml_attr(x, "mode", "custom");
	if (!host && !max)
		vmj_xml_attr(x, "match", "exact");
	vmj_xml_attr(x, "check", "none");
	if (!host && !max) {
		vmj_xml_open(x, "model");
		vmj_xml_attr(x, "fallback", "forbid");
		vmj_xml_text(x, "%s", spec->cpu);
		vmj_xml_close(x);
	}
	vmj_xml_open(x, "topology");
	vmj_xml_attr(x, "sockets", "%" PRIu32, s->sockets * (max_vcpus(s) / s->vcpus));
	vmj_xml_attr(x, "cores", "%" PRIu32, s->cores);
	vmj_xml_attr(x, "threads", "%" PRIu32, s->threads);
	vmj_xml_close(x);
	if (s->n_cells)
		put_cells(x, s);
	vmj_xml_close(x);
}

static void put_numatune(struct vmj_xml *x, const struct vmj_shape *s)
{
	bool bound = false;

	for (unsigned int i = 0; i < s->n_cells; i++)
		bound |= s->cells[i].host_node >= 0;
	if (!bound)
		return;
	vmj_xml_open(x, "numatune");
	for (unsigned int i = 0; i < s->n_cells; i++) {
		if (s->cells[i].host_node < 0)
			continue;
		vmj_xml_open(x, "memnode");
		vmj_xml_attr(x, "cellid", "%u", i);
		vmj_xml_attr(x, "mode", "strict");
		vmj_xml_attr(x, "nodeset", "%d", s->cells[i].host_node);
		vmj_xml_close(x);
	}
	vmj_xml_close(x);
}

static void put_machine(struct vmj_xml *x, const struct vmj_domain_spec *spec)
{
	const struct vmj_shape *s = spec->shape;

	vmj_xml_open(x, "memory");
	vmj_xml_attr(x, "unit", "MiB");
	vmj_xml_text(x, "%" PRIu64, spec->guest->request.memory_mib);
	vmj_xml_close(x);
	vmj_xml_open(x, "vcpu");
	vmj_xml_attr(x, "placement", "static");
	vmj_xml_attr(x, "current", "%" PRIu32, s->vcpus);
	vmj_xml_text(x, "%" PRIu32, max_vcpus(s));
	vmj_xml_close(x);
	put_numatune(x, s);
	vmj_xml_open(x, "os");
	vmj_xml_open(x, "type");
	vmj_xml_attr(x, "arch", "x86_64");
	vmj_xml_attr(x, "machine", "q35");
	vmj_xml_text(x, "hvm");
	vmj_xml_close(x);
	vmj_xml_close(x);
	vmj_xml_open(x, "features");
	vmj_xml_empty(x, "acpi", NULL);
	vmj_xml_empty(x, "apic", NULL);
	if (!spec->kvm) {
		vmj_xml_open(x, "tcg");
		vmj_xml_open(x, "tb-cache");
		vmj_xml_attr(x, "unit", "MiB");
		vmj_xml_text(x, "%d", TB_CACHE_MIB);
		vmj_xml_close(x);
		vmj_xml_close(x);
	}
	vmj_xml_close(x);
	put_cpu(x, spec);
}

/* A crash ends the guest (pvpanic, reported first); sleep states that nobody would wake it from are
 * not offered. */
static void put_life(struct vmj_xml *x)
{
	vmj_xml_empty(x, "clock", "offset", "utc", NULL);
	vmj_xml_leaf(x, "on_poweroff", "destroy");
	vmj_xml_leaf(x, "on_reboot", "restart");
	vmj_xml_leaf(x, "on_crash", "destroy");
	vmj_xml_open(x, "pm");
	vmj_xml_empty(x, "suspend-to-mem", "enabled", "no", NULL);
	vmj_xml_empty(x, "suspend-to-disk", "enabled", "no", NULL);
	vmj_xml_close(x);
}

/* A device on PCI Express needs a port of its own, and one that is plugged in while the guest runs,
 * a port that was there before. */
static void put_ports(struct vmj_xml *x, const struct vmj_domain_spec *spec)
{
	const struct vmj_guest *g = spec->guest;
	unsigned int n = HELPERS + g->n_disks + (spec->seed ? 1 : 0) + VMJ_ATTACHED_MAX;
	char index[12];

	for (unsigned int i = 0; i < g->n_ports; i++)
		n += spec->bridges[i] ? 1 : 0;
	for (unsigned int i = 1; i <= n; i++) {
		snprintf(index, sizeof(index), "%u", i);
		vmj_xml_empty(x, "controller", "type", "pci", "index", index, "model",
			      "pcie-root-port", NULL);
	}
}

static void put_disks(struct vmj_xml *x, const struct vmj_domain_spec *spec)
{
	for (unsigned int i = 0; i < spec->guest->n_disks; i++)
		vmj_domain_put_disk(x, &spec->guest->disks[i], spec->direct_io[i]);
	if (spec->seed)
		vmj_domain_put_seed(x, spec->seed);
}

static void put_taps(struct vmj_xml *x, const struct vmj_domain_spec *spec)
{
	const struct vmj_guest *g = spec->guest;

	for (unsigned int i = 0; i < g->n_ports; i++) {
		if (!spec->bridges[i])
			continue;
		vmj_xml_open(x, "interface");
		vmj_xml_attr(x, "type", "bridge");
		vmj_xml_empty(x, "mac", "address", g->ports[i].mac, NULL);
		vmj_xml_empty(x, "source", "bridge", spec->bridges[i], NULL);
		vmj_xml_empty(x, "target", "dev", g->ports[i].device, NULL);
		vmj_xml_empty(x, "model", "type", "virtio", NULL);
		vmj_xml_close(x);
	}
}

static void put_serial(struct vmj_xml *x, const char *log)
{
	vmj_xml_open(x, "serial");
	vmj_xml_attr(x, "type", "pty");
	vmj_xml_empty(x, "log", "file", log, "append", "on", NULL);
	vmj_xml_empty(x, "target", "type", "isa-serial", "port", "0", NULL);
	vmj_xml_close(x);
	vmj_xml_open(x, "console");
	vmj_xml_attr(x, "type", "pty");
	vmj_xml_empty(x, "target", "type", "serial", "port", "0", NULL);
	vmj_xml_close(x);
}

static void put_helpers(struct vmj_xml *x, const struct vmj_domain_spec *spec)
{
	vmj_xml_empty(x, "controller", "type", "usb", "model", "none", NULL);
	vmj_xml_open(x, "channel");
	vmj_xml_attr(x, "type", "unix");
	vmj_xml_empty(x, "target", "type", "virtio", "name", "org.qemu.guest_agent.0", NULL);
	vmj_xml_close(x);
	vmj_xml_open(x, "memballoon");
	vmj_xml_attr(x, "model", "virtio");
	vmj_xml_empty(x, "stats", "period", BALLOON_PERIOD_S, NULL);
	vmj_xml_close(x);
	vmj_xml_open(x, "rng");
	vmj_xml_attr(x, "model", "virtio");
	vmj_xml_open(x, "backend");
	vmj_xml_attr(x, "model", "random");
	vmj_xml_text(x, "/dev/urandom");
	vmj_xml_close(x);
	vmj_xml_close(x);
	vmj_xml_empty(x, "panic", "model", "isa", NULL);
	if (spec->guest->request.watchdog)
		vmj_xml_empty(x, "watchdog", "model", "i6300esb", "action", "reset", NULL);
}

static void put_devices(struct vmj_xml *x, const struct vmj_domain_spec *spec)
{
	vmj_xml_open(x, "devices");
	put_ports(x, spec);
	put_disks(x, spec);
	put_taps(x, spec);
	put_serial(x, spec->console_log);
	put_helpers(x, spec);
	vmj_xml_close(x);
}

static void put_label(struct vmj_xml *x, const struct vmj_guest *g)
{
	vmj_xml_open(x, "seclabel");
	vmj_xml_attr(x, "type", "static");
	vmj_xml_attr(x, "model", "dac");
	vmj_xml_attr(x, "relabel", "yes");
	vmj_xml_leaf(x, "label", "+%u:+%u", (unsigned int)g->uid, (unsigned int)g->gid);
	vmj_xml_close(x);
}

static void put_qemu_arg(struct vmj_xml *x, const char *value)
{
	vmj_xml_empty(x, "qemu:arg", "value", value, NULL);
}

/* libvirt 9.0 cannot forward ports into a user-mode network inside QEMU, which is where it is
 * confined and accounted with the guest (passt would be a process of libvirtd's). */
static void put_user_port(struct vmj_xml *x, unsigned int index, const struct vmj_port *p)
{
	char arg[64 + 48 * VMJ_FORWARDS_MAX];
	size_t n;

	n = (size_t)snprintf(arg, sizeof(arg), "user,id=vjuser%u", index);
	for (unsigned int i = 0; i < p->n_forwards && i < VMJ_FORWARDS_MAX; i++)
		n += (size_t)snprintf(arg + n, sizeof(arg) - n, ",hostfwd=%s::%u-:%u",
				      p->forwards[i].udp ? "udp" : "tcp", p->forwards[i].host_port,
				      p->forwards[i].guest_port);
	put_qemu_arg(x, "-netdev");
	put_qemu_arg(x, arg);
	snprintf(arg, sizeof(arg), "virtio-net-pci,netdev=vjuser%u,bus=pcie.0,addr=0x%x,mac=%s",
		 index, USER_PORT_SLOT + index, p->mac);
	put_qemu_arg(x, "-device");
	put_qemu_arg(x, arg);
}

static void put_user_ports(struct vmj_xml *x, const struct vmj_domain_spec *spec)
{
	const struct vmj_guest *g = spec->guest;
	bool any = false;

	for (unsigned int i = 0; i < g->n_ports; i++)
		any |= !spec->bridges[i];
	if (!any)
		return;
	vmj_xml_open(x, "qemu:commandline");
	for (unsigned int i = 0; i < g->n_ports; i++)
		if (!spec->bridges[i])
			put_user_port(x, i, &g->ports[i]);
	vmj_xml_close(x);
}

/* XML takes any text, QEMU's command line does not. */
static int check_macs(const struct vmj_guest *g, struct vmj_error *err)
{
	for (unsigned int i = 0; i < g->n_ports; i++) {
		const char *mac = g->ports[i].mac;
		char quoted[80];

		for (size_t k = 0; k < 17; k++)
			if (k % 3 == 2 ? mac[k] != ':'
				       : !strchr("0123456789abcdef", mac[k]) || !mac[k])
				return vmj_fail_user(err, EINVAL,
						     "port %u: \"%s\" is not a MAC address", i,
						     vmj_quote(mac, quoted, sizeof(quoted)));
		if (mac[17])
			return vmj_fail_user(err, EINVAL, "port %u: its MAC address is too long",
					     i);
	}
	return 0;
}

static int check_spec(const struct vmj_domain_spec *spec, struct vmj_error *err)
{
	const struct vmj_shape *s = spec->shape;

	if (s->vcpus == 0 || s->vcpus != s->sockets * s->cores * s->threads)
		return vmj_fail(err, EINVAL,
				"%" PRIu32 " vCPUs are not %" PRIu32 " sockets of %" PRIu32
				" cores of %" PRIu32 " threads",
				s->vcpus, s->sockets, s->cores, s->threads);
	if (s->vcpus > VMJ_DOMAIN_VCPUS_MAX)
		return vmj_fail_user(err, ERANGE, "a guest can have at most %d vCPUs, not %" PRIu32,
				     VMJ_DOMAIN_VCPUS_MAX, s->vcpus);
	if (spec->guest->n_ports > VMJ_NETS_MAX)
		return vmj_fail(err, EINVAL, "a guest can have at most %d ports", VMJ_NETS_MAX);
	if (spec->guest->n_disks > VMJ_GUEST_DISKS_MAX)
		return vmj_fail(err, EINVAL, "a guest can have at most %d disks",
				VMJ_GUEST_DISKS_MAX);
	return check_macs(spec->guest, err);
}

int vmj_domain_xml(const struct vmj_domain_spec *spec, char **ret, struct vmj_error *err)
{
	auto_xml struct vmj_xml *x = NULL;
	int rc = check_spec(spec, err);

	if (rc < 0)
		return rc;
	x = vmj_xml_new();
	if (!x)
		return vmj_fail(err, ENOMEM, "cannot write a guest's description: out of memory");
	vmj_xml_open(x, "domain");
	vmj_xml_attr(x, "type", spec->kvm ? "kvm" : "qemu");
	vmj_xml_attr(x, "xmlns:qemu", "%s", QEMU_XMLNS);
	put_identity(x, spec->guest);
	put_machine(x, spec);
	put_life(x);
	put_devices(x, spec);
	put_label(x, spec->guest);
	put_user_ports(x, spec);
	vmj_xml_close(x);
	return vmj_xml_end(x, ret, err);
}
