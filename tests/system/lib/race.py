# SPDX-License-Identifier: GPL-2.0-or-later
# One of two that race for one volume, each asking the agent of its own host: in even rounds both make it, in odd
# ones both remove it. They begin each round together. Prints "won" or "lost" a round, or what else was answered.
# scripts/agent_client.py comes before this.
#   race.py ROUNDS VOLUME PEER      PEER: the other's host, or - for the one that it comes to
import errno
import socket
import sys
import time

PORT = 7777
LOST = (errno.EEXIST, errno.ENOENT, errno.EBUSY)


def meet(peer):
    if peer == "-":
        listener = socket.create_server(("", PORT))
        listener.settimeout(60)
        return listener.accept()[0]
    for _ in range(600):
        try:
            return socket.create_connection((peer, PORT), timeout=60)
        except ConnectionRefusedError:
            time.sleep(0.1)
    sys.exit("the other is not there")


def verdict(answer):
    if answer["ok"]:
        return "won"
    if answer["code"] in LOST and answer["fault"] == "user":
        return "lost"
    return "%s: %s" % (answer["code"], answer["error"])


def main():
    rounds, volume, peer = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    other = meet(peer)
    other.settimeout(60)
    other.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    agent = open_agent()
    for i in range(rounds):
        other.sendall(b"!")
        receive(other, 1)
        request = {"op": "volume-rm", "volume": volume} if i % 2 else {"op": "volume-create", "volume": volume, "size_mib": 1}
        print(verdict(ask(agent, request)))


main()
