/* SPDX-License-Identifier: GPL-2.0-or-later */
/* https://cloudinit.readthedocs.io/en/latest/reference/datasources/nocloud.html. All three files
 * are written as JSON, which is YAML too. */
#include "vmjob/host/seed.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/file.h"
#include "vmjob/host/fat.h"
#include "vmjob/model/json.h"

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

static struct json_object *meta_data(const struct vmj_guest *g)
{
	struct json_object *o = json_object_new_object();
	char text[64];

	/* Another instance for each restart, so that cloud-init sets the machine up anew. */
	snprintf(text, sizeof(text), "vmjob-%" PRIu32 "-%" PRIu32, g->job, g->restart);
	add_text(o, "instance-id", text);
	snprintf(text, sizeof(text), "vm%" PRIu32, g->job);
	add_text(o, "local-hostname", text);
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
static struct vmj_fat_file file_of(const char *name, struct json_object *o)
{
	const char *text = json_object_to_json_string_ext(
		o, JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE);

	return (struct vmj_fat_file){.name = name, .data = text, .len = strlen(text)};
}

int vmj_seed_write(const struct vmj_config *c, const struct vmj_guest *guest, const char *file,
		   struct vmj_error *err)
{
	static const char user[] = "#cloud-config\n{}\n";
	vmj_autojson struct json_object *meta = meta_data(guest),
					*network = network_config(c, guest);
	const struct vmj_fat_file files[] = {
		file_of("meta-data", meta),
		file_of("network-config", network),
		{.name = "user-data", .data = user, .len = sizeof(user) - 1},
	};
	vmj_autofree unsigned char *image = NULL;
	size_t len = 0;
	int rc;

	rc = vmj_fat_make("CIDATA", files, sizeof(files) / sizeof(files[0]), &image, &len, err);
	return rc < 0 ? rc : put_image(file, image, len, guest, err);
}
