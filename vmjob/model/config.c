/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. libconfuse knows the keys (from the table of config-fields.c) as strings and
 * calls us back after each value and at the end of each section, while it still knows the line: the
 * value goes straight into the struct vmj_config under construction, and a sentence about it names
 * file and line. libconfuse takes the end of the file for the end of any section, so a last line of
 * our own, `end_of_file = yes`, must be seen at the top. Its scanner has global state and its
 * callbacks take no argument of ours: one load at a time, under a lock, and the load's own state in
 * `the_load`.
 */
#include "vmjob/model/config.h"

#include <confuse.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/base/file.h"
#include "vmjob/model/config-fields.h"

#define KEYS_MAX    16 /* of one section */
#define END_OF_FILE "end_of_file"

VMJ_DEFINE_CLEANUP(cfg_t *, cfg_free);
VMJ_DEFINE_CLEANUP(struct vmj_config *, vmj_config_free);

static pthread_mutex_t load_lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
	const char *path;
	struct vmj_config *config;
	struct vmj_error *err;
	int rc;
	int last_line; /* of the file itself */
	bool ended;
} the_load;

/* err has a sentence: put file and line before it; it is the host's fault, whoever parsed. */
static int fail_at_line(cfg_t *cfg)
{
	if (the_load.err) {
		vmj_fail_prefix(the_load.err, "%s:%d", the_load.path, cfg->line);
		the_load.err->fault = VMJ_FAULT_HOST;
	}
	return -1;
}

static void on_error(cfg_t *cfg, const char *fmt, va_list ap)
{
	if (the_load.rc < 0) /* libconfuse's echo of our own */
		return;
	if (cfg->line > the_load.last_line)
		the_load.rc = vmj_fail(the_load.err, EINVAL, "the file ends within %s: add the }",
				       cfg_name(cfg));
	else
		the_load.rc = vmj_vfail(the_load.err, VMJ_FAULT_HOST, EINVAL, fmt, ap);
	fail_at_line(cfg);
}

static struct vmj_net_config *find_network(struct vmj_config *c, const char *name)
{
	for (unsigned int i = 0; i < c->n_networks; i++)
		if (strcmp(c->networks[i].name, name) == 0)
			return &c->networks[i];
	return NULL;
}

/* Room for one more; items are few and bounded. */
static int grow(void **items, unsigned int n, size_t size, const char *what, struct vmj_error *err)
{
	void *more;

	if (n == VMJ_CONFIG_ITEMS_MAX)
		return vmj_fail(err, ERANGE, "%s: at most %d are possible", what,
				VMJ_CONFIG_ITEMS_MAX);
	more = reallocarray(*items, n + 1, size);
	if (!more)
		return vmj_fail(err, ENOMEM, "%s: no memory", what);
	memset((char *)more + n * size, 0, size);
	*items = more;
	return 0;
}

static int get_network(const char *name, void **ret, struct vmj_error *err)
{
	struct vmj_config *c = the_load.config;
	struct vmj_net_config *n = find_network(c, name);
	int rc;

	if (!n) {
		rc = vmj_parse_name("network", name, err);
		if (rc == 0 && strcmp(name, "none") == 0)
			rc = vmj_fail(
				err, EINVAL,
				"network none: --vm-net=none has a meaning of its own: choose another name");
		if (rc == 0)
			rc = grow((void **)&c->networks, c->n_networks, sizeof(*n), "network", err);
		if (rc < 0)
			return rc;
		n = &c->networks[c->n_networks++];
		strcpy(n->name, name);
		n->kind = VMJ_NET_COUNT_;
		n->filter = true;
	}
	*ret = n;
	return 0;
}

