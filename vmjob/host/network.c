/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/host/network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <net/if.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"

#define PORT_PRIVILEGED 1024
/* Job ids are handed out in sequence, so those of guests that run together lie close: nodes and
 * ports of one job keep far from its neighbours. Primes, so that they meet late in any pool. */
#define NODE_STRIDE 7919u
#define PORT_STRIDE 104729u

static const struct vmj_net_config *network_of(const struct vmj_config *c, const char *name,
					       unsigned int index, struct vmj_error *err)
{
	const struct vmj_net_config *n = vmj_config_network(c, name);
	char quoted[80];

	if (!n)
		vmj_fail_user(err, ENOENT, "port %u: there is no network \"%s\" in vmjob.conf",
			      index, vmj_quote(name, quoted, sizeof(quoted)));
	return n;
}

/* Locally administered, in the range that QEMU's users expect. */
static void make_mac(uint32_t job, unsigned int node, unsigned int port, char buf[18])
{
	unsigned char h[16];
	char seed[64];
	int n = snprintf(seed, sizeof(seed), "vmjob mac %" PRIu32 " %u %u", job, node, port);

	crypto_generichash(h, sizeof(h), (unsigned char *)seed, (unsigned long long)n, NULL, 0);
	snprintf(buf, 18, "52:54:%02x:%02x:%02x:%02x", h[0], h[1], h[2], h[3]);
}

static void make_address(const struct vmj_net_config *n, uint32_t job, unsigned int node,
			 unsigned int port, char *buf, size_t size)
{
	uint32_t first = ntohl(n->pool_first.s_addr), last = ntohl(n->pool_last.s_addr);
	uint64_t offset =
		(uint64_t)job + (uint64_t)node * NODE_STRIDE + (uint64_t)port * PORT_STRIDE;
	char text[INET_ADDRSTRLEN];
	struct in_addr a;

	buf[0] = '\0';
	if (n->prefix == 0 || first == 0 || last < first)
		return;
	a.s_addr = htonl(first + (uint32_t)(offset % (last - first + 1ull)));
	if (a.s_addr == n->gateway.s_addr)
		a.s_addr = htonl(ntohl(a.s_addr) < last ? ntohl(a.s_addr) + 1 : first);
	inet_ntop(AF_INET, &a, text, sizeof(text));
	snprintf(buf, size, "%s/%u", text, n->prefix);
}

static int plan_port(const struct vmj_config *c, const struct vmj_guest *g, unsigned int i,
		     unsigned int node, struct vmj_port *p, struct vmj_error *err)
{
	const struct vmj_net_request *r = &g->request.nets[i];
	const struct vmj_net_config *n = network_of(c, r->network, i, err);

	if (!n)
		return -ENOENT;
	if (!vmj_net_allows(n, g->uid, g->gid))
		return vmj_fail_user(err, EPERM, "port %u: user %s may not use network %s", i,
				     g->user, n->name);
	if (r->n_forwards && n->kind != VMJ_NET_USER)
		return vmj_fail_user(
			err, EINVAL,
			"port %u: ports are forwarded into user-mode networks only, and "
			"%s is none",
			i, n->name);
	snprintf(p->network, sizeof(p->network), "%s", n->name);
	if (n->kind != VMJ_NET_USER) {
		snprintf(p->device, sizeof(p->device), "vj%" PRIu32 ".%u", g->job, i);
		make_address(n, g->job, node, i, p->address, sizeof(p->address));
	}
	if (r->mac[0])
		snprintf(p->mac, sizeof(p->mac), "%s", r->mac);
	else
		make_mac(g->job, node, i, p->mac);
	p->n_forwards = r->n_forwards;
	memcpy(p->forwards, r->forwards, sizeof(p->forwards));
	return 0;
}

int vmj_ports_plan(const struct vmj_config *c, struct vmj_guest *guest, unsigned int node_index,
		   struct vmj_error *err)
{
	struct vmj_port ports[VMJ_NETS_MAX] = {0};
	unsigned int n = guest->request.n_nets;

