/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "plugins/spank/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmjob/base/cleanup.h"
#include "vmjob/model/ssh-keys.h"

#define LINE_BYTES 16384
#define LINES_MAX  1000 /* of one file */

/* What ssh-keygen names them, the shortest first. */
static const char *const files[] = {
	"id_ed25519.pub",  "id_ed25519_sk.pub", "id_ecdsa.pub",
	"id_ecdsa_sk.pub", "id_rsa.pub",        "authorized_keys",
};

/* A regular file only: reading anything else could wait for ever. */
static FILE *open_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;
	FILE *f;

	if (fd < 0)
		return NULL;
	f = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? fdopen(fd, "r") : NULL;
	if (!f)
		close(fd);
	return f;
}

/* A longer line's pieces are no keys, or the middle of one that would be too long anyway. */
static void gather_file(const char *path, char ret[VMJ_SSH_KEYS_MAX])
{
	vmj_autofclose FILE *f = open_file(path);
	char line[LINE_BYTES];

	for (int i = 0; f && i < LINES_MAX && fgets(line, sizeof(line), f); i++)
		vmj_ssh_keys_add(ret, VMJ_SSH_KEYS_MAX, line);
}

void vmj_keys_gather(const char *home, char ret[VMJ_SSH_KEYS_MAX])
{
	char buf[4096], path[PATH_MAX];
	struct passwd pw, *found = NULL;

	if (!home && getpwuid_r(getuid(), &pw, buf, sizeof(buf), &found) == 0 && found)
		home = found->pw_dir;
	ret[0] = '\0';
	for (size_t i = 0; home && i < sizeof(files) / sizeof(files[0]); i++)
		if (snprintf(path, sizeof(path), "%s/.ssh/%s", home, files[i]) < (int)sizeof(path))
			gather_file(path, ret);
}
