/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What every request must keep to, and its summary. */
#include "vmjob/model/request.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "vmjob/model/request-parts.h"
#include "vmjob/model/ssh-keys.h"

static const char *const script_names[] = {
	[VMJ_SCRIPT_DEFAULT] = "default",
	[VMJ_SCRIPT_GUEST] = "guest",
	[VMJ_SCRIPT_HOST] = "host",
	[VMJ_SCRIPT_NONE] = "none",
};
static_assert(sizeof(script_names) / sizeof(script_names[0]) == VMJ_SCRIPT_COUNT_,
	      "a name for each");

const char *vmj_script_name(enum vmj_script script)
{
	return (unsigned int)script < VMJ_SCRIPT_COUNT_ ? script_names[script] : "?";
}

int vmj_script_parse(const char *what, const char *text, enum vmj_script *ret,
		     struct vmj_error *err)
{
	char q[64];

	for (int i = VMJ_SCRIPT_GUEST; i < VMJ_SCRIPT_COUNT_; i++) {
		if (strcmp(text, script_names[i]) == 0) {
			*ret = i;
			return 0;
		}
	}
	return vmj_fail_user(err, EINVAL, "%s: \"%s\" is none of guest, host and none", what,
			     vmj_quote(text, q, sizeof(q)));
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

bool vmj_mac_valid(const char *text)
{
	if (strnlen(text, 18) != 17)
		return false;
	for (int i = 0; i < 17; i++)
		if (i % 3 == 2 ? text[i] != ':' : hex_digit(text[i]) < 0)
			return false;
	return (hex_digit(text[1]) & 3) == 2; /* bit 0: group, bit 1: locally administered */
}

static int check_forward(const struct vmj_forward *f, const char *network, struct vmj_error *err)
{
	if (f->guest_port == 0)
		return vmj_fail_user(err, ERANGE,
				     "--vm-net: network %s: a forward needs the guest's port, from "
				     "1 to 65535",
				     network);
	if (f->host_port && f->host_port < VMJ_HOST_PORT_MIN)
		return vmj_fail_user(err, ERANGE,
				     "--vm-net: network %s: port %u of the host is for the system: "
				     "give %d to 65535, or none to get a free one",
				     network, f->host_port, VMJ_HOST_PORT_MIN);
	return 0;
}

static bool same_host_port(const struct vmj_forward *a, const struct vmj_forward *b)
{
	return a->host_port && a->host_port == b->host_port && a->udp == b->udp;
}

/* Is forward j of net i the second to take its host port? */
static bool host_port_taken(const struct vmj_request *r, unsigned int i, unsigned int j)
{
	const struct vmj_forward *f = &r->nets[i].forwards[j];

	for (unsigned int a = 0; a <= i; a++)
		for (unsigned int b = 0; b < (a < i ? r->nets[a].n_forwards : j); b++)
			if (same_host_port(&r->nets[a].forwards[b], f))
				return true;
	return false;
}

static int check_forwards(const struct vmj_request *r, unsigned int i, struct vmj_error *err)
{
	const struct vmj_net_request *n = &r->nets[i];

	if (n->n_forwards > VMJ_FORWARDS_MAX)
		return vmj_fail_user(err, ERANGE,
				     "--vm-net: network %s: %u forwards are too many: give at most "
				     "%d",
				     n->network, n->n_forwards, VMJ_FORWARDS_MAX);
	for (unsigned int j = 0; j < n->n_forwards; j++) {
		int rc = check_forward(&n->forwards[j], n->network, err);

		if (rc < 0)
			return rc;
		if (host_port_taken(r, i, j))
			return vmj_fail_user(err, EINVAL,
					     "--vm-net: network %s: %s port %u of the host is "
					     "forwarded twice",
					     n->network, n->forwards[j].udp ? "udp" : "tcp",
					     n->forwards[j].host_port);
	}
	return 0;
}

static int check_net(const struct vmj_request *r, unsigned int i, struct vmj_error *err)
{
	const struct vmj_net_request *n = &r->nets[i];
	char q[80];
	int rc;

	rc = vmj_parse_name("--vm-net", n->network, err);
	if (rc < 0)
		return rc;
	if (*n->mac && !vmj_mac_valid(n->mac))
		return vmj_fail_user(err, EINVAL,
				     "--vm-net: network %s: \"%s\" is not an address a guest may "
				     "have: give a unicast, locally administered one, such as "
				     "52:54:00:12:34:56",
				     n->network, vmj_quote(n->mac, q, sizeof(q)));
	for (unsigned int a = 0; a < i; a++)
		if (*n->mac && strcmp(r->nets[a].mac, n->mac) == 0)
			return vmj_fail_user(err, EINVAL,
					     "--vm-net: networks %s and %s have the same address "
					     "%s",
					     r->nets[a].network, n->network, n->mac);
	return check_forwards(r, i, err);
}

static int check_nets(const struct vmj_request *r, struct vmj_error *err)
{
	if (r->n_nets > VMJ_NETS_MAX)
		return vmj_fail_user(err, ERANGE,
				     "--vm-net: %u networks are too many: give at most %d",
				     r->n_nets, VMJ_NETS_MAX);
	if (r->no_net && r->n_nets)
		return vmj_fail_user(err, EINVAL,
				     "--vm-net: \"none\" and network %s exclude each other",
				     r->nets[0].network);
	for (unsigned int i = 0; i < r->n_nets; i++) {
		int rc = check_net(r, i, err);

		if (rc < 0)
			return rc;
	}
	return 0;
}

static int check_boot(const struct vmj_request *r, struct vmj_error *err)
{
	static const char hex[] = "0123456789abcdef";
	size_t digits = strspn(r->user_data, hex);
	int rc;

	rc = vmj_parse_name("--vm-image", r->image, err);
	if (rc == 0 && *r->image_owner)
		rc = vmj_parse_name("--vm-image, owner before the /", r->image_owner, err);
	if (rc < 0)
		return rc;
	if (*r->user_data && (digits != VMJ_DIGEST_MAX - 1 || r->user_data[digits]))
		return vmj_fail_user(err, EINVAL,
				     "--vm-user-data: the request has no SHA-256 of it, which is "
				     "%d hex digits",
				     VMJ_DIGEST_MAX - 1);
	if (!vmj_ssh_keys_valid(r->ssh_keys))
		return vmj_fail_user(err, EINVAL,
				     "the request's ssh keys are not public keys, each as TYPE "
				     "and BASE64");
	return 0;
}

static int check_machine(const struct vmj_request *r, struct vmj_error *err)
{
	int rc = 0;

	if (r->memory_mib)
		rc = vmj_request_check_size("--vm-memory", r->memory_mib, VMJ_MEMORY_MIB_MIN,
					    VMJ_MEMORY_MIB_MAX, err);
	if (rc == 0 && *r->cpu)
		rc = vmj_parse_name("--vm-cpu", r->cpu, err);
	if (rc < 0)
		return rc;
	if (r->vcpus > VMJ_VCPUS_MAX)
		return vmj_fail_user(err, ERANGE,
				     "%" PRIu32 " vCPUs are too many: ask for at most %d CPUs a "
				     "node",
				     r->vcpus, VMJ_VCPUS_MAX);
	return 0;
}

int vmj_request_check(const struct vmj_request *r, struct vmj_error *err)
{
	int rc;

	rc = check_boot(r, err);
	if (rc == 0)
		rc = check_machine(r, err);
	if (rc < 0)
		return rc;
	if ((unsigned int)r->script >= VMJ_SCRIPT_COUNT_)
		return vmj_fail_user(err, EINVAL, "--vm-script: give guest, host or none");
	if (r->grace_s > VMJ_GRACE_MAX)
		return vmj_fail_user(err, ERANGE,
				     "--vm-grace: %" PRIu32 " seconds are too long: give at most "
				     "%d",
				     r->grace_s, VMJ_GRACE_MAX);
	if (r->priority > VMJ_PRIORITY_MAX)
		return vmj_fail_user(err, ERANGE,
				     "--vm-ha: priority %" PRIu32 " is out of bounds: give 1 to %d",
				     r->priority, VMJ_PRIORITY_MAX);
	if (r->priority && !r->protected_)
		return vmj_fail_user(err, EINVAL,
				     "--vm-ha: priority %" PRIu32
				     " without protection: leave both out or give both",
				     r->priority);
	rc = check_nets(r, err);
	return rc < 0 ? rc : vmj_request_check_disks(r, err);
}

/* Append as much as there is room for; what does not fit leaves the text as it was. */
static void append(char *buf, size_t size, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static void append(char *buf, size_t size, const char *fmt, ...)
{
	size_t at = strlen(buf);
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(buf + at, size - at, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= size - at)
		buf[at] = '\0';
}

/* "10G", "volume:data", "image:tools" */
static void append_disk(char *buf, size_t size, const struct vmj_disk_request *d, bool first)
{
	char s[24];

	append(buf, size, "%s", first ? " disk=" : ",");
	if (d->kind == VMJ_DISK_SIZE)
		append(buf, size, "%s", vmj_format_size_mib(d->size_mib, s, sizeof(s)));
	else
		append(buf, size, "%s:%s", vmj_disk_kind_name(d->kind), d->name);
}

const char *vmj_request_summary(const struct vmj_request *r, char *buf, size_t size)
{
	char s[24];

	snprintf(buf, size, "vm image=%s%s%s", r->image_owner, *r->image_owner ? "/" : "",
		 r->image);
	if (r->revision)
		append(buf, size, "@%" PRIu32, r->revision);
	if (r->vcpus)
		append(buf, size, " vcpus=%" PRIu32, r->vcpus);
	if (r->memory_mib)
		append(buf, size, " memory=%s", vmj_format_size_mib(r->memory_mib, s, sizeof(s)));
	if (r->script)
		append(buf, size, " script=%s", vmj_script_name(r->script));
	if (r->priority)
		append(buf, size, " ha=%" PRIu32, r->priority);
	else if (r->protected_)
		append(buf, size, " ha");
	for (unsigned int i = 0; i < r->n_nets; i++)
		append(buf, size, "%s%s", i ? "," : " net=", r->nets[i].network);
	for (unsigned int i = 0; i < r->n_disks; i++)
		append_disk(buf, size, &r->disks[i], i == 0);
	if (*r->persistent)
		append(buf, size, " persistent=%s", r->persistent);
	if (*r->user_data)
		append(buf, size, " user-data");
	return buf;
}
