/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing XML with libxml2, and keeping the first failure: the calls need no check each, the end
 * tells. Values are escaped; those that XML cannot hold make the document fail.
 */
#ifndef VMJ_HOST_XML_H
#define VMJ_HOST_XML_H

#include <stdbool.h>

#include "vmjob/base/error.h"

struct vmj_xml; /* a document being written */

struct vmj_xml *vmj_xml_new(void); /* NULL: out of memory */
void vmj_xml_free(struct vmj_xml *x);

void vmj_xml_open(struct vmj_xml *x, const char *element);
void vmj_xml_close(struct vmj_xml *x);
void vmj_xml_attr(struct vmj_xml *x, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void vmj_xml_text(struct vmj_xml *x, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* <element>text</element> */
void vmj_xml_leaf(struct vmj_xml *x, const char *element, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* <element name='value' …/>: pairs of names and values, ended by NULL. */
void vmj_xml_empty(struct vmj_xml *x, const char *element, ...) __attribute__((sentinel));

/* *ret is the caller's. Failure is the user's fault where a value was at fault: the text names it.
 */
int vmj_xml_end(struct vmj_xml *x, char **ret, struct vmj_error *err);

#endif
