/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "image-world.h"

#include <signal.h>

/* Each stage goes on, and ends where it said. */
static struct counts {
	char stage[16];
	uint64_t last, total;
	unsigned int converting;
} counts;

static void on_progress(const char *what, uint64_t done, uint64_t total, void *arg)
{
	struct counts *c = arg;

	if (strcmp(c->stage, what) != 0)
		c->last = 0;
	snprintf(c->stage, sizeof(c->stage), "%s", what);
	c->converting += !strcmp(what, "converting");
	assert_true(done >= c->last && done <= total);
	c->last = done;
	c->total = total;
}

static void test_import_raw(void **state)
{
	vmj_autofree char *d = at(*state, "d"), *raw = at(*state, "raw");
	struct vmj_error err = {.code = 0};
	struct vmj_image_import spec = {
		.path = d, .name = "tiny", .file = raw, .progress = on_progress, .arg = &counts};
	struct vmj_image img, found;

	assert_done(vmj_image_import(&spec, &img, &err), err);
	assert_true(counts.converting > 0 && counts.last == counts.total);
	assert_string_equal(img.name, "tiny");
	assert_int_equal(img.revision, 1);
	assert_int_equal(img.owner, geteuid());
	assert_int_equal(img.virtual_bytes, 8 << 20);
	assert_int_equal(img.virtual_mib, 8);
	assert_true(img.time > 1600000000);
	RUN("qemu-img", "compare", "-q", "-f", "raw", "-F", "qcow2", raw, img.path);
	assert_done(vmj_image_find(d, NULL, "tiny", 0, geteuid(), getegid(), &found, &err), err);
	assert_memory_equal(&img, &found, sizeof(img));
}

static void test_import_sha256(void **state)
{
	unsigned char digest[crypto_hash_sha256_BYTES];
	vmj_autofree char *data = NULL;
	char hex[65];
	struct vmj_image img;
	size_t len;

	import(state, "q", "tiny", &img);
	assert_int_equal(vmj_file_read(-1, img.path, 64 << 20, &data, &len, NULL), 0);
	crypto_hash_sha256(digest, (unsigned char *)data, len);
	assert_string_equal(img.sha256, sodium_bin2hex(hex, sizeof(hex), digest, sizeof(digest)));
}

static void test_refuses_backing_file(void **state)
{
	vmj_autofree char *q = at(*state, "q"), *o = at(*state, "o");

	RUN("qemu-img", "create", "-q", "-f", "qcow2", "-b", q, "-F", "qcow2", o);
	assert_import_refused(state, "o", EINVAL, "backing file");
}

static void test_refuses_data_file(void **state)
{
	vmj_autofree char *o = at(*state, "o"), *opt = NULL;

	assert_true(asprintf(&opt, "data_file=%s/data", (char *)*state) > 0);
	RUN("qemu-img", "create", "-q", "-f", "qcow2", "-o", opt, o, "8M");
	assert_import_refused(state, "o", EINVAL, "in another file");
}

static void test_refuses_corrupt_mark(void **state)
{
	vmj_autofree char *q = at(*state, "q");
	vmj_autoclose int fd = open(q, O_RDWR | O_CLOEXEC);

	assert_int_equal(pwrite(fd, "\2", 1, 79), 1); /* incompatible_features, corrupt */
	assert_import_refused(state, "q", EINVAL, "corrupt");
}

static void test_refuses_truncated(void **state)
{
	vmj_autofree char *q = at(*state, "q");

	assert_int_equal(truncate(q, 3 * 65536), 0); /* a download that broke off */
	assert_import_refused(state, "q", EINVAL, "");
}

static void test_refuses_cut_header(void **state)
{
	vmj_autofree char *q = at(*state, "q");

	assert_int_equal(truncate(q, 40), 0);
	assert_import_refused(state, "q", EINVAL, "cut off");
}

static void test_refuses_garbage_table(void **state)
{
	vmj_autofree char *q = at(*state, "q");
	vmj_autoclose int fd = open(q, O_RDWR | O_CLOEXEC);
	char junk[512];

	memset(junk, 0x77, sizeof(junk));
	assert_int_equal(pwrite(fd, junk, sizeof(junk), 3 * 65536),
			 sizeof(junk)); /* the L1 table */
	assert_import_refused(state, "q", EINVAL, "has errors");
}

static void test_refuses_unknown_feature(void **state)
{
	vmj_autofree char *q = at(*state, "q");
	vmj_autoclose int fd = open(q, O_RDWR | O_CLOEXEC);

	assert_int_equal(pwrite(fd, "\x80", 1, 72), 1);
	assert_import_refused(state, "q", EINVAL, "not known here");
}

