/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vmjob start: sbatch for a service guest, a job that lives as long as its guest.
 *
 * Options that are not ours are sbatch's and go to it as they are. The script that sbatch wants is
 * never run: the SPANK plugin puts vmjob-step in its place; where that plugin is missing, it says
 * so.
 */
#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/file.h"
#include "vmjob/base/parse.h"
#include "vmjob/cli/agents.h"
#include "vmjob/cli/feed.h"
#include "vmjob/cli/start.h"
#include "vmjob/cli/table.h"
#include "vmjob/cli/target.h"
#include "vmjob/cli/verb.h"
#include "vmjob/model/json.h"
#include "vmjob/model/request.h"

VMJ_DEFINE_CLEANUP(struct vmj_feed *, vmj_feed_free);

#define SCRIPT                                                                                        \
	"echo 'vmjob: nobody replaced this script by the guest: is spank_vmjob.so in plugstack.conf " \
	"on this host?' >&2; exit 1"

/* Between looks at a job that waits for a host: Slurm has no event for its start. */
#define LOOK_FIRST_MS 500
#define LOOK_MAX_MS   10000

enum { KEY_WAIT = 0x100, KEY_JSON };

static const struct argp_option table[] = {
	{"wait", KEY_WAIT, NULL, 0, "Wait until the guest runs", 0},
	{"json", KEY_JSON, NULL, 0, "Print {\"job\": NUMBER}", 0},
	{0},
};

static const struct argp argp = {
	.options = table,
	.args_doc = "[OWNER/]IMAGE[@REV] [SBATCH-OPTION...]",
	.doc = "Submits a service guest: a job that runs no script and lives as long as its guest.\v"
	       "All other options are sbatch's and go to it as they are, the --vm-* ones among them: "
	       "vmjob start debian12 -c 4 --vm-memory=8G --time=7-0. The job's number is printed. "
	       "In the place of IMAGE, --vm-image or VMJOB_IMAGE does too.",
};

static bool has_option(char **args, const char *name, const char *letter)
{
	for (; *args; args++)
		if (!strncmp(*args, name, strlen(name)) ||
		    (letter && !strncmp(*args, letter, strlen(letter))))
			return true;
	return false;
}

static int check_image(char **args, struct vmj_error *err)
{
	struct vmj_request request = {0};

	if (args[0] && args[0][0] != '-')
		return vmj_request_set_image(&request, args[0], err);
	if (has_option(args, "--vm-image", NULL) || getenv("VMJOB_IMAGE"))
		return 0;
	return vmj_fail_user(
		err, EINVAL,
		"which image? `vmjob image list` shows them, and it comes first: vmjob "
		"start IMAGE -c 4 ...");
}

/* sbatch's --job-name comes last of equals, so the user's own (option or environment) wins. */
static char **put_image(char **args, char **out, struct vmj_start *s)
{
	const char *name;

	if (!args[0] || args[0][0] == '-')
		return args;
	snprintf(s->image, sizeof(s->image), "--vm-image=%s", args[0]);
	*out++ = s->image;
	if (!getenv("SBATCH_JOB_NAME")) {
		name = strchr(args[0], '/') ? strchr(args[0], '/') + 1 : args[0];
		snprintf(s->name, sizeof(s->name), "--job-name=%.*s", (int)strcspn(name, "@"),
			 name);
		*out++ = s->name;
	}
	return args + 1;
}

int vmj_start_parse(char **args, struct vmj_start *ret, struct vmj_error *err)
{
	static char *const fixed[] = {"sbatch", "--parsable", "--vm-script=none"};
	bool ours = true;
	size_t n = 0;
	int rc = check_image(args, err);

	if (rc < 0)
		return rc;
	while (args[n])
		n++;
	*ret = (struct vmj_start){.argv = calloc(n + 8, sizeof(char *))};
	if (!ret->argv)
		return vmj_fail(err, ENOMEM, "out of memory");
	memcpy(ret->argv, fixed, sizeof(fixed));
	args = put_image(args, ret->argv + 3, ret);
	for (n = 3; ret->argv[n];)
		n++;
	for (; *args; args++) {
		if (ours && !strcmp(*args, "--"))
			ours = false;
		else if (ours && !strcmp(*args, "--wait"))
			ret->wait = true;
		else if (ours && !strcmp(*args, "--json"))
			ret->json = true;
		else
			ret->argv[n++] = *args;
	}
	ret->argv[n] = "--wrap=" SCRIPT;
	return 0;
}

void vmj_start_done(struct vmj_start *s)
{
	free(s->argv);
}

int vmj_start_job(const char *output, uint32_t *ret, struct vmj_error *err)
{
	char digits[16], shown[64];
	size_t len = strspn(output, "0123456789");
	uint64_t job;

	snprintf(digits, sizeof(digits), "%.*s", (int)len, output);
	if (!strchr(";\n", output[len]) || vmj_parse_u64("job", digits, 1, UINT32_MAX, &job, NULL))
		return vmj_fail(err, EPROTO, "sbatch printed \"%s\" instead of a job's number",
				vmj_quote(output, shown, sizeof(shown)));
	*ret = (uint32_t)job;
	return 0;
}

