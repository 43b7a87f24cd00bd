/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The user's terminal in raw mode, and back on every way out of the program but SIGKILL. */
#ifndef VMJ_CLI_TERMINAL_H
#define VMJ_CLI_TERMINAL_H

#include "vmjob/base/error.h"

#define VMJ_ESCAPE_DEFAULT "^]"
#define VMJ_ESCAPE_NONE    (-1)

/* Raw mode for the terminal `fd`, once in a program. Signals that end a program give the terminal
 * back before they do; SIGTSTP gives it back while the program is stopped. */
int vmj_terminal_raw(int fd, struct vmj_error *err);
/* Harmless without a raw terminal, and when repeated. */
void vmj_terminal_restore(void);

/* A key as people write it: "^]", "^a", one ASCII character, or "none" (VMJ_ESCAPE_NONE). Returns
 * the byte that the key sends; *ret is untouched on failure. */
int vmj_escape_parse(const char *text, int *ret, struct vmj_error *err);
/* "Ctrl-]" for people. buf of 16. */
const char *vmj_escape_format(int escape, char buf[16]);

#endif
