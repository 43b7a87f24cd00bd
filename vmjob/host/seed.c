/* SPDX-License-Identifier: GPL-2.0-or-later */
/* https://cloudinit.readthedocs.io/en/latest/reference/datasources/nocloud.html. What is ours is
 * written as JSON, which is YAML too. */
#include "vmjob/host/seed.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/file.h"
#include "vmjob/host/fat.h"
#include "vmjob/model/json.h"

#define CONFIG_HEAD "#cloud-config\n"
#define LABEL_MAX   63

static_assert(VMJ_NAME_MAX <= LABEL_MAX, "a volume's name fits");

static void add_text(struct json_object *o, const char *key, const char *text)
{
	json_object_object_add(o, key, json_object_new_string(text));
}

static struct json_object *list_of(struct json_object *item)
{
	struct json_object *list = json_object_new_array();

	json_object_array_add(list, item);
	return list;
}

/* One label of DNS (RFC 1123) in lower case; what does not fit into it becomes "-". */
static void host_name(const struct vmj_guest *g, char ret[LABEL_MAX + 1])
{
	const char *volume = g->request.persistent;
	size_t n = 0;

	if (!*volume) {
		snprintf(ret, LABEL_MAX + 1, "vmjob-%" PRIu32, g->job);
		return;
	}
	for (; volume[n]; n++)
		ret[n] = isalnum((unsigned char)volume[n]) ? (char)tolower((unsigned char)volume[n])
							   : '-';
	while (ret[n - 1] == '-') /* a name begins with a letter or digit */
		n--;
	ret[n] = '\0';
}

/* cloud-init sets the machine up once for each instance: that is one root disk's life. */
static void instance_id(const struct vmj_guest *g, char *buf, size_t size)
{
	const struct vmj_request *q = &g->request;

	if (*q->persistent)
		snprintf(buf, size, "vmjob-%u-%s-%s", (unsigned int)g->uid, q->persistent_storage,
			 q->persistent);
	else if (q->protected_)
		snprintf(buf, size, "vmjob-%" PRIu32, g->job);
	else
		snprintf(buf, size, "vmjob-%" PRIu32 "-%" PRIu32, g->job, g->restart);
}

static struct json_object *ssh_keys(const struct vmj_request *q)
{
	struct json_object *list = json_object_new_array();
	const char *key = q->ssh_keys;

	for (const char *end; (end = strchr(key, '\n')); key = end + 1)
		json_object_array_add(list, json_object_new_string_len(key, (int)(end - key)));
	return list;
}

/* The keys are for the image's default user. */
static struct json_object *meta_data(const struct vmj_guest *g)
{
	struct json_object *o = json_object_new_object();
	char name[LABEL_MAX + 1], id[256];

	host_name(g, name);
	instance_id(g, id, sizeof(id));
	add_text(o, "instance-id", id);
	add_text(o, "local-hostname", name);
	json_object_object_add(o, "public-keys", ssh_keys(&g->request));
	return o;
}

/* As useradd(8) has names on every distribution. Others are of directories, and no local user can
 * be called so. */
static bool is_plain_user(const char *name)
{
	static const char digits[] = "abcdefghijklmnopqrstuvwxyz0123456789_-";
	size_t len = strlen(name);

	return len > 0 && len <= 32 && !strchr("0123456789-", name[0]) &&
	       strspn(name, digits) == len;
}

/* No uid: the image's default user may have it already. */
static struct json_object *submitter(const struct vmj_guest *g)
{
	struct json_object *o = json_object_new_object();

	add_text(o, "name", g->user);
	add_text(o, "shell", "/bin/bash");
	add_text(o, "sudo", "ALL=(ALL) NOPASSWD:ALL");
	json_object_object_add(o, "lock_passwd", json_object_new_boolean(true));
	json_object_object_add(o, "ssh_authorized_keys", ssh_keys(&g->request));
	return o;
}

/* What the user's own data wins over, key by key. Addresses are those of each job, so the network
 * is set up at every boot, not only at an instance's first. */
static struct json_object *vendor_data(const struct vmj_guest *g)
{
	struct json_object *o = json_object_new_object(), *users = json_object_new_array();
	struct json_object *updates = json_object_new_object(), *network = json_object_new_object();

	json_object_array_add(users, json_object_new_string("default"));
	if (strcmp(g->user, "root") == 0)
		json_object_object_add(o, "disable_root", json_object_new_boolean(false));
	else if (is_plain_user(g->user))
		json_object_array_add(users, submitter(g));
	json_object_object_add(o, "users", users);
	json_object_object_add(network, "when", list_of(json_object_new_string("boot")));
	json_object_object_add(updates, "network", network);
	json_object_object_add(o, "updates", updates);
	return o;
}

