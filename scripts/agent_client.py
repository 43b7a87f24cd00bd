# SPDX-License-Identifier: GPL-2.0-or-later
"""Asks a host's own agent, for programs that tests and benches run on a host: it is put before them, since a host has
no files of the checkout. See doc/protocol.md."""
import json
import socket
import struct
import sys


def open_agent():
    agent = socket.socket(socket.AF_UNIX)
    agent.settimeout(60)
    agent.connect("/run/vmjob/agent.sock")
    return agent


def receive(sock, size):
    data = b""
    while len(data) < size:
        data += sock.recv(size - len(data)) or sys.exit("the connection ended")
    return data


def ask(agent, request):
    text = b"J" + json.dumps(request).encode()
    agent.sendall(struct.pack(">I", len(text)) + text)
    while True:
        (size,) = struct.unpack(">I", receive(agent, 4))
        answer = json.loads(receive(agent, size)[1:])
        if "ok" in answer:
            return answer
