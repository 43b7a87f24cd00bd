/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/host/domain_disk.h"

#include <errno.h>
#include <string.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/host/xml.h"

VMJ_DEFINE_CLEANUP(struct vmj_xml *, vmj_xml_free);
#define auto_xml VMJ_CLEANUP(vmj_xml_freep)

/* libvirt must not make a file the guest's: an image is somebody else's, a layer may be shared, a
 * disk has its owner already. */
static void put_source(struct vmj_xml *x, const char *file)
{
	vmj_xml_open(x, "source");
	vmj_xml_attr(x, "file", "%s", file);
	vmj_xml_empty(x, "seclabel", "model", "dac", "relabel", "no", NULL);
	vmj_xml_close(x);
}

/* The whole chain is spelt out and ended, so that what a file claims as its backing is never
 * opened. */
static void put_chain(struct vmj_xml *x, const struct vmj_guest_disk *d)
{
	unsigned int links = vmj_guest_disk_links(d);
	char path[VMJ_DISK_PATH_MAX];

	for (unsigned int i = 1; i < links; i++) {
		vmj_xml_open(x, "backingStore");
		vmj_xml_attr(x, "type", "file");
		vmj_xml_empty(x, "format", "type", "qcow2", NULL);
		put_source(x, vmj_guest_disk_link(d, i, path));
	}
	vmj_xml_empty(x, "backingStore", NULL);
	for (unsigned int i = 1; i < links; i++)
		vmj_xml_close(x);
}

/* A disk that cannot be written, or read, stops the guest instead of telling it: it goes on once
 * there is room, or the storage is back. */
static void put_driver(struct vmj_xml *x, const char *format, bool readonly, bool direct_io)
{
	vmj_xml_open(x, "driver");
	vmj_xml_attr(x, "name", "qemu");
	vmj_xml_attr(x, "type", "%s", format);
	vmj_xml_attr(x, "cache", "%s", direct_io ? "none" : "writeback");
	vmj_xml_attr(x, "error_policy", "stop");
	vmj_xml_attr(x, "rerror_policy", "stop");
	if (!readonly)
		vmj_xml_attr(x, "discard", "unmap");
	vmj_xml_close(x);
}

static void put_place(struct vmj_xml *x, const char *target, bool readonly, const char *serial)
{
	vmj_xml_empty(x, "target", "dev", target, "bus", "virtio", NULL);
	if (readonly)
		vmj_xml_empty(x, "readonly", NULL);
	vmj_xml_leaf(x, "serial", "%s", serial);
}

static void open_disk(struct vmj_xml *x)
{
	vmj_xml_open(x, "disk");
	vmj_xml_attr(x, "type", "file");
	vmj_xml_attr(x, "device", "disk");
}

void vmj_domain_put_disk(struct vmj_xml *x, const struct vmj_guest_disk *d, bool direct_io)
{
	open_disk(x);
	put_driver(x, "qcow2", d->readonly, direct_io);
	put_source(x, d->path);
	put_chain(x, d);
	put_place(x, d->target, d->readonly, d->serial);
	if (strcmp(d->target, "vda") == 0)
		vmj_xml_empty(x, "boot", "order", "1", NULL);
	vmj_xml_close(x);
}

void vmj_domain_put_seed(struct vmj_xml *x, const char *file)
{
	open_disk(x);
	put_driver(x, "raw", true, false);
	put_source(x, file);
	vmj_xml_empty(x, "backingStore", NULL);
	put_place(x, VMJ_SEED_TARGET, true, "vmjob-seed");
	vmj_xml_close(x);
}

int vmj_domain_disk_xml(const struct vmj_guest_disk *d, bool direct_io, char **ret,
			struct vmj_error *err)
{
	auto_xml struct vmj_xml *x = vmj_xml_new();

	if (!x)
		return vmj_fail(err, ENOMEM, "cannot write a disk's description: out of memory");
	vmj_domain_put_disk(x, d, direct_io);
	return vmj_xml_end(x, ret, err);
}
