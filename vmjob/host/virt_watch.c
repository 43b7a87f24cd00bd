/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Looking at a guest: its figures and its console. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libxml/parser.h>
#include <libxml/xpath.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "vmjob/base/file.h"
#include "vmjob/host/virt_private.h"

static bool has_prefix(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

static bool has_suffix(const char *text, const char *suffix)
{
	size_t n = strlen(text), m = strlen(suffix);

	return n >= m && strcmp(text + n - m, suffix) == 0;
}

static void add_field(struct vmj_virt_stats *s, const char *field, uint64_t value)
{
	if (strcmp(field, "balloon.available") == 0)
		s->balloon_available_kib = value;
	else if (strcmp(field, "balloon.unused") == 0)
		s->balloon_unused_kib = value;
	else if (has_prefix(field, "block.") && has_suffix(field, ".rd.bytes"))
		s->rd_bytes += value;
	else if (has_prefix(field, "block.") && has_suffix(field, ".wr.bytes"))
		s->wr_bytes += value;
	/* The tap's view is the guest's, mirrored. */
	else if (has_prefix(field, "net.") && has_suffix(field, ".tx.bytes"))
		s->rx_bytes += value;
	else if (has_prefix(field, "net.") && has_suffix(field, ".rx.bytes"))
		s->tx_bytes += value;
}

/* proc(5), /proc/PID/stat: fields 14, 15 and 24. libvirt counts CPU time by cgroups of its own,
 * which our guests do not have (qemu.conf), and memory by asking a QEMU that may be frozen. */
static int read_process(pid_t pid, struct vmj_virt_stats *s)
{
	unsigned long long user, system, pages;
	vmj_autofree char *text = NULL;
	const char *after;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
	if (vmj_file_read(-1, path, 4096, &text, NULL, NULL) < 0)
		return -ESRCH;
	after = strrchr(text, ')'); /* the name before it may hold anything */
	if (!after || sscanf(after + 1,
			     " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d "
			     "%*d %*d %*d %*u %*u %llu",
			     &user, &system, &pages) != 3)
		return -EINVAL;
	s->cpu_ns = (user + system) * (1000000000ull / (uint64_t)sysconf(_SC_CLK_TCK));
	s->rss_kib = pages * (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
	return 0;
}

int vmj_virt_stats(struct vmj_virt *v, uint32_t job, struct vmj_virt_stats *ret,
		   struct vmj_error *err)
{
	struct vmj_virt_stats s = {0};
	auto_domain virDomainPtr d = NULL;
	virDomainStatsRecordPtr *records = NULL;
	unsigned int what = VIR_DOMAIN_STATS_INTERFACE;
	struct vmj_virt_info info;
	int rc = vmj_virt_lookup(v, job, &d, err);

	if (rc == 0)
		rc = vmj_virt_info(v, job, &info, err);
	if (rc < 0)
		return rc;
	/* These ask QEMU, which never answers while Slurm has frozen it; it is paused before that.
	 */
	if (info.state == VMJ_VIRT_IS_RUNNING)
		what |= VIR_DOMAIN_STATS_BALLOON | VIR_DOMAIN_STATS_BLOCK;
	if (virDomainListGetStats((virDomainPtr[]){d, NULL}, what, &records,
				  VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT) < 0)
		return vmj_virt_fail(err, "cannot see the figures of guest vmjob-%" PRIu32, job);
	for (int i = 0; records[0] && i < records[0]->nparams; i++) {
		const virTypedParameter *p = &records[0]->params[i];

		if (p->type == VIR_TYPED_PARAM_ULLONG)
			add_field(&s, p->field, p->value.ul);
	}
	virDomainStatsRecordListFree(records);
	if (info.pid)
		read_process(info.pid, &s);
	*ret = s;
	return 0;
}

/* The terminal that libvirt made for the console; *ret is the caller's. */
static int console_path(virDomainPtr d, char **ret, struct vmj_error *err)
{
	vmj_autofree char *xml = virDomainGetXMLDesc(d, 0);
	xmlXPathContextPtr ctx;
	xmlXPathObjectPtr o;
	xmlChar *path;
	xmlDocPtr doc;

	if (!xml)
		return vmj_virt_fail(err, "cannot see guest %s", virDomainGetName(d));
	doc = xmlReadMemory(xml, (int)strlen(xml), NULL, NULL, XML_PARSE_NONET);
	ctx = doc ? xmlXPathNewContext(doc) : NULL;
	o = ctx ? xmlXPathEvalExpression(
			  (const xmlChar *)"string(/domain/devices/serial/source/@path)", ctx)
		: NULL;
	path = o ? xmlXPathCastToString(o) : NULL;
	*ret = path && has_prefix((const char *)path, "/dev/pts/") ? strdup((const char *)path)
								   : NULL;
	xmlFree(path);
	xmlXPathFreeObject(o);
	xmlXPathFreeContext(ctx);
	xmlFreeDoc(doc);
	if (!*ret)
		return vmj_fail(err, ENXIO, "guest %s has no console", virDomainGetName(d));
	return 0;
}

/* Bytes as they are: no echo, no signals, no translation. */
static int make_raw(int fd)
{
	struct termios t;

	if (tcgetattr(fd, &t) < 0)
		return -errno;
	cfmakeraw(&t);
	return tcsetattr(fd, TCSANOW, &t) < 0 ? -errno : 0;
}

/* The pty itself rather than virDomainOpenConsole(): it outlives libvirtd, and needs no bridge of
 * ours. libvirt's answer is asked for again once it is open: the number of a pty is used anew when
 * its guest has gone. */
int vmj_virt_console(struct vmj_virt *v, uint32_t job, int *ret_fd, struct vmj_error *err)
{
	auto_domain virDomainPtr d = NULL;
	vmj_autofree char *path = NULL, *again = NULL;
	vmj_autoclose int fd = -1;
	int rc = vmj_virt_lookup(v, job, &d, err);

	if (rc == 0)
		rc = console_path(d, &path, err);
	if (rc < 0)
		return rc;
	fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return vmj_fail(err, errno,
				"guest vmjob-%" PRIu32 ": cannot open its console %s: %m", job,
				path);
	rc = console_path(d, &again, err);
	if (rc < 0)
		return rc;
	if (strcmp(path, again) != 0)
		return vmj_fail(err, EAGAIN, "guest vmjob-%" PRIu32 ": its console has moved", job);
	rc = make_raw(fd);
	if (rc < 0)
		return vmj_fail(err, -rc, "guest vmjob-%" PRIu32 ": its console %s: %s", job, path,
				vmj_strerror(rc));
	*ret_fd = vmj_steal_fd(fd);
	return 0;
}