	if (n > VMJ_NETS_MAX)
		return vmj_fail_user(err, ERANGE, "a guest has at most %d ports", VMJ_NETS_MAX);
	for (unsigned int i = 0; i < n; i++) {
		int rc = plan_port(c, guest, i, node_index, &ports[i], err);

		if (rc < 0)
			return rc;
	}
	memcpy(guest->ports, ports, sizeof(ports));
	guest->n_ports = n;
	return 0;
}

const char *vmj_net_bridge(const struct vmj_net_config *n, char buf[16])
{
	unsigned char h[16];

	switch (n->kind) {
	case VMJ_NET_BRIDGE:
		snprintf(buf, 16, "%s", n->bridge);
		return buf;
	case VMJ_NET_NAT:
		crypto_generichash(h, sizeof(h), (const unsigned char *)n->name, strlen(n->name),
				   NULL, 0);
		snprintf(buf, 16, "vjn%02x%02x%02x%02x", h[0], h[1], h[2], h[3]);
		return buf;
	default:
		return NULL;
	}
}

static int check_bridge(const struct vmj_net_config *n, struct vmj_error *err)
{
	vmj_autoclose int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq r = {0};
	char path[64];

	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", n->bridge);
	if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &r) < 0)
		return vmj_fail(err, ENODEV, "network %s: this host has no bridge %s", n->name,
				n->bridge);
	snprintf(path, sizeof(path), "/sys/class/net/%s/bridge", n->bridge);
	if (access(path, F_OK) < 0)
		return vmj_fail(err, ENODEV, "network %s: %s is no bridge on this host", n->name,
				n->bridge);
	if (!(r.ifr_flags & IFF_UP))
		return vmj_fail(err, ENETDOWN, "network %s: bridge %s is down on this host",
				n->name, n->bridge);
	return 0;
}

/* Bound to the port on all addresses, as QEMU will be; port 0: any. */
static int bind_port(bool udp, uint16_t *port)
{
	vmj_autoclose int fd = socket(AF_INET, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(*port)};
	socklen_t len = sizeof(a);
	int on = 1;

	if (fd < 0)
		return -errno;
	if (!udp) /* as QEMU does: else connections of a guest before would hold the port */
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || (!udp && listen(fd, 1) < 0) ||
	    getsockname(fd, (struct sockaddr *)&a, &len) < 0)
		return -errno;
	*port = ntohs(a.sin_port);
	return vmj_steal_fd(fd);
}

static int check_forward(struct vmj_forward *f, unsigned int index, int *ret_fd,
			 struct vmj_error *err)
{
	const char *kind = f->udp ? "udp" : "tcp";

	if (f->host_port && f->host_port < PORT_PRIVILEGED)
		return vmj_fail_user(
			err, EACCES,
			"port %u: %s port %u of the host is for root only: forward one "
			"of %d or above",
			index, kind, f->host_port, PORT_PRIVILEGED);
	*ret_fd = bind_port(f->udp, &f->host_port);
	if (*ret_fd == -EADDRINUSE && f->host_port)
		return vmj_fail_user(err, EADDRINUSE, "port %u: %s port %u is in use on this host",
				     index, kind, f->host_port);
	if (*ret_fd < 0)
		return vmj_fail(err, -*ret_fd, "port %u: no free %s port on this host: %s", index,
				kind, vmj_strerror(*ret_fd));
	return 0;
}

/* All stay bound until all are found, so that none is given twice. */
static int check_forwards(struct vmj_port *p, unsigned int index, struct vmj_error *err)
{
	int fds[VMJ_FORWARDS_MAX];
	unsigned int n = 0;
	int rc = 0;

	while (rc == 0 && n < p->n_forwards) {
		rc = check_forward(&p->forwards[n], index, &fds[n], err);
		if (rc == 0)
			n++;
	}
	while (n > 0)
		vmj_close(fds[--n]);
	return rc;
}

int vmj_ports_check(const struct vmj_config *c, struct vmj_guest *guest, struct vmj_error *err)
{
	for (unsigned int i = 0; i < guest->n_ports; i++) {
		struct vmj_port *p = &guest->ports[i];
		const struct vmj_net_config *n = network_of(c, p->network, i, err);
		int rc = 0;

		if (!n)
			return -ENOENT;
		if (n->kind == VMJ_NET_BRIDGE)
			rc = check_bridge(n, err);
		else if (n->kind == VMJ_NET_USER)
			rc = check_forwards(p, i, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}
