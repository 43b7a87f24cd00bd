#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The vmjob command from outside: its verbs against an agent and Slurm commands made here, its console on a
pseudo-terminal. Prints TAP, for make check."""
import contextlib
import errno
import glob
import errno
import json
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import traceback

VMJOB = os.path.abspath("../../vmjob/cli/vmjob")
HOST = socket.gethostname().split(".")[0]
GUEST = {"job": 42, "restart": 1, "uid": 1000, "gid": 1000, "user": "alice", "host": HOST, "cpus": "0-1", "phase": "running",
         "end": "none", "failure": "", "image_path": "/srv/images/tiny/disk.qcow2", "pid": 777, "start_us": 1000000, "end_us": 0,
         "request": {"image": "tiny", "revision": 2, "memory": 512, "vcpus": 2, "script": "none", "grace": 30},
         "ports": [{"network": "lan", "device": "vmj42", "mac": "52:54:00:00:00:01", "address": "10.77.0.5/16",
                    "forwards": [{"host": 2222, "guest": 22}]}],
         "disks": [{"kind": "volume", "target": "vdb", "volume": "data", "storage": "fast", "readonly": True, "chain": 3,
                    "size_bytes": 20 << 30, "used_bytes": 3 << 20}]}


class Agent:
    """A vmjobd that answers by the functions in `ops`: f(connection, request) -> fields of the answer, or None."""

    def __init__(self, path):
        self.path, self.requests, self.ops, self.connections = path, [], {}, []
        self.listen()

    def listen(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(self.path)
        self.server.listen(64)
        threading.Thread(target=self.accept, args=(self.server,), daemon=True).start()

    def stop(self):
        """As a killed agent: listens no more, all connections break."""
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        os.unlink(self.path)
        for c in self.connections:
            with contextlib.suppress(OSError):
                c.shutdown(socket.SHUT_RDWR)
        self.connections = []

    def accept(self, server):
        with contextlib.suppress(OSError):
            while True:
                c, _ = server.accept()
                self.connections.append(c)
                threading.Thread(target=self.serve, args=(c,), daemon=True).start()

    def serve(self, c):
        with contextlib.suppress(OSError, EOFError):
            while True:
                kind, payload = receive(c)
                if kind == b"D":
                    self.ops["data"](c, payload)
                    continue
                request = json.loads(payload)
                self.requests.append(request)
                answer = self.ops[request["op"]](c, request)
                if answer is not None:
                    send(c, {"id": request.get("id"), "ok": True, **answer})
                after = self.ops.get("after")
                if after:
                    after(c, request)


def receive(c):
    def exactly(n):
        data = b""
        while len(data) < n:
            more = c.recv(n - len(data))
            if not more:
                raise EOFError
            data += more
        return data
    body = exactly(struct.unpack(">I", exactly(4))[0])
    return body[:1], body[1:]


def send(c, what):
    body = b"D" + what if isinstance(what, bytes) else b"J" + json.dumps(what).encode()
    c.sendall(struct.pack(">I", len(body)) + body)


def refuse(code, text):
    def op(c, request):
        send(c, {"id": request.get("id"), "ok": False, "code": code, "fault": "user", "error": text})
    return op


class World:
    """A directory with an agent's socket and Slurm commands that print files."""

    def __init__(self, directory):
        self.directory = directory
        self.agent = Agent(directory + "/agent.sock")
        self.env = {"PATH": directory + ":/usr/bin:/bin", "VMJOB_AGENT_SOCKET": self.agent.path, "LC_ALL": "C.UTF-8",
                    "VMJOB_CONF": directory + "/none.conf", "HOME": directory}
        self.command("squeue", "")
        self.command("sinfo", "")

    def command(self, name, output, status=0, errors=""):
        path = f"{self.directory}/{name}"
        with open(path + ".out", "w") as f:
            f.write(output)
        with open(path, "w") as f:
            f.write(f"#!/bin/sh\nfor a; do echo \"$a\"; done >'{path}.args'\ncat '{path}.out'\necho '{errors}' >&2\nexit {status}\n")
        os.chmod(path, 0o755)

    def arguments(self, name):
        with open(f"{self.directory}/{name}.args") as f:
            return f.read().splitlines()

    def job(self, state="RUNNING", host=HOST, job=42, user="alice", reason="None"):
        return f"{job}|{job}|{state}|{host}|{user}|{reason}|vm image=tiny@2 vcpus=2|web\n"

    def run(self, *args, **kwargs):
        return subprocess.run([VMJOB, *args], env=self.env, capture_output=True, text=True, timeout=60,
                              stdin=subprocess.DEVNULL, **kwargs)


def check(result, status, out=(), err=()):
    text = f"exit {result.returncode}\n--- out\n{result.stdout}\n--- err\n{result.stderr}"
    assert result.returncode == status, text
    for part in [out] if isinstance(out, str) else out:
        assert part in result.stdout, f"no {part!r}: {text}"
    for part in [err] if isinstance(err, str) else err:
        assert part in result.stderr, f"no {part!r}: {text}"
    return result


def usage_is_exit_2(w):
    check(w.run(), 2, err="Usage: vmjob VERB")
    check(w.run("frobnicate"), 2, err='no verb "frobnicate"')
    check(w.run("\033]0;x\007"), 2, err="\\x1b")
    check(w.run("image", "frobnicate"), 2, err="vmjob image --help")
    check(w.run("list", "--frobnicate"), 2, err="frobnicate")
    check(w.run("show"), 2, err="which job?")
    check(w.run("show", "1", "2"), 2, err="one too many")
    check(w.run("list", "1"), 2, err="one argument too many")
    check(w.run("stop", "--grace=-1", "42"), 2, err="--grace")
    check(w.run("stop", "--grace=99999999999999999999", "42"), 2, err="--grace")
    check(w.run("console", "--escape=abc", "42"), 2, err="is no key")
    check(w.run("start"), 2, err="which image?")


