/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Imports of what is packed: streams, archives, standard input. */
#include "image-world.h"

#include "vmjob/storage/digest.h"

static void assert_same(void **state, const struct vmj_image *img)
{
	vmj_autofree char *q = at(*state, "q");

	RUN("qemu-img", "compare", "-q", "-f", "qcow2", "-F", "qcow2", q, img->path);
}

/* Nothing of the import is left besides what the image is. */
static void assert_tidy(const struct vmj_image *img)
{
	vmj_autofree char *dir = strndup(img->path, (size_t)(strrchr(img->path, '/') - img->path));

	RUN("sh", "-c", "[ \"$(ls -A \"$0\" | tr '\\n' ' ')\" = 'disk.qcow2 image.json ' ]", dir);
}

static void test_packed_streams(void **state)
{
	static const char *const tools[][2] = {{"gzip", "q.gz"}, {"xz", "q.xz"}, {"zstd", "q.zst"}};
	vmj_autofree char *q = at(*state, "q");

	for (size_t i = 0; i < 3; i++) {
		vmj_autofree char *packed = at(*state, tools[i][1]);
		struct vmj_image img;

		RUN("sh", "-c", "$0 -c <\"$1\" >\"$2\"", tools[i][0], q, packed);
		import(state, tools[i][1], "packed", &img);
		assert_same(state, &img);
		assert_tidy(&img);
		assert_string_equal(img.source, tools[i][1]);
	}
}

static void test_damaged_stream(void **state)
{
	vmj_autofree char *q = at(*state, "q"), *gz = at(*state, "q.gz");

	RUN("sh", "-c", "gzip -c <\"$0\" | head -c 500 >\"$1\"", q, gz);
	assert_import_refused(state, "q.gz", EINVAL, "damaged");
	write_file(gz, "\x1f\x8b nothing of the kind", 22);
	assert_import_refused(state, "q.gz", EINVAL, "damaged");
}

/* What a packed file holds is looked at as any other. */
static void test_packed_overlay_is_refused(void **state)
{
	vmj_autofree char *q = at(*state, "q"), *o = at(*state, "o"), *gz = at(*state, "o.gz");

	RUN("qemu-img", "create", "-q", "-f", "qcow2", "-b", q, "-F", "qcow2", o);
	RUN("sh", "-c", "gzip -c <\"$0\" >\"$1\"", o, gz);
	assert_import_refused(state, "o.gz", EINVAL, "backing file");
}

/* In a child, whose standard input comes from the program. Returns what import said. */
static int import_from(const char *d, const char *command, const char *file, const char *name)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		vmj_autofree char *line = NULL;
		struct vmj_image img;
		FILE *p;

		if (asprintf(&line, "%s '%s'", command, file) < 0 || !(p = popen(line, "r")) ||
		    dup2(fileno(p), STDIN_FILENO) < 0)
			_exit(99);
		_exit(-import_file(d, name, "-", false, &img, NULL));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void test_standard_input(void **state)
{
	vmj_autofree char *d = at(*state, "d"), *q = at(*state, "q"), *raw = at(*state, "raw");
	struct vmj_error err = {.code = 0};
	struct vmj_image img;

	assert_int_equal(import_from(d, "cat", q, "piped"), 0);
	assert_done(vmj_image_find(d, NULL, "piped", 1, geteuid(), getegid(), &img, &err), err);
	assert_same(state, &img);
	assert_tidy(&img);
	assert_int_equal(import_from(d, "gzip -c", q, "piped"), 0);
	assert_done(vmj_image_find(d, NULL, "piped", 2, geteuid(), getegid(), &img, &err), err);
	assert_same(state, &img);
	assert_int_equal(import_from(d, "cat", raw, "raw"), 0);
	assert_done(vmj_image_find(d, NULL, "raw", 1, geteuid(), getegid(), &img, &err), err);
	RUN("qemu-img", "compare", "-q", "-f", "raw", "-F", "qcow2", raw, img.path);
	assert_int_equal(WEXITSTATUS(import_from(d, "true", q, "nothing")), EINVAL);
}

static const char ovf_head[] =
	"<?xml version='1.0'?><Envelope xmlns='http://schemas.dmtf.org/ovf/envelope/1' "
	"xmlns:ovf='http://schemas.dmtf.org/ovf/envelope/1'><References>";

