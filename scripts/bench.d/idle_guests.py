# SPDX-License-Identifier: GPL-2.0-or-later
"""idle_guests.py FROM TO: guests with numbers FROM to TO, asked of the agent as the prolog asks, and let run. Slurm is
left out: its hosts have fewer CPUs than there are to be guests."""
import json
import socket
import struct
import subprocess
import sys

ALICE = 2001
REQUEST = {"image": "blank", "memory": 16, "vcpus": 1, "script": "none"}


def ask(agent, **request):
    text = json.dumps(request).encode()
    agent.sendall(struct.pack(">IB", len(text) + 1, ord("J")) + text)
    head = agent.recv(5, socket.MSG_WAITALL)
    answer = json.loads(agent.recv(struct.unpack(">I", head[:4])[0] - 1, socket.MSG_WAITALL))
    if not answer["ok"]:
        sys.exit(answer["error"])


with socket.socket(socket.AF_UNIX) as agent:
    agent.connect("/run/vmjob/agent.sock")
    for job in range(int(sys.argv[1]), int(sys.argv[2]) + 1):
        ask(agent, op="prepare", job=job, restart=0, uid=ALICE, gid=ALICE, user="alice", cpus="", node_index=0,
            request=REQUEST)
        subprocess.run(["virsh", "-q", "-c", "qemu:///system", "resume", f"vmjob-{job}"], check=True)
