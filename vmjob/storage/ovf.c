/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/storage/ovf.h"

#include <ctype.h>
#include <errno.h>
#include <libxml/parser.h>
#include <libxml/tree.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/parse.h"

#define RESOURCE_MEMORY "4" /* CIM_ResourceAllocationSettingData.ResourceType */

VMJ_DEFINE_CLEANUP(xmlDoc *, xmlFreeDoc);

static void free_xml(xmlChar **text)
{
	if (*text)
		xmlFree(*text);
}
#define auto_xml VMJ_CLEANUP(free_xml)

static bool is(const xmlNode *n, const char *name)
{
	return n->type == XML_ELEMENT_NODE && strcmp((const char *)n->name, name) == 0;
}

static xmlNode *child(const xmlNode *parent, const char *name)
{
	for (xmlNode *n = parent ? parent->children : NULL; n; n = n->next)
		if (is(n, name))
			return n;
	return NULL;
}

static bool attribute_is(xmlNode *n, const char *name, const xmlChar *value)
{
	auto_xml xmlChar *v = xmlGetProp(n, (const xmlChar *)name);

	return v && value && xmlStrEqual(v, value);
}

static bool text_is(xmlNode *n, const char *text)
{
	auto_xml xmlChar *v = n ? xmlNodeGetContent(n) : NULL;

	return v && strcmp((const char *)v, text) == 0;
}

/* The file that a Disk's fileRef stands for, into ret->disks. */
static int add_disk(xmlNode *references, xmlNode *disk, struct vmj_ovf *ret, struct vmj_error *err)
{
	auto_xml xmlChar *ref = xmlGetProp(disk, (const xmlChar *)"fileRef");

	if (!ref)
		return 0; /* an empty disk, to be made */
	for (xmlNode *n = references ? references->children : NULL; n; n = n->next) {
		auto_xml xmlChar *href = NULL;

		if (!is(n, "File") || !attribute_is(n, "id", ref))
			continue;
		href = xmlGetProp(n, (const xmlChar *)"href");
		if (!href || !*href || strlen((char *)href) >= VMJ_OVF_FILE_MAX)
			return vmj_fail_user(
				err, EINVAL,
				"the archive's OVF names a file of a length that it must "
				"not have");
		if (ret->n_disks == VMJ_OVF_DISKS_MAX)
			return vmj_fail_user(err, E2BIG, "the archive's OVF has more than %d disks",
					     VMJ_OVF_DISKS_MAX);
		snprintf(ret->disks[ret->n_disks++], VMJ_OVF_FILE_MAX, "%s", (char *)href);
		return 0;
	}
	return vmj_fail_user(err, EINVAL, "the archive's OVF has a disk without a file for it");
}

/* "byte * 2^20" and "MegaBytes" are what programs write. */
static void read_memory(xmlNode *item, struct vmj_image_meta *meta)
{
	auto_xml xmlChar *quantity = NULL;
	xmlNode *units = child(item, "AllocationUnits"), *q = child(item, "VirtualQuantity");

	if (!q || !text_is(child(item, "ResourceType"), RESOURCE_MEMORY) ||
	    (!text_is(units, "byte * 2^20") && !text_is(units, "MegaBytes")))
		return;
	quantity = xmlNodeGetContent(q);
	vmj_image_meta_set(meta, "min-memory", (const char *)quantity, NULL);
}

static void read_hardware(xmlNode *hardware, struct vmj_image_meta *meta)
{
	for (xmlNode *n = hardware->children; n; n = n->next) {
		if (is(n, "Item"))
			read_memory(n, meta);
		else if (is(n, "Config") && attribute_is(n, "key", (const xmlChar *)"firmware"))
			meta->firmware = attribute_is(n, "value", (const xmlChar *)"efi")
						 ? VMJ_FIRMWARE_UEFI
						 : VMJ_FIRMWARE_BIOS;
	}
}

/* What cannot be used of it is left out. */
static void read_system(xmlNode *system, struct vmj_image_meta *meta)
{
	xmlNode *hardware = child(system, "VirtualHardwareSection");
	xmlNode *os = child(child(system, "OperatingSystemSection"), "Description");
	auto_xml xmlChar *text = os ? xmlNodeGetContent(os) : NULL;

	if (text)
		vmj_image_meta_set(meta, "os", (const char *)text, NULL);
	if (hardware)
		read_hardware(hardware, meta);
}

