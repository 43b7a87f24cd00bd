/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The texts of an OVA, what is said about an image, and what its first bytes tell. */
#include "unit.h"

#include <errno.h>

#include "vmjob/storage/firmware.h"
#include "vmjob/storage/ovf.h"

#define ENVELOPE(inner)                                             \
	"<Envelope xmlns='http://schemas.dmtf.org/ovf/envelope/1' " \
	"xmlns:vmw='http://www.vmware.com/schema/ovf' "             \
	"xmlns:ovf='http://schemas.dmtf.org/ovf/envelope/1'>" inner "</Envelope>"
#define ONE_DISK                                                        \
	"<References><File ovf:id='f' ovf:href='a.vmdk'/></References>" \
	"<DiskSection><Disk ovf:diskId='d' ovf:fileRef='f'/></DiskSection>"

static void test_reads_disks_and_meta(void **state)
{
	static const char text[] = ENVELOPE(
		"<References><File ovf:id='iso' ovf:href='cd.iso'/>"
		"<File ovf:id='f1' ovf:href='root.vmdk'/><File ovf:id='f2' ovf:href='data.vmdk'/>"
		"</References><DiskSection><Disk ovf:diskId='a' ovf:fileRef='f1'/>"
		"<Disk ovf:diskId='new' ovf:capacity='10'/><Disk ovf:diskId='b' ovf:fileRef='f2'/>"
		"</DiskSection><VirtualSystem><OperatingSystemSection><Description>Rocky 9"
		"</Description></OperatingSystemSection><VirtualHardwareSection>"
		"<Item><ResourceType>3</ResourceType><VirtualQuantity>2</VirtualQuantity></Item>"
		"<Item><AllocationUnits>byte * 2^20</AllocationUnits><ResourceType>4</ResourceType>"
		"<VirtualQuantity>2048</VirtualQuantity></Item>"
		"<vmw:Config vmw:key='firmware' vmw:value='efi'/>"
		"</VirtualHardwareSection></VirtualSystem>");
	struct vmj_error err = {.code = 0};
	struct vmj_ovf ovf;

	assert_done(vmj_ovf_read(text, strlen(text), &ovf, &err), err);
	assert_int_equal(ovf.n_disks, 2);
	assert_string_equal(ovf.disks[0], "root.vmdk");
	assert_string_equal(ovf.disks[1], "data.vmdk");
	assert_string_equal(ovf.meta.os, "Rocky 9");
	assert_int_equal(ovf.meta.min_memory_mib, 2048);
	assert_int_equal(ovf.meta.firmware, VMJ_FIRMWARE_UEFI);
	assert_user_refused(vmj_ovf_choose(&ovf, NULL, &err), err, EINVAL,
			    "2 disks: choose one with --disk=FILE (root.vmdk, data.vmdk)");
	assert_int_equal(vmj_ovf_choose(&ovf, "data.vmdk", &err), 1);
	assert_user_refused(vmj_ovf_choose(&ovf, "x", &err), err, EINVAL, "no disk \"x\"");
}

/* What is said of the guest may be nonsense: it is left out, and the disk imported. */
static void test_odd_meta_is_left_out(void **state)
{
	static const char text[] =
		ENVELOPE(ONE_DISK "<VirtualSystem><OperatingSystemSection><Description>a\xc3\xa4"
				  "</Description></OperatingSystemSection><VirtualHardwareSection>"
				  "<Item><AllocationUnits>MegaBytes</AllocationUnits>"
				  "<ResourceType>4</ResourceType><VirtualQuantity>-5"
				  "</VirtualQuantity></Item></VirtualHardwareSection>"
				  "</VirtualSystem>");
	struct vmj_error err = {.code = 0};
	struct vmj_ovf ovf;

	assert_done(vmj_ovf_read(text, strlen(text), &ovf, &err), err);
	assert_string_equal(ovf.meta.os, "");
	assert_int_equal(ovf.meta.min_memory_mib, 0);
	assert_int_equal(vmj_ovf_choose(&ovf, NULL, &err), 0);
}

