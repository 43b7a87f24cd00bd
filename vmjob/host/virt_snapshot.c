/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/host/virt_snapshot.h"

#include <errno.h>
#include <inttypes.h>
#include <libxml/parser.h>
#include <libxml/xpath.h>
#include <stdio.h>
#include <string.h>

#include "vmjob/base/log.h"
#include "vmjob/host/virt_disk.h"
#include "vmjob/host/virt_private.h"
#include "vmjob/host/xml.h"

/* --- chains ----------------------------------------------------------------------------------- */

static void xpath_freep(xmlXPathContextPtr *ctx)
{
	if (*ctx) {
		xmlFreeDoc((*ctx)->doc);
		xmlXPathFreeContext(*ctx);
	}
}
#define auto_xpath VMJ_CLEANUP(xpath_freep)

static int open_description(virDomainPtr d, xmlXPathContextPtr *ret, struct vmj_error *err)
{
	vmj_autofree char *xml = virDomainGetXMLDesc(d, 0);
	xmlDocPtr doc;

	if (!xml)
		return vmj_virt_fail(err, "cannot see the chains of the guest's disks");
	doc = xmlReadMemory(xml, (int)strlen(xml), NULL, NULL, XML_PARSE_NONET);
	*ret = doc ? xmlXPathNewContext(doc) : NULL;
	if (*ret)
		return 0;
	xmlFreeDoc(doc);
	return vmj_fail(err, EIO, "libvirt's description of guest %s cannot be read",
			virDomainGetName(d));
}

/* The value of "string(expression)"; "" where there is none, or it is too long. */
static void read_string(xmlXPathContextPtr ctx, const char *expression, char *buf, size_t size)
{
	xmlXPathObjectPtr o = xmlXPathEvalExpression((const xmlChar *)expression, ctx);
	xmlChar *value = o ? xmlXPathCastToString(o) : NULL;

	if (!value || (size_t)snprintf(buf, size, "%s", (const char *)value) >= size)
		buf[0] = '\0';
	xmlFree(value);
	xmlXPathFreeObject(o);
}

static void read_chain(xmlXPathContextPtr ctx, const char *target, struct vmj_virt_chain *ret)
{
	char expression[64 + 16 * (VMJ_DISK_LINKS_MAX + 1)];
	size_t len;

	ret->n = 0;
	len = (size_t)snprintf(expression, sizeof(expression),
			       "string(/domain/devices/disk[target/@dev='%.7s']", target);
	while (ret->n < VMJ_DISK_LINKS_MAX) {
		char *file = ret->files[ret->n];

		snprintf(expression + len, sizeof(expression) - len, "/source/@file)");
		read_string(ctx, expression, file, sizeof(ret->files[0]));
		if (!file[0])
			return;
		ret->n++;
		len += (size_t)snprintf(expression + len, sizeof(expression) - len,
					"/backingStore");
	}
}

int vmj_virt_chain(struct vmj_virt *v, uint32_t job, const char *target, struct vmj_virt_chain *ret,
		   struct vmj_error *err)
{
	auto_xpath xmlXPathContextPtr ctx = NULL;
	auto_domain virDomainPtr d = NULL;
	int rc = vmj_virt_lookup(v, job, &d, err);

	if (rc == 0)
		rc = open_description(d, &ctx, err);
	if (rc < 0)
		return rc;
	read_chain(ctx, target, ret);
	return ret->n ? 0
		      : vmj_fail(err, ENOENT, "guest vmjob-%" PRIu32 " has no disk %s", job,
				 target);
}

bool vmj_virt_chain_has(const struct vmj_virt_chain *c, const char *file)
{
	for (unsigned int i = 0; i < c->n; i++)
		if (strcmp(c->files[i], file) == 0)
			return true;
	return false;
}

/* --- snapshots -------------------------------------------------------------------------------- */

static const char *overlay_of(const struct vmj_virt_overlay *overlays, unsigned int n,
			      const char *target)
{
	for (unsigned int i = 0; i < n; i++)
		if (strcmp(overlays[i].target, target) == 0)
			return overlays[i].file;
	return NULL;
}

