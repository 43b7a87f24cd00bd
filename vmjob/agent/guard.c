/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmjob/agent/guard.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/file.h"
#include "vmjob/base/log.h"
#include "vmjob/base/parse.h"
#include "vmjob/model/config.h"
#include "vmjob/storage/hosts.h"

#define PAGE_VERSION  1
#define REAL_PATH_MAX 1024
#define AGAIN_MS      1000 /* between looks at who writes, while time is over */
#define SELDOM_MS     5000 /* when nobody did */

struct slot {
	char domain[VMJ_CONFIG_PATH_MAX]; /* "": unused */
	char real[REAL_PATH_MAX]; /* the same without symbolic links, as the kernel shows it */
	_Atomic int64_t until;    /* CLOCK_BOOTTIME, ms; 0: no promise */
};

struct page {
	uint32_t version;
	char boot[VMJ_BOOT_ID_MAX + 1];
	struct slot slots[VMJ_CONFIG_ITEMS_MAX];
};

struct vmj_guard {
	char *path;
	struct page *page;
	pthread_mutex_t mutex; /* of the slots' names */
};

/* --- who writes ------------------------------------------------------------------------------ */

/* /proc/PID/fdinfo/FD says how it was opened, without asking the file system. */
static bool is_writable(int proc, const char *fd)
{
	vmj_autofree char *text = NULL;
	char path[64];
	const char *flags;

	snprintf(path, sizeof(path), "fdinfo/%.20s", fd);
	if (vmj_file_read(proc, path, 65536, &text, NULL, NULL) < 0)
		return false;
	flags = strstr(text, "flags:");
	return flags && (strtoul(flags + 6, NULL, 8) & O_ACCMODE) != O_RDONLY;
}

