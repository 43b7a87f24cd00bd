/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Volumes in a real directory, with qemu-img and qemu-io as witnesses. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmjob/base/dir.h"
#include "vmjob/base/point.h"
#include "vmjob/base/spawn.h"
#include "vmjob/model/request.h"
#include "vmjob/storage/layout.h"
#include "vmjob/storage/lease.h"
#include "vmjob/storage/volume.h"

#define USER      54321
#define GROUP     54322
#define MIB       (1ull << 20)
#define TRAPPED   42
#define PATH_SIZE VMJ_VOLUME_PATH_MAX

static void run_as(uid_t uid, const char *const *argv)
{
	struct vmj_spawn s = {.argv = argv, .uid = uid, .gid = uid ? GROUP : 0};
	struct vmj_error err = {.code = 0};

	assert_done(vmj_spawn(&s, &err), err);
}
#define RUN(...)     run_as(0, (const char *const[]){__VA_ARGS__, NULL})
#define AS_USER(...) run_as(USER, (const char *const[]){__VA_ARGS__, NULL})

/* A domain, and in it USER's image "tiny" of 8 MiB, 0x5a from 1 to 2 MiB. */
static int make_world(void **state)
{
	char path[PATH_SIZE], file[PATH_SIZE + 16];
	struct vmj_error err = {.code = 0};

	umask(077); /* modes must not depend on it */
	if (unit_make_dir(state) < 0 || chmod(*state, 0755) < 0)
		return -1;
	assert_done(vmj_storage_format(*state, "test", &err), err);
	snprintf(path, sizeof(path), "%s/images/%d/tiny/1", (char *)*state, USER);
	assert_done(vmj_mkdir_p(path, 0755, &err), err);
	snprintf(file, sizeof(file), "%s/disk.qcow2", path);
	RUN("qemu-img", "create", "-q", "-f", "qcow2", file, "8M");
	RUN("qemu-io", "-f", "qcow2", "-c", "write -P 0x5a 1M 1M", file);
	assert_int_equal(chmod(file, 0444), 0);
	snprintf(path, sizeof(path), "%s/images/%d", (char *)*state, USER);
	RUN("chown", "-R", "54321:54322", path);
	return chmod(path, 0700);
}

static struct vmj_image tiny(void **state)
{
	struct vmj_image image = {.name = "tiny",
				  .revision = 1,
				  .owner = USER,
				  .virtual_mib = 8,
				  .virtual_bytes = 8 * MIB};

	snprintf(image.path, sizeof(image.path), "%s/images/%d/tiny/1/disk.qcow2", (char *)*state,
		 USER);
	return image;
}

static struct vmj_volume_spec spec_of(void **state, const char *name, uint64_t bytes,
				      const struct vmj_image *image)
{
	return (struct vmj_volume_spec){.domain = *state,
					.name = name,
					.uid = USER,
					.gid = GROUP,
					.bytes = bytes,
					.image = image};
}

static struct vmj_volume create(void **state, const char *name, bool from_image)
{
	struct vmj_image image = tiny(state);
	struct vmj_volume_spec spec =
		spec_of(state, name, from_image ? 0 : 4 * MIB, from_image ? &image : NULL);
	struct vmj_error err = {.code = 0};
	struct vmj_volume v;

	assert_done(vmj_volume_create(&spec, &v, &err), err);
	return v;
}

static struct vmj_volume read_back(void **state, const char *name)
{
	struct vmj_error err = {.code = 0};
	struct vmj_volume v;

	assert_done(vmj_volume_read(*state, USER, name, &v, &err), err);
	return v;
}

/* Compared as text: what lies between a struct's members is nobody's. */
static void assert_same(const struct vmj_volume *a, const struct vmj_volume *b)
{
	vmj_autofree char *x = vmj_volume_format(a), *y = vmj_volume_format(b);

	assert_non_null(x);
	assert_string_equal(x, y);
}

static const char *path_of(void **state, const struct vmj_volume *v, const char *file)
{
	static char buf[4][VMJ_VOLUME_PATH_MAX];
	static unsigned int i;

	return vmj_volume_path(*state, v, file, buf[i++ % 4]);
}

static struct stat stat_of(void **state, const struct vmj_volume *v, const char *file)
{
	struct stat st;

	assert_int_equal(lstat(path_of(state, v, file), &st), 0);
	return st;
}

