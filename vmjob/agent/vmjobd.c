/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vmjobd: the agent of a host. Start, signals, and the end; what it does is in ops.c's table. */
#include <argp.h>
#include <errno.h>
#include <link.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "vmj-autoconf.h"
#include "vmjob/agent/eventlog.h"
#include "vmjob/agent/pause.h"
#include "vmjob/agent/guests.h"
#include "vmjob/agent/keeper.h"
#include "vmjob/agent/ops.h"
#include "vmjob/agent/plug.h"
#include "vmjob/agent/ready.h"
#include "vmjob/agent/server.h"
#include "vmjob/agent/sweep.h"
#include "vmjob/agent/space.h"
#include "vmjob/agent/volume_recover.h"
#include "vmjob/agent/work.h"
#include "vmjob/base/cleanup.h"
#include "vmjob/base/clock.h"
#include "vmjob/base/log.h"
#include "vmjob/base/point.h"
#include "vmjob/host/topology.h"
#include "vmjob/host/virt.h"
#include "vmjob/storage/snapshot.h"
#include "vmjob/storage/volume.h"
#include "vmjob/wire/client.h"

#define CRASH_ENV  "VMJOB_CRASH_AT" /* tests: abort right after the step of this name */
#define FILES_MAX  16384
#define SETTLED_US (5 * 1000000ull) /* after the start: connected, guests found again */

static struct options {
	const char *config; /* NULL: the usual place */
	const char *socket;
	bool list_steps;
} options;

int64_t vmj_now_us(void)
{
	return vmj_clock_us(CLOCK_REALTIME);
}

/* --- libvirt --------------------------------------------------------------------------------- */

static void on_virt_event(uint32_t job, enum vmj_virt_event event, enum vmj_end end, void *arg)
{
	struct vmj_agent *a = arg;

	vmj_guests_event(a->guests, job, event, end);
}

static void on_virt_connect(bool connected, void *arg)
{
	struct vmj_agent *a = arg;

	if (connected == vmj_ready(a->ready))
		return;
	vmj_log_info(connected ? "connected to libvirt" : "the connection to libvirt is lost");
	vmj_ready_set(a->ready, connected);
	if (connected)
		vmj_guests_adopt(a);
}

static const struct vmj_virt_ops virt_ops = {.on_event = on_virt_event,
					     .on_connect = on_virt_connect};

/* --- signals --------------------------------------------------------------------------------- */

/* Guests go on; the next agent finds them again. */
static int on_terminate(sd_event_source *s, const struct signalfd_siginfo *si, void *arg)
{
	struct vmj_agent *a = arg;

	vmj_log_info("ending on signal %u; guests go on", si->ssi_signo);
	sd_notify(0, "STOPPING=1");
	return sd_event_exit(a->loop, 0);
}

static int on_reload(sd_event_source *s, const struct signalfd_siginfo *si, void *arg)
{
	struct vmj_agent *a = arg;
	struct vmj_settings *fresh;
	struct vmj_error err;

	sd_notify(0, "RELOADING=1");
	if (vmj_settings_load(options.config, &fresh, &err) < 0) {
		vmj_log_err("the configuration stays as it was: %s", err.text);
	} else {
		if (strcmp(fresh->config->scratch, a->settings->config->scratch) != 0 ||
		    fresh->config->agent_port != a->settings->config->agent_port)
			vmj_log_warning("a new scratch or agent port counts from the next start "
					"of vmjobd");
		vmj_settings_unref(a->settings);
		a->settings = fresh;
		vmj_log_init("vmjobd", fresh->config->log_level);
		vmj_keeper_reload(a->keeper);
		vmj_log_info("configuration loaded anew");
	}
	sd_notify(0, "READY=1");
	return 0;
}

static int watch_signals(struct vmj_agent *a)
{
	sigset_t set;
	int r;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	r = sd_event_add_signal(a->loop, NULL, SIGTERM, on_terminate, a);
	if (r >= 0)
		r = sd_event_add_signal(a->loop, NULL, SIGINT, on_terminate, a);
	if (r >= 0)
		r = sd_event_add_signal(a->loop, NULL, SIGHUP, on_reload, a);
	return r;
}

/* --- start and end --------------------------------------------------------------------------- */

