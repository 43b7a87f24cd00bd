/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two passes over the archive: the first takes its texts, the second the disk that they name; where
 * the texts stand in the archive differs among the programs that write it. */
#include "vmjob/storage/ova.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/parse.h"
#include "vmjob/storage/ovf.h"

#define MEMBERS_MAX  1000
#define MANIFEST_MAX 65536
#define BUFFER       (1u << 20)

VMJ_DEFINE_CLEANUP(struct archive *, archive_read_free);
#define auto_archive VMJ_CLEANUP(archive_read_freep)

struct texts {
	char *ovf, *manifest; /* NULL: none */
	size_t ovf_len;
	char ovf_name[VMJ_OVF_FILE_MAX];
};

static void texts_done(struct texts *t)
{
	free(t->ovf);
	free(t->manifest);
}

static int fail_archive(struct archive *a, struct vmj_error *err)
{
	char quoted[200];
	const char *why = archive_error_string(a);

	return vmj_fail_user(err, EINVAL, "the archive is damaged: %s",
			     why ? vmj_quote(why, quoted, sizeof(quoted)) : "it cannot be read");
}

static int open_archive(int from, struct archive **ret, struct vmj_error *err)
{
	auto_archive struct archive *a = archive_read_new();

	if (!a)
		return vmj_fail(err, ENOMEM, "out of memory");
	archive_read_support_format_tar(a);
	if (lseek(from, 0, SEEK_SET) < 0)
		return vmj_fail(err, errno, "cannot read the archive: %m");
	if (archive_read_open_fd(a, from, BUFFER) != ARCHIVE_OK)
		return fail_archive(a, err);
	*ret = vmj_steal(a);
	return 0;
}

/* The next regular file's name ("./" before it taken away), borrowed; NULL: the end. */
static int next_member(struct archive *a, unsigned int *n, const char **ret_name,
		       struct vmj_error *err)
{
	struct archive_entry *e;
	const char *name;
	int rc;

	*ret_name = NULL;
	for (;;) {
		rc = archive_read_next_header(a, &e);
		if (rc == ARCHIVE_EOF)
			return 0;
		if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN)
			return fail_archive(a, err);
		if (++*n > MEMBERS_MAX)
			return vmj_fail_user(err, E2BIG, "the archive has more than %d members",
					     MEMBERS_MAX);
		name = archive_entry_pathname(e);
		if (!name || archive_entry_filetype(e) != AE_IFREG || archive_entry_hardlink(e))
			continue;
		*ret_name = strncmp(name, "./", 2) ? name : name + 2;
		return 0;
	}
}

/* A member as text, with an end; -EFBIG for one that is longer. */
static int read_text(struct archive *a, size_t max, char **ret, size_t *ret_len,
		     struct vmj_error *err)
{
	vmj_autofree char *text = malloc(max + 1);
	size_t len = 0;
	la_ssize_t n;

	if (!text)
		return vmj_fail(err, ENOMEM, "out of memory");
	while (len <= max && (n = archive_read_data(a, text + len, max + 1 - len)) != 0) {
		if (n < 0)
			return fail_archive(a, err);
		len += (size_t)n;
	}
	if (len > max)
		return vmj_fail_user(err, EFBIG,
				     "the archive's descriptor is longer than %zu bytes", max);
	text[len] = '\0';
	*ret = vmj_steal(text);
	*ret_len = len;
	return 0;
}

static bool ends_in(const char *name, const char *ending)
{
	size_t n = strlen(name), m = strlen(ending);

	return n > m && strcasecmp(name + n - m, ending) == 0;
}

static int read_texts(int from, struct texts *t, struct vmj_error *err)
{
	auto_archive struct archive *a = NULL;
	unsigned int members = 0;
	const char *name;
	size_t len;
	int rc = open_archive(from, &a, err);

	while (rc == 0) {
		rc = next_member(a, &members, &name, err);
		if (rc < 0 || !name)
			break;
		if (!t->ovf && ends_in(name, ".ovf") && strlen(name) < sizeof(t->ovf_name)) {
			snprintf(t->ovf_name, sizeof(t->ovf_name), "%s", name);
			rc = read_text(a, VMJ_OVF_BYTES_MAX, &t->ovf, &t->ovf_len, err);
		} else if (!t->manifest && ends_in(name, ".mf")) {
			rc = read_text(a, MANIFEST_MAX, &t->manifest, &len, err);
		}
	}
	if (rc == 0 && !t->ovf)
		return vmj_fail_user(err, EINVAL,
				     "it is an archive without an OVF descriptor: unpack it and "
				     "import the disk in it");
	return rc;
}

