/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vmjob-step: the guest's stand-in in the job.
 *
 * It is the task that Slurm started, signals and waits for. It has the agent run the guest, turns
 * Slurm's signals into deeds on it, runs the user's script beside it (--vm-script=host), starts the
 * guests on the job's other nodes, and exits with a code that says how it ended.
 *
 * One thread, one loop. `struct step` collects what has happened; settle() looks at all of it after
 * each event and decides whether something must be told to end, and whether it is over:
 *
 *   guest ended          -> the script and the other nodes' guests are told to end
 *   script ended         -> this guest is told to stop
 *   all of them ended    -> exit
 *
 * Forms:  vmjob-step ARG...          in a task's place; the SPANK plugin left its program in the
 *                                    environment (names.h)
 *         vmjob-step --guest-only    as the task of another node of the job (others.h)
 */
#include <errno.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/parse.h"
#include "vmjob/step/child.h"
#include "vmjob/step/link.h"
#include "vmjob/step/names.h"
#include "vmjob/step/others.h"
#include "vmjob/step/outcome.h"

#define RESTARTS_MAX   8
#define OTHERS_EXTRA_S 15 /* beyond the guests' grace time, for srun and the steps' ends */

struct step {
	sd_event *event;
	uint32_t job;
	struct vmj_link *link;
	char **argv; /* the task's own, NULL with --guest-only */
	struct vmj_child *script, *others;
	struct vmj_outcome outcome;
	struct vmj_request request; /* as the agent has it, from `show` on */
	bool guest_ran, guest_over, script_over, others_over;
	bool suspended, stopping; /* by us */
};

