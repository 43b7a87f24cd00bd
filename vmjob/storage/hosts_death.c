/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Confirmed deaths of hosts. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/file.h"
#include "vmjob/storage/hosts_private.h"
#include "vmjob/storage/lease.h"
#include "vmjob/storage/lease_files.h"

/* The latest last; with too many, the oldest is forgotten. */
static void add_boot(struct vmj_death *d, const char *boot)
{
	if (vmj_death_covers(d, boot))
		return;
	if (d->n_boots == VMJ_DEATH_BOOTS_MAX) {
		memmove(d->boots[0], d->boots[1], sizeof(d->boots) - sizeof(d->boots[0]));
		d->n_boots--;
	}
	snprintf(d->boots[d->n_boots++], sizeof(d->boots[0]), "%s", boot);
}

/* Leases may show boots that the record does not, if that fell back or was removed. */
static int add_boots_of_leases(const char *domain, const char *host, struct vmj_death *d,
			       struct vmj_error *err)
{
	const struct vmj_lease_who who = {.host = host, .boot = "", .agent = ""};
	vmj_autofree struct vmj_lease_own *own = NULL;
	size_t n = 0;
	int rc = vmj_lease_mine(domain, &who, &own, &n, err);

	for (size_t i = 0; i < n; i++)
		add_boot(d, own[i].lease.boot);
	return rc;
}

static int check_confirm(const char *domain, const struct vmj_host_record *r, const char *boot,
			 bool force, struct vmj_error *err)
{
	if (*boot && strcmp(boot, r->lease.boot) != 0)
		return vmj_fail_user(err, ESTALE,
				     "host %s has booted since, and registered in storage %s: "
				     "nothing needs to be confirmed",
				     r->host, domain);
	if (!r->fresh || force)
		return 0;
	return vmj_fail_user(err, EBUSY,
			     "host %s renewed its record in storage %s %" PRId64
			     " s ago, so it lives: switch the machine off; if it has been, say so "
			     "by --force",
			     r->host, domain, r->age_ms / 1000);
}

/* What came to light while it was looked at: the host lives. */
static int check_unchanged(int hosts, const struct vmj_host_record *r, struct vmj_error *err)
{
	struct vmj_host_record now;
	int rc = vmj_dir_refresh(hosts);

	if (rc == 0)
		rc = vmj_host_load(hosts, r->host, &now, err);
	if (rc == 0 &&
	    (strcmp(now.lease.boot, r->lease.boot) != 0 || now.lease.seq != r->lease.seq))
		return vmj_fail_user(err, EBUSY,
				     "host %s has renewed its record just now, so it lives: "
				     "switch the machine off, then confirm that it is dead",
				     r->host);
	return rc == -ENOENT ? vmj_fail(err, ENOENT, "the record of host %s vanished", r->host)
			     : rc;
}

static int write_death(int hosts, const char *host, const struct vmj_death *d,
		       struct vmj_error *err)
{
	vmj_autojson struct json_object *o = vmj_death_to_json(host, d);
	const char *text = json_object_to_json_string(o);
	char name[VMJ_NAME_MAX + 16];

	snprintf(name, sizeof(name), "%s.dead.json", host);
	return vmj_file_write_atomic(hosts, name, text, strlen(text), 0600, err);
}

int vmj_host_confirm_dead(const char *domain, const char *host, const char *boot, const char *by,
			  bool force, struct vmj_error *err)
{
	vmj_autoclose int hosts = -1;
	struct vmj_death d = {.n_boots = 0};
	struct vmj_host_record r;
	int rc = vmj_host_read(domain, host, &r, err);

	if (rc == 0)
		rc = check_confirm(domain, &r, boot, force, err);
	if (rc < 0)
		return rc;
	hosts = vmj_leases_open(domain, "hosts", err);
	if (hosts < 0)
		return hosts;
	rc = vmj_death_load(hosts, host, &d, err);
	if (rc == 0 || rc == -ENOENT)
		rc = add_boots_of_leases(domain, host, &d, err);
	if (rc == 0)
		rc = check_unchanged(hosts, &r, err);
	if (rc < 0)
		return rc;
	add_boot(&d, r.lease.boot);
	d.time = time(NULL);
	vmj_quote(by, d.by, sizeof(d.by));
	return write_death(hosts, host, &d, err);
}
