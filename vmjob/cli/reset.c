/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vmjob reset: the guest's reset button. */
#include <json-c/json.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/cli/agents.h"
#include "vmjob/cli/target.h"
#include "vmjob/cli/verb.h"
#include "vmjob/model/json.h"

static const struct argp_option table[] = {
	VMJ_OPTION_HOST,
	{0},
};

static const struct argp argp = {
	.options = table,
	.parser = vmj_common_parser,
	.args_doc = "JOB",
	.doc = "Resets the guest of a job, as its reset button would.\v"
	       "Nothing is shut down in order, the disks stay, and the job goes on.",
};

static int run(const struct vmj_verb *verb, int argc, char **argv)
{
	vmj_autojson struct json_object *request = NULL;
	VMJ_CLEANUP(vmj_target_done) struct vmj_target target = {0};
	struct vmj_common o = {.takes = VMJ_JOB_NEEDED};
	struct vmj_error err;

	argp_parse(verb->argp, argc, argv, 0, NULL, &o);
	if (vmj_target_find_one(o.job, o.hosts, &target, &err) < 0)
		return vmj_say_failed(&err);
	request = vmj_request_for_job("reset", target.job);
	if (vmj_agent_call(target.hosts.names[0], request, VMJ_AGENT_WORK_MS, NULL, &err) < 0)
		return vmj_say_failed(&err);
	return VMJ_EXIT_DONE;
}

const struct vmj_verb vmj_verb_reset = {
	.name = "reset",
	.summary = "press a guest's reset button",
	.argp = &argp,
	.words = VMJ_WORD_JOB,
	.run = run,
};
