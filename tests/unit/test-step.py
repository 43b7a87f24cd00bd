#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""vmjob-step against an agent made of this script: every event, every signal, every ending, lost connections.

TAP on standard output. The program is taken from the build tree, or from $VMJOB_STEP.
"""
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback

PROGRAM = os.path.abspath(os.environ.get("VMJOB_STEP", "../../vmjob/step/vmjob-step"))
WAIT = 20  # seconds until a test has failed


def record(script="none", phase="running", end="none", grace=5):
    return {
        "job": 7, "restart": 0, "uid": 1000, "gid": 1000, "user": "alice", "host": "n1", "cpus": "0-1",
        "request": {"image": "tiny", "memory": 128, "vcpus": 2, "script": script, "cpu": "host", "grace": grace},
        "phase": phase, "end": end, "failure": "", "boot_id": "", "image_path": "", "pid": 0,
        "start_us": 0, "end_us": 0, "ports": [], "claimed": True,
    }


class Agent:
    """Listens, takes one connection at a time, answers what it is told to, and notes what was asked."""

    def __init__(self, path):
        self.path = path
        self.ops = []
        self.changed = threading.Condition()
        self.answers = {}
        self.guest = record()
        self.connection = None
        self.listener = None
        self.listen()

    def listen(self):
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(4)
        threading.Thread(target=self.serve, args=(self.listener,), daemon=True).start()

    def serve(self, listener):
        while True:
            try:
                c, _ = listener.accept()
            except OSError:
                return
            with self.changed:
                self.connection = c
            self.serve_one(c)

    def serve_one(self, c):
        stream = c.makefile("rb")
        while True:
            try:
                head = stream.read(5)
            except OSError:
                return
            if len(head) < 5:
                return
            length, kind = struct.unpack(">IB", head)
            request = json.loads(stream.read(length - 1))
            assert kind == ord("J") and request["job"] == 7, request
            answer = self.answers.get(request["op"], {"ok": True})
            if request["op"] == "show":
                answer = {"ok": True, "guest": self.guest, "stats": {}}
            if request["op"] == "run" and answer == {"ok": True}:
                answer = {"ok": True, "phase": self.guest.get("phase", "running"), "restart": 0}
            self.send(answer, c)
            if answer.get("phase") == "ended":
                self.ended(self.guest["end"], "it ended before")
            with self.changed:
                self.ops.append(request["op"])
                self.changed.notify_all()

    def send(self, message, c=None):
        text = json.dumps(message).encode()
        self.send_raw(struct.pack(">IB", len(text) + 1, ord("J")) + text, c)

    def send_raw(self, data, c=None):
        try:
            (c or self.connection).sendall(data)
        except OSError:
            pass

    def expect(self, *ops):
        """These operations, in this order, and no others since the last call."""
        with self.changed:
            self.changed.wait_for(lambda: len(self.ops) >= len(ops), WAIT)
            got, self.ops = self.ops, []
        assert got == list(ops), "asked %s instead of %s" % (got, list(ops))

    def await_op(self, op):
        """This operation, whatever else was asked."""
        with self.changed:
            assert self.changed.wait_for(lambda: op in self.ops, WAIT), "%s was not asked" % op
            self.ops = []

    def nothing_more(self):
        assert self.ops == [], self.ops

    def ended(self, end="poweroff", text="it powered itself off"):
        self.send({"event": "ended", "end": end, "text": text})

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        os.unlink(self.path)
        if self.connection:
            self.connection.shutdown(socket.SHUT_RDWR)
            self.connection.close()


class Case:
    def __init__(self, directory):
        self.directory = directory
        self.agent = Agent(os.path.join(directory, "agent.sock"))
        self.process = None

    def start(self, argv=("true",), batch=True, env=None, program=None, args=None):
        environment = {
            "PATH": self.directory + ":/usr/bin:/bin", "VMJOB_AGENT_SOCKET": self.agent.path,
            "SLURM_SPANK_VMJOB_REQUEST": "{}", "VMJOB_STEP_JOB": "7", "SLURM_JOB_ID": "7",
            "VMJOB_STEP_PROGRAM": argv[0],
        }
        if batch:
            environment["VMJOB_STEP_BATCH"] = "1"
        environment.update(env or {})
        environment = {k: v for k, v in environment.items() if v is not None}
        self.process = subprocess.Popen(args or [PROGRAM, *argv[1:]], env=environment, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def script(self, text, grace=5, **more):
        self.agent.guest = record("host", grace=grace)
        self.start(["sh", "-c", text], **more)

    def line(self):
        return self.process.stdout.readline().strip()

    def finish(self, code, said=None, out=None):
        stdout, stderr = self.process.communicate(timeout=WAIT)
        self.agent.ops = []
        assert self.process.returncode == code, "exit %s, not %s: %s" % (self.process.returncode, code, stderr)
        if said is not None:
            assert said in stderr, "%r is not in %r" % (said, stderr)
        if out is not None:
            assert stdout == out, "%r, not %r" % (stdout, out)

    def kill(self, signo):
        self.process.send_signal(signo)

    def running(self):
        self.agent.expect("run", "show")


def power_off(t):
    t.start(); t.running(); t.agent.ended()
    t.finish(0, "vmjob: the guest ended: it powered itself off\n")


def every_end(t):
    for end, code in (("poweroff", 0), ("panic", 70), ("killed", 71), ("destroyed", 72), ("released", 73),
                      ("lost", 74), ("unheard-of", 74)):
        t.start(); t.running(); t.agent.ended(end, "by " + end)
        t.finish(code, "by " + end)


def refused(t):
    t.agent.answers["run"] = {"ok": False, "code": 2, "fault": "user", "error": "image tiny is gone"}
    t.start(); t.finish(1, "vmjob: image tiny is gone\n", "")


def claimed_elsewhere(t):
    t.agent.answers["run"] = {"ok": False, "code": 114, "fault": "user", "error": "claimed"}
    t.start(["sh", "-c", "echo $0 ordinary ${SLURM_SPANK_VMJOB_REQUEST-none} ${VMJOB_STEP_PROGRAM-none}", "x"])
    t.finish(0, "", "x ordinary none none\n")


def no_guest(t):
    t.agent.answers["run"] = {"ok": False, "code": 2, "fault": "user", "error": "no guest of job 7"}
    t.start(["echo", "ran"]); t.finish(1, "no guest of job 7", "")
    t.start(["echo", "ran"], batch=False, env={"SLURM_HET_SIZE": "2"}); t.finish(0, "", "ran\n")


def no_prolog_at_restart(t):
    path = os.path.join(t.directory, "scontrol")
    with open(path, "w") as f:
        f.write("#!/bin/sh\necho scontrol $*\n")
    os.chmod(path, 0o755)
    t.agent.answers["run"] = {"ok": False, "code": 2, "fault": "user", "error": "no guest of job 7"}
    t.start(env={"SLURM_RESTART_COUNT": "1"}); t.finish(0, "requeueing", "scontrol requeue 7\n")
    for count in ("0", "9", "many"):
        t.start(env={"SLURM_RESTART_COUNT": count}); t.finish(1, "no guest of job 7", "")


def later_step(t):
    t.agent.guest = record(phase="ended", end="poweroff")
    t.start(["echo", "ran"], batch=False); t.finish(0, "has ended before", "ran\n")


def ended_before_batch(t):
    t.agent.guest = record("host", phase="ended", end="panic")
    t.start(["echo", "ran"]); t.finish(70, "the guest ended", "")


def script_exit(t):
    t.script("echo hello; exit 5"); t.agent.expect("run", "show", "stop"); t.agent.ended()
    t.finish(5, "", "hello\n")


def script_signal(t):
    t.script("kill -9 $$"); t.agent.expect("run", "show", "stop"); t.agent.ended(); t.finish(137)


def script_not_found(t):
    t.agent.guest = record("host")
    t.start(["/nonexistent/script"]); t.agent.expect("run", "show", "stop"); t.agent.ended()
    t.finish(127, "cannot run /nonexistent/script")


def script_not_executable(t):
    t.agent.guest = record("host")
    t.start(["/etc/passwd"]); t.agent.expect("run", "show", "stop"); t.agent.ended(); t.finish(126)


def script_environment(t):
    t.script("env | grep -c -e VMJOB_STEP -e SLURM_SPANK_VMJOB"); t.agent.expect("run", "show", "stop")
    t.agent.ended(); t.finish(1, "", "0\n")


def script_outlived_by_none(t):
    t.script("trap 'echo told; exit 9' TERM; echo up; while :; do sleep 0.05; done"); t.running()
    assert t.line() == "up"
    t.agent.ended("panic", "it panicked"); t.finish(70, "it panicked", "told\n")


def script_killed_after_grace(t):
    t.script("trap '' TERM; echo up; while :; do sleep 0.05; done", grace=1); t.running()
    assert t.line() == "up"
    begin = time.monotonic()
    t.agent.ended(); t.finish(0)
    assert 0.9 < time.monotonic() - begin < 5


def term(t):
    t.start(); t.running(); t.kill(signal.SIGTERM); t.agent.expect("stop")
    t.agent.ended(); t.finish(0)


def term_with_script(t):
    t.script("trap 'echo told; exit 3' TERM; echo up; while :; do sleep 0.05; done"); t.running()
    assert t.line() == "up"
    t.kill(signal.SIGTERM); t.agent.expect("stop"); time.sleep(0.3); t.agent.ended(); t.finish(3, "", "told\n")


def warning_signal(t):
    t.start(); t.running(); t.kill(signal.SIGUSR1); t.agent.expect("stop"); t.agent.ended(); t.finish(0)


def warning_signal_with_script(t):
    t.script("trap 'echo told' USR1; echo up; while :; do sleep 0.05; done"); t.running()
    assert t.line() == "up"
    t.kill(signal.SIGUSR1)
    assert t.line() == "told"
    t.agent.nothing_more(); t.agent.ended(); t.finish(0)


def ignored_signals(t):
    t.start(); t.running(); t.kill(signal.SIGUSR2); t.kill(signal.SIGHUP); t.kill(signal.SIGCONT)
    t.kill(signal.SIGTERM); t.agent.expect("stop"); t.agent.ended(); t.finish(0)


def suspend_resume(t):
    t.start(); t.running()
    for _ in range(2):
        t.kill(signal.SIGTSTP); t.agent.expect("suspend")
        t.kill(signal.SIGCONT); t.agent.expect("resume")
    t.kill(signal.SIGCONT); t.kill(signal.SIGTERM); t.agent.expect("stop"); t.agent.ended(); t.finish(0)


def failed_suspend(t):
    t.agent.answers["suspend"] = {"ok": False, "code": 5, "fault": "host", "error": "libvirt is away"}
    t.start(); t.running(); t.kill(signal.SIGTSTP); t.agent.expect("suspend"); t.agent.ended()
    t.finish(0, "libvirt is away")


def events(t):
    t.start(); t.running()
    for event in ({"event": "paused", "reason": "space", "text": "paused: its disk is full"}, {"event": "resumed"}, {"event": "rebooted"},
                  {"event": "watchdog"}, {"event": "paused", "reason": "user"}, {"event": "unheard-of"}):
        t.agent.send(event)
    t.agent.ended()
    t.finish(0, "the guest is paused: its disk is full\nvmjob: the guest rebooted\n"
                "vmjob: the guest's watchdog ran out\nvmjob: the guest ended")


def agent_late(t):
    t.agent.close(); t.start(); time.sleep(0.5)
    t.agent.listen(); t.running(); t.agent.ended(); t.finish(0)


def agent_restart(t):
    t.start(); t.running()
    for _ in range(3):
        t.agent.close(); t.agent.listen(); t.agent.expect("run")
    t.agent.ended(); t.finish(0)


def signals_while_away(t):
    t.start(); t.running(); t.agent.close()
    t.kill(signal.SIGTSTP); t.kill(signal.SIGTERM); time.sleep(0.3)
    t.agent.listen(); t.agent.expect("run", "suspend", "stop"); t.agent.ended(); t.finish(0)


def ended_while_away(t):
    t.script("exec sleep 60"); t.running(); t.agent.close()
    t.agent.guest = record("host", phase="ended", end="killed"); t.agent.listen(); t.finish(71, "the guest ended")


def released_while_away(t):
    t.start(); t.running(); t.agent.close()
    t.agent.answers["run"] = {"ok": False, "code": 2, "fault": "user", "error": "no guest of job 7"}
    t.agent.listen(); t.finish(74, "no guest of job 7")


def garbage(name, data):
    def test(t):
        t.start(); t.running(); t.agent.send_raw(data); t.agent.await_op("run"); t.agent.ended(); t.finish(0)
    test.__name__ = "garbage_" + name
    return test


def broken_record(t):
    t.agent.guest = {"job": 7, "request": {"imago": "tiny"}}; t.start(); t.agent.expect("run", "show", "stop"); t.agent.ended()
    t.finish(0, "cannot be read")


def other_nodes(t):
    path = os.path.join(t.directory, "srun")
    with open(path, "w") as f:
        f.write("#!/bin/sh\ntrap 'echo stopping; exit 3' USR1\necho \"srun $*\"\nwhile :; do sleep 0.05; done\n")
    os.chmod(path, 0o755)
    t.start(env={"SLURM_JOB_NUM_NODES": "3"}); t.running()
    words = t.line().split()
    for word in ("srun", "--overlap", "--relative=1", "--nodes=2", "--ntasks=2", "--guest-only"):
        assert word in words, words
    t.agent.ended(); t.finish(0, "", "stopping\n")


def other_nodes_fail(t):
    path = os.path.join(t.directory, "srun")
    with open(path, "w") as f:
        f.write("#!/bin/sh\necho up\nexit 70\n")
    os.chmod(path, 0o755)
    t.start(env={"SLURM_JOB_NUM_NODES": "2"}); t.running()
    assert t.line() == "up"
    while "another node" not in t.process.stderr.readline():
        pass
    t.agent.ended(); t.finish(70)


def guest_only(t):
    t.agent.guest = record("host")
    t.start(args=[PROGRAM, "--guest-only"], env={"VMJOB_STEP_PROGRAM": None}); t.running()
    t.kill(signal.SIGUSR1); t.agent.expect("stop"); t.agent.ended(); t.finish(0, "", "")


def by_hand(t):
    t.start(args=[PROGRAM], env={"VMJOB_STEP_PROGRAM": None}); t.finish(1, "not by hand")
    t.start(env={"VMJOB_STEP_JOB": "seven"}); t.finish(1, "job id")
    t.start(env={"VMJOB_STEP_JOB": None}); t.finish(1, "job id")


TESTS = [
    power_off, every_end, refused, claimed_elsewhere, no_guest, no_prolog_at_restart, later_step, ended_before_batch, script_exit,
    script_signal, script_not_found, script_not_executable, script_environment, script_outlived_by_none,
    script_killed_after_grace, term, term_with_script, warning_signal, warning_signal_with_script, ignored_signals,
    suspend_resume, failed_suspend, events, agent_late, agent_restart, signals_while_away, ended_while_away,
    released_while_away, broken_record, other_nodes, other_nodes_fail, guest_only, by_hand,
    garbage("cut_json", b"\x00\x00\x00\x03J{\x00"), garbage("length", b"\xff\xff\xff\xffJ"),
    garbage("type", b"\x00\x00\x00\x02Zx"), garbage("array", b"\x00\x00\x00\x03J[]"),
]


def run(number, test):
    directory = tempfile.mkdtemp(prefix="vmjob-step-")
    case = Case(directory)
    try:
        test(case)
        print("ok %d - %s" % (number, test.__name__), flush=True)
        return True
    except Exception:
        print("not ok %d - %s" % (number, test.__name__))
        print("\n".join("# " + line for line in traceback.format_exc().splitlines()), flush=True)
        return False
    finally:
        if case.process and case.process.poll() is None:
            case.process.kill()
            case.process.wait()
        shutil.rmtree(directory)


def main():
    print("1..%d" % len(TESTS))
    wanted = sys.argv[1:]
    results = [run(i + 1, t) for i, t in enumerate(TESTS) if not wanted or t.__name__ in wanted]
    sys.exit(0 if all(results) else 1)


main()