/* The default route goes through the first network that has a gateway. */
static void add_gateway(struct json_object *port, const struct vmj_net_config *n, bool *has_route)
{
	struct json_object *route, *dns;
	char text[INET_ADDRSTRLEN];

	if (*has_route || !n || n->gateway.s_addr == 0)
		return;
	inet_ntop(AF_INET, &n->gateway, text, sizeof(text));
	route = json_object_new_object();
	add_text(route, "to", "0.0.0.0/0");
	add_text(route, "via", text);
	json_object_object_add(port, "routes", list_of(route));
	*has_route = true;
	if (n->kind != VMJ_NET_NAT)
		return;
	dns = json_object_new_object(); /* libvirt's dnsmasq answers there */
	json_object_object_add(dns, "addresses", list_of(json_object_new_string(text)));
	json_object_object_add(port, "nameservers", dns);
}

static struct json_object *network_config(const struct vmj_config *c, const struct vmj_guest *g)
{
	struct json_object *o = json_object_new_object(), *ethernets = json_object_new_object();
	bool has_route = false;

	json_object_object_add(o, "version", json_object_new_int(2));
	for (unsigned int i = 0; i < g->n_ports; i++) {
		const struct vmj_port *p = &g->ports[i];
		struct json_object *port = json_object_new_object();
		struct json_object *match = json_object_new_object();
		char name[16];

		snprintf(name, sizeof(name), "net%u", i);
		add_text(match, "macaddress", p->mac);
		json_object_object_add(port, "match", match);
		add_text(port, "set-name", name);
		if (p->address[0]) {
			json_object_object_add(port, "addresses",
					       list_of(json_object_new_string(p->address)));
			add_gateway(port, vmj_config_network(c, p->network), &has_route);
		} else {
			json_object_object_add(port, "dhcp4", json_object_new_boolean(true));
		}
		json_object_object_add(ethernets, name, port);
	}
	json_object_object_add(o, "ethernets", ethernets);
	return o;
}

static int write_file(int fd, const unsigned char *image, size_t len, const struct vmj_guest *g)
{
	int rc = vmj_write_full(fd, image, len);

	if (rc == 0 && (ftruncate(fd, VMJ_FAT_SIZE) < 0 || fchown(fd, g->uid, g->gid) < 0))
		rc = -errno;
	return rc;
}

static int put_image(const char *file, const unsigned char *image, size_t len,
		     const struct vmj_guest *g, struct vmj_error *err)
{
	vmj_autoclose int fd = -1;
	int rc;

	if (unlink(file) < 0 && errno != ENOENT)
		return vmj_fail(err, errno, "cannot replace the guest's seed %s: %m", file);
	fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	rc = fd < 0 ? -errno : write_file(fd, image, len, g);
	if (rc < 0) {
		unlink(file);
		return vmj_fail(err, -rc, "cannot write the guest's seed %s: %s", file,
				vmj_strerror(rc));
	}
	return 0;
}

/* Slashes as they are: readers of YAML, small ones above all, know no "\\/". */
static const char *text_of(struct json_object *o)
{
	return json_object_to_json_string_ext(o, JSON_C_TO_STRING_SPACED |
							 JSON_C_TO_STRING_NOSLASHESCAPE);
}

static struct vmj_fat_file file_of(const char *name, const char *text)
{
	return (struct vmj_fat_file){.name = name, .data = text, .len = strlen(text)};
}

/* Its members, one a line as YAML has them (caller's; NULL: no memory): so small readers find them,
 * and each value is JSON still. */
static char *lines_of(struct json_object *o)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return NULL;
	json_object_object_foreach (o, key, value)
		fprintf(f, "%s: %s\n", key, text_of(value));
	return fclose(f) == 0 ? text : NULL;
}

int vmj_seed_write(const struct vmj_config *c, const struct vmj_guest *guest, const char *user_data,
		   const char *file, struct vmj_error *err)
{
	vmj_autojson struct json_object *meta = meta_data(guest),
					*network = network_config(c, guest),
					*vendor = vendor_data(guest);
	vmj_autofree char *meta_lines = lines_of(meta), *vendor_lines = lines_of(vendor);
	vmj_autofree char *vendor_text = NULL;
	vmj_autofree unsigned char *image = NULL;
	struct vmj_fat_file files[4];
	size_t len = 0;
	int rc;

	if (!meta_lines || !vendor_lines ||
	    asprintf(&vendor_text, CONFIG_HEAD "%s", vendor_lines) < 0) {
		vendor_text = NULL;
		return vmj_fail(err, ENOMEM, "no memory for the guest's seed");
	}
	files[0] = file_of("meta-data", meta_lines);
	files[1] = file_of("network-config", text_of(network));
	files[2] = file_of("user-data", user_data ? user_data : CONFIG_HEAD "{}\n");
	files[3] = file_of("vendor-data", vendor_text);
	rc = vmj_fat_make("CIDATA", files, sizeof(files) / sizeof(files[0]), &image, &len, err);
	return rc < 0 ? rc : put_image(file, image, len, guest, err);
}