/* The user writes, and reads, through the top. */
static void user_writes(void **state, const struct vmj_volume *v, const char *command)
{
	AS_USER("qemu-io", "-f", "qcow2", "-c", command, path_of(state, v, v->top));
}

static bool user_reads(void **state, const struct vmj_volume *v, const char *command)
{
	const char *argv[] = {
		"qemu-io", "-r", "-f", "qcow2", "-c", command, path_of(state, v, v->top), NULL};
	vmj_autofree char *out = NULL;
	struct vmj_spawn s = {.argv = argv, .uid = USER, .gid = GROUP, .ret_output = &out};

	return vmj_spawn(&s, NULL) == 0 && !strstr(out, "verification failed");
}

static int count_entry(int dir, const char *entry, void *arg)
{
	++*(unsigned int *)arg;
	return 0;
}

static unsigned int entries(void **state, const char *sub)
{
	char path[PATH_SIZE];
	unsigned int n = 0;

	snprintf(path, sizeof(path), "%s/%s", (char *)*state, sub);
	assert_int_equal(vmj_dir_each(AT_FDCWD, path, count_entry, &n), 0);
	return n;
}

static unsigned int volumes(void **state)
{
	return entries(state, "volumes/54321");
}

/* What volume.json says, the directory has, and no more; and it can be read by programs. */
static void assert_sound(void **state, const char *name)
{
	struct vmj_volume v = read_back(state, name);
	struct vmj_error err = {.code = 0};
	char sub[128];

	assert_done(vmj_volume_verify(*state, &v, NULL, &err), err);
	assert_int_equal(v.pending.op, VMJ_PENDING_NONE);
	snprintf(sub, sizeof(sub), "volumes/54321/%s", name);
	assert_int_equal(entries(state, sub), v.n_layers + 1);
	AS_USER("qemu-img", "check", "-q", "-f", "qcow2", path_of(state, &v, v.top));
	assert_int_equal(stat_of(state, &v, v.top).st_mode & 07777, 0600);
}

/* --- create ----------------------------------------------------------------------------------- */

static void an_empty_one(void **state)
{
	struct vmj_volume v = create(state, "data", false), back = read_back(state, "data");
	struct stat st;

	assert_same(&v, &back);
	assert_int_equal(v.virtual_bytes, 4 * MIB);
	assert_int_equal(v.n_layers, 1);
	assert_sound(state, "data");
	st = stat_of(state, &v, v.top);
	assert_int_equal(st.st_uid, USER);
	assert_int_equal(st.st_gid, GROUP);
	st = stat_of(state, &v, NULL);
	assert_int_equal(st.st_uid, 0);
	assert_int_equal(st.st_gid, GROUP);
	assert_int_equal(st.st_mode & 07777, 0710);
	user_writes(state, &v, "write -P 1 3M 1M");
	assert_true(user_reads(state, &v, "read -P 1 3M 1M"));
}

static void one_from_an_image(void **state)
{
	struct vmj_volume v = create(state, "root", true);
	struct vmj_image image = tiny(state);
	struct stat disk, base = stat_of(state, &v, VMJ_BASE_FILE);

	assert_int_equal(stat(image.path, &disk), 0);
	assert_int_equal(disk.st_ino, base.st_ino);
	assert_int_equal(base.st_mode & 07777, 0400); /* nobody else's from now on */
	assert_string_equal(v.image, "tiny@1");
	assert_string_equal(v.layers[1].parent, VMJ_BASE_FILE);
	assert_sound(state, "root");
	user_writes(state, &v, "write -P 7 0 64k");
	assert_true(user_reads(state, &v, "read -P 0x5a 1M 1M"));
	/* The image may go. */
	assert_int_equal(unlink(image.path), 0);
	assert_true(user_reads(state, &v, "read -P 0x5a 1M 1M"));
	assert_sound(state, "root");
}

static void a_shared_image_stays_readable(void **state)
{
	struct vmj_image image = tiny(state);
	struct vmj_volume_spec spec = spec_of(state, "root", 0, &image);
	struct vmj_error err = {.code = 0};
	struct vmj_volume v;

	image.share = VMJ_SHARE_GROUP;
	assert_done(vmj_volume_create(&spec, &v, &err), err);
	assert_int_equal(stat_of(state, &v, VMJ_BASE_FILE).st_mode & 07777, 0444);
}