def every_verb_has_help(w):
    check(w.run("--version"), 0, out="vmjob ")
    verbs = [line.split()[0] for line in check(w.run("--help"), 0).stdout.splitlines() if line.startswith("  ")]
    assert set(verbs) >= set("start list show console stop reset host events image".split()), verbs
    for verb in verbs:
        check(w.run(verb, "--help"), 0, out="Usage: vmjob " + verb)
    for verb in "image", "storage", "snapshot":
        for sub in check(w.run("--complete", verb, ""), 0).stdout.split():
            check(w.run(verb, sub, "--help"), 0, out=f"Usage: vmjob {verb} {sub}")


def list_joins_slurm_and_agents(w):
    w.command("squeue", w.job() + w.job("PENDING", "", 43, reason="Resources") + "44|44|RUNNING|other|alice|None||plain\n")
    w.agent.ops["list"] = lambda c, r: {"guests": [GUEST]}
    table = check(w.run("list"), 0, out=["JOB", "running", "10.77.0.5", "tiny@2", "512M", "waiting"]).stdout
    assert not any(line.split()[0] == "44" for line in table.splitlines()), table
    assert len(table.splitlines()) == 3, table
    rows = {g["job"]: g for g in json.loads(check(w.run("list", "--json"), 0).stdout)["guests"]}
    assert rows[42]["host"] == HOST and rows[42]["name"] == "web" and rows[42]["memory_mib"] == 512, rows
    assert rows[43]["phase"] == "waiting" and rows[43]["reason"] == "Resources", rows
    assert w.arguments("squeue")[-1] == f"--user={os.getuid()}"
    check(w.run("list", "--all"), 0)
    assert not any(a.startswith("--user") for a in w.arguments("squeue"))


def list_shows_each_task_of_an_array(w):
    w.command("squeue", "".join(f"50|50_{task}|PENDING||alice|Resources|vm image=tiny|web\n" for task in (1, 2, 3)))
    table = check(w.run("list"), 0, out=["50_1", "50_3"]).stdout
    assert len(table.splitlines()) == 4, table


def list_names_hosts_that_do_not_answer(w):
    w.command("squeue", w.job() + w.job("RUNNING", "no-such-host.invalid", 43))
    w.agent.ops["list"] = lambda c, r: {"guests": [GUEST]}
    result = check(w.run("list"), 1, out=["running", "unknown"], err="no-such-host.invalid")
    assert len(result.stderr.splitlines()) == 1, result.stderr
    shown = json.loads(check(w.run("list", "--json"), 1).stdout)
    assert shown["unreachable"][0]["host"] == "no-such-host.invalid", shown


def list_works_without_slurm(w):
    w.command("squeue", "", 1, "slurm_load_jobs error: Unable to contact slurm controller")
    check(w.run("list"), 1, err="Unable to contact slurm controller")
    w.agent.ops["list"] = lambda c, r: {"guests": [GUEST]}
    check(w.run("list", "--host=localhost"), 0, out=["42", "running"])


def show_tells_all(w):
    w.command("squeue", w.job())
    w.agent.ops["show"] = lambda c, r: {"guest": {**GUEST, "stats": {"cpu_ns": 1500000000, "rss_kib": 2048}}}
    check(w.run("show", "42"), 0, out=["tiny@2", "0-1", "52:54:00:00:00:01", "tcp port 2222", "guest's 22", "1.5 s", "2.0M",
                                               "vdb  volume data of storage fast, 20", "3.0M used, chain of 3, read-only"])
    guest = json.loads(check(w.run("show", "--json", "42"), 0).stdout)["guests"][0]
    assert guest["phase"] == "running" and guest["restart"] == 1 and "end" not in guest, guest
    assert guest["ports"][0]["address"] == "10.77.0.5/16", guest
    assert w.agent.requests[-1]["job"] == 42


def jobs_without_a_guest_are_explained(w):
    w.command("squeue", w.job("PENDING", "", reason="Priority"))
    check(w.run("show", "42"), 1, err=["still waits", "Priority"])
    w.command("squeue", w.job("COMPLETED"))
    check(w.run("show", "42"), 1, err=["has ended", "sacct -j 42"])
    w.command("squeue", "", 1, "slurm_load_jobs error: Invalid job id specified")
    check(w.run("show", "42"), 1, err="does not know a job 42")
    w.command("squeue", w.job())
    w.agent.ops["show"] = refuse(1, "this is not your job")
    check(w.run("show", "42"), 1, err="this is not your job")
    check(w.run("show", "42;reboot"), 1, err="is not a job id")


def stop_passes_its_options(w):
    w.command("squeue", w.job())
    w.agent.ops["stop"] = lambda c, r: {}
    check(w.run("stop", "42"), 0)
    assert w.agent.requests[-1]["force"] is False and "grace" not in w.agent.requests[-1]
    check(w.run("stop", "--force", "--grace=1:30", "42"), 0)
    assert w.agent.requests[-1]["force"] is True and w.agent.requests[-1]["grace"] == 90
    w.agent.ops["stop"] = refuse(2, "no guest of job 42 here")
    check(w.run("stop", "42"), 1, err="no guest of job 42 here")


def stop_waits_for_the_end(w):
    w.command("squeue", w.job())
    shown = []

    def show(c, request):
        shown.append(request)
        return {"guest": GUEST} if len(shown) < 3 else refuse(2, "job 42 has no guest on this host")(c, request)

    def events(c, request):
        send(c, {"id": request.get("id"), "ok": True})
        for what in "running", "stopping", "ended":
            send(c, {"event": "log", "time": 1, "job": 42, "what": what, "text": ""})
    w.agent.ops.update(stop=lambda c, r: {}, show=show, events=events)
    check(w.run("stop", "--wait", "42"), 0)
    assert len(shown) == 3, shown


def one_guest_of_several_must_be_chosen(w):
    w.command("squeue", w.job(host=HOST + ",n9"))
    w.agent.ops["reset"] = lambda c, r: {}
    for verb in "reset", "console":
        check(w.run(verb, "42"), 1, err=["2 hosts", "--host="])
    check(w.run("reset", "--host=localhost", "42"), 0)


