/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The options that users type: one table, and a reader for each. */
#include "vmjob/model/request.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "vmjob/model/option-text.h"

#define PIECE_MAX 128 /* of one comma-separated piece */

int vmj_option_check_length(const char *what, const char *text, struct vmj_error *err)
{
	if (strnlen(text, VMJ_OPTION_TEXT_MAX + 1) <= VMJ_OPTION_TEXT_MAX)
		return 0;
	return vmj_fail_user(err, ERANGE, "%s: the value is longer than %d bytes", what,
			     VMJ_OPTION_TEXT_MAX);
}

int vmj_request_set_memory(struct vmj_request *r, const char *text, struct vmj_error *err)
{
	return vmj_parse_size_mib("--vm-memory", text, VMJ_MEMORY_MIB_MIN, VMJ_MEMORY_MIB_MAX,
				  &r->memory_mib, err);
}

int vmj_request_set_script(struct vmj_request *r, const char *text, struct vmj_error *err)
{
	return vmj_script_parse("--vm-script", text, &r->script, err);
}

int vmj_request_set_cpu(struct vmj_request *r, const char *text, struct vmj_error *err)
{
	int rc = vmj_parse_name("--vm-cpu", text, err);

	if (rc == 0)
		strcpy(r->cpu, text);
	return rc;
}

int vmj_request_set_grace(struct vmj_request *r, const char *text, struct vmj_error *err)
{
	uint64_t s;
	int rc = vmj_parse_time("--vm-grace", text, VMJ_GRACE_MAX, &s, err);

	if (rc < 0)
		return rc;
	if (s == 0)
		return vmj_fail_user(err, ERANGE,
				     "--vm-grace: no time at all cannot be kept: give at least 1s");
	r->grace_s = (uint32_t)s;
	return 0;
}

int vmj_request_set_ha(struct vmj_request *r, const char *text, struct vmj_error *err)
{
	uint64_t priority = 0;
	int rc = 0;

	if (text && *text)
		rc = vmj_parse_u64("--vm-ha", text, 1, VMJ_PRIORITY_MAX, &priority, err);
	if (rc < 0)
		return rc;
	r->protected_ = true;
	r->priority = (uint32_t)priority;
	return 0;
}

int vmj_request_set_watchdog(struct vmj_request *r, const char *text, struct vmj_error *err)
{
	char q[64];

	if (!text || !*text || strcmp(text, "yes") == 0 || strcmp(text, "1") == 0)
		r->watchdog = true;
	else if (strcmp(text, "no") == 0 || strcmp(text, "0") == 0)
		r->watchdog = false;
	else
		return vmj_fail_user(err, EINVAL, "--vm-watchdog: \"%s\" is neither yes nor no",
				     vmj_quote(text, q, sizeof(q)));
	return 0;
}

int vmj_option_piece(const char **text, char end, char *buf, size_t size)
{
	const char *stop = strchrnul(*text, end);
	size_t len = (size_t)(stop - *text);

	if (len >= size)
		return -ERANGE;
	memcpy(buf, *text, len);
	buf[len] = '\0';
	*text = *stop ? stop + 1 : NULL;
	return 0;
}

/* [HOST:]GUEST */
static int add_forward(struct vmj_net_request *n, bool udp, const char *text, struct vmj_error *err)
{
	static const char what[] = "--vm-net, forwarded port";
	const char *colon = strchr(text, ':');
	uint64_t host = 0, guest;
	char piece[PIECE_MAX];
	int rc;

	if (n->n_forwards == VMJ_FORWARDS_MAX)
		return vmj_fail_user(err, ERANGE, "--vm-net: network %s: give at most %d forwards",
				     n->network, VMJ_FORWARDS_MAX);
	if (colon) {
		vmj_option_piece(&text, ':', piece, sizeof(piece)); /* part of a piece: fits */
		rc = vmj_parse_u64(what, piece, VMJ_HOST_PORT_MIN, UINT16_MAX, &host, err);
		if (rc < 0)
			return rc;
	}
	rc = vmj_parse_u64(what, text, 1, UINT16_MAX, &guest, err);
	if (rc < 0)
		return rc;
	n->forwards[n->n_forwards++] = (struct vmj_forward){
		.udp = udp, .host_port = (uint16_t)host, .guest_port = (uint16_t)guest};
	return 0;
}

static int set_mac(struct vmj_net_request *n, const char *text, struct vmj_error *err)
{
	char mac[sizeof(n->mac)] = "", q[80];

	if (strlen(text) < sizeof(mac))
		for (size_t i = 0; text[i]; i++)
			mac[i] = text[i] >= 'A' && text[i] <= 'F' ? text[i] + 32 : text[i];
	if (!vmj_mac_valid(mac))
		return vmj_fail_user(err, EINVAL,
				     "--vm-net: mac=\"%s\" is not an address a guest may have: "
				     "give a unicast, locally administered one, such as "
				     "52:54:00:12:34:56",
				     vmj_quote(text, q, sizeof(q)));
	strcpy(n->mac, mac);
	return 0;
}

static int set_net_key(struct vmj_net_request *n, const char *piece, struct vmj_error *err)
{
	char q[80];

	if (strncmp(piece, "mac=", 4) == 0)
		return set_mac(n, piece + 4, err);
	if (strncmp(piece, "tcp=", 4) == 0)
		return add_forward(n, false, piece + 4, err);
	if (strncmp(piece, "udp=", 4) == 0)
		return add_forward(n, true, piece + 4, err);
	return vmj_fail_user(err, EINVAL,
			     "--vm-net: \"%s\" is unknown: give NAME[,mac=ADDRESS]"
			     "[,tcp=[HOST:]GUEST][,udp=[HOST:]GUEST]",
			     vmj_quote(piece, q, sizeof(q)));
}

