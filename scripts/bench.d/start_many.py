# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests on this host, and as many twins of one of them, created at once.

start_many.py started COUNT         prints when the last of its guests executed its first instruction
start_many.py make COUNT            twins of any guest of this host
start_many.py create COUNT TIME     all in parallel, paused, at TIME (seconds since 1970); prints when the last is there
start_many.py destroy COUNT"""
import json
import pathlib
import subprocess
import sys
import time


def records():
    """What the agent wrote down of each guest of this host."""
    return [json.loads(path.read_text()) for path in pathlib.Path("/var/lib/vmjob/guests").glob("*/guest.json")]


def main():
    action, numbers = sys.argv[1], range(1, int(sys.argv[2]) + 1)
    if action == "started":
        starts = [guest["start_us"] / 1e6 for guest in records()]
        if len(starts) != len(numbers):
            sys.exit(f"{len(starts)} guests are here, not {len(numbers)}: the comparison would not be fair")
        print(max(starts))
    elif action == "make":
        job = records()[0]["job"]
        for number in numbers:
            make_twin(job, number)
    elif action == "create":
        time.sleep(float(sys.argv[3]) - time.time())
        running = [subprocess.Popen(["virsh", "-q", "-c", "qemu:///system", "create", "--paused",
                                     str(FOLDER / str(number) / "domain.xml")], stdout=subprocess.DEVNULL)
                   for number in numbers]
        if any(process.wait() for process in running):
            sys.exit("virsh create failed")
        print(time.time())
    else:
        for number in numbers:
            destroy_twin(number)


main()
