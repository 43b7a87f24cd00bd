/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/policy/lease.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The steps of an operation, one call of the environment each. */
enum step {
	STEP_LIST, /* which epoch is the highest? */
	STEP_READ, /* whose is it? */
	STEP_HOST, /* does its host live? */
	STEP_DEAD, /* is it confirmed dead? */
	STEP_CREATE,
	STEP_RELIST, /* was that really the highest? */
	STEP_UNDO,
	STEP_CLEAN,
	STEP_SELF, /* may this host hold anything? */
	STEP_RELEASE,
	STEP_GIVE_BACK,
};

#ifdef VMJ_LEASE_MISTAKES
static bool mistaken(unsigned int mistakes, unsigned int m)
{
	return mistakes & m;
}
#else
static bool mistaken(unsigned int mistakes, unsigned int m)
{
	return false;
}
#endif

/* --- judging --------------------------------------------------------------------------------- */

static bool same_seen(const struct vmj_lease_seen *seen, const struct vmj_lease_host *h)
{
	return seen->since_ms > 0 && seen->seq == h->seq && strcmp(seen->boot, h->boot) == 0 &&
	       strcmp(seen->agent, h->agent) == 0;
}

/* How long until the host's promise has run out for certain; 0: it has; -1: it gave none that
 * concerns this record, or was not watched. */
static int64_t wait_for_promise(const struct vmj_lease_record *r, const struct vmj_lease_host *h,
				const struct vmj_lease_seen *seen, int64_t asked_ms,
				unsigned int mistakes)
{
	int64_t need, past;

	if (h->stop_after_ms == 0 || !seen || !same_seen(seen, h) || strcmp(h->boot, r->boot) != 0)
		return -1;
	need = h->stop_after_ms;
	if (!mistaken(mistakes, VMJ_MISTAKE_NO_MARGIN))
		need += VMJ_STOP_MARGIN_MS(need);
	past = asked_ms - seen->since_ms;
	return past >= need ? 0 : need - past;
}

/* Records of this very host: a boot that is over took everything with it, a start of the agent its
 * work, but not its guests. */
static enum vmj_lease_state judge_own(const struct vmj_lease_record *r,
				      const struct vmj_lease_record *me, unsigned int mistakes)
{
	if (strcmp(r->boot, me->boot) != 0)
		return VMJ_LEASE_LEFT;
	if (!r->guest && strcmp(r->agent, me->agent) != 0)
		return VMJ_LEASE_LEFT;
	if (r->guest != me->guest || r->job != me->job)
		return VMJ_LEASE_BUSY;
	if (mistaken(mistakes, VMJ_MISTAKE_NO_TERM))
		return VMJ_LEASE_MINE;
	return strcmp(r->agent, me->agent) == 0 && r->term == me->term ? VMJ_LEASE_MINE
								       : VMJ_LEASE_LEFT;
}

static bool has_restarted(const struct vmj_lease_record *r, const struct vmj_lease_host *h,
			  unsigned int mistakes)
{
	if (strcmp(h->boot, r->boot) == 0)
		return false;
	return h->generation > r->generation || mistaken(mistakes, VMJ_MISTAKE_NO_GENERATION);
}

enum vmj_lease_state vmj_lease_judge(const struct vmj_lease_record *r,
				     const struct vmj_lease_record *me,
				     const struct vmj_lease_host *h, bool dead,
				     const struct vmj_lease_seen *seen, int64_t asked_ms,
				     unsigned int mistakes)
{
	if (r->released)
		return VMJ_LEASE_FREE;
	if (strcmp(r->host, me->host) == 0)
		return judge_own(r, me, mistakes);
	if (dead)
		return VMJ_LEASE_DEAD;
	if (h && has_restarted(r, h, mistakes))
		return VMJ_LEASE_RESTARTED;
	if (h && wait_for_promise(r, h, seen, asked_ms, mistakes) == 0)
		return VMJ_LEASE_EXPIRED;
	return VMJ_LEASE_BUSY;
}

bool vmj_lease_is_over(enum vmj_lease_state s)
{
	return s == VMJ_LEASE_FREE || s == VMJ_LEASE_LEFT || s == VMJ_LEASE_RESTARTED ||
	       s == VMJ_LEASE_DEAD || s == VMJ_LEASE_EXPIRED;
}

/* --- the operation --------------------------------------------------------------------------- */

static int go(struct vmj_lease_op *op, enum step step)
{
	op->step = step;
	return 1;
}

/* Begin anew, with a list that is as of now. */
static int start_over(struct vmj_lease_op *op)
{
	if (++op->tries >= VMJ_LEASE_TRIES_MAX)
		return -EAGAIN;
	op->fresh = true;
	op->created = false;
	return go(op, STEP_LIST);
}