static int read_net(const char *text, struct vmj_net_request *ret, struct vmj_error *err)
{
	struct vmj_net_request n = {0};
	char piece[PIECE_MAX];
	bool first = true;

	while (text) {
		int rc = vmj_option_piece(&text, ',', piece, sizeof(piece));

		if (rc < 0)
			return vmj_fail_user(err, ERANGE,
					     "--vm-net: a piece between commas is longer than %d "
					     "bytes",
					     PIECE_MAX - 1);
		rc = first ? vmj_parse_name("--vm-net", piece, err) : set_net_key(&n, piece, err);
		if (rc < 0)
			return rc;
		if (first)
			strcpy(n.network, piece);
		first = false;
	}
	*ret = n;
	return 0;
}

int vmj_request_add_net(struct vmj_request *r, const char *text, struct vmj_error *err)
{
	struct vmj_net_request n;
	int rc;

	rc = vmj_option_check_length("--vm-net", text, err);
	if (rc < 0)
		return rc;
	if (strcmp(text, "none") == 0 && r->n_nets == 0) {
		r->no_net = true;
		return 0;
	}
	rc = read_net(text, &n, err);
	if (rc < 0)
		return rc;
	if (r->no_net || strcmp(n.network, "none") == 0)
		return vmj_fail_user(err, EINVAL,
				     "--vm-net: \"none\" excludes every other network and takes no "
				     "settings");
	if (r->n_nets == VMJ_NETS_MAX)
		return vmj_fail_user(err, ERANGE, "--vm-net: give at most %d networks",
				     VMJ_NETS_MAX);
	r->nets[r->n_nets++] = n;
	return 0;
}

int vmj_request_check_path(struct vmj_request *r, const char *text, struct vmj_error *err)
{
	if (!*text)
		return vmj_fail_user(err, EINVAL, "--vm-user-data: which file? Its name is empty");
	return vmj_option_check_length("--vm-user-data", text, err);
}

int vmj_option_set_env(const struct vmj_option *o, struct vmj_request *r, const char *text,
		       struct vmj_error *err)
{
	int rc = 0;

	if (!o->repeat)
		return o->set(r, text, err);
	while (text && rc == 0) {
		char piece[VMJ_OPTION_TEXT_MAX + 1];

		rc = vmj_option_piece(&text, ';', piece, sizeof(piece));
		if (rc < 0)
			return vmj_fail_user(err, ERANGE,
					     "%s: a piece between semicolons is longer than %d "
					     "bytes",
					     o->env, VMJ_OPTION_TEXT_MAX);
		rc = o->set(r, piece, err);
	}
	return rc;
}

const struct vmj_option vmj_options[] = {
	{
		.name = "vm-image",
		.env = "VMJOB_IMAGE",
		.arg = "[OWNER/]NAME[@REV]",
		.help = "run a virtual machine from this image",
		.set = vmj_request_set_image,
	},
	{
		.name = "vm-memory",
		.env = "VMJOB_MEMORY",
		.arg = "SIZE",
		.help = "the guest's memory; the job's own is set to fit (default: --mem)",
		.set = vmj_request_set_memory,
	},
	{
		.name = "vm-net",
		.env = "VMJOB_NET",
		.arg = "NAME[,mac=ADDRESS][,tcp=[HOST:]GUEST][,udp=[HOST:]GUEST]",
		.help = "connect to this network (repeatable), or none",
		.repeat = true,
		.set = vmj_request_add_net,
	},
	{
		.name = "vm-disk",
		.env = "VMJOB_DISK",
		.arg = "size=SIZE|volume=[STORAGE:]NAME[,ro]|image=[OWNER/]NAME[@REV],ro",
		.help = "one more disk: an empty one that is gone at the job's end, a volume, or "
			"an image (repeatable)",
		.repeat = true,
		.set = vmj_request_add_disk,
	},
	{
		.name = "vm-persistent",
		.env = "VMJOB_PERSISTENT",
		.arg = "[STORAGE:]NAME",
		.help = "keep the root disk as this volume, made from the image at first",
		.set = vmj_request_set_persistent,
	},
	{
		.name = "vm-user-data",
		.env = "VMJOB_USER_DATA",
		.arg = "FILE",
		.help = "a cloud-config or script for the guest's first boot",
		.file = true,
		.set = vmj_request_check_path,
	},
	{
		.name = "vm-script",
		.env = "VMJOB_SCRIPT",
		.arg = "guest|host|none",
		.help = "where the job's script runs",
		.set = vmj_request_set_script,
	},
	{
		.name = "vm-cpu",
		.env = "VMJOB_CPU",
		.arg = "MODEL",
		.help = "the guest's processor: host, max or a model of libvirt's",
		.set = vmj_request_set_cpu,
	},
	{
		.name = "vm-grace",
		.env = "VMJOB_GRACE",
		.arg = "TIME",
		.help = "how long the guest may take to power off (such as 30s)",
		.set = vmj_request_set_grace,
	},
	{
		.name = "vm-ha",
		.env = "VMJOB_HA",
		.arg = "[PRIORITY]",
		.optional = true,
		.help = "start the guest anew elsewhere when its host fails",
		.set = vmj_request_set_ha,
	},
	{
		.name = "vm-watchdog",
		.env = "VMJOB_WATCHDOG",
		.help = "give the guest a watchdog that resets it when it hangs",
		.set = vmj_request_set_watchdog,
	},
	{0},
};
