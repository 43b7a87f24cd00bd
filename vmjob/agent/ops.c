/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/agent/ops.h"

#include <errno.h>
#include <string.h>

#include "vmjob/base/parse.h"

/* name, who may, local only, what of the job, more arguments, handler */
const struct vmj_op vmj_ops[] = {
	{"hello", VMJ_WHO_ANYBODY, false, VMJ_WANTS_NO_JOB, false, vmj_op_hello},
	{"prepare", VMJ_WHO_ROOT, true, VMJ_WANTS_JOB, true, vmj_op_prepare},
	{"release", VMJ_WHO_ROOT, true, VMJ_WANTS_JOB, false, vmj_op_release},
	{"run", VMJ_WHO_OWNER, true, VMJ_WANTS_GUEST, false, vmj_op_run},
	{"stop", VMJ_WHO_OWNER, false, VMJ_WANTS_GUEST, true, vmj_op_stop},
	{"suspend", VMJ_WHO_OWNER, false, VMJ_WANTS_GUEST, false, vmj_op_suspend},
	{"resume", VMJ_WHO_OWNER, false, VMJ_WANTS_GUEST, false, vmj_op_resume},
	{"reset", VMJ_WHO_OWNER, false, VMJ_WANTS_GUEST, false, vmj_op_reset},
	{"list", VMJ_WHO_ANYBODY, false, VMJ_WANTS_NO_JOB, false, vmj_op_list},
	{"show", VMJ_WHO_OWNER, false, VMJ_WANTS_GUEST, false, vmj_op_show},
	{"host", VMJ_WHO_ANYBODY, false, VMJ_WANTS_NO_JOB, false, vmj_op_host},
	{"confirm-dead", VMJ_WHO_OPERATOR, false, VMJ_WANTS_NO_JOB, true, vmj_op_confirm_dead},
	{"console", VMJ_WHO_OWNER, false, VMJ_WANTS_GUEST, true, vmj_op_console},
	{"events", VMJ_WHO_ANYBODY, false, VMJ_WANTS_MAYBE_JOB, true, vmj_op_events},
	{"storage-show", VMJ_WHO_ANYBODY, false, VMJ_WANTS_NO_JOB, true, vmj_op_storage_show},
	{"storage-admit", VMJ_WHO_ANYBODY, false, VMJ_WANTS_NO_JOB, true, vmj_op_storage_admit},
	{"volume-mend", VMJ_WHO_ROOT, false, VMJ_WANTS_NO_JOB, true, vmj_op_volume_mend},
	{"snapshot-create", VMJ_WHO_OWNER, false, VMJ_WANTS_MAYBE_JOB, true,
	 vmj_op_snapshot_create},
	{"snapshot-list", VMJ_WHO_ANYBODY, false, VMJ_WANTS_NO_JOB, true, vmj_op_snapshot_list},
	{"snapshot-revert", VMJ_WHO_ANYBODY, false, VMJ_WANTS_NO_JOB, true, vmj_op_snapshot_revert},
	{"snapshot-rm", VMJ_WHO_ANYBODY, false, VMJ_WANTS_NO_JOB, true, vmj_op_snapshot_rm},
	{"volume-create", VMJ_WHO_ANYBODY, false, VMJ_WANTS_NO_JOB, true, vmj_op_volume_create},
	{"volume-list", VMJ_WHO_ANYBODY, false, VMJ_WANTS_NO_JOB, true, vmj_op_volume_list},
	{"volume-show", VMJ_WHO_ANYBODY, false, VMJ_WANTS_NO_JOB, true, vmj_op_volume_show},
	{"volume-clone", VMJ_WHO_ANYBODY, false, VMJ_WANTS_NO_JOB, true, vmj_op_volume_clone},
	{"volume-resize", VMJ_WHO_ANYBODY, false, VMJ_WANTS_NO_JOB, true, vmj_op_volume_resize},
	{"volume-rm", VMJ_WHO_ANYBODY, false, VMJ_WANTS_NO_JOB, true, vmj_op_volume_rm},
	{"volume-attach", VMJ_WHO_OWNER, false, VMJ_WANTS_GUEST, true, vmj_op_volume_attach},
	{"volume-detach", VMJ_WHO_OWNER, false, VMJ_WANTS_GUEST, true, vmj_op_volume_detach},
	{.name = NULL},
};