static void test_refuses_bad_descriptors(void **state)
{
	static const struct {
		const char *text, *part;
	} cases[] = {
		{"", "damaged"},
		{"<a/>", "damaged"},
		{"<Envelope>", "damaged"},
		{ENVELOPE(""), "names no disk"},
		{ENVELOPE("<DiskSection><Disk fileRef='x'/></DiskSection>"), "without a file"},
		{"<!DOCTYPE Envelope [<!ENTITY e SYSTEM '/etc/passwd'>]>" ENVELOPE(ONE_DISK),
		 "damaged"},
	};
	struct vmj_ovf ovf = {.n_disks = 7};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vmj_error err = {.code = 0};

		assert_user_refused(vmj_ovf_read(cases[i].text, strlen(cases[i].text), &ovf, &err),
				    err, EINVAL, cases[i].part);
		assert_int_equal(ovf.n_disks, 7);
	}
}

static void test_bounds_of_descriptors(void **state)
{
	vmj_autofree char *long_name = NULL, *many = NULL, *big = calloc(1, VMJ_OVF_BYTES_MAX + 2);
	struct vmj_error err = {.code = 0};
	struct vmj_ovf ovf;
	size_t len = 0;
	FILE *f;

	assert_user_refused(vmj_ovf_read(big, VMJ_OVF_BYTES_MAX + 1, &ovf, &err), err, EFBIG,
			    "longer");
	assert_true(asprintf(&long_name,
			     ENVELOPE("<References><File id='f' href='%0300d'/></References>"
				      "<DiskSection><Disk fileRef='f'/></DiskSection>"),
			     0) > 0);
	assert_user_refused(vmj_ovf_read(long_name, strlen(long_name), &ovf, &err), err, EINVAL,
			    "length");
	f = open_memstream(&many, &len);
	fputs("<Envelope><References><File id='f' href='a'/></References><DiskSection>", f);
	for (int i = 0; i <= VMJ_OVF_DISKS_MAX; i++)
		fputs("<Disk fileRef='f'/>", f);
	fputs("</DiskSection></Envelope>", f);
	fclose(f);
	assert_user_refused(vmj_ovf_read(many, len, &ovf, &err), err, E2BIG, "more than 16");
}

static void test_manifest(void **state)
{
	static const char text[] =
		"SHA1(vm.ovf)= DA39a3ee5e6b4b0d3255bfef95601890afd80709\n"
		"\n"
		"SHA256 (a (copy).vmdk) = "
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\r\n";
	struct vmj_manifest_sum sum;
	struct vmj_error err = {.code = 0};

	assert_int_equal(vmj_manifest_find(text, "vm.ovf", &sum, &err), 1);
	assert_string_equal(sum.algorithm, "SHA1");
	assert_string_equal(sum.hex, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
	assert_int_equal(vmj_manifest_find(text, "a (copy).vmdk", &sum, &err), 1);
	assert_string_equal(sum.algorithm, "SHA256");
	assert_int_equal(vmj_manifest_find(text, "b.vmdk", &sum, &err), 0);
}

static void test_refuses_bad_manifests(void **state)
{
	static const char *const cases[] = {
		"nothing",
		"SHA1(a)",
		"SHA1(a)= 1234",
		"MD5(a)= d41d8cd98f00b204e9800998ecf8427e",
		"(a)= da39a3ee5e6b4b0d3255bfef95601890afd80709",
		"SHA1)a(= da39a3ee5e6b4b0d3255bfef95601890afd80709",
		"SHA1(a)= ga39a3ee5e6b4b0d3255bfef95601890afd80709",
		"SHA1SHA1SHA1(a)= da39a3ee5e6b4b0d3255bfef95601890afd80709",
	};
	struct vmj_manifest_sum sum;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vmj_error err = {.code = 0};

		assert_user_refused(vmj_manifest_find(cases[i], "b", &sum, &err), err, EINVAL,
				    "no checksum");
	}
}