/* An OVF of these disks, into `file`. */
static void write_ovf(const char *file, const char *const *disks)
{
	char text[4096], *end = text + sizeof(text), *p = text;

	p += snprintf(p, (size_t)(end - p), "%s", ovf_head);
	for (int i = 0; disks[i]; i++)
		p += snprintf(p, (size_t)(end - p), "<File ovf:href='%s' ovf:id='f%d'/>", disks[i],
			      i);
	p += snprintf(p, (size_t)(end - p), "</References><DiskSection>");
	for (int i = 0; disks[i]; i++)
		p += snprintf(p, (size_t)(end - p),
			      "<Disk ovf:diskId='d%d' ovf:fileRef='f%d' ovf:capacity='8'/>", i, i);
	p += snprintf(p, (size_t)(end - p),
		      "</DiskSection><VirtualSystem><OperatingSystemSection><Description>Debian 12"
		      "</Description></OperatingSystemSection></VirtualSystem></Envelope>");
	write_file(file, text, strlen(text));
}

/* ova/: vm.ovf of the disks, one.vmdk with q's content. */
static char *make_parts(void **state, const char *const *disks)
{
	vmj_autofree char *q = at(*state, "q"), *vmdk = NULL, *ovf = NULL;
	char *dir = at(*state, "parts");

	assert_int_equal(mkdir(dir, 0700), 0);
	vmdk = at(dir, "one.vmdk");
	ovf = at(dir, "vm.ovf");
	RUN("qemu-img", "convert", "-f", "qcow2", "-O", "vmdk", "-o", "subformat=streamOptimized",
	    q, vmdk);
	write_ovf(ovf, disks);
	return dir;
}
#define PARTS(...) make_parts(state, (const char *const[]){__VA_ARGS__, NULL})

static void sum_line(FILE *f, const char *dir, const char *file, const char *algorithm)
{
	vmj_auto_digest struct vmj_digest *d = vmj_digest_new(algorithm);
	vmj_autofree char *path = at(dir, file), *data = NULL;
	char hex[VMJ_DIGEST_HEX_MAX];
	size_t len;

	assert_int_equal(vmj_file_read(-1, path, 64 << 20, &data, &len, NULL), 0);
	vmj_digest_add(d, data, len);
	fprintf(f, "%s(%s)= %s\n", algorithm, file, vmj_digest_end(d, hex));
}

static void write_manifest(const char *dir, const char *algorithm)
{
	vmj_autofree char *path = at(dir, "vm.mf");
	FILE *f = fopen(path, "w");

	sum_line(f, dir, "vm.ovf", algorithm);
	sum_line(f, dir, "one.vmdk", algorithm);
	fclose(f);
}

static void test_ova(void **state)
{
	static const char *const algorithms[] = {"SHA1", "SHA256", "SHA512"};
	vmj_autofree char *dir = PARTS("one.vmdk"), *ova = at(*state, "vm.ova");

	for (size_t i = 0; i < 3; i++) {
		struct vmj_image img;

		write_manifest(dir, algorithms[i]);
		RUN("tar", "--format=ustar", "-C", dir, "-cf", ova, "vm.ovf", "vm.mf", "one.vmdk");
		import(state, "vm.ova", "ova", &img);
		assert_same(state, &img);
		assert_tidy(&img);
		assert_string_equal(img.meta.os, "Debian 12");
	}
}

static void test_ova_in_any_order_and_packed(void **state)
{
	vmj_autofree char *dir = PARTS("one.vmdk"), *ova = at(*state, "vm.ova");
	struct vmj_image img;

	RUN("tar", "--format=pax", "-C", dir, "-czf", ova, "./one.vmdk", "./vm.ovf");
	import(state, "vm.ova", "ova", &img);
	assert_same(state, &img);
}

static void test_ova_with_wrong_sums(void **state)
{
	vmj_autofree char *dir = PARTS("one.vmdk"), *ova = at(*state, "vm.ova"),
			  *vmdk = at(dir, "one.vmdk"), *ovf = at(dir, "vm.ovf");

	write_manifest(dir, "SHA256");
	RUN("qemu-io", "-f", "vmdk", "-c", "info", vmdk);
	RUN("sh", "-c", "printf x >>\"$0\"", vmdk);
	RUN("tar", "-C", dir, "-cf", ova, "vm.ovf", "vm.mf", "one.vmdk");
	assert_import_refused(state, "vm.ova", EINVAL, "SHA256 of \"one.vmdk\"");
	write_manifest(dir, "SHA1");
	RUN("sh", "-c", "printf ' ' >>\"$0\"", ovf);
	RUN("tar", "-C", dir, "-cf", ova, "vm.ovf", "vm.mf", "one.vmdk");
	assert_import_refused(state, "vm.ova", EINVAL, "SHA1 of \"vm.ovf\"");
}

