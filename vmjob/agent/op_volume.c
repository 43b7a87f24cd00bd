/* SPDX-License-Identifier: GPL-2.0-or-later */
/* volume-create, volume-list, volume-show, volume-clone, volume-resize, volume-rm. */
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "vmjob/agent/ops.h"
#include "vmjob/agent/volume_task.h"
#include "vmjob/base/cleanup.h"
#include "vmjob/base/log.h"
#include "vmjob/host/virt_disk.h"
#include "vmjob/storage/usage.h"
#include "vmjob/wire/frame.h"

#define LIST_MAX       100000
#define LIST_BYTES_MAX (VMJ_FRAME_MAX - 4096)

/* --- list ------------------------------------------------------------------------------------- */

struct list_args {
	bool all;
	uint64_t skip;
};

struct row {
	char name[VMJ_NAME_MAX + 1];
	char image[VMJ_IMAGE_LABEL_MAX];
	uid_t uid;
	int64_t time;
	uint64_t virtual_bytes;
	uint32_t job;
	unsigned int snapshots;
};

struct rows {
	struct row *items;
	size_t n;
};

static void list_read(struct vmj_volume_task *t, struct vmj_json *in)
{
	struct list_args *a = t->args;

	vmj_json_bool(in, "all", VMJ_OPTIONAL, &a->all);
	vmj_json_u64(in, "skip", VMJ_OPTIONAL, 0, LIST_MAX, &a->skip);
	if (a->all && !t->trusted)
		vmj_json_refuse(in, "all", EPERM,
				"only operators may see the volumes of all users");
}

static int add_row(const struct vmj_volume *v, void *arg)
{
	struct rows *r = arg;
	struct row *row;

	if (r->n == LIST_MAX)
		return -E2BIG;
	if (r->n % 256 == 0) {
		struct row *more = realloc(r->items, (r->n + 256) * sizeof(*more));

		if (!more)
			return -ENOMEM;
		r->items = more;
	}
	row = &r->items[r->n++];
	*row = (struct row){.uid = v->uid,
			    .time = v->time,
			    .virtual_bytes = v->virtual_bytes,
			    .job = v->job,
			    .snapshots = v->n_snapshots};
	memcpy(row->name, v->name, sizeof(row->name));
	memcpy(row->image, v->image, sizeof(row->image));
	return 0;
}

static int by_owner_and_name(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	if (x->uid != y->uid)
		return x->uid < y->uid ? -1 : 1;
	return strcmp(x->name, y->name);
}

static struct json_object *row_json(const struct row *row)
{
	struct json_object *o = json_object_new_object();

	vmj_json_put_string(o, "name", row->name);
	vmj_json_put_u64(o, "uid", row->uid);
	vmj_json_put_u64(o, "virtual_bytes", row->virtual_bytes);
	vmj_json_put_string(o, "image", row->image);
	vmj_json_put_u64(o, "snapshots", row->snapshots);
	vmj_json_put_u64(o, "job", row->job);
	vmj_json_put_i64(o, "time", row->time);
	return o;
}

/* As many as a frame holds, from `skip` on. */
static void put_rows(struct json_object *answer, const struct rows *r, size_t skip)
{
	struct json_object *array = json_object_new_array();
	size_t bytes = 0;

	json_object_object_add(answer, "volumes", array);
	for (size_t i = skip; i < r->n; i++) {
		struct json_object *o = row_json(&r->items[i]);

		bytes += 1 + strlen(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN));
		if (bytes > LIST_BYTES_MAX) {
			json_object_put(o);
			vmj_json_put_bool(answer, "more", true);
			return;
		}
		json_object_array_add(array, o);
	}
}

static int list_work(struct vmj_volume_task *t, struct vmj_error *err)
{
	const struct list_args *a = t->args;
	struct rows r = {.items = NULL};
	unsigned int damaged = 0;
	int rc = vmj_volume_each(t->storage->path, a->all ? VMJ_ALL_USERS : t->uid, add_row, &r,
				 &damaged, err);

	if (rc == 0) {
		if (r.n)
			qsort(r.items, r.n, sizeof(*r.items), by_owner_and_name);
		put_rows(t->answer, &r, a->skip);
		vmj_json_put_u64(t->answer, "damaged", damaged);
	}
	free(r.items);
	return rc;
}