static int finish(struct vmj_lease_op *op, enum vmj_lease_state state)
{
	op->state = state;
	return 0;
}

static uint32_t highest(const struct vmj_lease_op *op)
{
	uint32_t max = 0;

	for (unsigned int i = 0; i < op->n_epochs; i++)
		if (op->epochs[i] > max)
			max = op->epochs[i];
	return max;
}

/* The record of the highest epoch is judged: what follows from it? */
static int act(struct vmj_lease_op *op)
{
	switch (op->want) {
	case VMJ_LEASE_SHOW:
		return finish(op, op->judged);
	case VMJ_LEASE_RELEASE:
		/* A guest's of an earlier boot is as much this job's as one of this boot. */
		if (op->judged == VMJ_LEASE_MINE ||
		    (op->judged == VMJ_LEASE_LEFT && op->other.guest && op->me.guest &&
		     op->other.job == op->me.job))
			return go(op, STEP_RELEASE);
		return finish(op, op->judged);
	case VMJ_LEASE_TAKE:
		break;
	}
	if (vmj_lease_is_over(op->judged))
		return go(op, STEP_CREATE);
	if (op->judged != VMJ_LEASE_MINE)
		return finish(op, op->judged);
	/* Of this very term, and by an old list perhaps: if others had taken it since, the term
	 * would have ended, or this host been confirmed dead. That comes next. */
	return go(op, STEP_SELF);
}

static int step_list(struct vmj_lease_op *op, const struct vmj_lease_env *env)
{
	int rc = env->list(env->arg, op->fresh, op->epochs, &op->n_epochs);

	if (rc < 0)
		return rc;
	op->epoch = highest(op);
	op->judged_epoch = op->epoch;
	if (op->epoch)
		return go(op, STEP_READ);
	op->judged = VMJ_LEASE_FREE;
	return act(op);
}

static int step_read(struct vmj_lease_op *op, const struct vmj_lease_env *env)
{
	int rc = env->read(env->arg, op->epoch, &op->other);

	if (rc == -ENOENT)
		return start_over(op); /* the list was old: it has been cleaned away */
	if (rc < 0)
		return rc;
	op->judged = vmj_lease_judge(&op->other, &op->me, NULL, false, NULL, 0, op->mistakes);
	if (op->judged == VMJ_LEASE_BUSY && strcmp(op->other.host, op->me.host) != 0 &&
	    op->want != VMJ_LEASE_RELEASE)
		return go(op, STEP_HOST);
	return act(op);
}

static int step_host(struct vmj_lease_op *op, const struct vmj_lease_env *env)
{
	struct vmj_lease_seen *seen = env->seen(env->arg, op->other.host);
	int rc;

	op->asked_ms = env->now_ms(env->arg);
	rc = env->host(env->arg, op->other.host, &op->host);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	op->has_host = rc == 0;
	if (op->has_host && seen && !same_seen(seen, &op->host)) {
		*seen = (struct vmj_lease_seen){.seq = op->host.seq,
						.since_ms = env->now_ms(env->arg)};
		memcpy(seen->boot, op->host.boot, sizeof(seen->boot));
		memcpy(seen->agent, op->host.agent, sizeof(seen->agent));
	}
	return go(op, STEP_DEAD);
}

static int step_dead(struct vmj_lease_op *op, const struct vmj_lease_env *env)
{
	const struct vmj_lease_seen *seen = env->seen(env->arg, op->other.host);
	const struct vmj_lease_host *h = op->has_host ? &op->host : NULL;
	bool dead;
	int rc = env->is_dead(env->arg, op->other.host, op->other.boot, &dead);

	if (rc < 0)
		return rc;
	op->judged =
		vmj_lease_judge(&op->other, &op->me, h, dead, seen, op->asked_ms, op->mistakes);
	if (h && op->judged == VMJ_LEASE_BUSY) {
		int64_t wait = wait_for_promise(&op->other, h, seen, op->asked_ms, op->mistakes);

		op->wait_ms = wait > 0 ? wait : 0;
	}
	return act(op);
}

static const char self_late[] = "it could not renew its record in time";

static int unsure(struct vmj_lease_op *op, const char *why)
{
	op->self = why;
	if (op->created)
		return go(op, STEP_GIVE_BACK);
	return finish(op, VMJ_LEASE_UNSURE);
}