static void test_ova_of_two_disks(void **state)
{
	vmj_autofree char *dir = PARTS("one.vmdk", "two.vmdk"), *ova = at(*state, "vm.ova"),
			  *d = at(*state, "d");
	struct vmj_image_import spec = {.path = d, .name = "ova", .file = ova, .disk = "one.vmdk"};
	struct vmj_error err = {.code = 0};
	struct vmj_image img;

	RUN("tar", "-C", dir, "-cf", ova, "vm.ovf", "one.vmdk");
	assert_import_refused(state, "vm.ova", EINVAL, "--disk=FILE (one.vmdk, two.vmdk)");
	assert_done(vmj_image_import(&spec, &img, &err), err);
	assert_same(state, &img);
	spec.disk = "two.vmdk";
	assert_user_refused(vmj_image_import(&spec, &img, &err), err, EINVAL,
			    "does not have the disk \"two.vmdk\"");
	spec.disk = "three.vmdk";
	assert_user_refused(vmj_image_import(&spec, &img, &err), err, EINVAL, "it has one.vmdk");
}

static void test_disk_of_no_archive(void **state)
{
	vmj_autofree char *q = at(*state, "q"), *d = at(*state, "d");
	struct vmj_image_import spec = {.path = d, .name = "x", .file = q, .disk = "one.vmdk"};
	struct vmj_error err = {.code = 0};
	struct vmj_image img;

	assert_user_refused(vmj_image_import(&spec, &img, &err), err, EINVAL, "no archive");
}

/* Names are looked for in the archive alone: a path out of it finds nothing, and nothing is
 * written to one. */
static void test_ova_that_points_outside(void **state)
{
	vmj_autofree char *dir = PARTS("../q"), *ova = at(*state, "vm.ova"),
			  *out = at(*state, "out"), *away = at(*state, "away.vmdk");

	RUN("tar", "-C", dir, "-cf", ova, "vm.ovf", "one.vmdk");
	assert_import_refused(state, "vm.ova", EINVAL, "does not have the disk");
	write_ovf(out, (const char *const[]){"link.vmdk", NULL});
	RUN("sh", "-c", "cd \"$0\" && mv ../out vm.ovf && ln -s ../q link.vmdk", dir);
	RUN("tar", "-C", dir, "-cf", ova, "vm.ovf", "link.vmdk");
	assert_import_refused(state, "vm.ova", EINVAL, "does not have the disk");
	write_ovf(out, (const char *const[]){"../../away.vmdk", NULL});
	RUN("sh", "-c", "cd \"$0\" && mv ../out vm.ovf", dir);
	RUN("tar", "-P", "--transform=s,one,../../away,", "-C", dir, "-cf", ova, "vm.ovf",
	    "one.vmdk");
	{
		struct vmj_image img;

		import(state, "vm.ova", "ova", &img);
		assert_same(state, &img);
	}
	assert_int_equal(access(away, F_OK), -1);
}

static void test_ova_that_is_none(void **state)
{
	vmj_autofree char *dir = PARTS("one.vmdk"), *ova = at(*state, "vm.ova");

	RUN("tar", "-C", dir, "-cf", ova, "one.vmdk");
	assert_import_refused(state, "vm.ova", EINVAL, "without an OVF");
	RUN("tar", "-C", dir, "-cf", ova, "vm.ovf", "one.vmdk");
	assert_int_equal(truncate(ova, 20000), 0);
	assert_import_refused(state, "vm.ova", EINVAL, "archive is damaged");
}

static void test_archives_in_archives(void **state)
{
	vmj_autofree char *dir = PARTS("disk"), *ova = at(*state, "vm.ova"),
			  *disk = at(dir, "disk"), *vmdk = at(dir, "one.vmdk");

	assert_int_equal(rename(vmdk, disk), 0);
	for (int i = 0; i < 4; i++) {
		RUN("tar", "-C", dir, "-cf", ova, "vm.ovf", "disk");
		RUN("cp", ova, disk);
	}
	assert_import_refused(state, "vm.ova", EINVAL, "packed more than 3 times");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_packed_streams),
		TEST(test_damaged_stream),
		TEST(test_archives_in_archives),
		TEST(test_packed_overlay_is_refused),
		TEST(test_standard_input),
		TEST(test_ova),
		TEST(test_ova_in_any_order_and_packed),
		TEST(test_ova_with_wrong_sums),
		TEST(test_ova_of_two_disks),
		TEST(test_disk_of_no_archive),
		TEST(test_ova_that_points_outside),
		TEST(test_ova_that_is_none),
	};

	return RUN_IMAGE_TESTS(tests);
}
