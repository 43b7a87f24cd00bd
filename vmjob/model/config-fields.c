/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/model/config-fields.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "vmjob/base/cleanup.h"

#define QUOTE_MAX  80
#define WORD_MAX_  64
#define PREFIX_MIN 8
#define PREFIX_MAX 30

#define PERCENT_MAX      90 /* of watermarks */
#define CRITICAL_DEFAULT 3
#define CRITICAL_UNSAID  UINT32_MAX

static const char *const kind_names[] = {
	[VMJ_NET_BRIDGE] = "bridge",
	[VMJ_NET_NAT] = "nat",
	[VMJ_NET_USER] = "user",
};
static_assert(sizeof(kind_names) / sizeof(kind_names[0]) == VMJ_NET_COUNT_, "a name for each");

static const char *const storage_kind_names[] = {
	[VMJ_STORAGE_DIR] = "dir",
};
static_assert(sizeof(storage_kind_names) / sizeof(storage_kind_names[0]) == VMJ_STORAGE_COUNT_,
	      "a name for each");

const char *vmj_net_kind_name(enum vmj_net_kind kind)
{
	return (unsigned int)kind < VMJ_NET_COUNT_ ? kind_names[kind] : "?";
}

const char *vmj_storage_kind_name(enum vmj_storage_kind kind)
{
	return (unsigned int)kind < VMJ_STORAGE_COUNT_ ? storage_kind_names[kind] : "?";
}

static int fail_word(const char *what, const char *text, const char *want, struct vmj_error *err)
{
	char q[QUOTE_MAX];

	return vmj_fail(err, EINVAL, "%s: \"%s\" is wrong: give %s", what,
			vmj_quote(text, q, sizeof(q)), want);
}

static int read_size(const struct vmj_field *f, void *at, const char *what, const char *text,
		     struct vmj_error *err)
{
	return vmj_parse_size_mib(what, text, f->min, f->max, at, err);
}

static int read_u32(const struct vmj_field *f, void *at, const char *what, const char *text,
		    struct vmj_error *err)
{
	uint64_t v;
	int rc = vmj_parse_u64(what, text, f->min, f->max, &v, err);

	if (rc == 0)
		*(uint32_t *)at = (uint32_t)v;
	return rc;
}

static int read_u16(const struct vmj_field *f, void *at, const char *what, const char *text,
		    struct vmj_error *err)
{
	uint64_t v;
	int rc = vmj_parse_u64(what, text, f->min, f->max, &v, err);

	if (rc == 0)
		*(uint16_t *)at = (uint16_t)v;
	return rc;
}

static int read_time(const struct vmj_field *f, void *at, const char *what, const char *text,
		     struct vmj_error *err)
{
	uint64_t s;
	int rc = vmj_parse_time(what, text, f->max, &s, err);

	if (rc < 0)
		return rc;
	if (s < f->min)
		return fail_word(what, text, "at least 1s", err);
	*(uint32_t *)at = (uint32_t)s;
	return 0;
}

static int read_name(const struct vmj_field *f, void *at, const char *what, const char *text,
		     struct vmj_error *err)
{
	int rc = vmj_parse_name(what, text, err);

	if (rc == 0)
		strcpy(at, text);
	return rc;
}

/* "" too: no default network. */
static int read_name_or_none(const struct vmj_field *f, void *at, const char *what,
			     const char *text, struct vmj_error *err)
{
	if (*text)
		return read_name(f, at, what, text, err);
	*(char *)at = '\0';
	return 0;
}

static int read_path(const struct vmj_field *f, void *at, const char *what, const char *text,
		     struct vmj_error *err)
{
	size_t len = strlen(text);
	bool dots = strstr(text, "/../") || (len >= 3 && strcmp(text + len - 3, "/..") == 0);

