# SPDX-License-Identifier: GPL-2.0-or-later
"""One guest's way, on one host: sbatch to the guest's first instruction; the same for an ordinary job's first
command; `virsh create` of the same domain. Taken in turn, so that all three see the same machine.

Before either job Slurm waits for its next round of scheduling: up to a second, whatever is to be started. With few
samples that chance decides every comparison, so what comes after it is compared, and one median wait is added to both.

start_one.py SAMPLES: prints the three medians and that of the waits in milliseconds"""
import datetime
import json
import os
import re
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


def allocated(job):
    """When slurmd heard of the job, from its log: within a millisecond of the allocation."""
    with open("/var/log/slurm/slurmd.log", encoding="utf-8") as log:
        stamp = re.search(rf"^\[(\S+)\] .*task_p_slurmd_batch_request: {job}$", log.read(), re.MULTILINE).group(1)
    return datetime.datetime.fromisoformat(stamp).timestamp()


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
    first = await_value(lambda: first_instruction(job))
    return job, allocated(job) - begin, first - allocated(job)


def ordinary_job():
    begin = time.time()
    job = submit("--mem=200", "--wrap=date +%s.%N >/tmp/bench-$SLURM_JOB_ID")
    first = f"/tmp/bench-{job}"
    await_value(lambda: os.path.exists(first) and os.path.getsize(first))
    with open(first, encoding="ascii") as stamp:
        ran = float(stamp.read())
    os.remove(first)
    await_over(job)
    return allocated(job) - begin, ran - allocated(job)


def create(path):
    begin = time.time()
    virsh("create", str(path), stdout=subprocess.DEVNULL)
    return time.time() - begin


def main():
    samples = int(sys.argv[1])
    figures = {"guest": [], "job": [], "create": [], "wait": []}
    for number in range(samples + 1):
        job, waited, took = guest_job()
        twin = make_twin(job, 1)
        output_of("scancel", job)
        await_over(job)
        created = create(twin)
        destroy_twin(1)
        job_waited, job_took = ordinary_job()
        if number > 0:  # the first of each warms caches
            figures["guest"].append(took)
            figures["create"].append(created)
            figures["job"].append(job_took)
            figures["wait"] += [waited, job_waited]
    print(*(round(statistics.median(figures[name]) * 1000) for name in ("guest", "job", "create", "wait")))


main()
