# SPDX-License-Identifier: GPL-2.0-or-later
"""Starts many guests with one sbatch; prints the time before it, once all guests run.

start_guests.py COUNT SBATCH-OPTION..."""
import json
import subprocess
import sys
import time


def running():
    shown = subprocess.run(["vmjob", "list", "--all", "--json"], check=True, text=True, stdout=subprocess.PIPE)
    return sum("started" in guest for guest in json.loads(shown.stdout)["guests"])


def main():
    count = int(sys.argv[1])
    begin = time.time()
    subprocess.run(["setpriv", "--reuid=alice", "--regid=alice", "--init-groups", "sbatch", "--chdir=/tmp",
                    "--output=/dev/null", f"--array=1-{count}", "--vm-image=blank", "--vm-memory=64M",
                    "--vm-script=none", "--vm-grace=0:01", "--wrap=true", *sys.argv[2:]],
                   check=True, stdout=subprocess.DEVNULL)
    while running() < count:
        time.sleep(0.5)
    print(begin)


main()