static void test_refuses_encrypted(void **state)
{
	vmj_autofree char *q = at(*state, "q");
	vmj_autoclose int fd = open(q, O_RDWR | O_CLOEXEC);

	assert_int_equal(pwrite(fd, "\0\0\0\2", 4, 32), 4);
	assert_import_refused(state, "q", EINVAL, "encrypted");
}

static void test_refuses_foreign_formats(void **state)
{
	vmj_autofree char *raw = at(*state, "raw");

	write_file(raw, "QED\0 and so on", 14);
	assert_import_refused(state, "raw", EINVAL, "QED");
	write_file(raw, "LUKS\xba\xbe and so on", 16);
	assert_import_refused(state, "raw", EINVAL, "LUKS");
	write_file(raw, "COWD and so on", 14);
	assert_import_refused(state, "raw", EINVAL, "VMDK");
}

static void test_refuses_irregular(void **state)
{
	vmj_autofree char *fifo = at(*state, "fifo");

	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_import_refused(state, "fifo", EINVAL, "not a regular file");
	assert_import_refused(state, ".", EINVAL, "not a regular file");
	assert_import_refused(state, "none", ENOENT, "cannot be opened");
}

static void test_refuses_empty(void **state)
{
	vmj_autofree char *raw = at(*state, "raw");

	write_file(raw, "", 0);
	assert_import_refused(state, "raw", EINVAL, "0 bytes");
}

/* A file of q's content in the format. */
static void make_format(void **state, const char *format, const char *options, const char *file)
{
	vmj_autofree char *q = at(*state, "q"), *f = at(*state, file);

	RUN("qemu-img", "convert", "-f", "qcow2", "-O", format, "-o", options, q, f);
}

static void test_formats(void **state)
{
	static const struct {
		const char *format, *options;
	} cases[] = {
		{"vmdk", "subformat=monolithicSparse"},
		{"vmdk", "subformat=streamOptimized"},
		{"vdi", "static=off"},
		{"vhdx", "subformat=dynamic"},
		{"vhdx", "subformat=fixed"},
		{"vpc", "subformat=dynamic,force_size=on"},
		{"vpc", "subformat=fixed,force_size=on"},
		{"qcow2", "compression_type=zlib"},
	};
	vmj_autofree char *q = at(*state, "q"), *f = at(*state, "f");

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vmj_image img;

		make_format(state, cases[i].format, cases[i].options, "f");
		import(state, "f", "any", &img);
		assert_int_equal(img.virtual_bytes, 8 << 20);
		RUN("qemu-img", "compare", "-q", "-f", "qcow2", "-F", "qcow2", q, img.path);
		assert_true(img.used_mib <= 2); /* 1 MiB of data: holes stay holes */
		assert_int_equal(unlink(f), 0);
	}
}

/* What qemu-img must convert, and what is taken as it is. */
static void test_kinds_of_qcow2(void **state)
{
	vmj_autofree char *q = at(*state, "q"), *c = at(*state, "c");
	struct vmj_image img;

	RUN("qemu-img", "convert", "-c", "-f", "qcow2", "-O", "qcow2", q, c);
	import(state, "c", "packed", &img);
	RUN("sh", "-c", "! qemu-img check --output=json \"$0\" | grep compressed", img.path);
	RUN("qemu-img", "compare", "-q", "-f", "qcow2", "-F", "qcow2", q, img.path);
	import(state, "q", "plain", &img);
	RUN("cmp", q, img.path);
	RUN("qemu-img", "snapshot", "-c", "inside", q);
	import(state, "q", "snapshot", &img);
	RUN("sh", "-c", "[ -z \"$(qemu-img snapshot -l \"$0\")\" ]", img.path);
}

/* Nothing that QEMU would open besides the file itself. */
static void test_refuses_vmdk_of_several_files(void **state)
{
	vmj_autofree char *q = at(*state, "q"), *f = at(*state, "f"),
			  *part = at(*state, "p-s001.vmdk"), *base = at(*state, "b.vmdk");

	make_format(state, "vmdk", "subformat=monolithicFlat", "f");
	assert_import_refused(state, "f", EINVAL, "in other files");
	RUN("qemu-img", "convert", "-f", "qcow2", "-O", "vmdk", "-o",
	    "subformat=twoGbMaxExtentSparse", q, base);
	assert_import_refused(state, "b.vmdk", EINVAL, "in other files");
	assert_int_equal(unlink(base), 0);
	RUN("qemu-img", "convert", "-f", "qcow2", "-O", "vmdk", q, base);
	assert_int_equal(unlink(f), 0);
	RUN("qemu-img", "create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", base, f);
	assert_import_refused(state, "f", EINVAL, "parent");
	(void)part;
}

