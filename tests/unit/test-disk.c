/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "image-world.h"

#include "vmjob/storage/qcow2.h"
#include "vmjob/model/request.h"

static void test_overlay(void **state)
{
	vmj_autofree char *file = at(*state, "disk.qcow2");
	uid_t uid = geteuid() == 0 ? OTHER_UID : geteuid();
	gid_t gid = geteuid() == 0 ? OTHER_GID : getegid();
	struct vmj_error err = {.code = 0};
	struct vmj_image img;
	struct stat st;

	import(state, "q", "tiny", &img);
	write_file(file, "left by a crash", 15);
	assert_done(vmj_disk_overlay(&img, file, uid, gid, &err), err);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_uid, uid);
	assert_int_equal(st.st_gid, gid);
	RUN("qemu-img", "compare", "-q", "-F", "qcow2", "-f", "qcow2", file, img.path);
	assert_int_equal(stat(img.path, &st), 0);
	assert_int_equal(st.st_uid, geteuid());
	assert_done(vmj_disk_empty(file, 100, uid, gid, &err), err);
	RUN("qemu-img", "check", "-q", "-f", "qcow2", file);
}

/* qemu-img is the judge of what we write, for sizes around those of the tables. */
static void test_disk_sizes(void **state)
{
	static const uint64_t sizes[] = {
		1, 511, 513, 512ull << 20, (512ull << 20) + 1, 5ull << 40, VMJ_DISK_MIB_MAX << 20};
	vmj_autofree char *file = at(*state, "disk.qcow2");
	struct vmj_image img = {.path = "/nonexistent/base.qcow2"};
	struct vmj_error err = {.code = 0};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		vmj_autoclose int fd = -1;
		struct vmj_qcow2 q;
		bool qcow2;

		img.virtual_bytes = sizes[i];
		assert_done(vmj_disk_overlay(&img, file, geteuid(), getegid(), &err), err);
		fd = open(file, O_RDWR | O_CLOEXEC);
		assert_user_refused(vmj_qcow2_probe(fd, "it", &q, &qcow2, &err), err, EINVAL,
				    "backing file");
		assert_int_equal(ftruncate(fd, 0), 0);
		assert_done(vmj_qcow2_create(fd, sizes[i], NULL, &err), err);
		assert_done(vmj_qcow2_probe(fd, "it", &q, &qcow2, &err), err);
		assert_true(qcow2);
		assert_int_equal(q.virtual_bytes, (sizes[i] + 511) / 512 * 512);
		RUN("qemu-img", "check", "-q", "-f", "qcow2", file);
	}
	assert_refused(vmj_qcow2_create(-1, 0, NULL, &err), err, ERANGE, "0 bytes");
	assert_refused(vmj_qcow2_create(-1, UINT64_MAX / 4, NULL, &err), err, ERANGE, "bytes");
}

/* What is written goes into the overlay, what is read comes from the image. */
static void test_overlay_is_used(void **state)
{
	vmj_autofree char *file = at(*state, "disk.qcow2");
	struct vmj_error err = {.code = 0};
	struct vmj_image img;

	import(state, "q", "tiny", &img);
	assert_done(vmj_disk_overlay(&img, file, geteuid(), getegid(), &err), err);
	RUN("qemu-io", "-f", "qcow2", "-c", "read -P 0x5a 1M 1M", "-c", "write -P 0x77 4M 64k",
	    "-c", "read -P 0x77 4M 64k", file);
	RUN("qemu-img", "check", "-q", "-f", "qcow2", file);
	RUN("qemu-io", "-r", "-f", "qcow2", "-c", "read -P 0 4M 64k", img.path);
}

static void test_disk_cannot_be_made(void **state)
{
	struct vmj_error err = {.code = 0};

	assert_true(vmj_disk_empty("/proc/none/disk", 100, 0, 0, &err) < 0);
	assert_int_equal(err.fault, VMJ_FAULT_HOST);
	assert_non_null(strstr(err.text, "/proc/none/disk"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_overlay),
		TEST(test_disk_sizes),
		TEST(test_overlay_is_used),
		TEST(test_disk_cannot_be_made),
	};

	return RUN_IMAGE_TESTS(tests);
}