static int start_loop(struct vmj_agent *a, struct vmj_error *err)
{
	int r = sd_event_default(&a->loop);

	if (r >= 0)
		r = watch_signals(a);
	if (r >= 0)
		r = sd_event_set_watchdog(a->loop, true);
	return r < 0 ? vmj_fail(err, -r, "cannot set up the event loop: %s", vmj_strerror(r)) : 0;
}

static int start_server(struct vmj_agent *a, struct vmj_error *err)
{
	struct vmj_server_config config = {.socket_path = options.socket,
					   .port = a->settings->config->agent_port,
					   .host = a->host,
					   .loop = a->loop,
					   .pool = a->pool,
					   .on_call = vmj_ops_call,
					   .arg = a};

	return vmj_server_new(&config, &a->server, err);
}

/* The guard's page is beside the socket: both are this agent's, and of this boot. */
static int start_keeper(struct vmj_agent *a, struct vmj_error *err)
{
	const char *slash = strrchr(options.socket, '/');
	int len = slash ? (int)(slash + 1 - options.socket) : 0;
	vmj_autofree char *guard = NULL;

	if (asprintf(&guard, "%.*sguard", len, options.socket) < 0)
		return vmj_fail(err, ENOMEM, "no memory for the agent");
	return vmj_keeper_new(a, guard, &a->keeper, err);
}

/* The server comes before the records, since it holds the lock that there is one agent only; it
 * serves nobody before the loop runs. */
static int agent_start(struct vmj_agent *a, struct vmj_error *err)
{
	const char *scratch;
	int r = vmj_settings_load(options.config, &a->settings, err);

	if (r < 0)
		return r;
	vmj_log_init("vmjobd", a->settings->config->log_level);
	scratch = a->settings->config->scratch;
	r = vmj_boot_id(a->boot_id, err);
	if (r == 0)
		r = vmj_agent_id(a->id, err);
	if (r == 0)
		r = start_loop(a, err);
	if (r == 0)
		r = vmj_pool_new(a->loop, &a->pool, err);
	if (r == 0)
		r = vmj_ready_new(a->loop, &a->ready, err);
	if (r == 0)
		r = start_server(a, err);
	if (r == 0)
		r = vmj_record_init(scratch, a->dir, err);
	if (r == 0)
		r = vmj_topology_load(NULL, &a->topology, err);
	if (r == 0)
		r = vmj_eventlog_new(scratch, a->pool, &a->events, err);
	if (r == 0)
		r = vmj_guests_new(a, &a->guests, err);
	if (r == 0)
		r = vmj_pauses_new(a, &a->pauses, err);
	if (r == 0)
		r = vmj_sweep_new(a, &a->sweep, err);
	if (r == 0)
		r = vmj_spaces_new(a, VMJ_SPACES_PERIOD_US, &a->spaces, err);
	if (r < 0)
		return r;
	vmj_eventlog_listen(a->events, vmj_ops_event_logged, a);
	r = vmj_virt_new(a->loop, &virt_ops, a, &a->virt, err);
	if (r == 0)
		r = vmj_guests_load(a->guests, a->dir, err);
	if (r == 0)
		r = start_keeper(a, err);
	if (r == 0)
		vmj_volumes_recover(a);
	if (r == 0) {
		vmj_sweep_leases(a);
		vmj_sweep_volumes_soon(a);
	}
	return r;
}

/* Workers first: they use the rest. */
static void agent_stop(struct vmj_agent *a)
{
	vmj_server_free(a->server);
	vmj_pool_free(a->pool);
	vmj_keeper_free(a->keeper);
	vmj_spaces_free(a->spaces);
	vmj_pauses_free(a->pauses);
	vmj_sweep_free(a->sweep);
	vmj_guests_free(a->guests);
	vmj_eventlog_free(a->events);
	vmj_virt_free(a->virt);
	vmj_topology_free(a->topology);
	vmj_ready_free(a->ready);
	json_object_put(a->usage);
	vmj_settings_unref(a->settings);
	sd_event_unref(a->loop);
}

/* Enough descriptors for all connections and consoles; few heaps for many threads. */
static void set_limits(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max < FILES_MAX ? files.rlim_max : FILES_MAX;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	mallopt(M_ARENA_MAX, 2);
	umask(022);
}

