/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plugins/spank/keys.h"
#include "plugins/spank/presence.h"
#include "plugins/spank/submit.h"
#include "plugins/spank/user-data.h"
#include "vmjob/base/cleanup.h"
#include "vmjob/model/request.h"
#include "vmjob/model/user-data.h"

#define OPTIONS_MAX   32
#define INPUT_MAX     4096 /* bytes of one VMJOB_* variable */
#define OUTER_REQUEST "SLURM_SPANK_" VMJ_REQUEST_ENV
#define OUTER_DATA    "SLURM_SPANK_" VMJ_USER_DATA_ENV
#define OUTER_OPTION  "SLURM_SPANK__SLURM_SPANK_OPTION_vmjob_" /* and the option's name */

extern char **environ;

/* The plugin is loaded once into a process that submits once, without threads. */
static struct {
	struct vmj_request request; /* from the options seen so far */
	char *user_data;            /* the file's path, NULL: none */
	bool seen[OPTIONS_MAX];
	char *inputs[OPTIONS_MAX]; /* values of the VMJOB_* variables, NULL: not set */
	bool in_allocation;
} submit;

/* Ends the submitting command, which holds nothing yet. If the plugin returned -1 instead, Slurm
 * would add two lines that help nobody, one with the value as it was typed, control characters and
 * all. */