static void larger_than_its_image(void **state)
{
	struct vmj_image image = tiny(state);
	struct vmj_volume_spec spec = spec_of(state, "root", 16 * MIB + 1, &image);
	struct vmj_error err = {.code = 0};
	struct vmj_volume v;

	assert_done(vmj_volume_create(&spec, &v, &err), err);
	assert_int_equal(v.virtual_bytes, 16 * MIB + 512);
	assert_true(user_reads(state, &v, "read -P 0x5a 1M 1M"));
	assert_true(user_reads(state, &v, "read -P 0 15M 1M"));
	spec.name = "small";
	spec.bytes = 8 * MIB - 1;
	assert_user_refused(vmj_volume_create(&spec, &v, &err), err, ERANGE, "at least 8M");
	assert_int_equal(volumes(state), 1);
}

static void on_another_file_system(void **state)
{
	char there[] = "/dev/shm/vmjob-unit-XXXXXX";
	struct vmj_image image = tiny(state);
	struct vmj_volume_spec spec = spec_of(state, "root", 0, &image);
	struct stat here, other;
	struct vmj_error err = {.code = 0};
	struct vmj_volume v;

	assert_non_null(mkdtemp(there));
	assert_int_equal(chmod(there, 0711), 0);
	assert_int_equal(stat(*state, &here), 0);
	assert_int_equal(stat(there, &other), 0);
	assert_int_not_equal(here.st_dev, other.st_dev);
	RUN("cp", "-p", image.path, there);
	snprintf(image.path, sizeof(image.path), "%s/disk.qcow2", there);
	assert_done(vmj_volume_create(&spec, &v, &err), err);
	RUN("rm", "-r", there);
	assert_int_equal(stat_of(state, &v, VMJ_BASE_FILE).st_uid, USER);
	assert_int_equal(stat_of(state, &v, VMJ_BASE_FILE).st_mode & 07777, 0400);
	assert_true(user_reads(state, &v, "read -P 0x5a 1M 1M"));
	assert_sound(state, "root");
}

static void names_and_sizes_that_cannot_be(void **state)
{
	static const char *const names[] = {"", "../x", "a\nb", ".new-x", "a/b"};
	struct vmj_volume_spec spec = spec_of(state, "", MIB, NULL);
	struct vmj_error err = {.code = 0};
	struct vmj_volume v;
	char longest[301];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		spec.name = names[i];
		assert_user_refused(vmj_volume_create(&spec, &v, &err), err, EINVAL, "name");
	}
	memset(longest, 'a', 300);
	longest[300] = '\0';
	spec.name = longest;
	assert_user_refused(vmj_volume_create(&spec, &v, &err), err, EINVAL, "name");
	spec.name = "job-5.0";
	assert_user_refused(vmj_volume_create(&spec, &v, &err), err, EINVAL, "volumes of jobs");
	spec.name = "x";
	spec.bytes = 0;
	assert_user_refused(vmj_volume_create(&spec, &v, &err), err, EINVAL, "give a size");
	spec.bytes = (VMJ_DISK_MIB_MAX << 20) + 1;
	assert_user_refused(vmj_volume_create(&spec, &v, &err), err, ERANGE, "at most 64T");
	create(state, "there", false);
	spec = spec_of(state, "there", MIB, NULL);
	assert_user_refused(vmj_volume_create(&spec, &v, &err), err, EEXIST, "exists already");
	assert_int_equal(volumes(state), 1);
	assert_sound(state, "there");
}

static void an_image_that_is_not_the_users(void **state)
{
	struct vmj_image image = tiny(state);
	struct vmj_volume_spec spec = spec_of(state, "x", 0, &image);
	struct vmj_error err = {.code = 0};
	struct vmj_volume v;

	spec.uid = USER + 1;
	assert_user_refused(vmj_volume_create(&spec, &v, &err), err, EACCES, "cannot be opened");
	spec.uid = USER;
	image.virtual_bytes /= 2; /* it was another one when it was looked at */
	assert_user_refused(vmj_volume_create(&spec, &v, &err), err, EBUSY, "has changed");
	image = tiny(state);
	RUN("qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "raw", "-b", "/etc/shadow",
	    image.path);
	assert_user_refused(vmj_volume_create(&spec, &v, &err), err, EINVAL, "backing file");
	assert_int_equal(volumes(state), 0);
}

/* --- clone ------------------------------------------------------------------------------------ */

static int clone(void **state, struct vmj_volume *from, const char *snapshot, const char *to,
		 bool full, struct vmj_volume *ret, struct vmj_error *err)
{
	struct vmj_volume_clone c = {
		.domain = *state, .snapshot = snapshot, .to = to, .full = full};

	return vmj_volume_clone(&c, from, ret, err);
}