def events_come_in_the_order_of_time(w):
    def events(c, request):
        send(c, {"id": request.get("id"), "ok": True})
        for t, what in (20, "running"), (10, "prepared"):
            send(c, {"event": "log", "time": t * 1000000, "job": 42, "what": what, "text": "words"})
        send(c, {"event": "log-end"})
    w.agent.ops["events"] = events
    w.command("squeue", w.job("COMPLETED"))
    lines = check(w.run("events", "42"), 0).stdout.splitlines()
    assert [l.split()[3] for l in lines] == ["prepared", "running"], lines
    w.command("squeue", w.job())
    lines = [json.loads(l) for l in check(w.run("events", "--json"), 0).stdout.splitlines()]
    assert lines[0]["host"] == HOST and lines[0]["time"] == 10000000 and lines[0]["job"] == 42, lines


def events_follow_over_an_agent_s_restart(w):
    history = []

    def events(c, request):
        send(c, {"id": request.get("id"), "ok": True})
        history.append({"event": "log", "time": 10 + len(history), "job": 42, "what": f"event{len(history)}", "text": ""})
        for entry in history:
            send(c, entry)
    w.agent.ops["events"] = events
    child = subprocess.Popen([VMJOB, "events", "--follow", "--host=localhost"], env=w.env, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
    assert "event0" in child.stdout.readline()
    w.agent.stop()
    assert "trying again" in child.stderr.readline()
    w.agent.listen()
    assert "event1" in child.stdout.readline()
    child.terminate()
    assert child.wait(10) == -signal.SIGTERM


def hosts_are_joined_with_agents(w):
    w.command("sinfo", f"{HOST}|mixed|8|16000|none\nno-such-host.invalid|drained|8|16000|vmjob: no libvirtd\n")
    w.agent.ops["host"] = lambda c, r: {"host": {
        "version": "0.1", "guests": {"running": 2, "paused": 1}, "libvirt": True, "kvm": True, "cpus": 8,
        "storages": [{"name": "default", "ok": True}, {"name": "b", "ok": False, "error": "storage b is not mounted"}]}}
    check(w.run("host"), 1, out=["mixed", "kvm", "no answer", "vmjob: no libvirtd", "storage b is not mounted"])
    rows = json.loads(check(w.run("host", "--json"), 1).stdout)["hosts"]
    w.agent.ops["host"] = lambda c, r: {"host": {"storages": [{"name": "a", "ok": True, "space": "ok"},
                                                              {"name": "b", "ok": True, "space": "low"}]}}
    check(w.run("host"), 1, out="b: low space")
    assert rows[0]["guests"] == 3 and rows[0]["details"]["cpus"] == 8 and rows[1]["agent"] == "no answer", rows


def a_dead_host_is_confirmed(w):
    w.env["VMJOB_CONF"] = w.directory + "/vmjob.conf"
    with open(w.env["VMJOB_CONF"], "w") as f:
        f.write(f'storage default {{ path = "{w.directory}/srv" }}\n')
    asked = []

    def confirm(c, request):
        asked.append((request["host"], request["storage"], request["force"]))
        return {"storage": request["storage"]}
    w.agent.ops["confirm-dead"] = confirm
    check(w.run("host", "confirm-dead"), 2, err="which host?")
    check(w.run("host", "confirm-dead", "--yes", "../n2"), 1, err="host")
    check(w.run("host", "confirm-dead", "n2"), 2, err="off for certain by --yes")
    assert asked == [], asked
    check(w.run("host", "confirm-dead", "--yes", "n2"), 0, out="n2 is confirmed dead in storage default: its volumes can be used")
    check(w.run("host", "confirm-dead", "--yes", "--force", "--storage=default", "n2"), 0)
    assert asked == [("n2", "default", False), ("n2", "default", True)], asked
    w.agent.ops["confirm-dead"] = refuse(16, "host n2 renewed its record in storage default 2 s ago, so it lives")
    check(w.run("host", "confirm-dead", "--yes", "n2"), 1, err="so it lives")
    w.agent.ops["confirm-dead"] = refuse(2, 'host "n2" has never registered in storage default')
    check(w.run("host", "confirm-dead", "--yes", "n2"), 1, err="has never registered")


def start_is_sbatch(w):
    w.command("sbatch", "42\n")
    check(w.run("start", "tiny@2", "-c", "4", "--vm-memory=1G"), 0, out="42")
    args = w.arguments("sbatch")
    assert args[:-1] == ["--parsable", "--vm-script=none", "--vm-image=tiny@2", "--job-name=tiny", "-c", "4", "--vm-memory=1G"], args
    assert args[-1].startswith("--wrap="), args
    assert json.loads(check(w.run("start", "--vm-image=tiny", "--json"), 0).stdout) == {"job": 42}
    w.command("sbatch", "", 1, "sbatch: error: --vm-memory: too much")
    check(w.run("start", "tiny"), 1, err=["too much", "sbatch refused"])
    w.command("sbatch", "nonsense\n")
    check(w.run("start", "tiny"), 1, err="instead of a job's number")


def start_waits_until_the_guest_runs(w):
    phases = iter(["prepared", "running"])
    w.command("sbatch", "42\n")
    w.command("squeue", w.job())
    w.agent.ops["show"] = lambda c, r: {"guest": {**GUEST, "phase": next(phases)}}
    check(w.run("start", "tiny", "--wait"), 0, out="42")
    w.agent.ops["show"] = lambda c, r: {"guest": {**GUEST, "phase": "refused", "failure": "no such image"}}
    check(w.run("start", "tiny", "--wait"), 1, out="42", err="no such image")


def completion_comes_from_the_tables(w):
    assert "console" in check(w.run("--complete", ""), 0).stdout.split()
    assert "--follow" in check(w.run("--complete", "events", "--"), 0).stdout.split()
    assert "--vm-memory=" in check(w.run("--complete", "start", "--"), 0).stdout.split()
    for piece in ["="], ["=", "first.y"]:
        assert check(w.run("--complete", "start", "tiny", "--vm-user-data", *piece), 0).stdout == "<file>\n"
        assert "<file>" not in check(w.run("--complete", "start", "tiny", "--vm-memory", *piece), 0).stdout
    assert check(w.run("--complete", "image", ""), 0).stdout.split() == ["import", "list", "show", "set", "share", "export", "rm"]
    w.command("squeue", w.job())
    assert check(w.run("--complete", "show", ""), 0).stdout.split() == ["42"]


def bash_completes(w):
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../scripts/completion/vmjob")

    def completed(*words):
        program = f"source '{script}'; COMP_CWORD=$(($# - 1)); COMP_WORDS=(\"$@\"); _vmjob; echo \"${{COMPREPLY[*]}}\""
        env = {**w.env, "PATH": os.path.dirname(VMJOB) + ":" + w.env["PATH"]}
        return subprocess.run(["bash", "-c", program, "bash", *words], env=env, capture_output=True, text=True).stdout.split()
    assert {"start", "show", "stop", "storage"} <= set(completed("vmjob", "s")), completed("vmjob", "s")
    assert all(word.startswith("s") for word in completed("vmjob", "s"))
    assert completed("vmjob", "stop", "--g") == ["--grace="]
    assert completed("vmjob", "nonsense", "") == []
    w.command("squeue", w.job() + w.job(job=43))
    assert completed("vmjob", "console", "4") == ["42", "43"]
    with open(w.directory + "/disk.raw", "w"):
        pass
    assert completed("vmjob", "image", "import", w.directory + "/di") == [w.directory + "/disk.raw"]


def storage_is_checked(w):
    check(w.run("storage", "check"), 0, out="0 errors, 0 warnings, 0 notes, 0 mended\n")
    os.rmdir(w.directory + "/srv/hosts")
    check(w.run("storage", "check"), 1, out="error: hosts: it is missing: `vmjob storage check --repair` makes it, empty\n1 errors")
    findings = json.loads(check(w.run("storage", "check", "--repair", "--json"), 0).stdout)["findings"]
    assert findings == [{"severity": "warning", "mended": True, "where": "hosts", "what": "it was missing", "done": "made, empty"}], findings


def storages_are_made_and_shown(w):
    check(w.run("storage", "list"), 1, err="none.conf")
    w.env["VMJOB_CONF"] = w.directory + "/vmjob.conf"
    with open(w.directory + "/vmjob.conf", "w") as f:
        f.write(f'storage default {{ path = "{w.directory}/srv"  quota = 5G  low = 0 }}\n'
                f'storage other {{ path = "{w.directory}/other" }}\n')
    check(w.run("storage", "format"), 1, err="mount what belongs there")
    check(w.run("storage", "list"), 1, out="cannot be opened")
    os.mkdir(w.directory + "/srv")
    check(w.run("storage", "list", "default"), 1, out="vmjob storage format")
    check(w.run("storage", "format"), 0)
    check(w.run("storage", "format", "default"), 0)
    check(w.run("storage", "format", "third"), 1, err='storage "third" does not exist: vmjob.conf has default, other')
    check(w.run("storage", "format", "default", "other"), 2, err="one at a time")
    w.agent.ops["storage-show"] = lambda c, r: {"storage": {
        "hosts": [{"host": "n1", "state": "alive", "age_ms": 2345, "size_bytes": 9 << 30, "free_bytes": 1 << 30, "version": "0.2"}],
        "used_bytes": 3 << 30, "promised_bytes": 9 << 30, "mine": {"images_bytes": 5 << 20, "volumes_bytes": 0},
        "users": [{"uid": 0, "images_bytes": 1, "volumes_bytes": 2, "promised_bytes": 3, "volumes": 4}]}}
    rows = json.loads(check(w.run("storage", "list", "default", "--json"), 0).stdout)["storages"]
    assert [r["name"] for r in rows] == ["default"] and w.agent.requests[-1]["storage"] == "default", rows
    row = rows[0]
    assert row["version"] == 2 and row["state"] == "ok" and row["kind"] == "dir" and row["space"] == "ok", row
    assert row["quota_bytes"] == 5 << 30 and "limit_bytes" not in row and row["used_bytes"] == 3 << 30, row
    assert 0 < row["free_bytes"] <= row["size_bytes"], row
    if os.getuid() == 0:
        storage_is_checked(w)
    shown = check(w.run("storage", "show"), 0, out="My images    5.0M").stdout
    assert "HOST STATE RENEWED SIZE FREE VMJOB\nn1   alive   2.3 s 9.0G 1.0G 0.2\n" in shown, shown
    assert "USER IMAGES VOLUMES NUMBER PROMISED\nroot     1B      2B      4       3B\n" in shown, shown
    w.agent.stop()
    check(w.run("storage", "show"), 0, out="Quota        5.0G", err="without what only root sees")
    check(w.run("storage", "list"), 1, out="default")
    with open(w.directory + "/vmjob.conf", "w") as f:
        f.write(f'storage renamed {{ path = "{w.directory}/srv" }}\n')
    check(w.run("storage", "list"), 1, out='it is the domain "default"')


def images_come_and_go(w):
    with open(w.directory + "/vmjob.conf", "w") as f:
        f.write(f'storage default {{ path = "{w.directory}/srv" }}\n')
    with open(w.directory + "/my.disk.raw", "wb") as f:
        f.truncate(5 << 20)
    check(w.run("image", "list"), 1, err="none.conf")
    w.env["VMJOB_CONF"] = w.directory + "/vmjob.conf"
    os.mkdir(w.directory + "/srv")
    check(w.run("image", "import", w.directory + "/my.disk.raw"), 1, err="vmjob-domain.json")
    check(w.run("storage", "format"), 0)
    assert check(w.run("image", "list"), 0).stdout.splitlines() == ["NAME REV OWNER SIZE USED IMPORTED"]
    check(w.run("image", "import", w.directory + "/my.disk.raw"), 0, out="my@1\n")
    image = json.loads(check(w.run("image", "import", "--json", "--name=my", w.directory + "/my.disk.raw"), 0).stdout)
    assert image["revision"] == 2 and image["size_mib"] == 5 and image["uid"] == os.getuid(), image
    check(w.run("image", "import", w.directory + "/none.raw"), 1, err="none.raw")
    check(w.run("image", "import", "--name=../x", w.directory + "/my.disk.raw"), 1, err="../x")
    check(w.run("image", "list", "--storage=other"), 1, err='storage "other" does not exist: vmjob.conf has default')
    rows = json.loads(check(w.run("image", "list", "--json"), 0).stdout)["images"]
    assert [(r["name"], r["revision"]) for r in rows] == [("my", 1), ("my", 2)], rows
    shown = check(w.run("image", "show", "my"), 0, out="my.disk.raw").stdout
    assert "Revisions    1,2" in shown and "Same as      my@1" in shown and "you alone" in shown, shown
    check(w.run("image", "set", "my", "os=Debian 12", "min-memory=2G", "agent=yes"), 0)
    check(w.run("image", "set", "my", "os"), 1, err="KEY=VALUE")
    check(w.run("image", "set", "my", "colour=red"), 1, err="default-user")
    check(w.run("image", "set", "my"), 2, err="KEY=VALUE")
    image = json.loads(check(w.run("image", "show", "--json", "my@2"), 0).stdout)
    assert (image["os"], image["min_memory_mib"], image["agent"], image["volumes"]) == ("Debian 12", 2048, "yes", 0), image
    check(w.run("image", "share", "my"), 2, err="with whom")
    check(w.run("image", "share", "--group=nobody-such", "my"), 1, err="nobody-such")
    check(w.run("image", "share", "--all", "my"), 0)
    assert json.loads(check(w.run("image", "show", "--json", "my"), 0).stdout)["shared"] == "all"
    check(w.run("image", "share", "--none", "my"), 0)
    check(w.run("image", "rm", f"{os.getuid()}/my"), 1, err="only your own")
    check(w.run("image", "rm", "my@1"), 0)
    check(w.run("image", "rm", "my@1"), 1, err="my")
    check(w.run("image", "rm", "my@x"), 1)
    table = check(w.run("image", "list"), 0, out="5M").stdout
    assert len(table.splitlines()) == 2, table


VOLUME = {"format": "vmjob-volume", "version": 1, "name": "data", "uid": 0, "gid": 0, "time": 1700000000, "virtual_bytes": 4 << 30, "job": 0,
          "image": "tiny@2", "layers": [{"file": "base.qcow2", "parent": ""}, {"file": "layer-2.qcow2", "parent": "base.qcow2"}],
          "top": "layer-2.qcow2", "next": 3,
          "snapshots": [{"name": "fresh", "time": 1700000001, "layer": "base.qcow2", "virtual_bytes": 1 << 30, "quiesced": True, "memory": ""}]}


def volumes_are_asked_for(w):
    said = lambda: {k: v for k, v in w.agent.requests[-1].items() if k != "id"}
    for op in ("create", "clone", "resize", "rm"):
        w.agent.ops["volume-" + op] = lambda c, r: {}
    w.agent.ops["volume-show"] = lambda c, r: {"volume": VOLUME, "lease": {"held": False}, "storage": "default", "used_bytes": 0, "chain": []}
    check(w.run("volume", "create", "--size=20G", "data"), 0)
    assert said() == {"op": "volume-create", "volume": "data", "size_mib": 20480}, said()
    check(w.run("volume", "create", "--image=anna/debian12@3", "big:root"), 0)
    assert said() == {"op": "volume-create", "volume": "root", "storage": "big", "owner": "anna", "image": "debian12", "revision": 3}, said()
    check(w.run("volume", "clone", "data", "copy"), 0)
    assert said() == {"op": "volume-clone", "volume": "data", "to": "copy"}, said()
    check(w.run("volume", "clone", "--snapshot=fresh", "--full", "data", "copy"), 0)
    assert said() == {"op": "volume-clone", "volume": "data", "to": "copy", "snapshot": "fresh", "full": True}, said()
    check(w.run("volume", "resize", "data", "30G"), 0)
    assert said() == {"op": "volume-resize", "volume": "data", "size_mib": 30720}, said()
    check(w.run("volume", "rm", "data"), 0)
    assert said() == {"op": "volume-rm", "volume": "data"}, said()
    asked = len(w.agent.requests)
    check(w.run("volume", "create", "data"), 2, err="--size, --image")
    check(w.run("volume", "create", "--size=20Q", "data"), 1, err="--size")
    check(w.run("volume", "create", "--size=20G", "../data"), 1, err="name")
    check(w.run("volume", "create", "--size=20G", "a/b:data"), 1, err="storage of vmjob.conf")
    check(w.run("volume", "clone", "data", "x\ny"), 1, err="the clone's name")
    check(w.run("volume", "clone", "data"), 2, err="NEW")
    check(w.run("volume", "rm", "data", "more"), 2, err="more")
    assert len(w.agent.requests) == asked
    w.agent.ops["volume-rm"] = refuse(16, 'volume "data" is in use by job 42 on n2')
    check(w.run("volume", "rm", "data"), 1, err="in use by job 42 on n2")


def volumes_are_listed_and_shown(w):
    row = {"name": "data", "uid": 0, "virtual_bytes": 4 << 30, "image": "", "snapshots": 1, "job": 0, "time": 1700000000}
    many = [dict(row, name=f"v{i}") for i in range(5)]
    w.agent.ops["volume-list"] = lambda c, r: {"volumes": many[r.get("skip", 0):][:2], "more": r.get("skip", 0) < 3, "damaged": 0}
    rows = json.loads(check(w.run("volume", "list", "--json"), 0).stdout)["volumes"]
    assert [r["name"] for r in rows] == ["v0", "v1", "v2", "v3", "v4"] and rows[0]["owner"] == "root", rows
    assert check(w.run("volume", "list"), 0).stdout.splitlines()[1].startswith("v0   4.0G         1 -       - 2023-11-"), w.run("volume", "list").stdout
    check(w.run("volume", "list", "--all", "--storage=big"), 0, out="OWNER NAME")
    assert w.agent.requests[-1]["all"] is True and w.agent.requests[-1]["storage"] == "big"
    assert "v1" in w.run("--complete", "volume", "rm", "").stdout.split()
    assert "--full" in w.run("--complete", "volume", "clone", "--").stdout.split()
    w.agent.ops["volume-list"] = lambda c, r: {"volumes": [row], "damaged": 2}
    check(w.run("volume", "list"), 1, out="data", err="2 volumes cannot be read")
    lease = {"held": True, "what": "guest", "job": 42, "host": HOST, "since": 1700000002, "epoch": 7, "holder": "job 42 on n2"}
    w.agent.ops["volume-show"] = lambda c, r: {"volume": VOLUME, "lease": lease, "storage": "default", "used_bytes": 1 << 20,
                                               "chain": ["layer-2.qcow2", "base.qcow2"]}
    shown = check(w.run("volume", "show", "data"), 0, out="Used by      job 42 on n2").stdout
    assert "Written      1.0M\n" in shown and "layer-2.qcow2,base.qcow2" in shown and "\nfresh " in shown, shown
    shown = json.loads(check(w.run("volume", "show", "--json", "data"), 0).stdout)
    assert shown["lease"]["epoch"] == 7 and shown["holder"] == "job 42 on n2" and shown["top"] == "layer-2.qcow2", shown
    # In a guest of this host: asked here, where it is held.
    w.agent.ops["volume-resize"] = lambda c, r: {}
    check(w.run("volume", "resize", "data", "5G"), 0)
    assert [r["op"] for r in w.agent.requests[-2:]] == ["volume-show", "volume-resize"]


def volumes_come_and_go_in_guests(w):
    w.command("squeue", w.job())
    w.agent.ops["volume-attach"] = w.agent.ops["volume-detach"] = lambda c, r: {}
    check(w.run("volume", "attach", "--read-only", "42", "data"), 0)
    assert {k: v for k, v in w.agent.requests[-1].items() if k != "id"} == {"op": "volume-attach", "volume": "data", "job": 42, "readonly": True}
    check(w.run("volume", "detach", "42", "big:data"), 0)
    assert w.agent.requests[-1]["storage"] == "big" and w.agent.requests[-1]["op"] == "volume-detach"
    check(w.run("volume", "attach", "42"), 2, err="JOB")


def full_clones_show_progress(w):
    def clone(c, request):
        for i in range(3):
            send(c, {"event": "progress", "fraction": 0.25 * i, "bytes": 4 << 30})
            time.sleep(0.15)
        return {}
    w.agent.ops["volume-clone"] = clone
    check(w.run("volume", "clone", "--full", "data", "copy"), 0)  # no terminal: silent
    master, slave = pty.openpty()
    with subprocess.Popen([VMJOB, "volume", "clone", "--full", "data", "copy"], env=w.env, stderr=slave, stdin=subprocess.DEVNULL) as p:
        assert p.wait(60) == 0
    os.close(slave)
    said = os.read(master, 4096)
    assert b"Cloning data: copying" in said and b"50 % 2.0G of 4.0G" in said, said
    os.close(master)


def images_go_out_and_in(w):
    with open(w.directory + "/vmjob.conf", "w") as f:
        f.write(f'storage default {{ path = "{w.directory}/srv" }}\n')
    w.env["VMJOB_CONF"] = w.directory + "/vmjob.conf"
    w.env["TMPDIR"] = w.directory
    raw = w.directory + "/disk.raw"
    with open(raw, "wb") as f:
        f.write(b"boot sector")
        f.truncate(3 << 20)
    os.mkdir(w.directory + "/srv")
    check(w.run("storage", "format"), 0)
    check(w.run("image", "import", "-"), 2, err="--name")
    check(w.run("image", "import", "--name=my", "--firmware=efi", raw), 2, err="bios or uefi")
    check(w.run("image", "import", "--name=my", "--os=Rocky 9", raw), 0)
    for name in "qcow2", "raw", "vmdk", "vdi", "vhdx", "vhd", "ova":
        file = f"{w.directory}/out.{name}"
        check(w.run("image", "export", "my", file), 0)
        check(w.run("image", "export", "my", file), 1, err="--force")
        check(w.run("image", "export", "--force", "my", file), 0)
        image = json.loads(check(w.run("image", "import", "--json", "--name=back", file), 0).stdout)
        assert image["size_mib"] == 3, (name, image)
        check(w.run("image", "export", "--force", "--format=raw", "back", w.directory + "/back.raw"), 0)
        with open(raw, "rb") as a, open(w.directory + "/back.raw", "rb") as b:
            assert a.read() == b.read(), name
    assert image["os"] == "Rocky 9", image
    check(w.run("image", "export", "--format=zip", "my", "x"), 2, err="qcow2, raw")
    check(w.run("image", "export", "my", w.directory + "/none/x"), 1, err="/none/x")
    piped = subprocess.run(f'{VMJOB} image export --format=raw my - | {VMJOB} image import --name=piped -', shell=True, env=w.env,
                           stdout=subprocess.PIPE, text=True, check=True).stdout
    assert piped == "piped@1\n", piped
    left = [f for f in os.listdir(w.directory) if ".tmp-" in f or "export" in f]
    assert not left, left


def an_import_asks_for_room(w):
    """As another user, since root has no quota."""
    with open(w.directory + "/vmjob.conf", "w") as f:
        f.write(f'storage default {{ path = "{w.directory}/srv"\nquota = 1G\nlow = 0\ncritical = 0 }}\n')
    w.env["VMJOB_CONF"] = w.directory + "/vmjob.conf"
    os.mkdir(w.directory + "/srv")
    check(w.run("storage", "format"), 0)
    if os.getuid() != 0:
        return
    os.chmod(w.directory, 0o755)
    os.chmod(w.agent.path, 0o666)
    w.agent.ops["storage-admit"] = refuse(errno.EDQUOT, "you have written 1G of 1G")
    command = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", VMJOB, "image", "import", "--name=my", "-"]
    refused = subprocess.run(command, env=w.env, input="boot sector", text=True, stderr=subprocess.PIPE)
    assert refused.returncode == 1 and "you have written 1G of 1G" in refused.stderr, refused.stderr
    assert w.agent.requests[-1]["op"] == "storage-admit" and w.agent.requests[-1]["storage"] == "default", w.agent.requests[-1]
    assert os.listdir(w.directory + "/srv/images/54321") == []
    w.agent.ops["storage-admit"] = lambda c, r: {}
    subprocess.run(command, env=w.env, input="boot sector", text=True, check=True)


def an_interrupted_import_leaves_nothing(w):
    with open(w.directory + "/vmjob.conf", "w") as f:
        f.write(f'storage default {{ path = "{w.directory}/srv" }}\n')
    w.env["VMJOB_CONF"] = w.directory + "/vmjob.conf"
    os.mkdir(w.directory + "/srv")
    check(w.run("storage", "format"), 0)
    own = f"{w.directory}/srv/images/{os.getuid()}"
    for sign in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:
        p = subprocess.Popen([VMJOB, "image", "import", "--name=my", "-"], env=w.env, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        p.stdin.write(b"x" * 100000)
        p.stdin.flush()
        deadline = time.monotonic() + 20
        while not glob.glob(own + "/.tmp-*/layer-0"):
            assert time.monotonic() < deadline and p.poll() is None
            time.sleep(0.01)
        p.send_signal(sign)
        assert p.wait(10) == -sign, p.returncode
        assert b"interrupted" in p.stderr.read()
        assert os.listdir(own) == [], os.listdir(own)
def snapshots_of_volumes(w):
    row = {"volume": "data", "name": "monday", "time": 1700000000, "virtual_bytes": 20 << 30, "quiesced": True}
    w.agent.ops["volume-show"] = lambda c, r: {"volume": {"name": r["volume"]}, "lease": {"held": False}}
    w.agent.ops["snapshot-create"] = lambda c, r: {"snapshot": {**row, "name": r["name"]}}
    w.agent.ops["snapshot-list"] = lambda c, r: {"snapshots": [row]}
    w.agent.ops["snapshot-rm"] = w.agent.ops["snapshot-revert"] = lambda c, r: {}
    assert check(w.run("snapshot", "create", "data", "--name", "monday"), 0).stdout == "monday\n"
    request = w.agent.requests[-1]
    assert (request["op"], request["volume"], request["name"]) == ("snapshot-create", "data", "monday"), request
    assert "storage" not in request and "memory" not in request, request
    name = check(w.run("snapshot", "create", "fast:data"), 0).stdout.strip()
    assert len(name) == 15 and w.agent.requests[-1]["name"] == name and w.agent.requests[-1]["storage"] == "fast"
    row["quiesced"] = False
    out = check(w.run("snapshot", "create", "data", "--json"), 0, err="as after a power cut").stdout
    assert json.loads(out)["snapshots"][0]["quiesced"] is False, out
    check(w.run("snapshot", "list", "data"), 0, out=["QUIESCED", "monday", "20.0G", "no"])
    assert json.loads(check(w.run("snapshot", "list", "data", "-j"), 0).stdout)["snapshots"] == [row]
    for verb in "rm", "revert":
        check(w.run("snapshot", verb, "data", "monday"), 0)
        assert w.agent.requests[-1]["op"] == "snapshot-" + verb and w.agent.requests[-1]["name"] == "monday"
    w.agent.ops["snapshot-rm"] = refuse(errno.ENOENT, 'volume "data" has no snapshot "monday"')
    check(w.run("snapshot", "rm", "data", "monday"), 1, err='has no snapshot "monday"')
    check(w.run("snapshot", "rm", "data"), 2, err="which snapshot?")
    check(w.run("snapshot", "create"), 2, err="a volume or a job")
    check(w.run("snapshot", "create", "../x"), 1, err="name")


def snapshots_of_guests(w):
    disks = [{"kind": "volume", "storage": "default", "volume": "root", "readonly": False},
             {"kind": "empty", "storage": "", "volume": "", "readonly": False},
             {"kind": "volume", "storage": "fast", "volume": "data", "readonly": False},
             {"kind": "volume", "storage": "fast", "volume": "books", "readonly": True}]
    w.command("squeue", w.job())
    w.agent.ops["show"] = lambda c, r: {"guest": {**GUEST, "disks": disks}}
    w.agent.ops["volume-show"] = lambda c, r: {"volume": {"name": r["volume"]}, "lease": {"held": True, "what": "guest", "host": HOST}}
    w.agent.ops["snapshot-create"] = lambda c, r: {"snapshots": [{"volume": v, "name": r["name"], "quiesced": True} for v in ("root", "data")]}
    check(w.run("snapshot", "create", "42", "both"), 0, out="both")
    assert w.agent.requests[-1]["job"] == 42 and "volume" not in w.agent.requests[-1]
    removed = []

    def rm(c, r):
        if r["volume"] == "root":
            return refuse(errno.ENOENT, "no such snapshot")(c, r)
        removed.append((r["storage"], r["volume"]))
        return {}
    w.agent.ops["snapshot-rm"] = rm
    check(w.run("snapshot", "rm", "42", "both"), 0)
    assert removed == [("fast", "data")], removed
    check(w.run("snapshot", "revert", "42", "both"), 1, err="stop job 42")
    del disks[:]
    check(w.run("snapshot", "list", "42"), 1, err="--vm-persistent")


class Console:
    """A person at a terminal with `vmjob console 42`."""

    def __init__(self, w, *args):
        w.command("squeue", w.job())
        self.seen = b""
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        self.child = subprocess.Popen([VMJOB, "console", "42", *args], env=w.env, stdin=self.slave, stdout=self.slave,
                                      stderr=self.slave, start_new_session=True)

    def expect(self, text):
        deadline = time.monotonic() + 20
        while text not in self.seen:
            assert time.monotonic() < deadline, f"{text!r} does not come: {self.seen!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                self.seen += os.read(self.master, 65536)

    def type(self, data):
        os.write(self.master, data)

    def is_raw(self):
        return not termios.tcgetattr(self.slave)[3] & (termios.ICANON | termios.ECHO)

    def ends(self, status):
        assert self.child.wait(20) == status, (self.child.returncode, self.seen)
        assert termios.tcgetattr(self.slave) == self.before, "the terminal is not as it was"
        os.close(self.master)
        os.close(self.slave)


def echoing(w, greeting=b"login: "):
    typed = []
    w.agent.ops["console"] = lambda c, r: {}
    w.agent.ops["after"] = lambda c, r: send(c, greeting)

    def data(c, payload):
        typed.append(payload)
        send(c, payload.upper())
    w.agent.ops["data"] = data
    return typed


def assert_typed(typed, expected):
    """What was typed last may still be on its way to the agent when the command has ended."""
    deadline = time.monotonic() + 20
    while b"".join(typed) != expected:
        assert time.monotonic() < deadline, typed
        time.sleep(0.01)


def console_carries_both_ways_and_detaches(w):
    typed = echoing(w)
    c = Console(w)
    c.expect(b"login: ")
    assert c.is_raw()
    c.type(b"root\x03\r")
    c.expect(b"ROOT\x03\r")
    c.type(b"bye\x1dlost")
    c.expect(b"[vmjob: detached]")
    c.ends(0)
    assert_typed(typed, b"root\x03\rbye")
    assert w.agent.requests[-1]["write"] is True and w.agent.requests[-1]["force"] is False


def console_takes_another_key(w):
    typed = echoing(w)
    c = Console(w, "--escape=^a")
    c.expect(b"Ctrl-a detaches")
    c.expect(b"login: ")
    c.type(b"\x1d")
    c.expect(b"\x1d")
    c.type(b"\x01")
    c.ends(0)
    assert_typed(typed, b"\x1d")


def console_restores_the_terminal_after_signals(w):
    echoing(w)
    for number in signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGSEGV:
        c = Console(w)
        c.expect(b"login: ")
        assert c.is_raw()
        c.child.send_signal(number)
        c.ends(-number)


def console_gives_the_terminal_back_while_stopped(w):
    echoing(w)
    c = Console(w)
    c.expect(b"login: ")
    c.child.send_signal(signal.SIGTSTP)
    os.waitpid(c.child.pid, os.WUNTRACED)
    assert termios.tcgetattr(c.slave) == c.before
    c.child.send_signal(signal.SIGCONT)
    c.type(b"x")
    c.expect(b"X")
    assert c.is_raw()
    c.type(b"\x1d")
    c.ends(0)


def console_ends_with_the_window(w):
    gone = threading.Event()
    echoing(w)
    w.agent.ops["after"] = lambda c, r: (send(c, b"login: "), wait_for_end(c, gone))
    c = Console(w)
    c.expect(b"login: ")
    os.close(c.slave)
    os.close(c.master)
    assert c.child.wait(20) in (0, -signal.SIGHUP), c.child.returncode
    assert gone.wait(10), "the agent still sees a reader"


def wait_for_end(c, gone):
    try:
        receive(c)
    except (EOFError, OSError):
        gone.set()
        raise


def console_ends_with_the_guest(w):
    echoing(w)
    w.agent.ops["after"] = lambda c, r: (send(c, b"Power down.\r\n"), send(c, {"event": "console-end", "text": "guest 42 has ended"}))
    c = Console(w)
    c.expect(b"Power down.")
    c.expect(b"guest 42 has ended")
    c.ends(0)


def console_survives_the_agent_s_restart(w):
    echoing(w)
    c = Console(w)
    c.expect(b"login: ")
    w.agent.stop()
    c.expect(b"lost the agent")
    w.agent.listen()
    c.expect(b"connected again")
    c.type(b"x")
    c.expect(b"X")
    w.agent.stop()
    time.sleep(0.1)
    c.type(b"\x1d")
    c.ends(0)


def console_gives_up_when_the_guest_is_gone(w):
    echoing(w)
    c = Console(w)
    c.expect(b"login: ")
    w.agent.ops["console"] = refuse(2, "job 42 has no guest on this host")
    w.agent.stop()
    c.expect(b"lost the agent")
    w.agent.listen()
    c.expect(b"job 42 has no guest")
    c.ends(1)


def console_reads_where_another_writes(w):
    typed = echoing(w)

    def busy(c, request):
        if request["write"] and not request["force"]:
            return refuse(16, "bob writes to the console of job 42")(c, request)
        return {}
    w.agent.ops["console"] = busy
    w.agent.ops["after"] = lambda c, r: send(c, b"login: ") if not r["write"] or r["force"] else None
    c = Console(w)
    c.expect(b"bob writes")
    c.expect(b"login: ")
    c.type(b"x")
    c.expect(b"cannot write")
    c.type(b"\x1d")
    c.ends(0)
    assert typed == [], typed
    c = Console(w, "--force")
    c.expect(b"login: ")
    c.type(b"x")
    c.expect(b"X")
    send(w.agent.connections[-1], {"event": "console-read-only"})
    c.expect(b"another has taken over")
    c.type(b"y")
    c.expect(b"cannot write")
    c.type(b"\x1d")
    c.ends(0)


def console_follows_without_a_terminal(w):
    echoing(w)
    w.agent.ops["after"] = lambda c, r: (send(c, b"Power down.\r\n"), send(c, {"event": "console-end", "text": "guest 42 has ended"}))
    w.command("squeue", w.job())
    check(w.run("console", "42"), 0, out="Power down.", err="guest 42 has ended")


TESTS = [usage_is_exit_2, every_verb_has_help, list_joins_slurm_and_agents, list_shows_each_task_of_an_array,
         list_names_hosts_that_do_not_answer, list_works_without_slurm, show_tells_all,
         jobs_without_a_guest_are_explained, stop_passes_its_options, stop_waits_for_the_end, one_guest_of_several_must_be_chosen,
         events_come_in_the_order_of_time, events_follow_over_an_agent_s_restart, hosts_are_joined_with_agents, a_dead_host_is_confirmed,
         start_is_sbatch, start_waits_until_the_guest_runs, completion_comes_from_the_tables, bash_completes,
         storages_are_made_and_shown, images_come_and_go, images_go_out_and_in, an_import_asks_for_room, an_interrupted_import_leaves_nothing,
         volumes_are_asked_for, volumes_are_listed_and_shown, volumes_come_and_go_in_guests, full_clones_show_progress,
         snapshots_of_volumes, snapshots_of_guests,
         console_carries_both_ways_and_detaches, console_takes_another_key,
         console_restores_the_terminal_after_signals, console_gives_the_terminal_back_while_stopped,
         console_ends_with_the_window, console_ends_with_the_guest, console_survives_the_agent_s_restart,
         console_gives_up_when_the_guest_is_gone, console_reads_where_another_writes,
         console_follows_without_a_terminal]


def main():
    chosen = [t for t in TESTS if len(sys.argv) < 2 or t.__name__ in sys.argv[1:]]
    failed = 0
    print(f"1..{len(chosen)}")
    for number, test in enumerate(chosen, 1):
        with tempfile.TemporaryDirectory(prefix="vmjob-test-") as directory:
            try:
                test(World(directory))
                print(f"ok {number} - {test.__name__}", flush=True)
            except Exception:
                failed += 1
                print("\n".join("# " + line for line in traceback.format_exc().splitlines()))
                print(f"not ok {number} - {test.__name__}", flush=True)
    sys.exit(failed != 0)


main()
