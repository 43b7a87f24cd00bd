/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libvirt's event loop on sd-event, through libvirt's own entry points; the connection without a
 * libvirtd. Domains are tested on the bed. */
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "vmjob/host/virt_private.h"

static sd_event *loop;

static int start(void **state)
{
	struct vmj_error err = {.code = 0};

	assert_int_equal(sd_event_new(&loop), 0);
	assert_done(vmj_virt_events_start(loop, &err), err);
	return 0;
}

static int stop(void **state)
{
	vmj_virt_events_stop();
	loop = sd_event_unref(loop);
	return 0;
}

struct watch {
	int id, fds[2]; /* fds[0] is watched */
	int calls, events, freed, added;
	bool remove;
};

static void on_free(void *arg)
{
	((struct watch *)arg)->freed++;
}

static void on_fd(int id, int fd, int events, void *arg)
{
	struct watch *w = arg;
	char c;

	assert_int_equal(id, w->id);
	assert_int_equal(fd, w->fds[0]);
	w->calls++;
	w->events = events;
	if (events & VIR_EVENT_HANDLE_READABLE && read(fd, &c, 1) < 1)
		w->events |= VIR_EVENT_HANDLE_HANGUP;
	if (w->remove) {
		assert_int_equal(virEventRemoveHandle(id), 0);
		assert_int_equal(w->freed, 0); /* not within remove */
	}
}

static void watch(struct watch *w, int events)
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, w->fds), 0);
	w->id = virEventAddHandle(w->fds[0], events, on_fd, w, on_free);
	assert_true(w->id > 0);
}

static void unwatch(struct watch *w)
{
	close(w->fds[0]);
	close(w->fds[1]);
}

/* Until nothing happens for a while. */
static void spin(uint64_t usec)
{
	while (sd_event_run(loop, usec) > 0)
		;
}

static void test_handle(void **state)
{
	struct watch w = {.id = 0};

	watch(&w, VIR_EVENT_HANDLE_READABLE);
	spin(10000);
	assert_int_equal(w.calls, 0);
	assert_int_equal(write(w.fds[1], "x", 1), 1);
	spin(10000);
	assert_int_equal(w.calls, 1);
	assert_int_equal(w.events, VIR_EVENT_HANDLE_READABLE);
	virEventUpdateHandle(w.id, VIR_EVENT_HANDLE_WRITABLE);
	assert_int_equal(sd_event_run(loop, 100000), 1); /* the change itself */
	assert_int_equal(sd_event_run(loop, 100000), 1);
	assert_int_equal(w.events, VIR_EVENT_HANDLE_WRITABLE);
	virEventUpdateHandle(w.id, 0);
	spin(10000);
	w.calls = 0;
	assert_int_equal(write(w.fds[1], "x", 1), 1);
	spin(10000);
	assert_int_equal(w.calls, 0);
	assert_int_equal(virEventRemoveHandle(w.id), 0);
	assert_int_equal(w.freed, 0);
	assert_int_equal(virEventRemoveHandle(w.id), -1);
	spin(10000);
	assert_int_equal(w.freed, 1);
	unwatch(&w);
}

static void test_handle_removed_in_callback(void **state)
{
	struct watch w = {.remove = true};

	watch(&w, VIR_EVENT_HANDLE_READABLE);
	assert_int_equal(write(w.fds[1], "xy", 2), 2);
	spin(10000);
	assert_int_equal(w.calls, 1);
	assert_int_equal(w.freed, 1);
	unwatch(&w);
}

/* The watch is removed and its descriptor closed before the loop runs; the number is used anew by
 * another. */
static void test_descriptor_used_anew(void **state)
{
	struct watch a = {.id = 0}, b = {.id = 0};

	watch(&a, VIR_EVENT_HANDLE_READABLE);
	spin(10000);
	assert_int_equal(virEventRemoveHandle(a.id), 0);
	unwatch(&a);
	watch(&b, VIR_EVENT_HANDLE_READABLE);
	assert_int_equal(b.fds[0], a.fds[0]);
	assert_int_equal(write(b.fds[1], "x", 1), 1);
	spin(10000);
	assert_int_equal(a.calls, 0);
	assert_int_equal(a.freed, 1);
	assert_int_equal(b.calls, 1);
	assert_int_equal(virEventRemoveHandle(b.id), 0);
	spin(10000);
	unwatch(&b);
}

static void on_time(int id, void *arg)
{
	struct watch *w = arg;

	assert_int_equal(id, w->id);
	if (++w->calls == 3 && w->remove)
		virEventRemoveTimeout(id);
}

