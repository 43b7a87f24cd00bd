/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the agent tells of a storage domain, to whom, and how often it counts. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <sys/stat.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "vmjob/agent/ops.h"
#include "vmjob/storage/layout.h"

#define ANNA    54321
#define MIB     (1 << 20)
#define MINUTE  60000000ll
#define REQUEST "{\"op\": \"storage-show\", \"storage\": \"default\"}"

static struct vmj_storage_config storage = {.name = "default"};
static struct vmj_config config = {.storages = &storage, .n_storages = 1};
static struct vmj_settings settings = {.refs = 1, .config = &config};
static struct vmj_agent agent;

static int64_t now_us;
int64_t vmj_now_us(void)
{
	return now_us;
}

static bool ended;
static struct vmj_error failed; /* code 0: done */
static struct json_object *answer;

static void end_call(struct vmj_call *call)
{
	assert_false(ended);
	ended = true;
	json_object_put(call->args);
	free(call);
}

void __wrap_vmj_call_ok(struct vmj_call *call, struct json_object *o);
void __wrap_vmj_call_ok(struct vmj_call *call, struct json_object *o)
{
	answer = o;
	end_call(call);
}

void __wrap_vmj_call_fail(struct vmj_call *call, const struct vmj_error *err);
void __wrap_vmj_call_fail(struct vmj_call *call, const struct vmj_error *err)
{
	failed = *err;
	end_call(call);
}

/* The member "storage" of the answer. */
static struct json_object *ask(uid_t uid, const char *request)
{
	struct vmj_call *call = calloc(1, sizeof(*call));
	const struct vmj_op *op;

	json_object_put(answer);
	answer = NULL;
	failed.code = 0;
	ended = false;
	call->args = json_tokener_parse(request);
	call->op = json_object_get_string(json_object_object_get(call->args, "op"));
	call->peer = (struct vmj_peer){.local = true, .uid = uid, .gid = uid};
	op = vmj_op_find(call->op);
	assert_non_null(op);
	op->handle(&agent, call, 0, NULL);
	while (!ended)
		assert_true(sd_event_run(agent.loop, 10000000) >= 0);
	return answer ? json_object_object_get(answer, "storage") : NULL;
}

static int64_t number(struct json_object *o, const char *key)
{
	struct json_object *v = json_object_object_get(o, key);

	assert_non_null(v);
	return json_object_get_int64(v);
}

static void write_image(const char *name, unsigned int mib)
{
	char path[600];
	int fd;

	snprintf(path, sizeof(path), "%s/images/%d", storage.path, ANNA);
	mkdir(path, 0700);
	assert_int_equal(chown(path, ANNA, ANNA), 0);
	snprintf(path, sizeof(path), "%s/images/%d/%s", storage.path, ANNA, name);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(fchown(fd, ANNA, ANNA), 0);
	assert_int_equal(posix_fallocate(fd, 0, (off_t)mib * MIB), 0);
	close(fd);
}

static int begin(void **state)
{
	struct vmj_error err;

	if (geteuid() != 0)
		return 0;
	if (unit_make_dir(state) < 0)
		return -1;
	now_us = 1700000000000000;
	snprintf(storage.path, sizeof(storage.path), "%s", (const char *)*state);
	storage.quota_mib = storage.limit_mib = 0;
	assert_done(vmj_storage_format(storage.path, "default", &err), err);
	agent = (struct vmj_agent){.settings = &settings};
	assert_true(sd_event_new(&agent.loop) >= 0);
	assert_done(vmj_pool_new(agent.loop, &agent.pool, &err), err);
	return 0;
}

static int end(void **state)
{
	if (geteuid() != 0)
		return 0;
	vmj_pool_free(agent.pool);
	json_object_put(agent.usage);
	json_object_put(answer);
	answer = NULL;
	sd_event_unref(agent.loop);
	return unit_remove_dir(state);
}

static void each_is_told_what_is_theirs(void **state)
{
	struct json_object *o, *users;

	if (geteuid() != 0)
		skip();
	write_image("a", 3);
	o = ask(ANNA, REQUEST);
	assert_true(number(o, "used_bytes") >= 3 * MIB);
	assert_true(number(json_object_object_get(o, "mine"), "images_bytes") >= 3 * MIB);
	assert_null(json_object_object_get(o, "users"));
	assert_non_null(json_object_object_get(o, "hosts"));
	o = ask(ANNA + 1, REQUEST);
	assert_null(json_object_object_get(o, "mine"));
	o = ask(0, REQUEST);
	users = json_object_object_get(o, "users");
	assert_int_equal(json_object_array_length(users), 1);
	assert_int_equal(number(json_object_array_get_idx(users, 0), "uid"), ANNA);
}

static void a_count_is_kept_for_a_minute(void **state)
{
	if (geteuid() != 0)
		skip();
	write_image("a", 3);
	assert_true(number(ask(ANNA, REQUEST), "used_bytes") < 4 * MIB);
	write_image("b", 5);
	now_us += MINUTE - 1;
	assert_true(number(ask(ANNA, REQUEST), "used_bytes") < 4 * MIB);
	now_us += 1;
	assert_true(number(ask(ANNA, REQUEST), "used_bytes") >= 8 * MIB);
	now_us -= MINUTE; /* a clock that was set back */
	write_image("c", 1);
	assert_true(number(ask(ANNA, REQUEST), "used_bytes") >= 9 * MIB);
}

static void admission_counts_each_time(void **state)
{
	static const char request[] = "{\"op\": \"storage-admit\", \"bytes\": 2097152}";

	if (geteuid() != 0)
		skip();
	storage.quota_mib = 6;
	write_image("a", 3);
	ask(ANNA, request);
	assert_int_equal(failed.code, 0);
	write_image("b", 2);
	ask(ANNA, request);
	assert_int_equal(failed.code, EDQUOT);
	assert_int_equal(failed.fault, VMJ_FAULT_USER);
	ask(ANNA + 1, request);
	assert_int_equal(failed.code, 0);
}

static void bad_requests_are_refused(void **state)
{
	static const struct {
		const char *request;
		int code;
		const char *part;
	} cases[] = {
		{"{\"op\": \"storage-show\", \"storage\": \"other\"}", ENOENT, "has default"},
		{"{\"op\": \"storage-show\", \"storage\": 1}", EINVAL, "storage"},
		{"{\"op\": \"storage-show\", \"bytes\": 1}", EINVAL, "bytes"},
		{"{\"op\": \"storage-admit\"}", EINVAL, "bytes"},
		{"{\"op\": \"storage-admit\", \"bytes\": -1}", 0, "bytes"},
	};

	if (geteuid() != 0)
		skip();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ask(ANNA, cases[i].request);
		assert_true(failed.code > 0 && failed.fault == VMJ_FAULT_USER);
		if (cases[i].code)
			assert_int_equal(failed.code, cases[i].code);
		assert_non_null(strstr(failed.text, cases[i].part));
	}
}

static void a_storage_that_is_not_there_is_the_hosts_fault(void **state)
{
	if (geteuid() != 0)
		skip();
	strcpy(storage.path, "/nonexistent/vmjob");
	ask(ANNA, REQUEST);
	assert_int_equal(failed.code, ENOENT);
	assert_int_equal(failed.fault, VMJ_FAULT_HOST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
		TEST(each_is_told_what_is_theirs),
		TEST(a_count_is_kept_for_a_minute),
		TEST(admission_counts_each_time),
		TEST(bad_requests_are_refused),
		TEST(a_storage_that_is_not_there_is_the_hosts_fault),
	};

	return cmocka_run_group_tests_name("op-storage", tests, NULL, NULL);
}
