/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img is the judge of what we write. */
#include "image-world.h"

#include "vmjob/storage/digest.h"
#include "vmjob/storage/qcow2_pack.h"

/* Packs raw, of this size, into p; its checksum must be p's. Returns what pack does. */
static int pack(void **state, uint64_t size)
{
	vmj_autofree char *raw = at(*state, "raw"), *p = at(*state, "p");
	vmj_autoclose int from = open(raw, O_RDONLY | O_CLOEXEC),
			  to = open(p, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct vmj_qcow2_pack k = {.from = from, .to = to, .virtual_bytes = size};
	struct vmj_error err = {.code = 0};
	char sha256[65] = "", again[65];
	int rc = vmj_qcow2_pack(&k, sha256, &err);

	assert_done(rc, err);
	if (rc > 0)
		return rc;
	assert_int_equal(vmj_digest_file(to, again, NULL, NULL), 0);
	assert_string_equal(sha256, again);
	RUN("qemu-img", "check", "-q", "-f", "qcow2", p);
	RUN("qemu-img", "compare", "-q", "-f", "raw", "-F", "qcow2", raw, p);
	return 0;
}

static void put(void **state, const char *data, size_t len, uint64_t offset)
{
	vmj_autofree char *raw = at(*state, "raw");
	vmj_autoclose int fd = open(raw, O_WRONLY | O_CLOEXEC);

	assert_int_equal(pwrite(fd, data, len, (off_t)offset), len);
}

/* Sizes around those of clusters and tables, with data at the edges. */
static void test_sizes(void **state)
{
	static const uint64_t sizes[] = {
		1,          511,         65535, 65536, 65537, 512ull << 20, (512ull << 20) + 1,
		3ull << 30, 600ull << 30};
	vmj_autofree char *raw = at(*state, "raw");

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		write_file(raw, "", 0);
		assert_int_equal(truncate(raw, (off_t)sizes[i]), 0);
		assert_int_equal(pack(state, sizes[i]), 0);
		put(state, "x", 1, sizes[i] - 1);
		put(state, "y", 1, sizes[i] / 2);
		assert_int_equal(pack(state, sizes[i]), 0);
	}
}

/* More clusters than one block of counts has, some of them zeros that are stored. */
static void test_many_clusters(void **state)
{
	vmj_autofree char *raw = at(*state, "raw"), *p = at(*state, "p"), *buf = malloc(1 << 20);
	uint64_t seed = 5;
	struct stat st;

	write_file(raw, "", 0);
	assert_int_equal(truncate(raw, 3ll << 30), 0);
	for (int i = 0; i < 2100; i++) {
		memset(buf, 0, 1 << 20);
		buf[0] = 'a';
		buf[unit_random(&seed) % (1 << 20)] = 'b';
		if (i % 7)
			for (size_t c = 0; c < 1 << 20; c += 65536)
				buf[c] = (char)(1 + i % 100);
		put(state, buf, 1 << 20, (uint64_t)i << 20);
	}
	assert_int_equal(pack(state, 3ull << 30), 0);
	assert_int_equal(stat(p, &st), 0);
	assert_true((uint64_t)st.st_blocks * 512 < (uint64_t)st.st_size - (100 << 20));
}

/* A file that stores mostly zeros, and one that is too large for us. */
static void test_left_to_qemu_img(void **state)
{
	vmj_autofree char *raw = at(*state, "raw"), *zeros = calloc(1, 1 << 20);

	write_file(raw, "", 0);
	assert_int_equal(truncate(raw, 64 << 20), 0);
	for (int i = 0; i < 32; i++)
		put(state, zeros, 1 << 20, (uint64_t)i << 20);
	assert_int_equal(pack(state, 64 << 20), 1);
	assert_int_equal(pack(state, 5ull << 40), 1);
}

static int copy(void **state, const char *file, bool compressed)
{
	vmj_autofree char *source = at(*state, file), *p = at(*state, "p");
	vmj_autoclose int from = open(source, O_RDONLY | O_CLOEXEC),
			  to = open(p, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct vmj_qcow2_pack k = {.from = from, .to = to};
	struct vmj_error err = {.code = 0};
	char sha256[65] = "", again[65];
	int rc = vmj_qcow2_copy(&k, compressed, sha256, &err);

	assert_done(rc, err);
	if (rc > 0)
		return rc;
	assert_int_equal(vmj_digest_file(to, again, NULL, NULL), 0);
	assert_string_equal(sha256, again);
	RUN("cmp", source, p);
	return 0;
}

static void test_plain_qcow2_is_copied(void **state)
{
	vmj_autofree char *q = at(*state, "q"), *other = at(*state, "o");

	assert_int_equal(copy(state, "q", false), 0);
	assert_int_equal(copy(state, "q", true), 1);
	RUN("qemu-img", "snapshot", "-c", "inside", q);
	assert_int_equal(copy(state, "q", false), 1);
	RUN("qemu-img", "create", "-q", "-f", "qcow2", "-o", "compat=0.10", other, "8M");
	assert_int_equal(copy(state, "o", false), 1);
	RUN("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=4096", other, "8M");
	assert_int_equal(copy(state, "o", false), 1);
	RUN("qemu-img", "create", "-q", "-f", "qcow2", "-o", "extended_l2=on", other, "8M");
	assert_int_equal(copy(state, "o", false), 1);
	RUN("qemu-img", "create", "-q", "-f", "qcow2", "-o", "preallocation=metadata", other,
	    "64M");
	assert_int_equal(copy(state, "o", false), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_sizes),
		TEST(test_many_clusters),
		TEST(test_left_to_qemu_img),
		TEST(test_plain_qcow2_is_copied),
	};

	return RUN_IMAGE_TESTS(tests);
}