static void test_timeout(void **state)
{
	struct watch w = {.remove = true};

	w.id = virEventAddTimeout(1, on_time, &w, on_free); /* periodic */
	spin(50000);
	assert_int_equal(w.calls, 3);
	assert_int_equal(w.freed, 1);
	w = (struct watch){.id = 0};
	w.id = virEventAddTimeout(-1, on_time, &w, on_free);
	spin(10000);
	assert_int_equal(w.calls, 0);
	virEventUpdateTimeout(w.id, 0);
	assert_int_equal(sd_event_run(loop, 100000), 1);
	assert_int_equal(sd_event_run(loop, 100000), 1);
	assert_int_equal(w.calls, 1);
	virEventRemoveTimeout(w.id);
	spin(10000);
	assert_int_equal(w.freed, 1);
}

enum { THREADS = 4, ROUNDS = 500 };

/* May fire before the thread that added it knows its id. */
static void on_any(int id, void *arg)
{
}

static void on_any_fd(int id, int fd, int events, void *arg)
{
}

static void *add_and_remove(void *arg)
{
	struct watch *w = arg;

	for (int i = 0; i < ROUNDS; i++) {
		int t = virEventAddTimeout(0, on_any, w, on_free);
		int h = virEventAddHandle(w->fds[0], VIR_EVENT_HANDLE_READABLE, on_any_fd, w,
					  on_free);

		/* The loop may be late in closing descriptors, so that there are no more for a
		 * while. */
		w->added += (t >= 0) + (h >= 0);
		virEventUpdateTimeout(t, -1);
		virEventUpdateHandle(h, 0);
		virEventRemoveHandle(h);
		virEventRemoveTimeout(t);
	}
	return NULL;
}

static bool all_freed(const struct watch *w)
{
	for (int i = 0; i < THREADS; i++)
		if (w[i].freed < w[i].added)
			return false;
	return true;
}

static void test_threads(void **state)
{
	struct watch w[THREADS] = {{.id = 0}};
	pthread_t threads[THREADS];
	int pulse = virEventAddTimeout(1, on_any, NULL, NULL);

	for (int i = 0; i < THREADS; i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, w[i].fds), 0);
		w[i].id = -1;
	}
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, add_and_remove, &w[i]);
	for (int i = 0; i < 200; i++)
		sd_event_run(loop, 1000);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	virEventRemoveTimeout(pulse);
	for (int i = 0; i < 10000 && !all_freed(w); i++)
		sd_event_run(loop, 1000); /* up to 10 s: a slow machine is idle in between */
	spin(10000);
	for (int i = 0; i < THREADS; i++) {
		assert_int_equal(w[i].freed, w[i].added);
		assert_true(w[i].added >= ROUNDS);
		unwatch(&w[i]);
	}
}

static void test_one_loop(void **state)
{
	struct vmj_error err = {.code = 0};

	assert_refused(vmj_virt_events_start(loop, &err), err, EBUSY, "already");
}

static void test_idle(void **state)
{
	assert_int_equal(sd_event_run(loop, 0), 0); /* nothing wakes it */
}

static void on_connect(bool connected, void *arg)
{
	(*(int *)arg)++;
}

/* No libvirtd here: calls fail at once, and the end does not wait for the next try. */
static void test_without_libvirtd(void **state)
{
	struct vmj_virt_ops ops = {.on_connect = on_connect};
	struct vmj_error err = {.code = 0};
	struct vmj_virt_info info, *list;
	struct vmj_virt *v = NULL;
	int told = 0;
	size_t n;

	if (access("/run/libvirt/libvirt-sock", F_OK) == 0)
		skip();
	assert_int_equal(sd_event_new(&loop), 0);
	assert_done(vmj_virt_new(loop, &ops, &told, &v, &err), err);
	spin(100000);
	assert_false(vmj_virt_connected(v));
	assert_int_equal(told, 0);
	assert_refused(vmj_virt_info(v, 5, &info, &err), err, ENOTCONN, "does not answer");
	assert_int_equal(err.fault, VMJ_FAULT_HOST);
	assert_refused(vmj_virt_list(v, &list, &n, &err), err, ENOTCONN, "does not answer");
	assert_refused(vmj_virt_destroy(v, 5, &err), err, ENOTCONN, "does not answer");
	vmj_virt_free(v);
	vmj_virt_free(NULL);
	loop = sd_event_unref(loop);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_handle),
		TEST(test_handle_removed_in_callback),
		TEST(test_descriptor_used_anew),
		TEST(test_timeout),
		TEST(test_threads),
		TEST(test_one_loop),
		TEST(test_idle),
		cmocka_unit_test(test_without_libvirtd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
