# SPDX-License-Identifier: GPL-2.0-or-later
"""Many volumes, made by asking the agent itself (agent_client.py comes before this).

storage_volumes.py make COUNT      volumes bench-0, bench-1 … of alice
storage_volumes.py list SAMPLES    prints the median of `vmjob volume list`, in milliseconds
storage_volumes.py lease COUNT     lets this host hold the lease of each, as for guests that run here"""
import json
import os
import pwd
import statistics
import subprocess
import sys
import time

ALICE = ("setpriv", "--reuid=alice", "--regid=alice", "--init-groups")
LEASES = "/srv/vmjob/leases"


def make(count):
    agent = open_agent()
    for i in range(count):
        answer = ask(agent, {"op": "volume-create", "volume": f"bench-{i}", "size_mib": 1024,
                             "uid": pwd.getpwnam("alice").pw_uid})
        if not answer["ok"]:
            sys.exit(answer["error"])


def list_volumes(samples):
    times = []
    for _ in range(samples + 1):
        begin = time.monotonic()
        subprocess.run((*ALICE, "vmjob", "volume", "list"), check=True, stdout=subprocess.DEVNULL)
        times.append((time.monotonic() - begin) * 1000)
    print(f"{statistics.median(times[1:]):.1f}")


def lease(count):
    for i in range(count):
        directory = f"{LEASES}/{pwd.getpwnam('alice').pw_uid}.bench-{i}"
        latest = max(os.listdir(directory))
        with open(f"{directory}/{latest}", encoding="utf-8") as file:
            record = json.load(file)
        record |= {"what": "guest", "job": 1000000 + i, "released": False}
        with open(f"{directory}/{latest}", "w", encoding="utf-8") as file:
            json.dump(record, file)


{"make": make, "list": list_volumes, "lease": lease}[sys.argv[1]](int(sys.argv[2]))
