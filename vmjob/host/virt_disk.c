/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/host/virt_disk.h"

#include <errno.h>
#include <inttypes.h>
#include <libxml/parser.h>
#include <libxml/tree.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmjob/host/virt_private.h"

/* --- what there is --------------------------------------------------------------------------- */

static xmlNodePtr child(xmlNodePtr parent, const char *name)
{
	xmlNodePtr n = parent ? parent->children : NULL;

	while (n && (n->type != XML_ELEMENT_NODE || strcmp((const char *)n->name, name) != 0))
		n = n->next;
	return n;
}

static void copy_attribute(xmlNodePtr node, const char *name, char *buf, size_t size)
{
	xmlChar *value = node ? xmlGetProp(node, (const xmlChar *)name) : NULL;

	snprintf(buf, size, "%s", value ? (const char *)value : "");
	xmlFree(value);
}

static void read_disks(xmlNodePtr devices, struct vmj_virt_disk *ret, unsigned int *ret_n)
{
	unsigned int n = 0;

	for (xmlNodePtr d = devices ? devices->children : NULL; d && n < VMJ_VIRT_DISKS_MAX;
	     d = d->next) {
		if (d->type != XML_ELEMENT_NODE || strcmp((const char *)d->name, "disk") != 0)
			continue;
		ret[n] = (struct vmj_virt_disk){.failed = false};
		copy_attribute(child(d, "target"), "dev", ret[n].target, sizeof(ret[n].target));
		copy_attribute(child(d, "source"), "file", ret[n].path, sizeof(ret[n].path));
		n++;
	}
	*ret_n = n;
}

int vmj_virt_disks(struct vmj_virt *v, uint32_t job, struct vmj_virt_disk *ret, unsigned int *ret_n,
		   struct vmj_error *err)
{
	auto_domain virDomainPtr d = NULL;
	vmj_autofree char *xml = NULL;
	xmlDocPtr doc;
	int rc = vmj_virt_lookup(v, job, &d, err);

	if (rc < 0)
		return rc;
	xml = virDomainGetXMLDesc(d, 0);
	if (!xml)
		return vmj_virt_fail(err, "cannot see the disks of guest vmjob-%" PRIu32, job);
	doc = xmlReadMemory(xml, (int)strlen(xml), NULL, NULL, XML_PARSE_NONET);
	if (!doc)
		return vmj_fail(err, EIO,
				"libvirt's description of guest vmjob-%" PRIu32 " cannot be read",
				job);
	read_disks(child(xmlDocGetRootElement(doc), "devices"), ret, ret_n);
	xmlFreeDoc(doc);
	return 0;
}

int vmj_virt_disk_errors(struct vmj_virt *v, uint32_t job, struct vmj_virt_disk *ret,
			 unsigned int *ret_n, struct vmj_error *err)
{
	virDomainDiskError errors[VMJ_VIRT_DISKS_MAX];
	auto_domain virDomainPtr d = NULL;
	int n, rc = vmj_virt_lookup(v, job, &d, err);

	if (rc < 0)
		return rc;
	n = virDomainGetDiskErrors(d, errors, VMJ_VIRT_DISKS_MAX, 0);
	if (n < 0)
		return vmj_virt_fail(err, "cannot see which disk of guest vmjob-%" PRIu32 " failed",
				     job);
	for (int i = 0; i < n; i++) {
		ret[i] = (struct vmj_virt_disk){
			.failed = true, .full = errors[i].error == VIR_DOMAIN_DISK_ERROR_NO_SPACE};
		snprintf(ret[i].target, sizeof(ret[i].target), "%s", errors[i].disk);
		free(errors[i].disk);
	}
	*ret_n = (unsigned int)n;
	return 0;
}

/* --- coming and going ------------------------------------------------------------------------ */

/* Rather than the host's: it has no place left, or somebody else holds the disk's lock. */
static bool is_users_fault(void)
{
	const char *text = virGetLastErrorMessage();

	return virGetLastErrorCode() == VIR_ERR_RESOURCE_BUSY || strstr(text, "PCI slots") ||
	       strstr(text, "\"write\" lock");
}

int vmj_virt_attach_disk(struct vmj_virt *v, uint32_t job, const char *xml, struct vmj_error *err)
{
	auto_domain virDomainPtr d = NULL;
	int rc = vmj_virt_lookup(v, job, &d, err);

	if (rc < 0)
		return rc;
	if (virDomainAttachDeviceFlags(d, xml, VIR_DOMAIN_AFFECT_LIVE) == 0)
		return 0;
	rc = vmj_virt_fail(err, "guest vmjob-%" PRIu32 " cannot be given the disk", job);
	if (err && is_users_fault())
		err->fault = VMJ_FAULT_USER;
	return rc;
}

/* Asked a second time while the guest still thinks about it, QEMU says so. */
static bool is_under_way(void)
{
	return strstr(virGetLastErrorMessage(), "in the process of unplug") != NULL;
}

int vmj_virt_detach_disk(struct vmj_virt *v, uint32_t job, const char *target,
			 struct vmj_error *err)
{
	auto_domain virDomainPtr d = NULL;
	char xml[128];
	int rc = vmj_virt_lookup(v, job, &d, err);

	if (rc < 0)
		return rc;
	snprintf(xml, sizeof(xml),
		 "<disk type='file' device='disk'><target dev='%s' bus='virtio'/></disk>", target);
	if (virDomainDetachDeviceFlags(d, xml, VIR_DOMAIN_AFFECT_LIVE) == 0 || is_under_way() ||
	    virGetLastErrorCode() == VIR_ERR_DEVICE_MISSING)
		return 0;
	return vmj_virt_fail(err, "guest vmjob-%" PRIu32 " cannot be asked for disk %s back", job,
			     target);
}

int vmj_virt_resize_disk(struct vmj_virt *v, uint32_t job, const char *target, uint64_t bytes,
			 struct vmj_error *err)
{
	auto_domain virDomainPtr d = NULL;
	int rc = vmj_virt_lookup(v, job, &d, err);

	if (rc < 0)
		return rc;
	if (virDomainBlockResize(d, target, bytes, VIR_DOMAIN_BLOCK_RESIZE_BYTES) < 0)
		return vmj_virt_fail(err, "disk %s of guest vmjob-%" PRIu32 " cannot grow", target,
				     job);
	return 0;
}