static int get_storage(const char *name, void **ret, struct vmj_error *err)
{
	struct vmj_config *c = the_load.config;
	int rc;

	for (unsigned int i = 0; i < c->n_storages; i++) {
		if (strcmp(c->storages[i].name, name) == 0) {
			*ret = &c->storages[i];
			return 0;
		}
	}
	rc = vmj_parse_name("storage", name, err);
	if (rc == 0)
		rc = grow((void **)&c->storages, c->n_storages, sizeof(*c->storages), "storage",
			  err);
	if (rc < 0)
		return rc;
	vmj_storage_config_defaults(&c->storages[c->n_storages]);
	strcpy(c->storages[c->n_storages].name, name);
	*ret = &c->storages[c->n_storages++];
	return 0;
}

/* What a section's values go into. */
static int get_target(const char *section, const char *title, void **ret, struct vmj_error *err)
{
	if (strcmp(section, "network") == 0)
		return get_network(title, ret, err);
	if (strcmp(section, "storage") == 0)
		return get_storage(title, ret, err);
	*ret = the_load.config;
	return 0;
}

static const char *section_of(cfg_t *cfg)
{
	return strcmp(cfg_name(cfg), "root") == 0 ? "" : cfg_name(cfg);
}

static const struct vmj_field *find_field(const char *section, const char *key)
{
	for (const struct vmj_field *f = vmj_config_fields; f->key; f++)
		if (strcmp(f->section, section) == 0 && strcmp(f->key, key) == 0)
			return f;
	return NULL;
}

static int on_value(cfg_t *cfg, cfg_opt_t *opt)
{
	const char *section = section_of(cfg), *title = cfg_title(cfg);
	const struct vmj_field *f = find_field(section, cfg_opt_name(opt));
	const char *text = cfg_opt_getnstr(opt, cfg_opt_size(opt) - 1);
	char what[2 * VMJ_NAME_MAX];
	void *target;
	int rc;

	rc = get_target(section, title, &target, the_load.err);
	if (rc == 0) {
		snprintf(what, sizeof(what), "%s%s%s%s%s", section, title ? " " : "",
			 title ? title : "", *section ? ", " : "", f->key);
		rc = f->read(f, (char *)target + f->offset, what, text ? text : "", the_load.err);
	}
	if (rc == 0)
		return 0;
	the_load.rc = rc;
	return fail_at_line(cfg);
}

static int on_section_end(cfg_t *cfg, cfg_opt_t *opt)
{
	cfg_t *section = cfg_opt_getnsec(opt, cfg_opt_size(opt) - 1);
	const char *name = cfg_opt_name(opt);
	void *target;
	int rc;

	rc = get_target(name, cfg_title(section), &target, the_load.err);
	if (rc == 0 && strcmp(name, "network") == 0)
		rc = vmj_net_config_finish(target, the_load.err);
	if (rc == 0 && strcmp(name, "storage") == 0)
		rc = vmj_storage_config_finish(target, the_load.err);
	if (rc == 0)
		return 0;
	the_load.rc = rc;
	return fail_at_line(section);
}

static int on_end_of_file(cfg_t *cfg, cfg_opt_t *opt)
{
	the_load.ended = true;
	return 0;
}

/* libconfuse's options of one section, out of our table. */
static size_t make_options(const char *section, cfg_opt_t *opts)
{
	size_t n = 0;

	for (const struct vmj_field *f = vmj_config_fields; f->key; f++) {
		if (strcmp(f->section, section) != 0)
			continue;
		if (f->list)
			opts[n] = (cfg_opt_t)CFG_STR_LIST(f->key, NULL, CFGF_NONE);
		else
			opts[n] = (cfg_opt_t)CFG_STR(f->key, NULL, CFGF_NONE);
		opts[n++].validcb = on_value;
	}
	opts[n] = (cfg_opt_t)CFG_END();
	return n;
}

