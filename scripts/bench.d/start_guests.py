# SPDX-License-Identifier: GPL-2.0-or-later
"""Starts many guests with one sbatch; prints the seconds until the last of them executes its first instruction.

start_guests.py COUNT"""
import json
import subprocess
import sys
import time


def started():
    shown = subprocess.run(["vmjob", "list", "--json"], check=True, text=True, stdout=subprocess.PIPE)
    return [guest["start_us"] / 1e6 for guest in json.loads(shown.stdout)["guests"] if guest.get("start_us")]


def main():
    count = int(sys.argv[1])
    begin = time.time()
    subprocess.run(["setpriv", "--reuid=alice", "--regid=alice", "--init-groups", "sbatch", "--chdir=/tmp",
                    "--output=/dev/null", f"--array=1-{count}", "--vm-image=blank", "--vm-memory=64M",
                    "--vm-script=none", "--vm-grace=1", "--wrap=true"], check=True, stdout=subprocess.DEVNULL)
    while len(times := started()) < count:
        time.sleep(0.5)
    print(max(times) - begin)


main()