__attribute__((noreturn, format(printf, 1, 2))) static void refuse(const char *fmt, ...)
{
	char text[VMJ_ERROR_TEXT_MAX + 256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	slurm_error("%s", text);
	exit(EXIT_FAILURE);
}

/* sbatch puts each component's options of a heterogeneous job into its own environment and reads
 * them back for the next, before that one's own. Such a call is told by the variable, which
 * vmj_submit_init() had removed, and which goes with this look at it. */
static bool is_of_former_component(const struct vmj_option *option)
{
	char name[128];

	snprintf(name, sizeof(name), "%s%s", OUTER_OPTION, option->name);
	for (char *p = name; *p; p++)
		if (*p == '-')
			*p = '_';
	return getenv(name) && unsetenv(name) == 0;
}

/* *path: of the file, where the option is about one. */
static int set_option(struct vmj_request *r, char **path, const struct vmj_option *option,
		      const char *value, struct vmj_error *err)
{
	int ret = option->set(r, value, err);

	if (ret < 0 || !option->file)
		return ret;
	free(*path);
	*path = strdup(value);
	return *path ? 0 : vmj_fail(err, ENOMEM, "out of memory");
}

static int take_option(int index, const char *arg, int remote)
{
	const struct vmj_option *option = &vmj_options[index];
	struct vmj_error err;

	if (remote || is_of_former_component(option))
		return 0;
	if (submit.in_allocation)
		refuse("--%s belongs to a job, and this is a step of one: give it to sbatch, salloc, or "
		       "an srun outside of any job",
		       option->name);
	if (set_option(&submit.request, &submit.user_data, option, option->arg && arg ? arg : NULL,
		       &err) < 0)
		refuse("%s", err.text);
	submit.seen[index] = true;
	return 0;
}

/* Whether an option takes an argument, as getopt_long() has it. */
static int has_arg(const struct vmj_option *option)
{
	if (!option->arg)
		return 0;
	return option->optional ? 2 : 1;
}

int vmj_submit_register(spank_t sp)
{
	for (int i = 0; vmj_options[i].name; i++) {
		struct spank_option option = {
			.name = (char *)vmj_options[i].name,
			.arginfo = (char *)vmj_options[i].arg,
			.usage = (char *)vmj_options[i].help,
			.has_arg = has_arg(&vmj_options[i]),
			.val = i,
			.cb = take_option,
		};

		if (i >= OPTIONS_MAX || spank_option_register(sp, &option) != ESPANK_SUCCESS) {
			slurm_error(
				"vmjob: cannot register --%s: another plugin in plugstack.conf has it "
				"already",
				vmj_options[i].name);
			return -1;
		}
	}
	return 0;
}

/* Slurm hands the options of an outer job on in variables of its own. */
static bool is_outer_option(const char *variable)
{
	static const char *const prefixes[] = {OUTER_OPTION, "_SLURM_SPANK_OPTION_vmjob_"};

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		if (strncmp(variable, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	return false;
}

static void forget_outer_options(void)
{
	for (char **p = environ; *p;) {
		vmj_autofree char *name = NULL;

		if (is_outer_option(*p) && (name = strndup(*p, strcspn(*p, "="))) &&
		    !unsetenv(name))
			p = environ;
		else
			p++;
	}
}

static void take_inputs(void)
{
	for (int i = 0; vmj_options[i].name; i++) {
		const char *value = getenv(vmj_options[i].env);

		if (value)
			submit.inputs[i] = strdup(value);
		unsetenv(vmj_options[i].env);
	}
}

int vmj_submit_init(spank_t sp)
{
	submit.in_allocation = spank_context() == S_CTX_LOCAL && getenv("SLURM_JOB_ID");
	forget_outer_options();
	if (!submit.in_allocation) {
		unsetenv(OUTER_REQUEST);
		unsetenv(OUTER_DATA);
		take_inputs();
	}
	return vmj_submit_register(sp);
}

static int apply_list(struct vmj_request *r, const struct vmj_option *option, const char *value,
		      struct vmj_error *err)
{
	vmj_autofree char *copy = strdup(value);
	char *rest = copy, *item;

	if (!copy)
		return vmj_fail(err, ENOMEM, "out of memory");
	while ((item = strsep(&rest, ";"))) {
		int ret = *item ? option->set(r, item, err) : 0;

		if (ret < 0)
			return ret;
	}
	return 0;
}

/* An empty variable is as good as none. An option whose argument may be left out is "yes" or "no"
 * or that argument. */
static int apply_input(struct vmj_request *r, char **path, const struct vmj_option *option,
		       const char *value, struct vmj_error *err)
{
	int ret;

	if (!*value || (has_arg(option) == 2 && strcmp(value, "no") == 0))
		return 0;
	if (strlen(value) > INPUT_MAX)
		return vmj_fail_user(err, ERANGE, "%s is longer than %d bytes", option->env,
				     INPUT_MAX);
	if (option->repeat)
		ret = apply_list(r, option, value, err);
	else if (has_arg(option) == 2 && strcmp(value, "yes") == 0)
		ret = option->set(r, NULL, err);
	else
		ret = set_option(r, path, option, value, err);
	return ret < 0 ? vmj_fail_prefix(err, "variable %s", option->env) : 0;
}

/* An option that was given although no image was; NULL: none. Variables may stand in a profile. */
static const char *given_without_image(void)
{
	for (int i = 0; vmj_options[i].name; i++)
		if (submit.seen[i])
			return vmj_options[i].name;
	return NULL;
}

/* User data goes beside the request, which has its digest. where: before a sentence on it. */
static void store_user_data(spank_t sp, const char *path, const char *where,
			    struct vmj_request *request)
{
	vmj_autofree char *data = NULL, *text = NULL;
	struct vmj_error err;
	size_t len;

	if (!path) {
		spank_job_control_unsetenv(sp, VMJ_USER_DATA_ENV);
		return;
	}
	if (vmj_user_data_read(path, &data, &len, &err) < 0 ||
	    vmj_user_data_encode(data, len, &text, request->user_data, &err) < 0)
		refuse("%s%s", where, err.text);
	if (spank_job_control_setenv(sp, VMJ_USER_DATA_ENV, text, 1) != ESPANK_SUCCESS)
		refuse("vmjob: cannot put the user data into the job: out of memory?");
}

static int store(spank_t sp, const struct vmj_request *request)
{
	vmj_autofree char *json = vmj_request_format(request);

	if (!json || spank_job_control_setenv(sp, VMJ_REQUEST_ENV, json, 1) != ESPANK_SUCCESS)
		refuse("vmjob: cannot put the request into the job: out of memory?");
	/* Tasks of an srun that makes its own job get srun's environment, not the job's. */
	if (spank_context() == S_CTX_LOCAL && setenv(OUTER_REQUEST, json, 1) < 0)
		refuse("vmjob: out of memory");
	return 0;
}

/* The next component of a heterogeneous job starts anew. */
static void start_anew(void)
{
	memset(&submit.request, 0, sizeof(submit.request));
	memset(submit.seen, 0, sizeof(submit.seen));
	free(submit.user_data);
	submit.user_data = NULL;
}

int vmj_submit_finish(spank_t sp)
{
	struct vmj_request request = submit.request;
	vmj_autofree char *path = submit.user_data ? strdup(submit.user_data) : NULL;
	const char *option;
	struct vmj_error err;

	if (submit.in_allocation)
		return 0;
	for (int i = 0; vmj_options[i].name; i++)
		if (!submit.seen[i] && submit.inputs[i] &&
		    apply_input(&request, &path, &vmj_options[i], submit.inputs[i], &err) < 0)
			refuse("%s", err.text);
	if (!request.image[0]) {
		if ((option = given_without_image()))
			refuse("--%s needs --vm-image=NAME: without an image there is no virtual machine",
			       option);
		spank_job_control_unsetenv(sp, VMJ_REQUEST_ENV);
		spank_job_control_unsetenv(sp, VMJ_USER_DATA_ENV);
		return 0;
	}
	if (vmj_request_check(&request, &err) < 0 || vmj_image_presence(&request, &err) < 0)
		refuse("%s", err.text);
	store_user_data(sp, path, submit.user_data ? "" : "variable " VMJ_USER_DATA_ENV ": ",
			&request);
	vmj_keys_gather(NULL, request.ssh_keys);
	start_anew();
	return store(sp, &request);
}