static void one_that_nobody_changed(void **state)
{
	struct vmj_volume v = create(state, "golden", true), before = v, c;
	struct vmj_error err = {.code = 0};
	char name[8];

	for (int i = 0; i < 2 * VMJ_CHAIN_MAX; i++) {
		snprintf(name, sizeof(name), "c%d", i);
		assert_done(clone(state, &v, NULL, name, false, &c, &err), err);
		assert_int_equal(c.n_layers, 2);
		assert_int_equal(c.virtual_bytes, v.virtual_bytes);
	}
	assert_same(&before, &v);
	assert_sound(state, "golden");
	assert_sound(state, "c7");
	user_writes(state, &c, "write -P 9 1M 64k");
	assert_true(user_reads(state, &v, "read -P 0x5a 1M 64k"));
}

static void one_that_was_written(void **state)
{
	struct vmj_volume v = create(state, "data", false), c, old = v;
	struct vmj_error err = {.code = 0};
	struct stat frozen;

	user_writes(state, &v, "write -P 1 0 1M");
	assert_done(clone(state, &v, NULL, "copy", false, &c, &err), err);
	assert_string_not_equal(v.top, old.top);
	frozen = stat_of(state, &v, old.top);
	assert_int_equal(frozen.st_nlink, 2);
	assert_int_equal(frozen.st_mode & 07777, 0400);
	assert_int_equal(frozen.st_ino, stat_of(state, &c, old.top).st_ino);
	assert_sound(state, "data");
	assert_sound(state, "copy");
	user_writes(state, &v, "write -P 2 0 512k");
	user_writes(state, &c, "write -P 3 0 512k");
	assert_true(user_reads(state, &v, "read -P 2 0 512k"));
	assert_true(user_reads(state, &c, "read -P 3 0 512k"));
	assert_true(user_reads(state, &c, "read -P 1 512k 512k"));
	/* Neither needs the other. */
	assert_done(vmj_volume_remove(*state, USER, "data", &err), err);
	assert_true(user_reads(state, &c, "read -P 1 512k 512k"));
	assert_sound(state, "copy");
}

static void a_snapshots_state(void **state)
{
	struct vmj_volume v = create(state, "data", false), other, c;
	struct vmj_error err = {.code = 0};
	struct vmj_snapshot *s = &v.snapshots[0];

	user_writes(state, &v, "write -P 1 0 1M");
	snprintf(s->layer, sizeof(s->layer), "%s", v.top);
	strcpy(s->name, "then");
	s->virtual_bytes = v.virtual_bytes;
	assert_done(clone(state, &v, NULL, "other", false, &other, &err), err);
	v.n_snapshots = 1;
	assert_done(vmj_volume_write(*state, &v, &err), err);
	user_writes(state, &v, "write -P 2 0 1M");
	assert_done(vmj_volume_resize(*state, &v, 6 * MIB, &err), err);

	assert_done(clone(state, &v, "then", "linked", false, &c, &err), err);
	assert_int_equal(c.virtual_bytes, 4 * MIB);
	assert_int_equal(c.n_snapshots, 0);
	assert_true(user_reads(state, &c, "read -P 1 0 1M"));
	assert_sound(state, "linked");
	assert_done(clone(state, &v, "then", "full", true, &c, &err), err);
	assert_int_equal(c.n_layers, 1);
	assert_true(user_reads(state, &c, "read -P 1 0 1M"));
	assert_sound(state, "full");
	assert_user_refused(clone(state, &v, "never", "x", false, &c, &err), err, ENOENT,
			    "no snapshot \"never\"");
}

static double last_fraction;

static void on_progress(double fraction, void *arg)
{
	assert_true(fraction >= last_fraction && fraction <= 1);
	last_fraction = fraction;
}

static void a_full_one(void **state)
{
	struct vmj_volume v = create(state, "root", true), c;
	struct vmj_volume_clone spec = {
		.domain = *state, .to = "copy", .full = true, .progress = on_progress};
	struct vmj_error err = {.code = 0};

	user_writes(state, &v, "write -P 1 4M 1M");
	last_fraction = 0;
	assert_done(vmj_volume_clone(&spec, &v, &c, &err), err);
	assert_true(last_fraction > 0.99);
	assert_int_equal(c.n_layers, 1);
	assert_int_equal(stat_of(state, &c, c.top).st_nlink, 1);
	assert_int_equal(stat_of(state, &c, c.top).st_uid, USER);
	AS_USER("qemu-img", "compare", "-q", "-f", "qcow2", "-F", "qcow2",
		path_of(state, &v, v.top), path_of(state, &c, c.top));
	assert_sound(state, "copy");
	assert_sound(state, "root");
}

