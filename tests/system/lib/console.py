# SPDX-License-Identifier: GPL-2.0-or-later
"""A person at a guest's console: types and reads on a terminal.

console.py JOB [TYPE EXPECT]...: attaches with `vmjob console JOB`, and for each pair types TYPE (with a return)
again and again until EXPECT is seen; then leaves with the documented key, ^]. Prints all that was seen."""
import os
import pty
import select
import sys
import time

LEAVE = b"\x1d"


class Console:
    def __init__(self, job):
        self.seen = b""
        pid, self.terminal = pty.fork()
        if pid == 0:
            os.execvp("vmjob", ["vmjob", "console", job])
        self.pid = pid

    def read(self, seconds):
        """Takes what comes within so long; False at the end."""
        if not select.select([self.terminal], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.terminal, 65536)
        except OSError:  # how Linux says that the other side of a terminal is gone
            data = b""
        self.seen += data
        return bool(data)

    def converse(self, text, expected, seconds):
        deadline, start = time.monotonic() + seconds, len(self.seen)
        while expected not in self.seen[start:]:
            if time.monotonic() > deadline:
                sys.exit(f"{expected!r} does not come: {self.seen!r}")
            os.write(self.terminal, text + b"\r")
            again = time.monotonic() + 2
            while time.monotonic() < again and expected not in self.seen[start:]:
                if not self.read(0.1):
                    sys.exit(f"the console closed: {self.seen!r}")

    def leave(self):
        os.write(self.terminal, LEAVE)
        while self.read(5):
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def main():
    job, pairs = sys.argv[1], [text.encode() for text in sys.argv[2:]]
    console = Console(job)
    for text, expected in zip(pairs[::2], pairs[1::2]):
        console.converse(text, expected, 30)
    status = console.leave()
    sys.stdout.buffer.write(console.seen)
    sys.exit(status)


main()