static void test_firmware_of_partition_tables(void **state)
{
	static const unsigned char esp[16] = {0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11,
					      0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b};
	unsigned char first[VMJ_FIRMWARE_BYTES] = {0};

	assert_int_equal(vmj_firmware_of(first), VMJ_FIRMWARE_UNKNOWN);
	first[510] = 0x55;
	first[511] = 0xaa;
	assert_int_equal(vmj_firmware_of(first), VMJ_FIRMWARE_UNKNOWN);
	memcpy(first + 1024 + 5 * 128, esp, sizeof(esp));
	assert_int_equal(vmj_firmware_of(first), VMJ_FIRMWARE_UNKNOWN); /* no GPT */
	memcpy(first + 512, "EFI PART", 8);
	assert_int_equal(vmj_firmware_of(first), VMJ_FIRMWARE_UEFI);
	memcpy(first + 1024 + 127 * 128, "Hah!IdontNeedEFI", 16);
	assert_int_equal(vmj_firmware_of(first), VMJ_FIRMWARE_BIOS);
}

static void test_meta_values(void **state)
{
	static const char *const bad[][2] = {
		{"os", "a\nb"},          {"os", "\xc3\xa4"},
		{"default-user", "a b"}, {"default-user", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
		{"firmware", "UEFI"},    {"agent", "maybe"},
		{"min-memory", "0"},     {"min-memory", "much"},
		{"min-disk", "999999T"}, {"colour", "red"},
	};
	struct vmj_image_meta m = {.os = ""}, before,
			      over = {.agent = VMJ_AGENT_NO, .os = "Rocky 9"};
	struct vmj_error err = {.code = 0};

	assert_done(vmj_image_meta_set(&m, "os", "Debian 12", &err), err);
	assert_done(vmj_image_meta_set(&m, "min-memory", "2G", &err), err);
	assert_done(vmj_image_meta_set(&m, "min-disk", "10G", &err), err);
	assert_done(vmj_image_meta_set(&m, "firmware", "uefi", &err), err);
	assert_done(vmj_image_meta_set(&m, "agent", "yes", &err), err);
	assert_done(vmj_image_meta_set(&m, "default-user", "debian", &err), err);
	assert_int_equal(m.min_memory_mib, 2048);
	assert_int_equal(m.min_disk_mib, 10240);
	assert_int_equal(m.firmware, VMJ_FIRMWARE_UEFI);
	assert_string_equal(vmj_has_agent_name(m.agent), "yes");
	assert_string_equal(m.default_user, "debian");
	before = m;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct vmj_error e = {.code = 0};

		assert_true(vmj_image_meta_set(&m, bad[i][0], bad[i][1], &e) < 0);
		assert_int_equal(e.fault, VMJ_FAULT_USER);
		assert_memory_equal(&m, &before, sizeof(m));
	}
	vmj_image_meta_merge(&m, &over);
	assert_string_equal(m.os, "Rocky 9");
	assert_int_equal(m.agent, VMJ_AGENT_NO);
	assert_int_equal(m.min_memory_mib, 2048);
	assert_done(vmj_image_meta_set(&m, "min-memory", "", &err), err);
	assert_done(vmj_image_meta_set(&m, "firmware", "", &err), err);
	assert_int_equal(m.min_memory_mib, 0);
	assert_int_equal(m.firmware, VMJ_FIRMWARE_UNKNOWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reads_disks_and_meta),
		cmocka_unit_test(test_odd_meta_is_left_out),
		cmocka_unit_test(test_refuses_bad_descriptors),
		cmocka_unit_test(test_bounds_of_descriptors),
		cmocka_unit_test(test_manifest),
		cmocka_unit_test(test_refuses_bad_manifests),
		cmocka_unit_test(test_firmware_of_partition_tables),
		cmocka_unit_test(test_meta_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