static void chains_do_not_grow_without_end(void **state)
{
	struct vmj_volume v = create(state, "data", false), c;
	struct vmj_error err = {.code = 0};
	char name[16], command[64];

	for (int i = 1; i < VMJ_CHAIN_MAX; i++) {
		snprintf(command, sizeof(command), "write -P %d %dk 64k", i, 64 * i);
		user_writes(state, &v, command);
		snprintf(name, sizeof(name), "c%d", i);
		assert_done(clone(state, &v, NULL, name, false, &c, &err), err);
	}
	user_writes(state, &v, "write -P 99 2M 64k");
	assert_user_refused(clone(state, &v, NULL, "more", false, &c, &err), err, E2BIG,
			    "full clone");
	assert_int_equal(volumes(state), VMJ_CHAIN_MAX);
	assert_sound(state, "data");
	assert_done(clone(state, &v, NULL, "more", true, &c, &err), err);
	assert_true(user_reads(state, &c, "read -P 1 64k 64k"));
	assert_true(user_reads(state, &c, "read -P 99 2M 64k"));
}

static void clones_that_cannot_be(void **state)
{
	struct vmj_volume v = create(state, "data", false), before = v, c;
	struct vmj_error err = {.code = 0};

	user_writes(state, &v, "write -P 1 0 64k");
	assert_user_refused(clone(state, &v, NULL, "data", false, &c, &err), err, EEXIST,
			    "exists already");
	assert_user_refused(clone(state, &v, NULL, "../x", false, &c, &err), err, EINVAL, "name");
	assert_same(&v, &before);
	assert_int_equal(volumes(state), 1);
	assert_sound(state, "data");
}

/* --- files that the user has changed ---------------------------------------------------------- */