static const struct vmj_volume_kind list_kind = {.need = VMJ_VOLUME_NOTHING,
						 .args_size = sizeof(struct list_args),
						 .read = list_read,
						 .work = list_work};

VMJ_OP_HANDLER(volume_list)
{
	vmj_volume_task_start(a, call, job, &list_kind);
}

/* --- show ------------------------------------------------------------------------------------- */

static struct json_object *lease_json(const struct vmj_lease *l)
{
	struct json_object *o = json_object_new_object();
	char holder[VMJ_LEASE_HOLDER_MAX];

	vmj_json_put_bool(o, "held", l->held);
	if (!l->epoch)
		return o;
	vmj_json_put_u64(o, "epoch", l->epoch);
	vmj_json_put_string(o, "what", l->guest ? "guest" : "work");
	vmj_json_put_u64(o, "job", l->job);
	vmj_json_put_string(o, "host", l->host);
	vmj_json_put_i64(o, "since", l->since);
	vmj_json_put_string(o, "holder", vmj_lease_holder(l, holder));
	return o;
}

static struct json_object *chain_json(const struct vmj_volume *v)
{
	struct json_object *array = json_object_new_array();
	const char *chain[VMJ_CHAIN_MAX];
	unsigned int n = 0;

	vmj_volume_chain(v, NULL, chain, &n, NULL);
	for (unsigned int i = 0; i < n; i++)
		json_object_array_add(array, json_object_new_string(chain[i]));
	return array;
}

static int show_work(struct vmj_volume_task *t, struct vmj_error *err)
{
	const char *domain = t->storage->path;
	struct vmj_lease lease;
	uint64_t used = 0;
	int rc = vmj_volume_used(domain, &t->v, &used, err);

	if (rc == 0)
		rc = vmj_lease_show(domain, t->uid, t->name, &lease, err);
	if (rc < 0)
		return rc;
	json_object_object_add(t->answer, "volume", vmj_volume_to_json(&t->v));
	json_object_object_add(t->answer, "lease", lease_json(&lease));
	json_object_object_add(t->answer, "chain", chain_json(&t->v));
	vmj_json_put_string(t->answer, "storage", t->storage->name);
	vmj_json_put_u64(t->answer, "used_bytes", used);
	return 0;
}

static const struct vmj_volume_kind show_kind = {.need = VMJ_VOLUME_LOOK, .work = show_work};

VMJ_OP_HANDLER(volume_show)
{
	vmj_volume_task_start(a, call, job, &show_kind);
}

/* --- create ----------------------------------------------------------------------------------- */

struct create_args {
	uint64_t size_mib;
	char owner[VMJ_NAME_MAX + 1], image[VMJ_NAME_MAX + 1];
	uint32_t revision;
};

static void create_read(struct vmj_volume_task *t, struct vmj_json *in)
{
	struct create_args *a = t->args;

	vmj_json_u64(in, "size_mib", VMJ_OPTIONAL, 1, VMJ_DISK_MIB_MAX, &a->size_mib);
	vmj_json_string(in, "owner", VMJ_OPTIONAL, a->owner, sizeof(a->owner));
	vmj_json_string(in, "image", VMJ_OPTIONAL, a->image, sizeof(a->image));
	vmj_json_u32(in, "revision", VMJ_OPTIONAL, 1, UINT32_MAX, &a->revision);
	if (!a->size_mib && !*a->image)
		vmj_json_refuse(in, "size_mib", EINVAL, "give a size, an image, or both");
}