/* Within the term in which the operation began? */
static bool may_hold(const struct vmj_lease_op *op, const struct vmj_lease_env *env)
{
	uint64_t term = 0;
	int64_t until = env->hold_until_ms(env->arg, &term);

	if (env->now_ms(env->arg) >= until && !mistaken(op->mistakes, VMJ_MISTAKE_NO_DEADLINE))
		return false;
	return term == op->me.term || mistaken(op->mistakes, VMJ_MISTAKE_NO_TERM);
}

static int step_create(struct vmj_lease_op *op, const struct vmj_lease_env *env)
{
	int rc;

	if (op->judged_epoch >= VMJ_LEASE_EPOCH_MAX)
		return -EOVERFLOW;
	if (!may_hold(op, env))
		return unsure(op, self_late);
	rc = env->create(env->arg, op->judged_epoch + 1, &op->me);
	if (rc == -EEXIST)
		return start_over(op);
	if (rc < 0)
		return rc;
	op->epoch = op->judged_epoch + 1;
	op->created = true;
	return go(op, STEP_RELIST);
}

static int step_relist(struct vmj_lease_op *op, const struct vmj_lease_env *env)
{
	int rc = env->list(env->arg, false, op->epochs, &op->n_epochs);

	if (rc < 0)
		return rc;
	if (mistaken(op->mistakes, VMJ_MISTAKE_CLEAN_ALL | VMJ_MISTAKE_NO_RELIST))
		return go(op, STEP_CLEAN);
	if (highest(op) != op->epoch)
		return go(op, STEP_UNDO);
	return go(op, STEP_CLEAN);
}

/* Something higher is there, so this is not the last file. */
static int step_undo(struct vmj_lease_op *op, const struct vmj_lease_env *env)
{
	int rc = env->remove(env->arg, op->epoch);

	return rc < 0 && rc != -ENOENT ? rc : start_over(op);
}

static bool is_old(const struct vmj_lease_op *op, uint32_t epoch)
{
	if (mistaken(op->mistakes, VMJ_MISTAKE_CLEAN_ALL))
		return epoch != op->epoch;
	return epoch + VMJ_LEASE_KEPT <= op->epoch;
}

/* One old file a step. One that will not go is for a later owner. */
static int step_clean(struct vmj_lease_op *op, const struct vmj_lease_env *env)
{
	while (op->n_epochs > 0) {
		uint32_t epoch = op->epochs[--op->n_epochs];

		if (!is_old(op, epoch))
			continue;
		env->remove(env->arg, epoch);
		return 1;
	}
	return go(op, STEP_SELF);
}

/* The time comes last: nothing may lie between having looked and holding. */
static int step_self(struct vmj_lease_op *op, const struct vmj_lease_env *env)
{
	bool dead = false;
	int rc = 0;

	if (!mistaken(op->mistakes, VMJ_MISTAKE_NO_DEAD))
		rc = env->is_dead(env->arg, op->me.host, op->me.boot, &dead);
	if (rc < 0)
		return rc;
	if (dead)
		return unsure(op, "it was confirmed dead, and has not been started anew since");
	if (!may_hold(op, env))
		return unsure(op, self_late);
	return finish(op, VMJ_LEASE_MINE);
}

static int release(struct vmj_lease_op *op, const struct vmj_lease_env *env,
		   const struct vmj_lease_record *was, enum vmj_lease_state then)
{
	struct vmj_lease_record r = *was;
	int rc;

	r.released = true;
	rc = env->release(env->arg, op->epoch, &r);
	return rc < 0 ? rc : finish(op, then);
}

void vmj_lease_begin(struct vmj_lease_op *op, enum vmj_lease_want want,
		     const struct vmj_lease_record *me)
{
	unsigned int mistakes = op->mistakes;

	*op = (struct vmj_lease_op){.want = want, .me = *me, .mistakes = mistakes};
	op->fresh = want == VMJ_LEASE_RELEASE;
}

int vmj_lease_step(struct vmj_lease_op *op, const struct vmj_lease_env *env)
{
	switch ((enum step)op->step) {
	case STEP_LIST:
		return step_list(op, env);
	case STEP_READ:
		return step_read(op, env);
	case STEP_HOST:
		return step_host(op, env);
	case STEP_DEAD:
		return step_dead(op, env);
	case STEP_CREATE:
		return step_create(op, env);
	case STEP_RELIST:
		return step_relist(op, env);
	case STEP_UNDO:
		return step_undo(op, env);
	case STEP_CLEAN:
		return step_clean(op, env);
	case STEP_SELF:
		return step_self(op, env);
	case STEP_RELEASE:
		return release(op, env, &op->other, op->judged);
	case STEP_GIVE_BACK:
		return release(op, env, &op->me, VMJ_LEASE_UNSURE);
	}
	return -EINVAL;
}