/* All disks of the guest are named, or libvirt would make overlays of its own for the others. */
static void put_snapshot_disk(struct vmj_xml *x, const char *target, const char *file)
{
	vmj_xml_open(x, "disk");
	vmj_xml_attr(x, "name", "%s", target);
	vmj_xml_attr(x, "snapshot", file ? "external" : "no");
	if (file) {
		vmj_xml_attr(x, "type", "file");
		vmj_xml_empty(x, "driver", "type", "qcow2", NULL);
		vmj_xml_open(x, "source");
		vmj_xml_attr(x, "file", "%s", file);
		vmj_xml_empty(x, "seclabel", "model", "dac", "relabel", "no", NULL);
		vmj_xml_close(x);
	}
	vmj_xml_close(x);
}

static int snapshot_xml(const struct vmj_virt_disk *disks, unsigned int n_disks,
			const struct vmj_virt_overlay *overlays, unsigned int n, char **ret,
			struct vmj_error *err)
{
	struct vmj_xml *x = vmj_xml_new();
	int rc;

	if (!x)
		return vmj_fail(err, ENOMEM, "cannot describe a snapshot: out of memory");
	vmj_xml_open(x, "domainsnapshot");
	vmj_xml_open(x, "disks");
	for (unsigned int i = 0; i < n_disks; i++)
		put_snapshot_disk(x, disks[i].target, overlay_of(overlays, n, disks[i].target));
	vmj_xml_close(x);
	vmj_xml_close(x);
	rc = vmj_xml_end(x, ret, err);
	vmj_xml_free(x);
	return rc;
}

static bool agent_is_there(virDomainPtr d)
{
	auto_xpath xmlXPathContextPtr ctx = NULL;
	char state[16];

	if (open_description(d, &ctx, NULL) < 0)
		return false;
	read_string(ctx,
		    "string(/domain/devices/channel/target[@name='org.qemu.guest_agent.0']/@state)",
		    state, sizeof(state));
	return strcmp(state, "connected") == 0;
}

static int take_snapshot(virDomainPtr d, const char *xml, unsigned int flags)
{
	virDomainSnapshotPtr s = virDomainSnapshotCreateXML(
		d, xml,
		flags | VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY |
			VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA |
			VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT | VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC);

	if (!s)
		return -1;
	virDomainSnapshotFree(s);
	return 0;
}

/* The agent has not frozen the guest's file systems, so that no disk has been touched yet. libvirt
 * has codes for some of what can be wrong with it only. */
static bool agent_failed(void)
{
	int code = virGetLastErrorCode();

	return code == VIR_ERR_AGENT_UNRESPONSIVE || code == VIR_ERR_AGENT_UNSYNCED ||
	       strstr(virGetLastErrorMessage(), "agent") != NULL;
}

int vmj_virt_snapshot(struct vmj_virt *v, uint32_t job, const struct vmj_virt_overlay *overlays,
		      unsigned int n, bool *ret_quiesced, struct vmj_error *err)
{
	struct vmj_virt_disk disks[VMJ_VIRT_DISKS_MAX];
	auto_domain virDomainPtr d = NULL;
	vmj_autofree char *xml = NULL;
	unsigned int n_disks;
	bool quiesced;
	int rc = vmj_virt_lookup(v, job, &d, err);

	if (rc == 0)
		rc = vmj_virt_disks(v, job, disks, &n_disks, err);
	if (rc == 0)
		rc = snapshot_xml(disks, n_disks, overlays, n, &xml, err);
	if (rc < 0)
		return rc;
	quiesced = agent_is_there(d);
	rc = take_snapshot(d, xml, quiesced ? VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE : 0);
	if (rc < 0 && quiesced && agent_failed()) {
		vmj_debug("guest %u: not quiesced: %s", job, virGetLastErrorMessage());
		quiesced = false;
		rc = take_snapshot(d, xml, 0);
	}
	if (rc < 0)
		return vmj_virt_fail(err, "cannot take a snapshot of guest vmjob-%" PRIu32, job);
	*ret_quiesced = quiesced;
	return 0;
}
