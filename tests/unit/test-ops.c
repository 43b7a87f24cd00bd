/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who may ask the agent for what, from where: the table's every row, against every kind of peer. */
#include "unit.h"

#include <errno.h>

#include "vmjob/agent/ops.h"

/* The table names its handlers; none is called here. */
#define HANDLER_STUB(name)                     \
	VMJ_OP_HANDLER(name)                   \
	{                                      \
		fail_msg(#name " was called"); \
	}
HANDLER_STUB(hello)
HANDLER_STUB(prepare)
HANDLER_STUB(release)
HANDLER_STUB(run)
HANDLER_STUB(stop)
HANDLER_STUB(suspend)
HANDLER_STUB(resume)
HANDLER_STUB(reset)
HANDLER_STUB(list)
HANDLER_STUB(show)
HANDLER_STUB(host)
HANDLER_STUB(confirm_dead)
HANDLER_STUB(console)
HANDLER_STUB(events)
HANDLER_STUB(volume_attach)
HANDLER_STUB(volume_detach)
HANDLER_STUB(storage_show)
HANDLER_STUB(storage_admit)
HANDLER_STUB(volume_mend)
HANDLER_STUB(snapshot_create)
HANDLER_STUB(snapshot_list)
HANDLER_STUB(snapshot_revert)
HANDLER_STUB(snapshot_rm)
HANDLER_STUB(volume_create)
HANDLER_STUB(volume_list)
HANDLER_STUB(volume_show)
HANDLER_STUB(volume_clone)
HANDLER_STUB(volume_resize)
HANDLER_STUB(volume_rm)

struct vmj_entry *vmj_guests_find(struct vmj_guests *g, uint32_t job)
{
	return NULL;
}

static const uid_t alice = 1000;
static const struct vmj_peer root = {.local = true, .uid = 0, .pid = 1};
static const struct vmj_peer owner = {.local = true, .uid = 1000, .pid = 2};
static const struct vmj_peer other = {.local = true, .uid = 1001, .pid = 3};

/* Rows: an operation. Columns: what the peer gets for alice's guest. */
static const struct {
	const char *name;
	int owner, other, operator_, root; /* 0 or an errno */
	int remote_root;
	int no_guest; /* root, for a job without a guest here */
} rights[] = {
	{"hello", 0, 0, 0, 0, 0, 0},
	{"prepare", EPERM, EPERM, EPERM, 0, EPERM, 0},
	{"release", EPERM, EPERM, EPERM, 0, EPERM, 0},
	{"run", 0, EPERM, 0, 0, EPERM, ENOENT},
	{"stop", 0, EPERM, 0, 0, 0, ENOENT},
	{"suspend", 0, EPERM, 0, 0, 0, ENOENT},
	{"resume", 0, EPERM, 0, 0, 0, ENOENT},
	{"reset", 0, EPERM, 0, 0, 0, ENOENT},
	{"list", 0, 0, 0, 0, 0, 0},
	{"show", 0, EPERM, 0, 0, 0, ENOENT},
	{"host", 0, 0, 0, 0, 0, 0},
	{"confirm-dead", EPERM, EPERM, 0, 0, 0, 0},
	{"console", 0, EPERM, 0, 0, 0, ENOENT},
	{"events", 0, 0, 0, 0, 0, 0},
	{"volume-attach", 0, EPERM, 0, 0, 0, ENOENT},
	{"volume-detach", 0, EPERM, 0, 0, 0, ENOENT},
	{"storage-show", 0, 0, 0, 0, 0, 0},
	{"storage-admit", 0, 0, 0, 0, 0, 0},
	{"volume-mend", EPERM, EPERM, EPERM, 0, 0, 0},
	{"snapshot-create", 0, EPERM, 0, 0, 0, 0},
	{"snapshot-list", 0, 0, 0, 0, 0, 0},
	{"snapshot-revert", 0, 0, 0, 0, 0, 0},
	{"snapshot-rm", 0, 0, 0, 0, 0, 0},
	{"volume-create", 0, 0, 0, 0, 0, 0},
	{"volume-list", 0, 0, 0, 0, 0, 0},
	{"volume-show", 0, 0, 0, 0, 0, 0},
	{"volume-clone", 0, 0, 0, 0, 0, 0},
	{"volume-resize", 0, 0, 0, 0, 0, 0},
	{"volume-rm", 0, 0, 0, 0, 0, 0},
};
#define N_RIGHTS (sizeof(rights) / sizeof(rights[0]))

static void check(const char *name, const struct vmj_peer *peer, bool trusted, const uid_t *whose,
		  int expected)
{
	const struct vmj_op *op = vmj_op_find(name);
	struct vmj_error err = {0};
	int r;

	assert_non_null(op);
	r = vmj_op_check(op, peer, trusted, 7, whose, &err);
	if (r != -expected)
		fail_msg("%s by uid %u: %d, not %d", name, peer->uid, r, -expected);
	if (r < 0)
		assert_int_equal(err.fault, VMJ_FAULT_USER);
}

static void every_operation_has_its_rights(void **state)
{
	struct vmj_peer remote_root = {.local = false, .uid = 0};

	for (size_t i = 0; i < N_RIGHTS; i++) {
		check(rights[i].name, &owner, false, &alice, rights[i].owner);
		check(rights[i].name, &other, false, &alice, rights[i].other);
		check(rights[i].name, &other, true, &alice, rights[i].operator_);
		check(rights[i].name, &root, true, &alice, rights[i].root);
		check(rights[i].name, &remote_root, true, &alice, rights[i].remote_root);
		check(rights[i].name, &root, true, NULL, rights[i].no_guest);
	}
}

static void no_operation_is_forgotten_here(void **state)
{
	size_t n = 0;

	while (vmj_ops[n].name)
		n++;
	assert_int_equal(n, N_RIGHTS);
}

static void the_refusals_say_what(void **state)
{
	struct vmj_peer remote = {.local = false, .uid = 1000};
	struct vmj_error err;

	assert_user_refused(vmj_op_check(vmj_op_find("show"), &other, false, 7, &alice, &err), err,
			    EPERM, "guest 7 is not yours");
	assert_user_refused(vmj_op_check(vmj_op_find("prepare"), &owner, false, 7, &alice, &err),
			    err, EPERM, "only root");
	assert_user_refused(vmj_op_check(vmj_op_find("run"), &remote, false, 7, &alice, &err), err,
			    EPERM, "own host only");
	assert_user_refused(vmj_op_check(vmj_op_find("show"), &other, false, 8, NULL, &err), err,
			    ENOENT, "job 8 has no guest on this host");
	assert_null(vmj_op_find("destroy-everything"));
	assert_null(vmj_op_find(""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_operation_has_its_rights),
		cmocka_unit_test(no_operation_is_forgotten_here),
		cmocka_unit_test(the_refusals_say_what),
	};

	return cmocka_run_group_tests_name("ops", tests, NULL, NULL);
}
