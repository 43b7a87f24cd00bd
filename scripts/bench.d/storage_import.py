# SPDX-License-Identifier: GPL-2.0-or-later
"""An import by vmjob, and a conversion by qemu-img to the same storage, in turn.

storage_import.py SAMPLES: prints the two medians in seconds"""
import os
import statistics
import subprocess
import sys
import time

SOURCE = "/var/tmp/bench-source.raw"
TARGET = "/srv/vmjob/bench-converted.qcow2"


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)


def took(*command):
    begin = time.monotonic()
    run(*command)
    return time.monotonic() - begin


def make_source():
    """10 GiB with 1 GiB of data in it, which no two blocks share."""
    with open(SOURCE, "wb") as disk:
        disk.truncate(10 << 30)
        for mib in range(1024):
            disk.seek((mib * 10) << 20)
            disk.write(os.urandom(1 << 20))


def main(samples):
    make_source()
    imports, converts = [], []
    for i in range(samples + 1):
        imports.append(took("vmjob", "image", "import", SOURCE, "--name", "bench-import", "--public"))
        converts.append(took("sh", "-c", f"qemu-img convert -O qcow2 {SOURCE} {TARGET} && sync {TARGET}"))
        os.remove(TARGET)
        run("vmjob", "image", "rm", "--public", "bench-import")
    os.remove(SOURCE)
    print(f"{statistics.median(imports[1:]):.2f} {statistics.median(converts[1:]):.2f}")


main(int(sys.argv[1]))