	if (*text != '/' || dots || len >= VMJ_CONFIG_PATH_MAX)
		return fail_word(what, text,
				 "an absolute path without \"..\" and shorter than 256 bytes", err);
	for (const char *p = text; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return fail_word(what, text, "a path without control characters", err);
	strcpy(at, text);
	return 0;
}

static int read_bool(const struct vmj_field *f, void *at, const char *what, const char *text,
		     struct vmj_error *err)
{
	if (strcmp(text, "yes") != 0 && strcmp(text, "no") != 0)
		return fail_word(what, text, "yes or no", err);
	*(bool *)at = *text == 'y';
	return 0;
}

static int read_kind(const struct vmj_field *f, void *at, const char *what, const char *text,
		     struct vmj_error *err)
{
	for (int i = 0; i < VMJ_NET_COUNT_; i++) {
		if (strcmp(text, kind_names[i]) == 0) {
			*(enum vmj_net_kind *)at = i;
			return 0;
		}
	}
	return fail_word(what, text, "bridge, nat or user", err);
}

static int read_storage_kind(const struct vmj_field *f, void *at, const char *what,
			     const char *text, struct vmj_error *err)
{
	for (int i = 0; i < VMJ_STORAGE_COUNT_; i++) {
		if (strcmp(text, storage_kind_names[i]) == 0) {
			*(enum vmj_storage_kind *)at = i;
			return 0;
		}
	}
	return fail_word(what, text, "dir, the one kind that this version knows", err);
}

static int read_script(const struct vmj_field *f, void *at, const char *what, const char *text,
		       struct vmj_error *err)
{
	enum vmj_script script;
	int rc = vmj_script_parse(what, text, &script, err);

	if (rc < 0)
		return rc;
	if (script == VMJ_SCRIPT_GUEST)
		return fail_word(what, text,
				 "host or none, as this version runs no script inside a guest",
				 err);
	*(enum vmj_script *)at = script;
	return 0;
}

static int read_log_level(const struct vmj_field *f, void *at, const char *what, const char *text,
			  struct vmj_error *err)
{
	static const struct {
		const char *name;
		int level;
	} levels[] = {{"err", LOG_ERR},
		      {"warning", LOG_WARNING},
		      {"info", LOG_INFO},
		      {"debug", LOG_DEBUG}};

	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		if (strcmp(text, levels[i].name) == 0) {
			*(int *)at = levels[i].level;
			return 0;
		}
	}
	return fail_word(what, text, "err, warning, info or debug", err);
}

static int read_interface(const struct vmj_field *f, void *at, const char *what, const char *text,
			  struct vmj_error *err)
{
	if (!vmj_name_valid(text) || strlen(text) > 15)
		return fail_word(what, text, "a network interface's name, at most 15 characters",
				 err);
	strcpy(at, text);
	return 0;
}

/* "" too: none. */
static int read_address(const struct vmj_field *f, void *at, const char *what, const char *text,
			struct vmj_error *err)
{
	struct in_addr a = {0};

	if (*text && inet_pton(AF_INET, text, &a) != 1)
		return fail_word(what, text, "an IPv4 address, such as 10.77.0.1", err);
	*(struct in_addr *)at = a;
	return 0;
}

/* Splits "A<sep>B" at its only separator. */
static int split(const char *text, char sep, char *a, char *b, size_t size)
{
	const char *s = strchr(text, sep);

	if (!s || (size_t)(s - text) >= size || strlen(s + 1) >= size)
		return -EINVAL;
	memcpy(a, text, (size_t)(s - text));
	a[s - text] = '\0';
	strcpy(b, s + 1);
	return 0;
}

static uint32_t host_mask(unsigned int prefix)
{
	return UINT32_MAX >> prefix;
}

static int read_subnet(const struct vmj_field *f, void *at, const char *what, const char *text,
		       struct vmj_error *err)
{
	static const char want[] = "a network with its prefix, 8 to 30, such as 10.77.0.0/16";
	struct vmj_net_config *n = at;
	char address[24], prefix[24];
	struct in_addr a;
	uint64_t p;

	if (split(text, '/', address, prefix, sizeof(address)) < 0 ||
	    inet_pton(AF_INET, address, &a) != 1 ||
	    vmj_parse_u64(what, prefix, PREFIX_MIN, PREFIX_MAX, &p, NULL) < 0)
		return fail_word(what, text, want, err);
	if (ntohl(a.s_addr) & host_mask((unsigned int)p))
		return fail_word(what, text, "the network's own address: all host bits 0", err);
	n->subnet = a;
	n->prefix = (unsigned int)p;
	return 0;
}

static int read_pool(const struct vmj_field *f, void *at, const char *what, const char *text,
		     struct vmj_error *err)
{
	struct vmj_net_config *n = at;
	char first[24], last[24];
	struct in_addr a, b;

