/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <libxml/xmlwriter.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/storage/ovf.h"

#define NS_OVF  "http://schemas.dmtf.org/ovf/envelope/1"
#define NS_CIM  "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/"
#define NS_VMW  "http://www.vmware.com/schema/ovf"
#define FORMAT  "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"
#define MEMORY  1024 /* MiB, where nothing is known; the importing side changes it */
#define DISK_ID "vmdisk1"

/* A document being written; the first failure is kept. */
struct out {
	xmlTextWriter *w;
	xmlBuffer *buffer;
	bool failed;
};

static void out_done(struct out *o)
{
	xmlFreeTextWriter(o->w);
	xmlBufferFree(o->buffer);
}

static void open_element(struct out *o, const char *name)
{
	o->failed |= xmlTextWriterStartElement(o->w, BAD_CAST name) < 0;
}

static void close_element(struct out *o)
{
	o->failed |= xmlTextWriterEndElement(o->w) < 0;
}

/* Pairs of names and values, ended by NULL. */
static void __attribute__((sentinel)) attributes(struct out *o, ...)
{
	const char *name, *value;
	va_list ap;

	va_start(ap, o);
	while ((name = va_arg(ap, const char *))) {
		value = va_arg(ap, const char *);
		o->failed |= xmlTextWriterWriteAttribute(o->w, BAD_CAST name, BAD_CAST value) < 0;
	}
	va_end(ap);
}

static void leaf(struct out *o, const char *name, const char *text)
{
	o->failed |= xmlTextWriterWriteElement(o->w, BAD_CAST name, BAD_CAST text) < 0;
}

/* Children of an Item come in the order of their names: its schema demands it. */
struct item {
	const char *address, *units, *name, *resource, *id, *parent, *subtype, *type, *quantity;
};

static void optional_leaf(struct out *o, const char *name, const char *text)
{
	if (text)
		leaf(o, name, text);
}

static void write_item(struct out *o, const struct item *i)
{
	open_element(o, "Item");
	optional_leaf(o, "rasd:AddressOnParent", i->address);
	optional_leaf(o, "rasd:AllocationUnits", i->units);
	leaf(o, "rasd:ElementName", i->name);
	optional_leaf(o, "rasd:HostResource", i->resource);
	leaf(o, "rasd:InstanceID", i->id);
	optional_leaf(o, "rasd:Parent", i->parent);
	optional_leaf(o, "rasd:ResourceSubType", i->subtype);
	leaf(o, "rasd:ResourceType", i->type);
	optional_leaf(o, "rasd:VirtualQuantity", i->quantity);
	close_element(o);
}

static void write_hardware(struct out *o, const struct vmj_ovf_spec *spec)
{
	char memory[24];
	uint64_t mib = spec->meta->min_memory_mib ? spec->meta->min_memory_mib : MEMORY;

	snprintf(memory, sizeof(memory), "%" PRIu64, mib);
	open_element(o, "VirtualHardwareSection");
	leaf(o, "Info", "Virtual hardware");
	write_item(o, &(struct item){.units = "hertz * 10^6",
				     .name = "CPU",
				     .id = "1",
				     .type = "3",
				     .quantity = "1"});
	write_item(o, &(struct item){.units = "byte * 2^20",
				     .name = "Memory",
				     .id = "2",
				     .type = "4",
				     .quantity = memory});
	write_item(o, &(struct item){.address = "0",
				     .name = "SATA controller",
				     .id = "3",
				     .subtype = "AHCI",
				     .type = "20"});
	write_item(o, &(struct item){.address = "0",
				     .name = "Disk",
				     .resource = "ovf:/disk/" DISK_ID,
				     .id = "4",
				     .parent = "3",
				     .type = "17"});
	if (spec->meta->firmware) {
		open_element(o, "vmw:Config");
		attributes(o, "ovf:required", "false", "vmw:key", "firmware", "vmw:value",
			   spec->meta->firmware == VMJ_FIRMWARE_UEFI ? "efi" : "bios", NULL);
		close_element(o);
	}
	close_element(o);
}

static void write_system(struct out *o, const struct vmj_ovf_spec *spec)
{
	open_element(o, "VirtualSystem");
	attributes(o, "ovf:id", spec->name, NULL);
	leaf(o, "Info", "A virtual machine");
	leaf(o, "Name", spec->name);
	open_element(o, "OperatingSystemSection");
	attributes(o, "ovf:id", "1", NULL); /* other: the text says more */
	leaf(o, "Info", "The system installed");
	if (spec->meta->os[0])
		leaf(o, "Description", spec->meta->os);
	close_element(o);
	write_hardware(o, spec);
	close_element(o);
}

static void write_files(struct out *o, const struct vmj_ovf_spec *spec)
{
	char size[24], capacity[24];

	snprintf(size, sizeof(size), "%" PRIu64, spec->file_bytes);
	snprintf(capacity, sizeof(capacity), "%" PRIu64, spec->virtual_bytes);
	open_element(o, "References");
	open_element(o, "File");
	attributes(o, "ovf:href", spec->file, "ovf:id", "file1", "ovf:size", size, NULL);
	close_element(o);
	close_element(o);
	open_element(o, "DiskSection");
	leaf(o, "Info", "Virtual disks");
	open_element(o, "Disk");
	attributes(o, "ovf:capacity", capacity, "ovf:capacityAllocationUnits", "byte", "ovf:diskId",
		   DISK_ID, "ovf:fileRef", "file1", "ovf:format", FORMAT, NULL);
	close_element(o);
	close_element(o);
}

int vmj_ovf_write(const struct vmj_ovf_spec *spec, char **ret, struct vmj_error *err)
{
	VMJ_CLEANUP(out_done) struct out o = {.buffer = xmlBufferCreate()};
	char *text;

	o.w = o.buffer ? xmlNewTextWriterMemory(o.buffer, 0) : NULL;
	if (!o.w)
		return vmj_fail(err, ENOMEM, "out of memory");
	xmlTextWriterSetIndent(o.w, 1);
	o.failed |= xmlTextWriterStartDocument(o.w, NULL, "UTF-8", NULL) < 0;
	open_element(&o, "Envelope");
	attributes(&o, "xmlns", NS_OVF, "xmlns:ovf", NS_OVF, "xmlns:rasd",
		   NS_CIM "CIM_ResourceAllocationSettingData", "xmlns:vmw", NS_VMW, NULL);
	write_files(&o, spec);
	write_system(&o, spec);
	close_element(&o);
	o.failed |= xmlTextWriterEndDocument(o.w) < 0;
	text = o.failed ? NULL : strdup((const char *)xmlBufferContent(o.buffer));
	if (!text)
		return vmj_fail(err, ENOMEM, "cannot write the descriptor of \"%s\"", spec->name);
	*ret = text;
	return 0;
}