static bool writes_below(int proc, const char *prefix)
{
	int fds = openat(proc, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	vmj_autoclosedir DIR *d = fds < 0 ? NULL : fdopendir(fds);
	struct dirent *e;

	if (!d)
		return false;
	while ((e = readdir(d))) {
		char target[REAL_PATH_MAX + 16];
		ssize_t n = readlinkat(fds, e->d_name, target, sizeof(target));

		if (n > (ssize_t)strlen(prefix) && strncmp(target, prefix, strlen(prefix)) == 0 &&
		    is_writable(proc, e->d_name))
			return true;
	}
	return false;
}

unsigned int vmj_guard_kill(const char *domain)
{
	vmj_autoclosedir DIR *d = opendir("/proc");
	char prefix[REAL_PATH_MAX + 16];
	unsigned int n = 0;
	struct dirent *e;

	snprintf(prefix, sizeof(prefix), "%s/volumes/", domain);
	while (d && (e = readdir(d))) {
		vmj_autoclose int proc = -1;
		uint64_t pid;

		if (vmj_parse_u64("pid", e->d_name, 2, INT32_MAX, &pid, NULL) < 0 ||
		    (pid_t)pid == getpid())
			continue;
		proc = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (proc < 0 || !writes_below(proc, prefix))
			continue;
		n += kill((pid_t)pid, SIGKILL) == 0;
	}
	return n;
}

/* --- the guard ------------------------------------------------------------------------------- */

/* When to look again; 0: no promise is left. */
static int64_t watch(struct page *page)
{
	int64_t now = vmj_boottime_ms(), next = 0;

	for (unsigned int i = 0; i < VMJ_CONFIG_ITEMS_MAX; i++) {
		struct slot *s = &page->slots[i];
		int64_t until = s->until;

		if (until == 0)
			continue;
		if (until <= now) {
			unsigned int n = vmj_guard_kill(s->real);

			if (n)
				vmj_log_err("storage %s: this host could not renew its record in "
					    "time: %u processes that write its volumes are killed",
					    s->domain, n);
			until = now + (n ? AGAIN_MS : SELDOM_MS);
		}
		next = next == 0 || until < next ? until : next;
	}
	return next;
}

/* Nothing of the agent's may stay open: its lock, its sockets. */
static void serve(const char *path, struct page *page)
{
	int64_t next;
	int fd;

	setsid();
	close_range(STDERR_FILENO + 1, ~0u, 0);
	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	dup2(fd, STDIN_FILENO);
	dup2(fd, STDOUT_FILENO);
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		_exit(0); /* another guards */
	vmj_log_init("vmjob-guard", LOG_INFO);
	while ((next = watch(page)) != 0) {
		const struct timespec t = {.tv_sec = next / 1000, .tv_nsec = next % 1000 * 1000000};

		clock_nanosleep(CLOCK_BOOTTIME, TIMER_ABSTIME, &t, NULL);
	}
	_exit(0);
}

/* Forked twice, so that nobody has to wait for it. */
static int ensure_guard(struct vmj_guard *g)
{
	vmj_autoclose int fd = open(g->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	sigset_t none;
	pid_t pid;

	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_SH | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? 0 : -errno;
	vmj_close(vmj_steal_fd(fd)); /* and its lock with it */
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		if (fork() == 0)
			serve(g->path, g->page);
		_exit(0);
	}
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return 0;
}

/* --- the agent's side ------------------------------------------------------------------------ */

static struct slot *find_slot(struct vmj_guard *g, const char *domain, bool make)
{
	struct slot *found = NULL;

	pthread_mutex_lock(&g->mutex);
	for (unsigned int i = 0; i < VMJ_CONFIG_ITEMS_MAX; i++) {
		struct slot *s = &g->page->slots[i];

		if (strcmp(s->domain, domain) == 0) {
			found = s;
			break;
		}
		if (make && !found && s->until == 0)
			found = s;
	}
	if (found && strcmp(found->domain, domain) != 0) {
		snprintf(found->domain, sizeof(found->domain), "%s", domain);
		*found->real = '\0';
	}
	pthread_mutex_unlock(&g->mutex);
	return found;
}

int vmj_guard_promise(struct vmj_guard *g, const char *domain, uint32_t stop_ms,
		      struct vmj_error *err)
{
	vmj_autofree char *real = NULL;
	struct slot *s = find_slot(g, domain, true);
	int64_t none = 0;
	int rc = s ? 0 : -ENOSPC;

	if (s && !*s->real) {
		real = realpath(domain, NULL);
		rc = !real ? -errno : strlen(real) < sizeof(s->real) ? 0 : -ENAMETOOLONG;
		if (rc == 0)
			strcpy(s->real, real);
	}
	if (rc == 0)
		atomic_compare_exchange_strong(&s->until, &none, vmj_boottime_ms() + stop_ms);
	if (rc == 0)
		rc = ensure_guard(g);
	if (rc < 0)
		return vmj_fail(err, -rc, "storage %s: self_stop: cannot start a guard: %s", domain,
				vmj_strerror(rc));
	return 0;
}

void vmj_guard_renew(struct vmj_guard *g, const char *domain, int64_t until_ms)
{
	struct slot *s = find_slot(g, domain, false);

	if (s)
		s->until = until_ms;
}

/* Put in place whole: a guard that lives keeps the page that it has. */
static int make_page(const char *path, const char *boot, struct vmj_error *err)
{
	vmj_autofree struct page *fresh = calloc(1, sizeof(*fresh));

	if (!fresh)
		return vmj_fail(err, ENOMEM, "the agent has no memory left");
	fresh->version = PAGE_VERSION;
	snprintf(fresh->boot, sizeof(fresh->boot), "%s", boot);
	return vmj_file_write_atomic(-1, path, (const char *)fresh, sizeof(*fresh), 0600, err);
}

static struct page *map_page(const char *path)
{
	vmj_autoclose int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;
	void *map;

	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size != (off_t)sizeof(struct page))
		return NULL;
	map = mmap(NULL, sizeof(struct page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	return map == MAP_FAILED ? NULL : map;
}

int vmj_guard_new(const char *path, const char *boot, struct vmj_guard **ret, struct vmj_error *err)
{
	struct vmj_guard *g = calloc(1, sizeof(*g));
	int rc = 0;

	if (!g)
		return vmj_fail(err, ENOMEM, "the agent has no memory left");
	pthread_mutex_init(&g->mutex, NULL);
	g->path = strdup(path);
	g->page = g->path ? map_page(path) : NULL;
	if (!g->page || g->page->version != PAGE_VERSION || strcmp(g->page->boot, boot) != 0) {
		if (g->page)
			munmap(g->page, sizeof(*g->page));
		g->page = NULL;
		rc = make_page(path, boot, err);
		if (rc == 0)
			g->page = map_page(path);
	}
	if (!g->page) {
		if (rc == 0)
			rc = vmj_fail(err, EIO, "cannot map %s", path);
		vmj_guard_free(g);
		return rc;
	}
	*ret = g;
	return 0;
}

void vmj_guard_free(struct vmj_guard *g)
{
	if (!g)
		return;
	if (g->page)
		munmap(g->page, sizeof(*g->page));
	free(g->path);
	free(g);
}