/* A digest to compare with what the manifest says of the file: NULL if it says nothing. */
static int expect(const struct texts *t, const char *file, struct vmj_manifest_sum *sum,
		  struct vmj_digest **ret, struct vmj_error *err)
{
	int rc;

	*ret = NULL;
	rc = t->manifest ? vmj_manifest_find(t->manifest, file, sum, err) : 0;
	if (rc <= 0)
		return rc;
	*ret = vmj_digest_new(sum->algorithm);
	return *ret ? 0 : vmj_fail(err, ENOMEM, "libcrypto cannot compute %s", sum->algorithm);
}

static int compare(struct vmj_digest *d, const struct vmj_manifest_sum *sum, const char *file,
		   struct vmj_error *err)
{
	char hex[VMJ_DIGEST_HEX_MAX], quoted[200];

	if (!d || strcmp(vmj_digest_end(d, hex), sum->hex) == 0)
		return 0;
	return vmj_fail_user(err, EINVAL,
			     "the archive is damaged: %s of \"%s\" is not what its manifest says",
			     sum->algorithm, vmj_quote(file, quoted, sizeof(quoted)));
}

static int check_descriptor(const struct texts *t, struct vmj_error *err)
{
	vmj_auto_digest struct vmj_digest *d = NULL;
	struct vmj_manifest_sum sum;
	int rc = expect(t, t->ovf_name, &sum, &d, err);

	if (rc < 0)
		return rc;
	if (d)
		vmj_digest_add(d, t->ovf, t->ovf_len);
	return compare(d, &sum, t->ovf_name, err);
}

static int copy_member(struct archive *a, struct vmj_spool *to, struct vmj_error *err)
{
	vmj_autofree char *buf = malloc(BUFFER);
	la_ssize_t n;
	int rc;

	if (!buf)
		return vmj_fail(err, ENOMEM, "out of memory");
	while ((n = archive_read_data(a, buf, BUFFER)) > 0) {
		rc = vmj_spool_add(to, buf, (size_t)n);
		if (rc < 0)
			return vmj_fail(err, -rc, "the archive's disk cannot be stored: %s",
					vmj_strerror(rc));
	}
	if (n < 0)
		return fail_archive(a, err);
	rc = vmj_spool_end(to);
	return rc < 0 ? vmj_fail(err, -rc, "the archive's disk cannot be stored: %s",
				 vmj_strerror(rc))
		      : 0;
}

static int extract(int from, const char *file, struct vmj_spool *to, struct vmj_error *err)
{
	auto_archive struct archive *a = NULL;
	unsigned int members = 0;
	char quoted[200];
	const char *name;
	int rc = open_archive(from, &a, err);

	while (rc == 0) {
		rc = next_member(a, &members, &name, err);
		if (rc < 0)
			return rc;
		if (!name)
			return vmj_fail_user(
				err, EINVAL,
				"the archive does not have the disk \"%s\" that its OVF "
				"names",
				vmj_quote(file, quoted, sizeof(quoted)));
		if (strcmp(name, file) == 0)
			return copy_member(a, to, err);
	}
	return rc;
}

int vmj_ova_extract(int from, const char *disk, struct vmj_spool *to, struct vmj_image_meta *ret,
		    struct vmj_error *err)
{
	VMJ_CLEANUP(texts_done) struct texts t = {.ovf = NULL};
	vmj_auto_digest struct vmj_digest *d = NULL;
	struct vmj_manifest_sum sum;
	struct vmj_ovf ovf;
	int rc, chosen = 0;

	rc = read_texts(from, &t, err);
	if (rc == 0)
		rc = check_descriptor(&t, err);
	if (rc == 0)
		rc = vmj_ovf_read(t.ovf, t.ovf_len, &ovf, err);
	if (rc == 0)
		rc = chosen = vmj_ovf_choose(&ovf, disk, err);
	if (rc >= 0)
		rc = expect(&t, ovf.disks[chosen], &sum, &d, err);
	if (rc < 0)
		return rc;
	to->digest = d;
	rc = extract(from, ovf.disks[chosen], to, err);
	to->digest = NULL;
	if (rc == 0)
		rc = compare(d, &sum, ovf.disks[chosen], err);
	if (rc == 0)
		*ret = ovf.meta;
	return rc;
}