static cfg_t *make_parser(void)
{
	static const struct {
		const char *name;
		cfg_flag_t flags;
	} sections[] = {
		{"storage", CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES},
		{"network", CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES},
		{"defaults", CFGF_NONE},
		{"limits", CFGF_NONE},
		{"overhead", CFGF_NONE},
		{"agent", CFGF_NONE},
	};
	enum { N = sizeof(sections) / sizeof(sections[0]) };
	cfg_opt_t inner[N][KEYS_MAX + 1], top[KEYS_MAX + N + 2];
	size_t n = make_options("", top);
	cfg_t *cfg;

	for (size_t i = 0; i < N; i++) {
		make_options(sections[i].name, inner[i]);
		top[n] = (cfg_opt_t)CFG_SEC(sections[i].name, inner[i], sections[i].flags);
		top[n++].validcb = on_section_end;
	}
	top[n] = (cfg_opt_t)CFG_STR(END_OF_FILE, NULL, CFGF_NONE);
	top[n++].validcb = on_end_of_file;
	top[n] = (cfg_opt_t)CFG_END();
	cfg = cfg_init(top, CFGF_NONE); /* copies the options */
	if (cfg)
		cfg_set_error_function(cfg, on_error);
	return cfg;
}

static struct vmj_config *new_config(void)
{
	struct vmj_config *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	*c = (struct vmj_config){
		.default_memory_mib = 1024,
		.max_memory_mib = VMJ_MEMORY_MIB_MAX,
		.max_disk_mib = VMJ_DISK_MIB_MAX,
		.default_grace_s = 30,
		.max_vcpus = VMJ_VCPUS_MAX,
		.max_guests = 200,
		.default_script = VMJ_SCRIPT_HOST,
		.overhead_fixed_mib = 160,
		.overhead_per_mille = 8,
		.overhead_per_vcpu_mib = 4,
		.agent_port = 6829,
		.log_level = LOG_INFO,
	};
	strcpy(c->default_cpu, "host");
	snprintf(c->scratch, sizeof(c->scratch), "%s/lib/vmjob", VMJ_LOCALSTATEDIR);
	return c;
}

/* What concerns several sections, and what the file leaves out. */
static int finish(struct vmj_config *c, const char *path, struct vmj_error *err)
{
	char lo[24], hi[24];

	if (c->n_storages == 0)
		return vmj_fail(err, EINVAL,
				"%s: there is no storage: add a line such as: storage default { "
				"path = \"/srv/vmjob\" }",
				path);
	if (*c->default_network && !find_network(c, c->default_network))
		return vmj_fail(err, EINVAL,
				"%s: defaults, network: there is no \"network %s\" in this file",
				path, c->default_network);
	if (c->default_memory_mib > c->max_memory_mib)
		return vmj_fail(
			err, EINVAL,
			"%s: the default memory (%s) is above the limit (%s): change either", path,
			vmj_format_size_mib(c->default_memory_mib, lo, sizeof(lo)),
			vmj_format_size_mib(c->max_memory_mib, hi, sizeof(hi)));
	if (c->operators)
		return 0;
	c->operators = calloc(2, sizeof(*c->operators));
	if (c->operators)
		c->operators[0] = strdup("slurm");
	return c->operators && c->operators[0] ? 0 : vmj_fail(err, ENOMEM, "%s: no memory", path);
}