const struct vmj_op *vmj_op_find(const char *name)
{
	for (const struct vmj_op *op = vmj_ops; op->name; op++)
		if (strcmp(op->name, name) == 0)
			return op;
	return NULL;
}

int vmj_op_check(const struct vmj_op *op, const struct vmj_peer *peer, bool trusted, uint32_t job,
		 const uid_t *owner, struct vmj_error *err)
{
	if (op->local_only && !peer->local)
		return vmj_fail_user(err, EPERM, "\"%s\" is served on the guest's own host only",
				     op->name);
	if (op->who == VMJ_WHO_ROOT && peer->uid != 0)
		return vmj_fail_user(err, EPERM, "only root may ask for \"%s\"", op->name);
	if (op->who == VMJ_WHO_OPERATOR && !trusted)
		return vmj_fail_user(err, EPERM,
				     "only root and the operators of vmjob.conf may ask for \"%s\"",
				     op->name);
	if (op->who == VMJ_WHO_OWNER && !trusted && owner && *owner != peer->uid)
		return vmj_fail_user(err, EPERM, "guest %u is not yours", job);
	if (op->wants == VMJ_WANTS_GUEST && !owner)
		return vmj_fail_user(err, ENOENT, "job %u has no guest on this host", job);
	return 0;
}

void vmj_op_args(struct vmj_json *in, const struct vmj_op *op, const struct vmj_call *call,
		 uint32_t *ret_job, struct vmj_error *err)
{
	char name[16];
	int64_t id;

	vmj_json_open(in, call->args, "", err);
	vmj_json_string(in, "op", VMJ_NEEDED, name, sizeof(name));
	vmj_json_i64(in, "id", VMJ_OPTIONAL, 0, INT64_MAX, &id);
	if (op->wants != VMJ_WANTS_NO_JOB)
		vmj_json_u32(in, "job",
			     op->wants == VMJ_WANTS_MAYBE_JOB ? VMJ_OPTIONAL : VMJ_NEEDED, 1,
			     UINT32_MAX, ret_job);
}

/* Whose job it is comes before what else the request says: the rest is the handler's. */
static int read_job(const struct vmj_op *op, const struct vmj_call *call, uint32_t *ret,
		    struct vmj_error *err)
{
	struct vmj_json in;
	int r;

	vmj_op_args(&in, op, call, ret, err);
	r = in.rc;
	return r < 0 || op->more_args ? r : vmj_json_close(&in);
}

void vmj_ops_call(struct vmj_call *call, void *arg)
{
	struct vmj_agent *a = arg;
	const struct vmj_op *op = vmj_op_find(call->op);
	struct vmj_entry *e = NULL;
	struct vmj_error err;
	char quoted[80];
	uint32_t job = 0;
	int r;

	if (!op) {
		vmj_fail_user(&err, ENOSYS, "the agent does not know \"%s\"",
			      vmj_quote(call->op, quoted, sizeof(quoted)));
		vmj_call_fail(call, &err);
		return;
	}
	r = read_job(op, call, &job, &err);
	if (r == 0 && job)
		e = vmj_guests_find(a->guests, job);
	if (r == 0)
		r = vmj_op_check(op, &call->peer, vmj_settings_trusts(a->settings, call->peer.uid),
				 job, e ? &e->rec.uid : NULL, &err);
	if (r < 0)
		vmj_call_fail(call, &err);
	else
		op->handle(a, call, job, e);
}
