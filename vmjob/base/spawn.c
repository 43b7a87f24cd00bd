/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. Everything that needs memory or locks (path, environment, descriptors) is
 * made before fork(), because the caller may have threads; the child uses system calls only, raw
 * ones for credentials, since glibc's wrappers signal the other threads. The child is the leader of
 * its own session, so that a time-out reaches what it started too. Its input is a memory file, so
 * nobody need feed it. The parent polls the pidfd and two pipes; the end of the child (not the
 * pipes' end: a grandchild may hold those) ends it.
 */
#include "vmjob/base/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/clock.h"
#include "vmjob/base/file.h"

#define SEARCH_PATH        "/usr/sbin:/usr/bin:/sbin:/bin"
#define TIMEOUT_DEFAULT_MS 60000
#define STDERR_KEPT        4096 /* of its end */

struct child {
	const struct vmj_spawn *spawn;
	pid_t pid;
	int pidfd;
	int out, err; /* our ends of its pipes; -1: closed */
	char *output;
	size_t output_len, output_room;
	char tail[STDERR_KEPT];
	size_t tail_len;
};

static void child_done(struct child *c)
{
	vmj_close(c->out);
	vmj_close(c->err);
	vmj_close(c->pidfd);
	free(c->output);
}
#define auto_child VMJ_CLEANUP(child_done)

static int find_program(const char *name, char *buf, size_t size)
{
	static const char *const dirs[] = {"/usr/sbin", "/usr/bin", "/sbin", "/bin"};

	if (strchr(name, '/')) {
		snprintf(buf, size, "%s", name);
		return access(buf, X_OK) == 0 ? 0 : -errno;
	}
	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		snprintf(buf, size, "%s/%s", dirs[i], name);
		if (access(buf, X_OK) == 0)
			return 0;
	}
	return -ENOENT;
}

/* Ours, with the fixed PATH and a locale that makes messages predictable. The strings are borrowed
 * from environ. */
static char **make_environment(void)
{
	static char path[] = "PATH=" SEARCH_PATH, locale[] = "LC_ALL=C";
	size_t n = 0, out = 0;
	char **env;

	while (environ[n])
		n++;
	env = calloc(n + 3, sizeof(*env));
	if (!env)
		return NULL;
	for (size_t i = 0; i < n; i++)
		if (strncmp(environ[i], "PATH=", 5) != 0 && strncmp(environ[i], "LC_ALL=", 7) != 0)
			env[out++] = environ[i];
	env[out++] = path;
	env[out] = locale;
	return env;
}

static void __attribute__((noreturn)) child_dies(const char *what)
{
	ssize_t n = write(STDERR_FILENO, what, strlen(what));

	_exit(n < 0 ? 126 : 127);
}