	if (split(text, '-', first, last, sizeof(first)) < 0 ||
	    inet_pton(AF_INET, first, &a) != 1 || inet_pton(AF_INET, last, &b) != 1 ||
	    ntohl(a.s_addr) > ntohl(b.s_addr))
		return fail_word(what, text,
				 "two IPv4 addresses, the first not above the last, such as "
				 "10.77.128.1-10.77.255.254",
				 err);
	n->pool_first = a;
	n->pool_last = b;
	return 0;
}

static bool is_word(const char *text)
{
	size_t len = strlen(text);

	if (len == 0 || len >= WORD_MAX_ || *text == '-')
		return false;
	for (const char *p = text; *p; p++)
		if ((unsigned char)*p <= 0x20 || *p == 0x7f || strchr("\"'`$;|&<>(){}/:,", *p))
			return false;
	return true;
}

/* One more user or "@group" for the list; a name that is in it already is dropped (libconfuse
 * announces the last element twice). */
static int read_user(const struct vmj_field *f, void *at, const char *what, const char *text,
		     struct vmj_error *err)
{
	char ***list = at, **more, *word;
	size_t n = 0;

	for (; *list && (*list)[n]; n++)
		if (strcmp((*list)[n], text) == 0)
			return 0;
	if (!is_word(text[0] == '@' ? text + 1 : text))
		return fail_word(what, text, "names of users, or of groups as \"@group\"", err);
	if (n == VMJ_CONFIG_WORDS_MAX)
		return vmj_fail(err, ERANGE, "%s: give at most %d names, or a group", what,
				VMJ_CONFIG_WORDS_MAX);
	word = strdup(text);
	more = reallocarray(*list, n + 2, sizeof(*more));
	if (more)
		*list = more;
	if (!word || !more) {
		free(word);
		return vmj_fail(err, ENOMEM, "%s: no memory", what);
	}
	more[n] = word;
	more[n + 1] = NULL;
	return 0;
}

static bool in_subnet(const struct vmj_net_config *n, struct in_addr a)
{
	uint32_t mask = host_mask(n->prefix), v = ntohl(a.s_addr);

	return (v & ~mask) == ntohl(n->subnet.s_addr) && (v & mask) != 0 && (v & mask) != mask;
}

static int finish_addresses(struct vmj_net_config *n, struct vmj_error *err)
{
	uint32_t net = ntohl(n->subnet.s_addr);

	if (!n->prefix && (n->gateway.s_addr || n->pool_first.s_addr))
		return vmj_fail(err, EINVAL, "network %s: pool and gateway need a subnet", n->name);
	if (n->kind == VMJ_NET_NAT && !n->gateway.s_addr)
		n->gateway.s_addr = htonl(net + 1);
	if (n->kind == VMJ_NET_NAT && !n->pool_first.s_addr) {
		n->pool_first.s_addr = htonl(net + 2);
		n->pool_last.s_addr = htonl(net + host_mask(n->prefix) - 1);
	}
	if (n->gateway.s_addr && !in_subnet(n, n->gateway))
		return vmj_fail(err, EINVAL, "network %s: the gateway is not in the subnet",
				n->name);
	if (!n->pool_first.s_addr)
		return 0;
	if (!in_subnet(n, n->pool_first) || !in_subnet(n, n->pool_last))
		return vmj_fail(err, EINVAL, "network %s: the pool is not in the subnet", n->name);
	if (ntohl(n->gateway.s_addr) >= ntohl(n->pool_first.s_addr) &&
	    ntohl(n->gateway.s_addr) <= ntohl(n->pool_last.s_addr))
		return vmj_fail(err, EINVAL,
				"network %s: the gateway is in the pool: start the pool behind it",
				n->name);
	return 0;
}

int vmj_net_config_finish(struct vmj_net_config *n, struct vmj_error *err)
{
	switch (n->kind) {
	case VMJ_NET_BRIDGE:
		if (!*n->bridge)
			return vmj_fail(err, EINVAL,
					"network %s: kind bridge needs bridge = \"NAME\"", n->name);
		break;
	case VMJ_NET_NAT:
		if (!n->prefix || *n->bridge)
			return vmj_fail(
				err, EINVAL,
				"network %s: kind nat needs subnet = \"ADDRESS/PREFIX\" and "
				"no bridge",
				n->name);
		break;
	case VMJ_NET_USER:
		if (*n->bridge || n->prefix || n->pool_first.s_addr || n->gateway.s_addr)
			return vmj_fail(err, EINVAL,
					"network %s: kind user has neither bridge nor addresses",
					n->name);
		break;
	case VMJ_NET_COUNT_:
		return vmj_fail(err, EINVAL, "network %s: say its kind: kind = bridge, nat or user",
				n->name);
	}
	return finish_addresses(n, err);
}

