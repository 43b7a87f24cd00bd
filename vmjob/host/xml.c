/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/host/xml.h"

#include <errno.h>
#include <libxml/xmlwriter.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/parse.h"

struct vmj_xml {
	xmlBufferPtr buffer;
	xmlTextWriterPtr writer;
	bool failed;   /* out of memory, or open and close do not match */
	char bad[160]; /* the first value that XML cannot hold, quoted; "" : none */
};

struct vmj_xml *vmj_xml_new(void)
{
	struct vmj_xml *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	x->buffer = xmlBufferCreate();
	x->writer = x->buffer ? xmlNewTextWriterMemory(x->buffer, 0) : NULL;
	if (!x->writer) {
		vmj_xml_free(x);
		return NULL;
	}
	return x;
}

void vmj_xml_free(struct vmj_xml *x)
{
	if (!x)
		return;
	if (x->writer)
		xmlFreeTextWriter(x->writer);
	if (x->buffer)
		xmlBufferFree(x->buffer);
	free(x);
}

static void note(struct vmj_xml *x, int rc)
{
	if (rc < 0)
		x->failed = true;
}

/* A character that XML 1.0 has no way to write, or that would not come back as it was. */
static bool can_hold(const char *value)
{
	for (const unsigned char *p = (const unsigned char *)value; *p; p++)
		if (*p < 0x20 || *p == 0x7f)
			return false;
	return xmlCheckUTF8((const xmlChar *)value);
}

/* *ret: the caller's; NULL if it is not to be written. */
static char *make_value(struct vmj_xml *x, const char *fmt, va_list ap)
{
	vmj_autofree char *value = NULL;

	if (vasprintf(&value, fmt, ap) < 0) {
		value = NULL;
		x->failed = true;
		return NULL;
	}
	if (!can_hold(value)) {
		if (!x->bad[0])
			vmj_quote(value, x->bad, sizeof(x->bad));
		return NULL;
	}
	return vmj_steal(value);
}

void vmj_xml_open(struct vmj_xml *x, const char *element)
{
	note(x, xmlTextWriterStartElement(x->writer, (const xmlChar *)element));
}

void vmj_xml_close(struct vmj_xml *x)
{
	note(x, xmlTextWriterEndElement(x->writer));
}

static void put_attr(struct vmj_xml *x, const char *name, const char *fmt, va_list ap)
{
	vmj_autofree char *value = make_value(x, fmt, ap);

	if (value)
		note(x, xmlTextWriterWriteAttribute(x->writer, (const xmlChar *)name,
						    (const xmlChar *)value));
}

void vmj_xml_attr(struct vmj_xml *x, const char *name, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	put_attr(x, name, fmt, ap);
	va_end(ap);
}

static void put_text(struct vmj_xml *x, const char *fmt, va_list ap)
{
	vmj_autofree char *value = make_value(x, fmt, ap);

	if (value)
		note(x, xmlTextWriterWriteString(x->writer, (const xmlChar *)value));
}

void vmj_xml_text(struct vmj_xml *x, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	put_text(x, fmt, ap);
	va_end(ap);
}

void vmj_xml_leaf(struct vmj_xml *x, const char *element, const char *fmt, ...)
{
	va_list ap;

	vmj_xml_open(x, element);
	va_start(ap, fmt);
	put_text(x, fmt, ap);
	va_end(ap);
	vmj_xml_close(x);
}

void vmj_xml_empty(struct vmj_xml *x, const char *element, ...)
{
	const char *name;
	va_list ap;

	vmj_xml_open(x, element);
	va_start(ap, element);
	while ((name = va_arg(ap, const char *)))
		vmj_xml_attr(x, name, "%s", va_arg(ap, const char *));
	va_end(ap);
	vmj_xml_close(x);
}

int vmj_xml_end(struct vmj_xml *x, char **ret, struct vmj_error *err)
{
	char *text;

	if (x->bad[0])
		return vmj_fail_user(
			err, EINVAL,
			"the value \"%s\" has control characters or broken UTF-8, which "
			"a guest's description cannot hold",
			x->bad);
	note(x, xmlTextWriterEndDocument(x->writer));
	text = x->failed ? NULL : strdup((const char *)xmlBufferContent(x->buffer));
	if (!text)
		return vmj_fail(err, ENOMEM, "cannot write a guest's description: out of memory");
	*ret = text;
	return 0;
}