static void headers_that_point_elsewhere(void **state)
{
	struct vmj_volume v = create(state, "root", true), c;
	struct vmj_error err = {.code = 0};
	const char *top = path_of(state, &v, v.top);

	AS_USER("qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "raw", "-b", "/etc/shadow", top);
	assert_user_refused(vmj_volume_verify(*state, &v, NULL, &err), err, EINVAL,
			    "does not have base.qcow2 for its backing file");
	assert_true(clone(state, &v, NULL, "c", false, &c, &err) < 0);
	assert_true(clone(state, &v, NULL, "c", true, &c, &err) < 0);
	assert_true(vmj_volume_resize(*state, &v, 16 * MIB, &err) < 0);
	assert_int_equal(volumes(state), 1);
	AS_USER("qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b", VMJ_BASE_FILE, top);
	assert_sound(state, "root");
	AS_USER("qemu-img", "resize", "-q", "-f", "qcow2", top, "1T");
	assert_user_refused(vmj_volume_verify(*state, &v, NULL, &err), err, EINVAL,
			    "instead of 8388608");
}

static void a_layer_that_is_no_disk_any_more(void **state)
{
	struct vmj_volume v = create(state, "data", false);
	struct vmj_error err = {.code = 0};
	vmj_autofree char *of = NULL;

	assert_true(asprintf(&of, "of=%s", path_of(state, &v, v.top)) > 0);
	AS_USER("dd", "if=/dev/zero", of, "bs=64k", "count=4", "status=none");
	assert_user_refused(vmj_volume_verify(*state, &v, NULL, &err), err, EINVAL,
			    "not qcow2 any more");
	/* What root's directory has under that name, root put there: links and others' files are
	 * not the user's doing. */
	assert_int_equal(unlink(path_of(state, &v, v.top)), 0);
	assert_int_equal(symlink("/etc/shadow", path_of(state, &v, v.top)), 0);
	assert_true(vmj_volume_verify(*state, &v, NULL, &err) < 0);
	assert_int_equal(err.fault, VMJ_FAULT_HOST);
}

/* --- resize, remove, list, used ----------------------------------------------------------------
 */

static void it_grows(void **state)
{
	struct vmj_volume v = create(state, "root", true), back;
	struct vmj_error err = {.code = 0};

	user_writes(state, &v, "write -P 1 0 64k");
	assert_done(vmj_volume_resize(*state, &v, 12 * MIB, &err), err);
	assert_int_equal(v.virtual_bytes, 12 * MIB);
	back = read_back(state, "root");
	assert_same(&v, &back);
	assert_sound(state, "root");
	user_writes(state, &v, "write -P 2 11M 1M");
	assert_true(user_reads(state, &v, "read -P 1 0 64k"));
	assert_done(vmj_volume_resize(*state, &v, 12 * MIB, &err), err);
	assert_user_refused(vmj_volume_resize(*state, &v, 12 * MIB - 1, &err), err, ERANGE,
			    "can only grow: it has 12M");
	assert_user_refused(vmj_volume_resize(*state, &v, (VMJ_DISK_MIB_MAX << 20) + 1, &err), err,
			    ERANGE, "at most 64T");
	assert_int_equal(v.virtual_bytes, 12 * MIB);
	assert_sound(state, "root");
}

static void it_grows_under_a_guest(void **state)
{
	struct vmj_volume v = create(state, "data", false);
	struct vmj_error err = {.code = 0};

	assert_done(vmj_volume_resize_begin(*state, &v, 6 * MIB, &err), err);
	assert_int_equal(read_back(state, "data").pending.bytes, 6 * MIB);
	assert_done(vmj_volume_verify(*state, &v, NULL, &err), err);
	AS_USER("qemu-img", "resize", "-q", "-f", "qcow2", path_of(state, &v, v.top), "6M");
	assert_done(vmj_volume_verify(*state, &v, NULL, &err), err);
	assert_done(vmj_volume_resize_settle(*state, &v, &err), err);
	assert_int_equal(v.virtual_bytes, 6 * MIB);
	assert_sound(state, "data");
	/* QEMU refused. */
	assert_done(vmj_volume_resize_begin(*state, &v, 7 * MIB, &err), err);
	assert_done(vmj_volume_resize_settle(*state, &v, &err), err);
	assert_int_equal(v.virtual_bytes, 6 * MIB);
	assert_sound(state, "data");
}

static void it_goes(void **state)
{
	struct vmj_error err = {.code = 0};
	struct vmj_volume v;

	create(state, "data", false);
	create(state, "root", true);
	assert_done(vmj_volume_remove(*state, USER, "data", &err), err);
	assert_int_equal(volumes(state), 1);
	assert_user_refused(vmj_volume_remove(*state, USER, "data", &err), err, ENOENT,
			    "does not exist");
	assert_user_refused(vmj_volume_remove(*state, USER + 7, "data", &err), err, ENOENT,
			    "does not exist");
	assert_user_refused(vmj_volume_remove(*state, USER, "../54321/root", &err), err, EINVAL,
			    "name");
	assert_user_refused(vmj_volume_read(*state, USER, "data", &v, &err), err, ENOENT, "data");
	assert_sound(state, "root");
}

static void only_its_own_bytes_are_used(void **state)
{
	struct vmj_volume v = create(state, "root", true), c;
	struct vmj_error err = {.code = 0};
	uint64_t used = 0, shared = 0;

	assert_done(vmj_volume_used(*state, &v, &used, &err), err);
	assert_true(used < MIB); /* the base is the image's */
	user_writes(state, &v, "write -P 1 0 2M");
	assert_done(vmj_volume_used(*state, &v, &used, &err), err);
	assert_true(used >= 2 * MIB);
	assert_done(clone(state, &v, NULL, "c", false, &c, &err), err);
	assert_done(vmj_volume_used(*state, &v, &shared, &err), err);
	assert_true(shared < MIB);
}

static void another_group_may_pass(void **state)
{
	struct vmj_volume v = create(state, "data", false), back;
	struct vmj_error err = {.code = 0};

	assert_done(vmj_volume_lend(*state, &v, GROUP + 1, &err), err);
	back = read_back(state, "data");
	assert_int_equal(back.gid, GROUP + 1);
	assert_same(&v, &back);
	assert_int_equal(stat_of(state, &v, NULL).st_gid, GROUP + 1);
	assert_int_equal(stat_of(state, &v, NULL).st_mode & 07777, 0710);
}

static int count_volume(const struct vmj_volume *v, void *arg)
{
	++*(unsigned int *)arg;
	return 0;
}

static int find_second(const struct vmj_volume *v, void *arg)
{
	return ++*(unsigned int *)arg == 2 ? 77 : 0;
}

static void all_are_listed(void **state)
{
	struct vmj_volume_spec spec = spec_of(state, "other", MIB, NULL);
	struct vmj_error err = {.code = 0};
	unsigned int n = 0, damaged = 9;
	char path[PATH_SIZE];
	struct vmj_volume v;

	assert_done(vmj_volume_each(*state, USER, count_volume, &n, &damaged, &err), err);
	assert_int_equal(n, 0);
	assert_int_equal(damaged, 0);
	create(state, "a", false);
	create(state, "b", true);
	create(state, "c", false);
	spec.uid = 7;
	assert_done(vmj_volume_create(&spec, &v, &err), err);
	snprintf(path, sizeof(path), "%s/volumes/54321/.new-x-0123456789abcdef", (char *)*state);
	assert_int_equal(mkdir(path, 0710), 0);
	v = read_back(state, "c");
	assert_int_equal(truncate(path_of(state, &v, "volume.json"), 5), 0);
	assert_done(vmj_volume_each(*state, USER, count_volume, &n, &damaged, &err), err);
	assert_int_equal(n, 2);
	assert_int_equal(damaged, 1);
	n = 0;
	assert_done(vmj_volume_each(*state, VMJ_ALL_USERS, count_volume, &n, NULL, &err), err);
	assert_int_equal(n, 3);
	n = 0;
	assert_int_equal(vmj_volume_each(*state, VMJ_ALL_USERS, find_second, &n, NULL, &err), 77);
}

/* --- volumes of jobs ----------------------------------------------------------------------------
 */

static bool forty_has_ended(uint32_t job, void *arg)
{
	++*(unsigned int *)arg;
	return job == 40;
}

static void make_job_volume(void **state, const char *name, uint32_t job)
{
	struct vmj_volume_spec spec = spec_of(state, name, MIB, NULL);
	struct vmj_error err = {.code = 0};
	struct vmj_volume v;

	spec.job = job;
	assert_done(vmj_volume_create(&spec, &v, &err), err);
}

static void they_go_with_their_jobs(void **state)
{
	const struct vmj_lease_who me = {.host = "n1", .boot = "b1", .agent = "a1"};
	const struct vmj_lease_who guest = {
		.host = "n1", .boot = "b1", .agent = "a1", .guest = true, .job = 40};
	struct vmj_error err = {.code = 0};
	unsigned int asked = 0, removed = 0;
	uint32_t epoch;

	create(state, "data", false);
	make_job_volume(state, "job-40.0", 40);
	make_job_volume(state, "job-40.1", 40);
	make_job_volume(state, "job-41.0", 41);
	assert_done(vmj_lease_take(*state, USER, "job-40.1", &guest, &epoch, &err), err);
	assert_done(vmj_volume_collect(*state, &me, forty_has_ended, &asked, &removed, &err), err);
	assert_int_equal(asked, 3);
	assert_int_equal(removed, 1); /* the other is still held */
	assert_int_equal(volumes(state), 3);
	assert_done(vmj_lease_release(*state, USER, "job-40.1", &guest, &err), err);
	assert_done(vmj_volume_collect(*state, &me, forty_has_ended, &asked, &removed, &err), err);
	assert_int_equal(removed, 1);
	assert_int_equal(volumes(state), 2);
	assert_sound(state, "data");
	assert_sound(state, "job-41.0");
	assert_done(vmj_volume_collect(*state, &me, forty_has_ended, &asked, &removed, &err), err);
	assert_int_equal(removed, 0);
}

/* --- crashes ---------------------------------------------------------------------------------- */

static void die(void)
{
	_exit(TRAPPED);
}

/* Does `act` in a process that ends at the point; false if it never came there. */
static bool dies_at(const char *point, void (*act)(void **state), void **state)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		vmj_point_trap(point, die);
		act(state);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_true(WEXITSTATUS(status) == TRAPPED || WEXITSTATUS(status) == 0);
	return WEXITSTATUS(status) == TRAPPED;
}

