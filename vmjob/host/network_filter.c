/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. One table for all guests of the host:
 *
 *	table bridge vmjob {
 *		map ports { type ifname : verdict; elements = { "vj5.0" : jump vj5.0 } }
 *		chain in { type filter hook prerouting priority -300; iifname vmap @ports }
 *		chain vj5.0 { … what port 0 of job 5 may say; drop }
 *	}
 *
 * A frame from any other interface costs one look-up. Each change is one nft transaction, which the
 * kernel takes whole or not at all, and which first adds what it needs, then replaces or deletes:
 *so repeating it, or running it after a crash, is harmless. Values get into the script only after
 * they were parsed.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <nftables/libnftables.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/host/network.h"

#define SCRIPT_MAX (VMJ_NETS_MAX * 2048)

struct script {
	char text[SCRIPT_MAX];
	size_t len;
};

static void __attribute__((format(printf, 2, 3))) say(struct script *s, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(s->text + s->len, sizeof(s->text) - s->len, fmt, ap);
	va_end(ap);
	s->len += (size_t)n < sizeof(s->text) - s->len ? (size_t)n : sizeof(s->text) - s->len - 1;
}

/* What a port may say, parsed. */
struct rights {
	char chain[16]; /* its device's name */
	unsigned char mac[6];
	char address[INET_ADDRSTRLEN]; /* "": any */
};

static int parse_rights(const struct vmj_guest *g, unsigned int i, struct rights *r,
			struct vmj_error *err)
{
	const struct vmj_port *p = &g->ports[i];
	struct in_addr a;
	char end;

	snprintf(r->chain, sizeof(r->chain), "vj%" PRIu32 ".%u", g->job, i);
	if (sscanf(p->mac, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%c", &r->mac[0], &r->mac[1],
		   &r->mac[2], &r->mac[3], &r->mac[4], &r->mac[5], &end) != 6)
		return vmj_fail(err, EINVAL, "port %u: its MAC address is damaged", i);
	snprintf(r->address, sizeof(r->address), "%.*s", (int)strcspn(p->address, "/"), p->address);
	if (r->address[0] && inet_pton(AF_INET, r->address, &a) != 1)
		return vmj_fail(err, EINVAL, "port %u: its address is damaged", i);
	return 0;
}

static void say_table(struct script *s)
{
	say(s,
	    "add table bridge vmjob\n"
	    "add map bridge vmjob ports { type ifname : verdict; }\n"
	    "add chain bridge vmjob in { type filter hook prerouting priority -300; policy accept; }\n"
	    "flush chain bridge vmjob in\n"
	    "add rule bridge vmjob in iifname vmap @ports\n");
}

#define RULE(s, r, ...) \
	(say(s, "add rule bridge vmjob %s ", (r)->chain), say(s, __VA_ARGS__), say(s, "\n"))

/* 0.0.0.0 is what a machine without an address says: in DHCP, and in ARP to see whether an address
 * is free. RARP is QEMU's announcement after a move. */
static void say_ipv4(struct script *s, const struct rights *r, const char *mac)
{
	RULE(s, r, "ether type 0x8035 accept");
	RULE(s, r, "ether type arp arp saddr ether != %s drop", mac);
	if (r->address[0])
		RULE(s, r, "ether type arp arp saddr ip != { %s, 0.0.0.0 } drop", r->address);
	RULE(s, r, "ether type arp accept");
	RULE(s, r, "ether type ip udp sport 67 drop"); /* a DHCP server */
	RULE(s, r, "ether type ip ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept");
	if (r->address[0])
		RULE(s, r, "ether type ip ip saddr != %s drop", r->address);
	RULE(s, r, "ether type ip accept");
}

/* Its own link-local address (RFC 4291, appendix A), and :: to see whether that is free. It must
 * not play the router or the DHCP server, nor speak for another's address. */