static void child_signals(void)
{
	struct sigaction sa = {.sa_handler = SIG_DFL};
	sigset_t none;

	for (int i = 1; i < NSIG; i++)
		sigaction(i, &sa, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void __attribute__((noreturn)) run_child(const struct vmj_spawn *s, const char *path,
						char *const *env, const int fds[3], pid_t parent)
{
	setsid();
	if (dup2(fds[0], 0) < 0 || dup2(fds[1], 1) < 0 || dup2(fds[2], 2) < 0)
		child_dies("cannot place the standard descriptors");
	close_range(3, ~0u, 0);
	if (s->uid || s->gid)
		if (syscall(SYS_setgroups, 0, NULL) < 0 ||
		    syscall(SYS_setresgid, s->gid, s->gid, s->gid) < 0 ||
		    syscall(SYS_setresuid, s->uid, s->uid, s->uid) < 0)
			child_dies("cannot become the user");
	/* After the change of credentials, which clears it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		child_dies("the caller has died");
	child_signals(); /* last: until here our own handlers' signals stay blocked */
	execve(path, (char *const *)s->argv, env);
	child_dies("cannot be executed");
}

/* A pipe whose ends lie above the standard descriptors, so that placing them in the child cannot
 * overwrite one another. */
static int make_pipe(int ret[2])
{
	int raw[2];

	if (pipe2(raw, O_CLOEXEC) < 0)
		return -errno;
	for (int i = 0; i < 2; i++) {
		ret[i] = fcntl(raw[i], F_DUPFD_CLOEXEC, 3);
		vmj_close(raw[i]);
	}
	if (ret[0] >= 0 && ret[1] >= 0)
		return 0;
	ret[0] = vmj_close(ret[0]);
	ret[1] = vmj_close(ret[1]);
	return -EMFILE;
}

/* Above the standard descriptors, like the pipes. */
static int open_null(int flags)
{
	vmj_autoclose int raw = open("/dev/null", flags | O_CLOEXEC);
	int fd = raw < 0 ? -1 : fcntl(raw, F_DUPFD_CLOEXEC, 3);

	return fd < 0 ? -errno : fd;
}

static int open_input(const char *text)
{
	vmj_autoclose int raw = memfd_create("input", MFD_CLOEXEC);
	int fd, rc;

	if (raw < 0)
		return -errno;
	rc = vmj_write_full(raw, text, strlen(text));
	if (rc < 0)
		return rc;
	if (lseek(raw, 0, SEEK_SET) < 0)
		return -errno;
	fd = fcntl(raw, F_DUPFD_CLOEXEC, 3);
	return fd < 0 ? -errno : fd;
}

/* Its ends in theirs, ours in c. On failure the caller closes what is open (-1: not). */
static int make_descriptors(const struct vmj_spawn *s, struct child *c, int theirs[3])
{
	int out[2] = {-1, -1}, e[2] = {-1, -1};
	int rc;

	rc = theirs[0] = s->input ? open_input(s->input) : open_null(O_RDONLY);
	if (rc < 0)
		return rc;
	rc = s->ret_output || s->on_output ? make_pipe(out) : (out[1] = open_null(O_WRONLY));
	theirs[1] = out[1];
	c->out = out[0];
	if (rc < 0)
		return rc;
	rc = make_pipe(e);
	theirs[2] = e[1];
	c->err = e[0];
	if (rc < 0)
		return rc;
	if (c->out >= 0)
		fcntl(c->out, F_SETFL, O_NONBLOCK);
	fcntl(c->err, F_SETFL, O_NONBLOCK);
	return 0;
}

static int start_child(const struct vmj_spawn *s, const char *path, struct child *c)
{
	vmj_autofree char **env = make_environment();
	int theirs[3] = {-1, -1, -1};
	sigset_t all, before;
	pid_t parent = getpid();
	int rc;

	if (!env)
		return -ENOMEM;
	rc = make_descriptors(s, c, theirs);
	if (rc == 0) {
		sigfillset(&all);
		pthread_sigmask(SIG_SETMASK, &all, &before);
		c->pid = fork();
		if (c->pid == 0)
			run_child(s, path, env, theirs, parent);
		rc = c->pid < 0 ? -errno : 0;
		pthread_sigmask(SIG_SETMASK, &before, NULL);
	}
	for (int i = 0; i < 3; i++)
		vmj_close(theirs[i]);
	if (rc < 0)
		return rc;
	c->pidfd = (int)syscall(SYS_pidfd_open, c->pid, 0); /* no wrapper before glibc 2.36 */
	return c->pidfd < 0 ? -errno : 0;
}

/* Take what there is. -EFBIG, -ENOMEM. */
static int take_output(struct child *c)
{
	for (;;) {
		ssize_t n;

		if (c->output_len + 1 >= c->output_room) {
			size_t room = c->output_room ? 2 * c->output_room : 4096;
			char *more;

			if (c->output_len > VMJ_SPAWN_OUTPUT_MAX)
				return -EFBIG;
			more = realloc(c->output, room);
			if (!more)
				return -ENOMEM;
			c->output = more;
			c->output_room = room;
		}
		n = read(c->out, c->output + c->output_len, c->output_room - c->output_len - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0)
			c->out = vmj_close(c->out);
		if (n <= 0)
			return c->output_len > VMJ_SPAWN_OUTPUT_MAX ? -EFBIG : 0;
		if (c->spawn->on_output) {
			c->spawn->on_output(c->output, (size_t)n, c->spawn->arg);
			continue;
		}
		c->output_len += (size_t)n;
	}
}

static void take_errors(struct child *c)
{
	for (;;) {
		ssize_t n;

		if (c->tail_len == sizeof(c->tail) - 1) { /* keep the later half */
			c->tail_len = sizeof(c->tail) / 2;
			memmove(c->tail, c->tail + sizeof(c->tail) - 1 - c->tail_len, c->tail_len);
		}
		n = read(c->err, c->tail + c->tail_len, sizeof(c->tail) - 1 - c->tail_len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0)
			c->err = vmj_close(c->err);
		if (n <= 0)
			return;
		c->tail_len += (size_t)n;
	}
}

static int serve_pipes(struct child *c)
{
	if (c->err >= 0)
		take_errors(c);
	return c->out >= 0 ? take_output(c) : 0;
}

/* Until it has ended: 0, -ETIMEDOUT, -EFBIG, -ENOMEM. */
static int attend(struct child *c, int timeout_ms)
{
	int64_t deadline = vmj_clock_ms(CLOCK_MONOTONIC) + timeout_ms;
	int rc;

	for (;;) {
		struct pollfd p[] = {
			{.fd = c->pidfd, .events = POLLIN},
			{.fd = c->out, .events = POLLIN},
			{.fd = c->err, .events = POLLIN},
		};
		int64_t left = deadline - vmj_clock_ms(CLOCK_MONOTONIC);

		if (left <= 0)
			return -ETIMEDOUT;
		if (poll(p, 3, left > INT_MAX ? INT_MAX : (int)left) < 0 && errno != EINTR)
			return -errno;
		rc = serve_pipes(c);
		if (rc < 0 || p[0].revents)
			return rc;
	}
}

/* Kill what is left of it, and reap. Returns the wait status. */
static int finish(struct child *c)
{
	int status = 0;

	/* Not reaped yet, so that neither the pid nor the group can be another's. */
	kill(-c->pid, SIGKILL);
	kill(c->pid, SIGKILL);
	while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

static const char *last_line(struct child *c)
{
	char *line;

	while (c->tail_len > 0 && strchr("\r\n \t", c->tail[c->tail_len - 1]))
		c->tail_len--;
	c->tail[c->tail_len] = '\0';
	line = strrchr(c->tail, '\n');
	return line ? line + 1 : c->tail;
}

static int judge(struct child *c, const char *name, int status, struct vmj_error *err)
{
	const char *line = last_line(c);
	const char *colon = *line ? ": " : "";

	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (WIFSIGNALED(status))
		return vmj_fail(err, EIO, "%s was ended by signal %d%s%s", name, WTERMSIG(status),
				colon, line);
	return vmj_fail(err, EIO, "%s exited with %d%s%s", name, WEXITSTATUS(status), colon, line);
}

int vmj_spawn(const struct vmj_spawn *s, struct vmj_error *err)
{
	auto_child struct child c = {.spawn = s, .pidfd = -1, .out = -1, .err = -1};
	int timeout_ms = s->timeout_ms ? s->timeout_ms : TIMEOUT_DEFAULT_MS;
	const char *name = s->argv[0];
	char path[PATH_MAX];
	int rc, status;

	if (find_program(name, path, sizeof(path)) < 0)
		return vmj_fail(err, ENOENT, "the program %s is not in %s: install it", name,
				SEARCH_PATH);
	rc = start_child(s, path, &c);
	if (rc < 0) {
		if (c.pid > 0)
			finish(&c);
		return vmj_fail(err, -rc, "cannot start %s: %s", name, vmj_strerror(rc));
	}
	rc = attend(&c, timeout_ms);
	status = finish(&c);
	if (rc == -ETIMEDOUT)
		return vmj_fail(err, ETIMEDOUT, "%s did not end within %d ms", name, timeout_ms);
	if (rc == -EFBIG)
		return vmj_fail(err, EFBIG, "%s wrote more than %u bytes", name,
				VMJ_SPAWN_OUTPUT_MAX);
	if (rc < 0)
		return vmj_fail(err, -rc, "cannot attend %s: %s", name, vmj_strerror(rc));
	rc = judge(&c, name, status, err);
	if (rc == 0 && s->ret_output) {
		c.output[c.output_len] = '\0';
		*s->ret_output = vmj_steal(c.output);
	}
	return rc;
}