static int read_envelope(xmlNode *root, struct vmj_ovf *ret, struct vmj_error *err)
{
	xmlNode *references = child(root, "References"), *section = child(root, "DiskSection");
	xmlNode *system = child(root, "VirtualSystem");
	int rc;

	for (xmlNode *n = section ? section->children : NULL; n; n = n->next) {
		rc = is(n, "Disk") ? add_disk(references, n, ret, err) : 0;
		if (rc < 0)
			return rc;
	}
	if (!ret->n_disks)
		return vmj_fail_user(err, EINVAL, "the archive's OVF names no disk");
	if (system)
		read_system(system, &ret->meta);
	return 0;
}

int vmj_ovf_read(const char *text, size_t len, struct vmj_ovf *ret, struct vmj_error *err)
{
	VMJ_CLEANUP(xmlFreeDocp) xmlDoc *doc = NULL;
	struct vmj_ovf ovf = {.n_disks = 0};
	xmlNode *root;
	int rc;

	if (len > VMJ_OVF_BYTES_MAX)
		return vmj_fail_user(err, EFBIG, "the archive's OVF is longer than %u bytes",
				     VMJ_OVF_BYTES_MAX);
	doc = xmlReadMemory(text, (int)len, "ovf", NULL,
			    XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
	root = doc ? xmlDocGetRootElement(doc) : NULL;
	/* A document type can define entities, which nothing needs here. */
	if (!root || doc->intSubset || !is(root, "Envelope"))
		return vmj_fail_user(err, EINVAL, "the archive's OVF is damaged, or no OVF");
	rc = read_envelope(root, &ovf, err);
	if (rc == 0)
		*ret = ovf;
	return rc;
}

int vmj_ovf_choose(const struct vmj_ovf *ovf, const char *wanted, struct vmj_error *err)
{
	char names[300] = "", quoted[100];

	if (!wanted && ovf->n_disks == 1)
		return 0;
	for (unsigned int i = 0; i < ovf->n_disks; i++) {
		size_t used = strlen(names);

		if (wanted && strcmp(wanted, ovf->disks[i]) == 0)
			return (int)i;
		snprintf(names + used, sizeof(names) - used, "%s%s", i ? ", " : "",
			 vmj_quote(ovf->disks[i], quoted, sizeof(quoted)));
	}
	if (!wanted)
		return vmj_fail_user(err, EINVAL,
				     "the archive has %u disks: choose one with --disk=FILE (%s)",
				     ovf->n_disks, names);
	return vmj_fail_user(err, EINVAL, "the archive has no disk \"%s\": it has %s",
			     vmj_quote(wanted, quoted, sizeof(quoted)), names);
}

static size_t sum_length(const char *algorithm)
{
	if (!strcmp(algorithm, "SHA1"))
		return 40;
	if (!strcmp(algorithm, "SHA256"))
		return 64;
	return strcmp(algorithm, "SHA512") ? 0 : 128;
}

/* "SHA256(disk.vmdk)= 0123…", with blanks where openssl puts them. *ret_file points into `line`. */
static bool read_sum(char *line, const char **ret_file, struct vmj_manifest_sum *ret)
{
	char *open = strchr(line, '('), *close = strrchr(line, ')'), *hex;
	size_t n;

	if (!open || !close || close < open || !strchr(close, '='))
		return false;
	hex = strchr(close, '=') + 1;
	hex += strspn(hex, " \t");
	hex[strcspn(hex, " \t\r")] = '\0';
	for (n = (size_t)(open - line); n > 0 && line[n - 1] == ' ';)
		n--;
	if (n == 0 || n >= sizeof(ret->algorithm))
		return false;
	memcpy(ret->algorithm, line, n);
	ret->algorithm[n] = '\0';
	if (!sum_length(ret->algorithm) || strlen(hex) != sum_length(ret->algorithm) ||
	    strspn(hex, "0123456789abcdefABCDEF") != strlen(hex))
		return false;
	for (n = 0; hex[n]; n++)
		ret->hex[n] = (char)tolower((unsigned char)hex[n]);
	ret->hex[n] = '\0';
	*close = '\0';
	*ret_file = open + 1;
	return true;
}

int vmj_manifest_find(const char *text, const char *file, struct vmj_manifest_sum *ret,
		      struct vmj_error *err)
{
	vmj_autofree char *copy = strdup(text);
	struct vmj_manifest_sum sum;
	const char *name;
	char *rest = copy;

	if (!copy)
		return vmj_fail(err, ENOMEM, "out of memory");
	for (char *line; (line = strsep(&rest, "\n"));) {
		if (!line[strspn(line, " \t\r")])
			continue;
		if (!read_sum(line, &name, &sum))
			return vmj_fail_user(
				err, EINVAL,
				"the archive's manifest has a line that is no checksum");
		if (strcmp(name, file) == 0) {
			*ret = sum;
			return 1;
		}
	}
	return 0;
}