/* sbatch with our standard error, since its messages are for the user as they are. */
static int run_sbatch(char **argv, char output[256], struct vmj_error *err)
{
	posix_spawn_file_actions_t actions;
	int fds[2], rc, status = 0;
	ssize_t n;
	pid_t pid;

	if (pipe(fds) < 0)
		return vmj_fail(err, errno, "cannot make a pipe: %s", strerror(errno));
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
	posix_spawn_file_actions_addclose(&actions, fds[0]);
	posix_spawn_file_actions_addclose(&actions, fds[1]);
	rc = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(fds[1]);
	n = rc == 0 ? vmj_read_full(fds[0], output, 255) : 0;
	close(fds[0]);
	output[n > 0 ? n : 0] = '\0';
	if (rc != 0)
		return vmj_fail(err, rc,
				"cannot start sbatch: %s: is Slurm installed here, and in PATH?",
				strerror(rc));
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return vmj_fail_user(err, EINVAL, "sbatch refused the job: it says why above");
	return 0;
}

/* Do all guests of the job run? 1 yes, 0 not yet. */
static int guests_run(const struct vmj_target *target, struct vmj_error *err)
{
	vmj_autojson struct json_object *request = vmj_request_for_job("show", target->job);

	for (size_t i = 0; i < target->hosts.n; i++) {
		vmj_autojson struct json_object *reply = NULL;
		struct json_object *guest;
		const char *phase, *host = target->hosts.names[i];
		int rc = vmj_agent_call(host, request, VMJ_AGENT_TIMEOUT_MS, &reply, err);

		if (rc == -ESRCH || rc == -ENOENT)
			return 0; /* the prolog has not come to it */
		if (rc < 0)
			return rc;
		guest = vmj_json_field(reply, "guest");
		phase = vmj_json_text(guest, "phase", "");
		if (!strcmp(phase, "refused") || !strcmp(phase, "ended"))
			return vmj_fail_user(err, EIO, "%s: the guest did not start: %s", host,
					     vmj_json_text(guest, "failure", phase));
		if (strcmp(phase, "running") != 0)
			return 0;
	}
	return 1;
}

/* Until the next thing happens to the guests: their agents say so once they know the job. */
static void wait_for_news(const struct vmj_target *target, struct vmj_feed **feed, int ms)
{
	struct json_object *entry = NULL;
	size_t unreachable;

	if (!*feed && ms > LOOK_FIRST_MS)
		vmj_feed_open(&target->hosts, target->job, true, feed, &unreachable, NULL);
	if (*feed && vmj_feed_next(*feed, LOOK_MAX_MS, &entry, NULL) > 0)
		json_object_put(entry);
	else
		poll(NULL, 0, ms);
}

/* Once, and to people only. */
static void tell_waiting(const struct vmj_error *why, bool *told)
{
	if (!*told && isatty(STDERR_FILENO))
		vmj_say("%s; waiting for it, and Ctrl-C leaves it alone", why->text);
	*told = true;
}

static int wait_running(uint32_t job, struct vmj_error *err)
{
	VMJ_CLEANUP(vmj_feed_freep) struct vmj_feed *feed = NULL;
	int ms = LOOK_FIRST_MS, rc;
	bool told = false;
	char label[16];

	snprintf(label, sizeof(label), "%" PRIu32, job);
	for (;; ms = ms * 2 > LOOK_MAX_MS ? LOOK_MAX_MS : ms * 2) {
		VMJ_CLEANUP(vmj_target_done) struct vmj_target target = {0};

		rc = vmj_target_find(label, NULL, &target, err);
		if (rc == -EAGAIN) {
			tell_waiting(err, &told);
			poll(NULL, 0, ms);
			continue;
		}
		if (rc == 0)
			rc = guests_run(&target, err);
		if (rc != 0)
			return rc < 0 ? rc : 0;
		wait_for_news(&target, &feed, ms);
	}
}

static int run(const struct vmj_verb *verb, int argc, char **argv)
{
	VMJ_CLEANUP(vmj_start_done) struct vmj_start start = {0};
	char output[256];
	struct vmj_error err;
	uint32_t job;

	if (argc == 2 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-?"))) {
		argp_help(verb->argp, stdout, ARGP_HELP_STD_HELP & ~ARGP_HELP_EXIT_OK, argv[0]);
		return VMJ_EXIT_DONE;
	}
	if (vmj_start_parse(argv + 1, &start, &err) < 0) {
		vmj_say("%s", err.text);
		return VMJ_EXIT_USAGE;
	}
	if (run_sbatch(start.argv, output, &err) < 0 || vmj_start_job(output, &job, &err) < 0)
		return vmj_say_failed(&err);
	printf(start.json ? "{\"job\": %" PRIu32 "}\n" : "%" PRIu32 "\n", job);
	fflush(stdout);
	if (start.wait && wait_running(job, &err) < 0)
		return vmj_say_failed(&err);
	return VMJ_EXIT_DONE;
}

const struct vmj_verb vmj_verb_start = {
	.name = "start",
	.summary = "submit a service guest",
	.argp = &argp,
	.words = VMJ_WORD_IMAGE,
	.run = run,
};