/* What the next operation on the name does first. */
static void recover(void **state, const char *name)
{
	struct vmj_error err = {.code = 0};
	struct vmj_volume v;

	for (int twice = 0; twice < 2; twice++) {
		assert_done(vmj_volume_sweep(*state, USER, name, &err), err);
		if (vmj_volume_read(*state, USER, name, &v, NULL) == 0)
			assert_done(vmj_volume_recover(*state, &v, &err), err);
	}
}

static bool is_there(void **state, const char *name)
{
	struct vmj_volume v;

	return vmj_volume_read(*state, USER, name, &v, NULL) == 0;
}

static void act_create(void **state)
{
	create(state, "new", true);
}

static void act_clone(void **state)
{
	struct vmj_volume v = read_back(state, "source"), c;

	clone(state, &v, NULL, "new", false, &c, NULL);
}

static void act_clone_full(void **state)
{
	struct vmj_volume v = read_back(state, "source"), c;

	clone(state, &v, NULL, "new", true, &c, NULL);
}

static void act_resize(void **state)
{
	struct vmj_volume v = read_back(state, "source");

	vmj_volume_resize(*state, &v, 16 * MIB, NULL);
}

static void act_remove(void **state)
{
	vmj_volume_remove(*state, USER, "source", NULL);
}