/* In the volume's own storage, where its file can be linked, else in another. */
static int find_image(const struct vmj_volume_task *t, struct vmj_image *ret, struct vmj_error *err)
{
	const struct vmj_config *config = t->settings->config;
	const struct create_args *a = t->args;
	int rc = vmj_image_find(t->storage->path, a->owner, a->image, a->revision, t->uid, t->gid,
				ret, err);

	for (unsigned int i = 0; rc == -ENOENT && i < config->n_storages; i++)
		if (&config->storages[i] != t->storage &&
		    vmj_image_find(config->storages[i].path, a->owner, a->image, a->revision,
				   t->uid, t->gid, ret, NULL) == 0)
			rc = 0;
	return rc;
}

static int create_work(struct vmj_volume_task *t, struct vmj_error *err)
{
	const struct create_args *a = t->args;
	char label[VMJ_IMAGE_LABEL_MAX];
	struct vmj_image image;
	struct vmj_volume_spec spec = {.domain = t->storage->path,
				       .name = t->name,
				       .uid = t->uid,
				       .gid = t->gid,
				       .bytes = a->size_mib << 20,
				       .image = *a->image ? &image : NULL};
	int rc = *a->image ? find_image(t, &image, err) : 0;

	if (rc == 0)
		rc = vmj_quota_admit(t->storage, t->uid, 0, err);
	if (rc < 0)
		return rc;
	if (*a->image && *a->owner) {
		snprintf(label, sizeof(label), "%s/%s@%u", a->owner, image.name,
			 (unsigned int)image.revision);
		spec.label = label;
	}
	rc = vmj_volume_create(&spec, &t->v, err);
	if (rc == 0)
		json_object_object_add(t->answer, "volume", vmj_volume_to_json(&t->v));
	return rc;
}

static const struct vmj_volume_kind create_kind = {.need = VMJ_VOLUME_NEW,
						   .args_size = sizeof(struct create_args),
						   .read = create_read,
						   .work = create_work};

VMJ_OP_HANDLER(volume_create)
{
	vmj_volume_task_start(a, call, job, &create_kind);
}

/* --- clone ------------------------------------------------------------------------------------ */

struct clone_args {
	char to[VMJ_NAME_MAX + 1], snapshot[VMJ_NAME_MAX + 1];
	bool full;
};

static void clone_read(struct vmj_volume_task *t, struct vmj_json *in)
{
	struct clone_args *a = t->args;

	vmj_json_string(in, "to", VMJ_NEEDED, a->to, sizeof(a->to));
	vmj_json_string(in, "snapshot", VMJ_OPTIONAL, a->snapshot, sizeof(a->snapshot));
	vmj_json_bool(in, "full", VMJ_OPTIONAL, &a->full);
}

static int make_clone(struct vmj_volume_task *t, struct vmj_error *err)
{
	const struct clone_args *a = t->args;
	struct vmj_volume_clone c = {.domain = t->storage->path,
				     .snapshot = *a->snapshot ? a->snapshot : NULL,
				     .to = a->to,
				     .full = a->full,
				     .progress = vmj_volume_task_progress,
				     .arg = t};
	struct vmj_volume made;
	int rc = vmj_volume_clone(&c, &t->v, &made, err);

	if (rc == 0)
		json_object_object_add(t->answer, "volume", vmj_volume_to_json(&made));
	return rc;
}

static int clone_work(struct vmj_volume_task *t, struct vmj_error *err)
{
	const struct clone_args *a = t->args;
	uint64_t bytes = 0;
	int rc;

	if (t->guest_job && !*a->snapshot)
		return vmj_fail_user(
			err, EBUSY,
			"volume \"%s\" is in use by job %u: take a snapshot of it, and "
			"clone that with --snapshot",
			t->name, (unsigned int)t->guest_job);
	rc = vmj_parse_name("the clone's name", a->to, err);
	if (rc == 0 && strcmp(a->to, t->name) == 0)
		rc = vmj_fail_user(err, EEXIST, "volume \"%s\" cannot be its own clone", t->name);
	if (rc == 0 && a->full)
		rc = vmj_volume_stored(t->storage->path, &t->v, &bytes, err);
	if (rc == 0)
		rc = vmj_quota_admit(t->storage, t->uid, bytes, err);
	return rc == 0 ? make_clone(t, err) : rc;
}

