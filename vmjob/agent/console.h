/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest's serial console, for several readers and one writer.
 *
 * What the guest shows is read from its console log, which virtlogd writes whether anybody watches
 * or not: nothing is missed between two readers, before QEMU notices one, or while we restart. What
 * is typed goes to the console's pty, which is open while anybody may type.
 *
 * A new reader is sent the end of what was shown before (VMJ_CONSOLE_SHOWN bytes), then what comes.
 * A reader that is too slow misses bytes, and is told how many by {"event": "console-lost",
 * "bytes": N}; it slows nobody. What is typed waits in a bounded buffer where the guest does not
 * read. A writer whose place another takes gets {"event": "console-read-only"}. The end of the
 * console is {"event": "console-end", "text": WHY}.
 */
#ifndef VMJ_AGENT_CONSOLE_H
#define VMJ_AGENT_CONSOLE_H

#include "vmjob/agent/guests.h"

#define VMJ_CONSOLE_SHOWN       16384
#define VMJ_CONSOLE_TYPED_MAX   65536
#define VMJ_CONSOLE_VIEWERS_MAX 16

/* Ends the call. write: type, too; force: in another's place. */
void vmj_console_watch(struct vmj_entry *e, struct vmj_call *call, bool write, bool force);

/* The guest has ended: everybody is shown the rest, in a moment or at once, and told. NULL
 * allowed. */
void vmj_console_end(struct vmj_console *c);
void vmj_console_close(struct vmj_console *c);

/* Nobody is told. NULL allowed. */
void vmj_console_free(struct vmj_console *c);

#endif
