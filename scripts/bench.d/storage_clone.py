# SPDX-License-Identifier: GPL-2.0-or-later
"""A linked clone by vmjob, and an overlay by qemu-img, in turn, so that both see the same machine.

storage_clone.py GIB SAMPLES: prints the two medians in milliseconds"""
import os
import statistics
import subprocess
import sys
import time

ALICE = ("setpriv", "--reuid=alice", "--regid=alice", "--init-groups")


def took(*command):
    begin = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    return (time.monotonic() - begin) * 1000


def main(gib, samples):
    clones, creates = [], []
    for i in range(samples + 1):
        clones.append(took(*ALICE, "vmjob", "volume", "clone", f"clone-{gib}", "bench-clone"))
        overlay = "/srv/vmjob/bench-overlay.qcow2"
        creates.append(took("qemu-img", "create", "-q", "-f", "qcow2", "-b",
                            f"/srv/vmjob/source-{gib}.qcow2", "-F", "qcow2", overlay))
        os.remove(overlay)
        subprocess.run((*ALICE, "vmjob", "volume", "rm", "bench-clone"), check=True, stdout=subprocess.DEVNULL)
    print(f"{statistics.median(clones[1:]):.1f} {statistics.median(creates[1:]):.1f}")


main(sys.argv[1], int(sys.argv[2]))