void vmj_storage_config_defaults(struct vmj_storage_config *s)
{
	s->kind = VMJ_STORAGE_DIR;
	s->low = 10;
	s->critical = CRITICAL_UNSAID;
	s->renew_s = 10;
}

int vmj_storage_config_finish(struct vmj_storage_config *s, struct vmj_error *err)
{
	if (!*s->path)
		return vmj_fail(err, EINVAL, "storage %s: say where it is: path = \"/DIRECTORY\"",
				s->name);
	if (s->critical == CRITICAL_UNSAID)
		s->critical = s->low < CRITICAL_DEFAULT ? s->low : CRITICAL_DEFAULT;
	if (s->critical > s->low)
		return vmj_fail(err, EINVAL,
				"storage %s: critical (%u %%) is above low (%u %%): change either",
				s->name, s->critical, s->low);
	if (s->limit_mib && s->quota_mib > s->limit_mib)
		return vmj_fail(err, EINVAL,
				"storage %s: the quota of one user is above the limit of all: "
				"change either",
				s->name);
	return 0;
}

/* clang-format off */
#define AT(member)      .offset = offsetof(struct vmj_config, member)
#define NET_AT(member)  .offset = offsetof(struct vmj_net_config, member)
#define STORAGE_AT(member) .offset = offsetof(struct vmj_storage_config, member)
const struct vmj_field vmj_config_fields[] = {
	{"", "scratch", read_path, AT(scratch)},
	{"storage", "path", read_path, STORAGE_AT(path)},
	{"storage", "kind", read_storage_kind, STORAGE_AT(kind)},
	{"storage", "quota", read_size, STORAGE_AT(quota_mib), 0, VMJ_STORAGE_MIB_MAX},
	{"storage", "limit", read_size, STORAGE_AT(limit_mib), 0, VMJ_STORAGE_MIB_MAX},
	{"storage", "low", read_u32, STORAGE_AT(low), 0, PERCENT_MAX},
	{"storage", "critical", read_u32, STORAGE_AT(critical), 0, PERCENT_MAX},
	{"storage", "renew", read_time, STORAGE_AT(renew_s), 1, VMJ_STORAGE_RENEW_MAX},
	{"storage", "self_stop", read_bool, STORAGE_AT(self_stop)},
	{"network", "kind", read_kind, NET_AT(kind)},
	{"network", "bridge", read_interface, NET_AT(bridge)},
	{"network", "subnet", read_subnet, .offset = 0},
	{"network", "pool", read_pool, .offset = 0},
	{"network", "gateway", read_address, NET_AT(gateway)},
	{"network", "filter", read_bool, NET_AT(filter)},
	{"network", "users", read_user, NET_AT(users), .list = true},
	{"defaults", "memory", read_size, AT(default_memory_mib), VMJ_MEMORY_MIB_MIN, VMJ_MEMORY_MIB_MAX},
	{"defaults", "network", read_name_or_none, AT(default_network)},
	{"defaults", "grace", read_time, AT(default_grace_s), 1, VMJ_GRACE_MAX},
	{"defaults", "cpu", read_name, AT(default_cpu)},
	{"defaults", "script", read_script, AT(default_script)},
	{"limits", "memory", read_size, AT(max_memory_mib), VMJ_MEMORY_MIB_MIN, VMJ_MEMORY_MIB_MAX},
	{"limits", "vcpus", read_u32, AT(max_vcpus), 1, VMJ_VCPUS_MAX},
	{"limits", "disk", read_size, AT(max_disk_mib), 0, VMJ_DISK_MIB_MAX},
	{"limits", "guests", read_u32, AT(max_guests), 1, VMJ_CONFIG_GUESTS_MAX},
	{"overhead", "fixed", read_size, AT(overhead_fixed_mib), 0, 1u << 20},
	{"overhead", "per_mille", read_u32, AT(overhead_per_mille), 0, 1000},
	{"overhead", "per_vcpu", read_size, AT(overhead_per_vcpu_mib), 0, 1u << 10},
	{"agent", "port", read_u16, AT(agent_port), 0, UINT16_MAX},
	{"agent", "log", read_log_level, AT(log_level)},
	{"agent", "operators", read_user, AT(operators), .list = true},
	{0},
};