static void say_ipv6(struct script *s, const struct rights *r)
{
	const unsigned char *m = r->mac;
	char own[INET6_ADDRSTRLEN];

	snprintf(own, sizeof(own), "fe80::%02x%02x:%02xff:fe%02x:%02x%02x", m[0] ^ 2, m[1], m[2],
		 m[3], m[4], m[5]);
	RULE(s, r, "ether type != ip6 drop");
	RULE(s, r, "icmpv6 type { nd-router-advert, nd-redirect } drop");
	RULE(s, r, "udp sport 547 drop");
	/* The target of an advertisement, which this nftables has no name for. */
	RULE(s, r,
	     "icmpv6 type nd-neighbor-advert @th,64,128 != "
	     "0xfe80000000000000%02x%02x%02xfffe%02x%02x%02x drop",
	     m[0] ^ 2, m[1], m[2], m[3], m[4], m[5]);
	RULE(s, r, "ip6 saddr :: icmpv6 type { nd-neighbor-solicit, mld2-listener-report } accept");
	RULE(s, r, "ip6 saddr != %s drop", own);
	RULE(s, r, "accept");
}

static void say_port(struct script *s, const struct rights *r)
{
	char mac[18];

	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", r->mac[0], r->mac[1], r->mac[2],
		 r->mac[3], r->mac[4], r->mac[5]);
	say(s, "add chain bridge vmjob %s\nflush chain bridge vmjob %s\n", r->chain, r->chain);
	RULE(s, r, "ether saddr != %s drop", mac);
	say_ipv4(s, r, mac);
	say_ipv6(s, r);
	say(s, "add element bridge vmjob ports { \"%s\" : jump %s }\n", r->chain, r->chain);
}

/* Also for a port that has none. */
static void say_no_port(struct script *s, const char *chain)
{
	say(s, "add chain bridge vmjob %s\n", chain);
	say(s, "add element bridge vmjob ports { \"%s\" : jump %s }\n", chain, chain);
	say(s, "delete element bridge vmjob ports { \"%s\" : jump %s }\n", chain, chain);
	say(s, "flush chain bridge vmjob %s\ndelete chain bridge vmjob %s\n", chain, chain);
}

/* libnftables keeps state of its own between contexts. */
static pthread_mutex_t nft_lock = PTHREAD_MUTEX_INITIALIZER;

static int run(const struct script *s, const char *what, struct vmj_error *err)
{
	struct nft_ctx *nft;
	int rc = 0;

	pthread_mutex_lock(&nft_lock);
	nft = nft_ctx_new(NFT_CTX_DEFAULT);
	if (!nft) {
		rc = vmj_fail(err, ENOMEM, "%s: libnftables cannot start", what);
	} else {
		nft_ctx_buffer_output(nft);
		nft_ctx_buffer_error(nft);
		if (nft_run_cmd_from_buffer(nft, s->text) != 0)
			rc = vmj_fail(err, EIO, "%s: nftables refused: %s", what,
				      nft_ctx_get_error_buffer(nft));
		nft_ctx_free(nft);
	}
	pthread_mutex_unlock(&nft_lock);
	return rc;
}

static bool has_filter(const struct vmj_config *c, const struct vmj_port *p)
{
	const struct vmj_net_config *n = vmj_config_network(c, p->network);

	/* A network that has vanished from vmjob.conf since: rather too much than too little. */
	return p->device[0] && (!n || n->filter);
}

int vmj_ports_filter(const struct vmj_config *c, const struct vmj_guest *guest,
		     struct vmj_error *err)
{
	struct script s = {.len = 0};
	bool any = false;

	say_table(&s);
	for (unsigned int i = 0; i < guest->n_ports; i++) {
		struct rights r;
		int rc;

		if (!has_filter(c, &guest->ports[i]))
			continue;
		rc = parse_rights(guest, i, &r, err);
		if (rc < 0)
			return rc;
		say_port(&s, &r);
		any = true;
	}
	return any ? run(&s, "cannot filter the guest's ports", err) : 0;
}

int vmj_ports_unfilter(const struct vmj_guest *guest, struct vmj_error *err)
{
	struct script s = {.len = 0};
	bool any = false;

	say_table(&s);
	for (unsigned int i = 0; i < guest->n_ports; i++) {
		char chain[16];

		if (!guest->ports[i].device[0])
			continue;
		snprintf(chain, sizeof(chain), "vj%" PRIu32 ".%u", guest->job, i);
		say_no_port(&s, chain);
		any = true;
	}
	return any ? run(&s, "cannot remove the filter of the guest's ports", err) : 0;
}