/* Read-only segments of an executable or library: clean pages of files. */
static int drop_segments(struct dl_phdr_info *info, size_t size, void *arg)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	for (unsigned int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		uintptr_t start = (info->dlpi_addr + p->p_vaddr) & ~(page - 1);

		if (p->p_type == PT_LOAD && !(p->p_flags & PF_W))
			madvise((void *)start, info->dlpi_addr + p->p_vaddr + p->p_memsz - start,
				MADV_DONTNEED);
	}
	return 0;
}

/* libvirt brings 60 libraries along. What start-up touched of them, an idle agent does not need
 * again: those pages need not count as ours. They stay in the page cache, for whoever wants them.
 */
static int on_settled(sd_event_source *s, uint64_t usec, void *arg)
{
	dl_iterate_phdr(drop_segments, NULL);
	malloc_trim(0);
	return 0;
}

static int list_steps(void)
{
	const struct vmj_step *const tables[] = {vmj_prepare_steps, vmj_run_steps,
						 vmj_release_steps, vmj_attach_steps,
						 vmj_detach_steps};

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		for (const struct vmj_step *s = tables[i]; s->name; s++)
			puts(s->name);
	for (const char *const *p = vmj_volume_points; *p; p++)
		puts(*p);
	for (const char *const *p = vmj_snapshot_points; *p; p++)
		puts(*p);
	return EXIT_SUCCESS;
}

static int serve(void)
{
	struct vmj_agent agent = {.started_us = vmj_now_us()};
	struct vmj_error err;
	int r;

	LIST_INIT(&agent.followers);
	LIST_INIT(&agent.volume_tasks);
	gethostname(agent.host, sizeof(agent.host) - 1);
	r = agent_start(&agent, &err);
	if (r < 0) {
		vmj_log_err("%s", err.text);
		sd_notifyf(0, "STATUS=%s\nERRNO=%d", err.text, err.code);
	} else {
		vmj_log_info("vmjobd " PACKAGE_VERSION " serves host %s", agent.host);
		sd_notify(0, "READY=1");
		sd_event_add_time_relative(agent.loop, NULL, CLOCK_MONOTONIC, SETTLED_US,
					   SETTLED_US, on_settled, NULL);
		r = sd_event_loop(agent.loop);
		if (r < 0)
			vmj_log_err("the event loop failed: %s", vmj_strerror(r));
	}
	agent_stop(&agent);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* --- command line ---------------------------------------------------------------------------- */

enum { OPT_LIST_STEPS = 256 };

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	switch (key) {
	case 'f':
		options.config = arg;
		return 0;
	case 's':
		options.socket = arg;
		return 0;
	case OPT_LIST_STEPS:
		options.list_steps = true;
		return 0;
	case ARGP_KEY_ARG:
		argp_usage(state);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option argp_options[] = {
	{"config", 'f', "FILE", 0, "Read FILE instead of " VMJ_SYSCONFDIR "/slurm/vmjob.conf", 0},
	{"socket", 's', "PATH", 0, "Listen at PATH instead of " VMJ_RUNSTATEDIR "/vmjob/agent.sock",
	 0},
	{"list-steps", OPT_LIST_STEPS, NULL, 0,
	 "Show the steps of prepare, run, release and of changes of volumes, which " CRASH_ENV
	 " can name",
	 0},
	{0},
};

int main(int argc, char **argv)
{
	const struct argp argp = {
		argp_options, parse_option, NULL, "vmjobd, vmjob's agent on a compute host.",
		NULL,         NULL,         NULL};
	const char *socket_path = getenv(VMJ_AGENT_SOCKET_ENV);

	argp_program_version = "vmjobd (vmjob) " PACKAGE_VERSION;
	argp_err_exit_status = 2;
	options.socket = socket_path ? socket_path : VMJ_RUNSTATEDIR "/vmjob/agent.sock";
	argp_parse(&argp, argc, argv, 0, NULL, NULL);
	if (options.list_steps)
		return list_steps();
	vmj_log_init("vmjobd", LOG_INFO);
	vmj_steps_trap(getenv(CRASH_ENV), NULL);
	vmj_point_trap(getenv(CRASH_ENV), NULL);
	set_limits();
	return serve();
}