/* One line for the job's output. */
__attribute__((format(printf, 1, 2))) static void say(const char *fmt, ...)
{
	char text[VMJ_ERROR_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	dprintf(STDERR_FILENO, "vmjob: %s\n", text);
}

static void stop_guest(struct step *s)
{
	if (!s->stopping)
		vmj_link_ask(s->link, VMJ_LINK_STOP);
	s->stopping = true;
}

static void settle(struct step *s)
{
	struct vmj_error err;

	if (s->guest_over && s->script &&
	    vmj_child_stop(s->script, SIGTERM, s->request.grace_s, &err) < 0)
		say("%s", err.text);
	if (s->script_over && !s->guest_over)
		stop_guest(s);
	if (s->guest_over && s->others &&
	    vmj_child_stop(s->others, VMJ_OTHERS_STOP_SIGNAL, s->request.grace_s + OTHERS_EXTRA_S,
			   &err) < 0)
		say("%s", err.text);
	if (s->guest_over && (!s->script || s->script_over) && (!s->others || s->others_over))
		sd_event_exit(s->event, vmj_outcome_exit_code(&s->outcome));
}

/* --- children -------------------------------------------------------------------------------- */

static void on_script_ended(void *arg, int status)
{
	struct step *s = arg;

	s->script_over = true;
	s->outcome.script_ended = !s->guest_over;
	s->outcome.script_status = status;
	settle(s);
}

static void on_others_ended(void *arg, int status)
{
	struct step *s = arg;

	s->others_over = true;
	if (s->guest_over) { /* as we told them to */
		settle(s);
		return;
	}
	s->outcome.others_status = status;
	if (vmj_status_exit_code(status))
		say("a guest on another node of the job ended with code %d",
		    vmj_status_exit_code(status));
}

static void start_others(struct step *s)
{
	struct vmj_error err;

	if (!s->argv || s->others || !vmj_others_needed())
		return;
	if (vmj_others_start(s->event, on_others_ended, s, &s->others, &err) < 0)
		say("the guests of the other nodes are not started: %s", err.text);
}

static void start_script(struct step *s)
{
	struct vmj_error err;

	if (!s->argv || s->script || s->guest_over || s->request.script != VMJ_SCRIPT_HOST)
		return;
	if (vmj_child_start(s->event, s->argv, on_script_ended, s, &s->script, &err) < 0) {
		say("%s", err.text);
		stop_guest(s);
	}
}

/* --- the agent ------------------------------------------------------------------------------- */

static void end_guest(struct step *s, enum vmj_end end, const char *text)
{
	if (s->guest_over)
		return;
	s->guest_over = true;
	s->outcome.end = end;
	say("the guest ended: %s", text ? text : vmj_end_text(end));
	settle(s);
}

static const char *get_string(struct json_object *o, const char *key)
{
	struct json_object *v = NULL;

	return json_object_object_get_ex(o, key, &v) ? json_object_get_string(v) : NULL;
}

/* The request as it was resolved: whether the script is run, and the guest's grace time. */
static void take_guest(struct step *s, struct json_object *answer)
{
	struct json_object *guest = NULL, *request = NULL;
	struct vmj_error err;

	json_object_object_get_ex(answer, "guest", &guest);
	json_object_object_get_ex(guest, "request", &request);
	if (vmj_request_from_json(request, "guest.request", &s->request, &err) < 0) {
		say("the agent's record of this guest cannot be read (%s): stopping it", err.text);
		stop_guest(s);
		return;
	}
	start_script(s);
}

/* In an allocation by salloc the guest lives and ends with the first step on its node; a further
 * step is an ordinary one. (The agent says how it ended in an event behind this answer.) */
static bool is_later_step(struct step *s, struct json_object *answer)
{
	const char *phase = get_string(answer, "phase");

	return s->argv && !s->guest_ran && !getenv(VMJ_STEP_BATCH_ENV) && phase &&
	       strcmp(phase, vmj_phase_name(VMJ_PHASE_ENDED)) == 0;
}

static void on_answer(void *arg, enum vmj_link_op op, struct json_object *answer)
{
	struct step *s = arg;

	if (op == VMJ_LINK_SHOW)
		take_guest(s, answer);
	if (op != VMJ_LINK_RUN || s->guest_ran)
		return;
	if (is_later_step(s, answer)) {
		say("the job's guest on this node has ended before this step");
		vmj_child_become(s->argv);
	}
	s->guest_ran = true;
	vmj_link_ask(s->link, VMJ_LINK_SHOW);
	start_others(s);
}

/* Another task of this job on this node has the guest, or this component of a heterogeneous job has
 * none: then this is the task that the user asked for, no more. */
static bool is_ordinary_task(const struct vmj_error *err)
{
	return err->code == EALREADY || (err->code == ENOENT && getenv("SLURM_HET_SIZE"));
}

/*
 * Slurm 22.05 launches a job that was requeued to the same node within its credential's life
 * without running the prolog, if slurmd looked for expired credentials less than 2 s before
 * (_clear_expired_job_states()). Then nobody has made a guest. Only slurmctld can have one made, so
 * the job goes back once more. Bounded, in case there is no prolog at all.
 */
static bool is_without_prolog(const struct vmj_error *err)
{
	const char *text = getenv("SLURM_RESTART_COUNT");
	uint64_t restarts;

	return err->code == ENOENT && text &&
	       vmj_parse_u64("SLURM_RESTART_COUNT", text, 1, RESTARTS_MAX, &restarts, NULL) == 0;
}

__attribute__((noreturn)) static void requeue(struct step *s)
{
	char job[16], *argv[] = {"scontrol", "requeue", job, NULL};

	snprintf(job, sizeof(job), "%u", s->job);
	say("slurmd ran no prolog for this restart of the job: requeueing it once more");
	vmj_child_become(argv);
}

static void on_refused(void *arg, enum vmj_link_op op, const struct vmj_error *err)
{
	struct step *s = arg;

	if (op == VMJ_LINK_RUN && !s->guest_ran) {
		if (s->argv && is_ordinary_task(err))
			vmj_child_become(s->argv);
		say("%s", err->text);
		if (is_without_prolog(err))
			requeue(s);
		s->outcome.refused = true;
		s->guest_over = true;
		settle(s);
	} else if (op == VMJ_LINK_RUN) {
		say("%s", err->text);
		end_guest(s, VMJ_END_LOST, NULL);
	} else {
		say("%s", err->text);
	}
}

static void take_ended_event(struct step *s, struct json_object *event)
{
	const char *name = get_string(event, "end");
	enum vmj_end end;

	if (!name || vmj_end_parse(name, &end) < 0)
		end = VMJ_END_LOST;
	end_guest(s, end, get_string(event, "text"));
}

static void on_event(void *arg, struct json_object *event)
{
	struct step *s = arg;
	const char *name = get_string(event, "event"), *reason = get_string(event, "reason");
	const char *text = get_string(event, "text");

	if (strcmp(name, "ended") == 0)
		take_ended_event(s, event);
	else if (strcmp(name, "paused") == 0 && reason && text && strcmp(reason, "user") != 0)
		say("the guest is %s", text);
	else if (strcmp(name, "rebooted") == 0)
		say("the guest rebooted");
	else if (strcmp(name, "watchdog") == 0)
		say("the guest's watchdog ran out");
}

static void on_lost(void *arg, const struct vmj_error *err)
{
	struct step *s = arg;

	say("%s", err->text);
	s->outcome.refused = !s->guest_ran;
	end_guest(s, VMJ_END_LOST, s->guest_ran ? NULL : "it never ran");
}

static const struct vmj_link_handler link_handler = {
	.answer = on_answer,
	.refused = on_refused,
	.event = on_event,
	.lost = on_lost,
};

/* --- signals --------------------------------------------------------------------------------- */

static void do_deeds(struct step *s, unsigned int deeds, int signo)
{
	if (deeds & VMJ_DEED_FORWARD && s->script)
		vmj_child_signal(s->script, signo);
	if (s->guest_over)
		return;
	if (deeds & VMJ_DEED_STOP)
		stop_guest(s);
	if (deeds & VMJ_DEED_SUSPEND) {
		s->suspended = true;
		vmj_link_ask(s->link, VMJ_LINK_SUSPEND);
	}
	if (deeds & VMJ_DEED_RESUME && s->suspended) {
		s->suspended = false;
		vmj_link_ask(s->link, VMJ_LINK_RESUME);
	}
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *si, void *arg)
{
	struct step *s = arg;
	int signo = (int)si->ssi_signo;

	do_deeds(s, vmj_signal_deeds(signo, s->script != NULL), signo);
	return 0;
}

static int watch_signals(struct step *s, struct vmj_error *err)
{
	sigset_t set;
	int r;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	for (const int *signo = vmj_step_signals; *signo; signo++)
		sigaddset(&set, *signo);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	for (const int *signo = vmj_step_signals; *signo; signo++) {
		r = sd_event_add_signal(s->event, NULL, *signo, on_signal, s);
		if (r < 0)
			return vmj_fail(err, -r, "cannot watch signals: %s", strerror(-r));
	}
	return 0;
}

/* --- start ----------------------------------------------------------------------------------- */

/* Whose place this is, from the environment and the arguments. */
static int take_arguments(struct step *s, int argc, char **argv, struct vmj_error *err)
{
	char *program = getenv(VMJ_STEP_PROGRAM_ENV);
	const char *job = getenv(program ? VMJ_STEP_JOB_ENV : "SLURM_JOB_ID");
	uint64_t number;
	int r;

	if (!program && (argc != 2 || strcmp(argv[1], "--guest-only") != 0))
		return vmj_fail_user(
			err, EINVAL,
			"vmjob-step is started by Slurm in the place of a job's task, not "
			"by hand: submit with sbatch --vm-image=NAME");
	if (!job)
		return vmj_fail_user(err, EINVAL,
				     "vmjob-step runs in a job only: there is no job id in "
				     "the environment");
	r = vmj_parse_u64("the job id", job, 1, UINT32_MAX - 1, &number, err);
	if (r < 0)
		return r;
	s->job = (uint32_t)number;
	if (program) {
		argv[0] = program;
		s->argv = argv;
	}
	return 0;
}

static int start(struct step *s, int argc, char **argv, struct vmj_error *err)
{
	int r;

	r = take_arguments(s, argc, argv, err);
	if (r < 0)
		return r;
	r = sd_event_new(&s->event);
	if (r < 0)
		return vmj_fail(err, -r, "cannot make an event loop: %s", strerror(-r));
	r = watch_signals(s, err);
	if (r < 0)
		return r;
	return vmj_link_start(s->event, s->job, &link_handler, s, &s->link, err);
}

int main(int argc, char **argv)
{
	struct step s = {0};
	struct vmj_error err;
	int code;

	if (start(&s, argc, argv, &err) < 0) {
		say("%s", err.text);
		code = VMJ_EXIT_REFUSED;
	} else {
		code = sd_event_loop(s.event);
	}
	vmj_child_free(s.script);
	vmj_child_free(s.others);
	vmj_link_free(s.link);
	sd_event_unref(s.event);
	return code < 0 ? VMJ_EXIT_REFUSED : code;
}