static int count_lines(const char *text)
{
	int n = 1;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

/* To the last character of the string, or of the comment in C's way, that begins here; else here.
 */
static char *skip_quoted(char *text)
{
	char *end;

	if (text[0] == '/' && text[1] == '*')
		end = strstr(text + 2, "*/");
	else if (text[0] == '/' && text[1] == '/')
		end = strchr(text, '\n');
	else if (text[0] == '"' || text[0] == '\'')
		for (end = text + 1; *end && *end != text[0]; end++)
			end += *end == '\\' && end[1];
	else
		return text;
	return end && *end ? end : text + strlen(text) - 1;
}

/* libconfuse counts the line of a comment with # twice: they become blanks. */
static void drop_comments(char *text)
{
	for (; *text; text++) {
		text = skip_quoted(text);
		if (*text == '#') {
			size_t len = strcspn(text, "\n");

			memset(text, ' ', len);
			text += len - 1;
		}
	}
}

/* Under the lock. */
static int run_parser(const char *text, const char *path, struct vmj_config *c,
		      struct vmj_error *err)
{
	VMJ_CLEANUP(cfg_freep) cfg_t *cfg = make_parser();
	vmj_autofree char *whole = NULL;

	if (!cfg || asprintf(&whole, "%s\n" END_OF_FILE " = yes\n", text) < 0)
		return vmj_fail(err, ENOMEM, "%s: no memory", path);
	drop_comments(whole);
	the_load.path = path;
	the_load.config = c;
	the_load.err = err;
	the_load.rc = 0;
	the_load.last_line = count_lines(text);
	the_load.ended = false;
	if (cfg_parse_buf(cfg, whole) != CFG_SUCCESS && the_load.rc == 0)
		return vmj_fail(err, EINVAL, "%s: libconfuse cannot read it", path);
	if (the_load.rc == 0 && !the_load.ended)
		return vmj_fail(err, EINVAL, "%s: the file ends within a comment or a string",
				path);
	return the_load.rc;
}

int vmj_config_parse(const char *text, const char *path, struct vmj_config **ret,
		     struct vmj_error *err)
{
	VMJ_CLEANUP(vmj_config_freep) struct vmj_config *c = new_config();
	int rc;

	if (!c)
		return vmj_fail(err, ENOMEM, "%s: no memory", path);
	pthread_mutex_lock(&load_lock);
	rc = run_parser(text, path, c, err);
	pthread_mutex_unlock(&load_lock);
	if (rc == 0)
		rc = finish(c, path, err);
	if (rc == 0)
		*ret = vmj_steal(c);
	return rc;
}

int vmj_config_load(const char *path, struct vmj_config **ret, struct vmj_error *err)
{
	vmj_autofree char *text = NULL;
	char real[PATH_MAX];
	size_t len;
	int rc;

	if (!path)
		path = secure_getenv(VMJ_CONFIG_PATH_ENV);
	if (!path || !*path)
		path = VMJ_SYSCONFDIR "/slurm/vmjob.conf";
	if (!realpath(path, real))
		return vmj_fail(err, errno,
				"cannot open %s: %m: vmjob needs this file with at least: storage "
				"default { path = \"/DIRECTORY\" }",
				path);
	rc = vmj_file_read(AT_FDCWD, real, VMJ_CONFIG_FILE_MAX, &text, &len, err);
	if (rc < 0)
		return rc;
	if (strlen(text) != len)
		return vmj_fail(err, EINVAL, "%s: there is a NUL byte in it", path);
	return vmj_config_parse(text, path, ret, err);
}

static void free_words(char **words)
{
	for (size_t i = 0; words && words[i]; i++)
		free(words[i]);
	free(words);
}

void vmj_config_free(struct vmj_config *c)
{
	if (!c)
		return;
	for (unsigned int i = 0; i < c->n_networks; i++)
		free_words(c->networks[i].users);
	free_words(c->operators);
	free(c->networks);
	free(c->storages);
	free(c);
}

const struct vmj_net_config *vmj_config_network(const struct vmj_config *c, const char *name)
{
	return find_network((struct vmj_config *)c, name);
}

int vmj_config_storage(const struct vmj_config *c, const char *name,
		       const struct vmj_storage_config **ret, struct vmj_error *err)
{
	char known[128] = "", quoted[VMJ_NAME_MAX + 1];

	for (unsigned int i = 0; i < c->n_storages; i++) {
		size_t at = strlen(known);

		if (!name || strcmp(c->storages[i].name, name) == 0) {
			*ret = &c->storages[i];
			return 0;
		}
		snprintf(known + at, sizeof(known) - at, "%s%s", i ? ", " : "",
			 c->storages[i].name);
	}
	return vmj_fail_user(err, ENOENT, "storage \"%s\" does not exist: vmjob.conf has %s",
			     vmj_quote(name ? name : "", quoted, sizeof(quoted)), known);
}