static void at_every_point(void **state, void (*act)(void **state), unsigned int expected)
{
	struct vmj_error err = {.code = 0};
	unsigned int died = 0;

	for (const char *const *p = vmj_volume_points; *p; p++) {
		struct vmj_volume v = create(state, "source", true);
		unsigned int there;

		user_writes(state, &v, "write -P 1 0 64k");
		died += dies_at(*p, act, state);
		recover(state, "new");
		recover(state, "source");
		there = is_there(state, "new") + is_there(state, "source");
		assert_int_equal(volumes(state), there);
		if (is_there(state, "source")) {
			v = read_back(state, "source");
			assert_sound(state, "source");
			assert_true(user_reads(state, &v, "read -P 1 0 64k"));
			assert_true(user_reads(state, &v, "read -P 0x5a 1M 1M"));
			assert_done(vmj_volume_remove(*state, USER, "source", &err), err);
		}
		if (is_there(state, "new")) {
			assert_sound(state, "new");
			assert_done(vmj_volume_remove(*state, USER, "new", &err), err);
		}
	}
	assert_int_equal(died, expected);
}

static void crashes_of_create(void **state)
{
	at_every_point(state, act_create, 5);
}

static void crashes_of_clone(void **state)
{
	at_every_point(state, act_clone, 7);
}

static void crashes_of_full_clone(void **state)
{
	at_every_point(state, act_clone_full, 3);
}

static void crashes_of_resize(void **state)
{
	at_every_point(state, act_resize, 3);
}

static void crashes_of_remove(void **state)
{
	at_every_point(state, act_remove, 2);
}

static void orphans_go_and_the_rest_stays(void **state)
{
	struct vmj_volume v = create(state, "data", false);
	struct vmj_error err = {.code = 0};

	v.next = 9;
	v.pending = (struct vmj_pending){
		.op = VMJ_PENDING_SNAPSHOT,
		.file = "layer-8.qcow2",
		.snapshot = {.name = "s", .layer = "layer-1.qcow2", .virtual_bytes = 4 * MIB}};
	assert_done(vmj_volume_write(*state, &v, &err), err);
	RUN("touch", path_of(state, &v, "layer-7.qcow2"), path_of(state, &v, "memory-3.save"));
	RUN("touch", path_of(state, &v, "layer-8.qcow2"), path_of(state, &v, ".volume.json.tmp-1"));
	assert_int_equal(entries(state, "volumes/54321/data"), 6);
	v.pending = (struct vmj_pending){0};
	v.next = 2;
	assert_done(vmj_volume_write(*state, &v, &err), err);
	assert_done(vmj_volume_recover(*state, &v, &err), err);
	assert_sound(state, "data");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_world, unit_remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_empty_one),
		TEST(one_from_an_image),
		TEST(a_shared_image_stays_readable),
		TEST(larger_than_its_image),
		TEST(on_another_file_system),
		TEST(names_and_sizes_that_cannot_be),
		TEST(an_image_that_is_not_the_users),
		TEST(one_that_nobody_changed),
		TEST(one_that_was_written),
		TEST(a_snapshots_state),
		TEST(a_full_one),
		TEST(chains_do_not_grow_without_end),
		TEST(clones_that_cannot_be),
		TEST(headers_that_point_elsewhere),
		TEST(a_layer_that_is_no_disk_any_more),
		TEST(it_grows),
		TEST(it_grows_under_a_guest),
		TEST(it_goes),
		TEST(only_its_own_bytes_are_used),
		TEST(another_group_may_pass),
		TEST(all_are_listed),
		TEST(they_go_with_their_jobs),
		TEST(crashes_of_create),
		TEST(crashes_of_clone),
		TEST(crashes_of_full_clone),
		TEST(crashes_of_resize),
		TEST(crashes_of_remove),
		TEST(orphans_go_and_the_rest_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
