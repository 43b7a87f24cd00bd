# SPDX-License-Identifier: GPL-2.0-or-later
"""One guest's way, on one host: sbatch to the guest's first instruction; the same for an ordinary job's first
command; `virsh create` of the same domain. Taken in turn, so that all three see the same machine.

start_one.py SAMPLES: prints the three medians in milliseconds"""
import json
import os
import statistics
import subprocess
import sys
import time

HOST = os.uname().nodename


def output_of(*command):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout.strip()


def submit(*options):
    return output_of("setpriv", "--reuid=alice", "--regid=alice", "--init-groups", "sbatch", "--parsable",
                     "--chdir=/tmp", "--output=/dev/null", f"--nodelist={HOST}", *options)


def await_value(get):
    """The first true value; asked for seldom, so as not to disturb, since no figure depends on when."""
    while not (value := get()):
        time.sleep(0.1)
    return value


def await_over(job):
    await_value(lambda: output_of("squeue", "-h", "-t", "all", "-j", job, "-o", "%T") not in
                ("PENDING", "RUNNING", "COMPLETING"))


def first_instruction(job):
    """When the agent let the guest go, from its record; none yet: 0."""
    try:
        with open(f"/var/lib/vmjob/guests/{job}/guest.json", encoding="utf-8") as record:
            return json.load(record).get("start_us", 0) / 1e6
    except FileNotFoundError:
        return 0


def guest_job():
    begin = time.time()
    job = submit("--vm-image=blank", "--vm-memory=64M", "--vm-script=none", "--vm-grace=0:01", "--wrap=true")
    return job, await_value(lambda: first_instruction(job)) - begin


def ordinary_job():
    begin = time.time()
    job = submit("--mem=200", "--wrap=date +%s.%N >/tmp/bench-$SLURM_JOB_ID")
    first = f"/tmp/bench-{job}"
    await_value(lambda: os.path.exists(first) and os.path.getsize(first))
    with open(first, encoding="ascii") as stamp:
        took = float(stamp.read()) - begin
    os.remove(first)
    await_over(job)
    return took


def create(path):
    begin = time.time()
    virsh("create", str(path), stdout=subprocess.DEVNULL)
    return time.time() - begin


def main():
    samples = int(sys.argv[1])
    figures = {"guest": [], "job": [], "create": []}
    for number in range(samples + 1):
        job, took = guest_job()
        twin = make_twin(job, 1)
        output_of("scancel", job)
        await_over(job)
        created = create(twin)
        destroy_twin(1)
        if number > 0:  # the first of each warms caches
            figures["guest"].append(took)
            figures["create"].append(created)
        figures["job"].append(ordinary_job())
    print(*(round(statistics.median(figures[name]) * 1000) for name in ("guest", "job", "create")))


main()
