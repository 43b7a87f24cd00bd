/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/wire/munge.h"

#include <errno.h>
#include <munge.h>
#include <stdlib.h>

#include "vmjob/base/cleanup.h"

static void ctx_freep(munge_ctx_t *ctx)
{
	if (*ctx)
		munge_ctx_destroy(*ctx);
}

/* What munged said, and what to do about it. */
static int munge_fail(munge_err_t e, munge_ctx_t ctx, struct vmj_error *err)
{
	const char *said = ctx ? munge_ctx_strerror(ctx) : NULL;

	if (!said)
		said = munge_strerror(e);
	switch (e) {
	case EMUNGE_SOCKET:
		return vmj_fail(err, ENOTCONN,
				"munged does not answer on this host (%s): start munge.service",
				said);
	case EMUNGE_CRED_EXPIRED:
	case EMUNGE_CRED_REWOUND:
		return vmj_fail(err, EACCES,
				"munge refuses a credential (%s): set the clocks of both hosts",
				said);
	case EMUNGE_CRED_INVALID:
		return vmj_fail(err, EACCES,
				"munge refuses a credential (%s): both hosts need the same munge "
				"key",
				said);
	default:
		return vmj_fail(err, EACCES, "munge refuses a credential (%s)", said);
	}
}

int vmj_munge_encode(const void *payload, size_t len, char **ret, struct vmj_error *err)
{
	VMJ_CLEANUP(ctx_freep) munge_ctx_t ctx = munge_ctx_create();
	uid_t root = 0;
	munge_err_t e;
	char *credential = NULL;

	if (!ctx)
		return vmj_fail(err, ENOMEM, "no memory for a munge credential");
	e = munge_ctx_set(ctx, MUNGE_OPT_UID_RESTRICTION, root);
	if (e == EMUNGE_SUCCESS)
		e = munge_ctx_set(ctx, MUNGE_OPT_CIPHER_TYPE, MUNGE_CIPHER_AES256);
	if (e == EMUNGE_SUCCESS)
		e = munge_encode(&credential, ctx, payload, (int)len);
	if (e != EMUNGE_SUCCESS)
		return munge_fail(e, ctx, err);
	*ret = credential;
	return 0;
}

int vmj_munge_decode(const char *credential, void **ret, size_t *ret_len, uid_t *ret_uid,
		     gid_t *ret_gid, struct vmj_error *err)
{
	VMJ_CLEANUP(ctx_freep) munge_ctx_t ctx = munge_ctx_create();
	vmj_autofree void *payload = NULL;
	uid_t uid, only = (uid_t)-1;
	gid_t gid;
	int len, cipher = MUNGE_CIPHER_NONE;
	munge_err_t e;

	if (!ctx)
		return vmj_fail(err, ENOMEM, "no memory for a munge credential");
	e = munge_decode(credential, ctx, &payload, &len, &uid, &gid);
	if (e != EMUNGE_SUCCESS)
		return munge_fail(e, ctx, err);
	munge_ctx_get(ctx, MUNGE_OPT_UID_RESTRICTION, &only);
	munge_ctx_get(ctx, MUNGE_OPT_CIPHER_TYPE, &cipher);
	if (only != 0 || cipher == MUNGE_CIPHER_NONE)
		return vmj_fail(err, EACCES,
				"a munge credential came that others than root could read");
	*ret = vmj_steal(payload);
	*ret_len = (size_t)len;
	*ret_uid = uid;
	*ret_gid = gid;
	return 0;
}