/* QEMU takes the text in a VMDK of capacity 0 as a list of files. */
static void test_refuses_vmdk_without_capacity(void **state)
{
	vmj_autofree char *f = at(*state, "f");
	vmj_autoclose int fd = -1;

	make_format(state, "vmdk", "subformat=monolithicSparse", "f");
	fd = open(f, O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "\0\0\0\0\0\0\0\0", 8, 12), 8);
	assert_import_refused(state, "f", EINVAL, "several files");
}

static void test_refuses_differences(void **state)
{
	vmj_autofree char *f = at(*state, "f"), *g = at(*state, "g");
	vmj_autoclose int vpc = -1, vdi = -1;

	make_format(state, "vpc", "subformat=dynamic,force_size=on", "f");
	vpc = open(f, O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite(vpc, "\0\0\0\4", 4, 60), 4);
	assert_import_refused(state, "f", EINVAL, "VHD of type 4");
	make_format(state, "vdi", "static=off", "g");
	vdi = open(g, O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite(vdi, "\4\0\0\0", 4, 76), 4);
	assert_import_refused(state, "g", EINVAL, "VDI of type 4");
}

static void test_refuses_damaged_foreign(void **state)
{
	vmj_autofree char *f = at(*state, "f");

	make_format(state, "vhdx", "subformat=dynamic", "f");
	assert_int_equal(truncate(f, 4096), 0);
	assert_import_refused(state, "f", EINVAL, "no whole vhdx");
}

static void test_firmware_is_found(void **state)
{
	vmj_autofree char *raw = at(*state, "raw");
	struct vmj_image img;
	char first[1024] = {0};

	import(state, "raw", "none", &img);
	assert_int_equal(img.meta.firmware, VMJ_FIRMWARE_UNKNOWN);
	first[510] = 0x55;
	first[511] = (char)0xaa;
	first[446 + 4] = (char)0xef;
	write_file(raw, first, sizeof(first));
	assert_int_equal(truncate(raw, 8 << 20), 0);
	import(state, "raw", "uefi", &img);
	assert_int_equal(img.meta.firmware, VMJ_FIRMWARE_UEFI);
	first[0] = (char)0xeb;
	write_file(raw, first, sizeof(first));
	assert_int_equal(truncate(raw, 8 << 20), 0);
	import(state, "raw", "bios", &img);
	assert_int_equal(img.meta.firmware, VMJ_FIRMWARE_BIOS);
}

/* Killed at whatever moment: what is there is whole, and the next import clears up. */
static void test_killed(void **state)
{
	vmj_autofree char *d = at(*state, "d"), *raw = at(*state, "raw"), *own = NULL;
	struct vmj_error err = {.code = 0};
	struct vmj_image img, *list = NULL;
	uint64_t seed = 7;
	size_t n;

	assert_int_equal(truncate(raw, 64 << 20), 0);
	for (int i = 0; i < 12; i++) {
		pid_t pid = fork();
		int status;

		if (pid == 0)
			_exit(import_file(d, "tiny", raw, false, &img, NULL) < 0);
		usleep((useconds_t)(unit_random(&seed) % 60000));
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(vmj_image_list(d, geteuid(), &list, &n, NULL), 0);
		for (size_t k = 0; k < n; k++)
			RUN("qemu-img", "compare", "-q", "-f", "raw", "-F", "qcow2", raw,
			    list[k].path);
		free(list);
		list = NULL;
	}
	assert_done(vmj_image_sweep(d, &err), err);
	assert_true(asprintf(&own, "%s/images/%u", d, (unsigned int)geteuid()) > 0);
	RUN("sh", "-c", "[ -z \"$(find \"$0\" -name '.*' -mindepth 1)\" ]", own);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_import_raw),
		TEST(test_import_sha256),
		TEST(test_refuses_backing_file),
		TEST(test_refuses_data_file),
		TEST(test_refuses_corrupt_mark),
		TEST(test_refuses_truncated),
		TEST(test_refuses_cut_header),
		TEST(test_refuses_garbage_table),
		TEST(test_refuses_unknown_feature),
		TEST(test_refuses_encrypted),
		TEST(test_refuses_foreign_formats),
		TEST(test_refuses_irregular),
		TEST(test_refuses_empty),
		TEST(test_formats),
		TEST(test_kinds_of_qcow2),
		TEST(test_refuses_vmdk_of_several_files),
		TEST(test_refuses_vmdk_without_capacity),
		TEST(test_refuses_differences),
		TEST(test_refuses_damaged_foreign),
		TEST(test_firmware_is_found),
		TEST(test_killed),
	};

	return RUN_IMAGE_TESTS(tests);
}