static const struct vmj_volume_kind clone_kind = {.need = VMJ_VOLUME_CHANGE_LIVE,
						  .args_size = sizeof(struct clone_args),
						  .read = clone_read,
						  .work = clone_work};

VMJ_OP_HANDLER(volume_clone)
{
	vmj_volume_task_start(a, call, job, &clone_kind);
}

/* --- resize ----------------------------------------------------------------------------------- */

struct resize_args {
	uint64_t size_mib;
};

static void resize_read(struct vmj_volume_task *t, struct vmj_json *in)
{
	struct resize_args *a = t->args;

	vmj_json_u64(in, "size_mib", VMJ_NEEDED, 1, VMJ_DISK_MIB_MAX, &a->size_mib);
}

/* "vdb": the guest's disk whose top is this volume's. */
static int find_target(struct vmj_volume_task *t, char ret[8], struct vmj_error *err)
{
	struct vmj_virt_disk disks[VMJ_VIRT_DISKS_MAX];
	char top[VMJ_VOLUME_PATH_MAX];
	unsigned int n = 0;
	int rc = vmj_virt_disks(t->agent->virt, t->guest_job, disks, &n, err);

	if (rc < 0)
		return rc;
	vmj_volume_path(t->storage->path, &t->v, t->v.top, top);
	for (unsigned int i = 0; i < n; i++)
		if (strcmp(disks[i].path, top) == 0) {
			memcpy(ret, disks[i].target, sizeof(disks[i].target));
			return 0;
		}
	return vmj_fail_user(err, EBUSY,
			     "volume \"%s\" is in use by job %u, whose guest is just coming or "
			     "going: try again",
			     t->name, (unsigned int)t->guest_job);
}

static int resize_live(struct vmj_volume_task *t, uint64_t bytes, struct vmj_error *err)
{
	const char *domain = t->storage->path;
	char target[8];
	int rc = find_target(t, target, err), settled;

	if (rc == 0)
		rc = vmj_volume_resize_begin(domain, &t->v, bytes, err);
	if (rc < 0 || t->v.pending.op == VMJ_PENDING_NONE)
		return rc;
	rc = vmj_virt_resize_disk(t->agent->virt, t->guest_job, target, bytes, err);
	settled = vmj_volume_resize_settle(domain, &t->v, rc < 0 ? NULL : err);
	return rc < 0 ? rc : settled;
}

static int resize_work(struct vmj_volume_task *t, struct vmj_error *err)
{
	const struct resize_args *a = t->args;
	uint64_t bytes = a->size_mib << 20;
	int rc = vmj_quota_admit(t->storage, t->uid, 0, err);

	if (rc < 0)
		return rc;
	rc = t->guest_job ? resize_live(t, bytes, err)
			  : vmj_volume_resize(t->storage->path, &t->v, bytes, err);
	if (rc == 0)
		json_object_object_add(t->answer, "volume", vmj_volume_to_json(&t->v));
	return rc;
}

static const struct vmj_volume_kind resize_kind = {.need = VMJ_VOLUME_CHANGE_LIVE,
						   .args_size = sizeof(struct resize_args),
						   .read = resize_read,
						   .work = resize_work};

VMJ_OP_HANDLER(volume_resize)
{
	vmj_volume_task_start(a, call, job, &resize_kind);
}

/* --- rm --------------------------------------------------------------------------------------- */

static int rm_work(struct vmj_volume_task *t, struct vmj_error *err)
{
	const struct vmj_lease_who who = vmj_volume_task_who(t);
	int rc = vmj_volume_remove(t->storage->path, t->uid, t->name, err);

	if (rc < 0)
		return rc;
	vmj_log_info("volume \"%s\" of user %u is removed, as user %u asked", t->name,
		     (unsigned int)t->uid, (unsigned int)t->caller);
	return vmj_lease_drop(t->storage->path, t->uid, t->name, &who, err);
}

static const struct vmj_volume_kind rm_kind = {.need = VMJ_VOLUME_CHANGE, .work = rm_work};

VMJ_OP_HANDLER(volume_rm)
{
	vmj_volume_task_start(a, call, job, &rm_kind);
}
