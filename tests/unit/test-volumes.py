#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""vmjob volume against a real vmjobd, without libvirt: users' volumes in a directory, and an agent that is killed at
every step. As root. Prints TAP, for make check."""
import concurrent.futures
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

VMJOB = os.path.abspath("../../vmjob/cli/vmjob")
VMJOBD = os.path.abspath("../../vmjob/agent/vmjobd")
ANNA, BERT = 54321, 54323
PATTERN = "read -P 0x5a 1M 1M"


class World:
    """A domain with Anna's image "tiny" of 8 MiB, and an agent."""

    def __init__(self, directory):
        os.chmod(directory, 0o755)
        self.directory, self.agent = directory, None
        self.env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "VMJOB_CONF": directory + "/conf", "LC_ALL": "C.UTF-8",
                    "VMJOB_AGENT_SOCKET": directory + "/agent.sock", "HOME": directory}
        for sub in "srv", "scratch":
            os.mkdir(f"{directory}/{sub}")
        with open(directory + "/conf", "w") as f:
            f.write(f'storage default {{ path = "{directory}/srv"  low = 0  critical = 0 }}\nscratch = "{directory}/scratch"\n'
                    "agent { port = 0  operators = {} }\n")
        os.chmod(directory + "/conf", 0o644)
        self.ok("storage", "format", uid=0)
        raw = directory + "/raw"
        with open(raw, "wb") as f:
            f.write(b"\0" * (1 << 20) + b"\x5a" * (1 << 20))
            f.truncate(8 << 20)
        os.chmod(raw, 0o644)
        self.ok("image", "import", "--name=tiny", raw)

    def spawn(self, crash_at):
        env = dict(self.env, **({"VMJOB_CRASH_AT": crash_at} if crash_at else {}))
        with open(self.directory + "/log", "a") as log:
            self.agent = subprocess.Popen([VMJOBD, "--config", self.directory + "/conf"], env=env, stderr=log, stdin=subprocess.DEVNULL)

    def start(self, crash_at=None):
        self.spawn(crash_at)
        while not self.answers():
            time.sleep(0.02)
            if self.agent.poll() is None:
                continue
            with open(self.directory + "/log") as log:
                last = log.readlines()[-1]
            # A child that the killed one was just making still has its lock, for a moment.
            assert "another vmjobd is running" in last, last
            self.spawn(crash_at)

    def answers(self):
        return os.path.exists(self.env["VMJOB_AGENT_SOCKET"]) and self.run("volume", "list", uid=0).returncode == 0

    def stop(self):
        if self.agent:
            self.agent.kill()
            self.agent.wait()
        self.agent = None
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.env["VMJOB_AGENT_SOCKET"])

    def run(self, *args, uid=ANNA):
        return subprocess.run([VMJOB, *args], env=self.env, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
                              user=uid, group=uid, extra_groups=[])

    def ok(self, *args, uid=ANNA):
        result = self.run(*args, uid=uid)
        assert result.returncode == 0, f"{args}: {result.stdout}{result.stderr}"
        return result.stdout

    def refused(self, why, *args, uid=ANNA):
        result = self.run(*args, uid=uid)
        assert result.returncode == 1 and why in result.stderr, f"{args}: {result}"

    def names(self, uid=ANNA):
        return [row["name"] for row in json.loads(self.ok("volume", "list", "--json", uid=uid))["volumes"]]

    def show(self, name):
        return json.loads(self.ok("volume", "show", "--json", name))

    def path(self, name, file=""):
        return f"{self.directory}/srv/volumes/{ANNA}/{name}/{file}"

    def disk(self, name, command):
        top = self.path(name, self.show(name)["top"])
        done = subprocess.run(["qemu-io", "-f", "qcow2", "-c", command, top], capture_output=True, text=True, check=True, user=ANNA, group=ANNA,
                              extra_groups=[])
        assert "failed" not in done.stdout, f"{name}: {done.stdout}"

    def sound(self):
        """Every volume that is there is whole, and nothing else is."""
        names = self.names()
        assert sorted(names) == sorted(os.listdir(self.path(""))), os.listdir(self.path(""))
        for name in names:
            shown = self.show(name)
            files = {"volume.json"} | {layer["file"] for layer in shown["layers"]}
            assert set(os.listdir(self.path(name))) == files and "pending" not in shown, (shown, os.listdir(self.path(name)))
            assert not shown["lease"]["held"], shown
            subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", self.path(name, shown["top"])], check=True, user=ANNA, group=ANNA,
                           extra_groups=[])
        return names


def volumes_come_and_go(w):
    w.start()
    assert w.names() == []
    w.ok("volume", "create", "--image=tiny", "root")
    w.disk("root", PATTERN)
    w.disk("root", "write -P 7 0 64k")
    w.ok("volume", "clone", "root", "copy")
    w.ok("volume", "clone", "--full", "root", "full")
    w.ok("volume", "create", "--size=1G", "data")
    w.ok("volume", "resize", "copy", "16M")
    assert w.show("copy")["virtual_bytes"] == 16 << 20 and w.show("root")["image"] == "tiny@1"
    for name in "root", "copy", "full":
        w.disk(name, PATTERN)
        w.disk(name, "read -P 7 0 64k")
    w.ok("image", "rm", "tiny")
    assert w.sound() == ["copy", "data", "full", "root"]
    w.ok("volume", "rm", "root")
    w.disk("copy", PATTERN)
    assert w.sound() == ["copy", "data", "full"]


def refusals_change_nothing(w):
    w.start()
    w.ok("volume", "create", "--image=tiny", "data")
    w.refused("exists already", "volume", "create", "--size=1G", "data")
    w.refused("cannot be smaller than its image", "volume", "create", "--image=tiny", "--size=1M", "small")
    w.refused('image "none" does not exist', "volume", "create", "--image=none", "x")
    w.refused("for volumes of jobs", "volume", "create", "--size=1G", "job-1.0")
    w.refused("can only grow", "volume", "resize", "data", "1M")
    w.refused("cannot be its own clone", "volume", "clone", "data", "data")
    w.refused('no snapshot "s"', "volume", "clone", "--snapshot=s", "data", "x")
    w.refused('storage "none" does not exist', "volume", "rm", "none:data")
    for verb in (["rm"], ["show"], ["resize", "2G"], ["clone", "x"]):
        w.refused('volume "nosuch" does not exist', "volume", verb[0], "nosuch", *verb[1:])
    assert not [d for d in os.listdir(w.directory + "/srv/leases") if "nosuch" in d]
    assert w.sound() == ["data"]


def users_are_apart(w):
    w.start()
    w.ok("volume", "create", "--image=tiny", "data")
    assert w.names(BERT) == []
    for verb in (["rm"], ["show"], ["resize", "2G"], ["clone", "x"]):
        w.refused("does not exist", "volume", verb[0], "data", *verb[1:], uid=BERT)
    w.refused("only operators", "volume", "list", "--all", uid=BERT)
    w.refused("does not exist", "volume", "create", f"--image={ANNA}/tiny", "mine", uid=BERT)
    assert [row["uid"] for row in json.loads(w.ok("volume", "list", "--all", "--json", uid=0))["volumes"]] == [ANNA]
    # What is in her layers is hers alone, be it a link of an image that anybody could read.
    for file in "base.qcow2", "layer-1.qcow2", "volume.json":
        assert subprocess.run(["cat", w.path("data", file)], capture_output=True, user=BERT, group=BERT, extra_groups=[]).returncode
    assert subprocess.run(["cat", w.path("data", "base.qcow2")], capture_output=True, user=BERT, group=ANNA, extra_groups=[]).returncode
    assert subprocess.run(["touch", w.path("data", "x")], capture_output=True, user=ANNA, group=ANNA, extra_groups=[]).returncode


def headers_that_point_outside(w):
    w.start()
    w.ok("volume", "create", "--image=tiny", "data")
    subprocess.run(["qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "raw", "-b", "/etc/shadow", w.path("data", "layer-1.qcow2")], check=True,
                   user=ANNA, group=ANNA, extra_groups=[])
    for args in (["clone", "data", "x"], ["clone", "--full", "data", "x"]):
        result = w.run("volume", *args)
        if result.returncode == 0:  # recovery has put the header right
            w.disk("x", PATTERN)
            w.ok("volume", "rm", "x")
    w.disk("data", PATTERN)


def one_of_many_wins(w):
    w.start()
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda i: w.run("volume", "create", "--size=1G", "data"), range(18)))
    assert sum(r.returncode == 0 for r in results) == 1, [r.stderr for r in results]
    for r in results:
        assert r.returncode == 0 or "exists already" in r.stderr or "in use" in r.stderr or "under way" in r.stderr, r.stderr
    assert w.sound() == ["data"]


def many_are_listed(w):
    w.start()
    w.ok("volume", "create", "--size=1G", "data")
    with open(w.path("data", "volume.json")) as f:
        volume = json.load(f)
    for i in range(3000):
        volume["name"] = f"volume-{i:04}"
        os.mkdir(w.path(volume["name"]), 0o710)
        with open(w.path(volume["name"], "volume.json"), "w") as f:
            json.dump(volume, f)
    assert w.names() == ["data"] + [f"volume-{i:04}" for i in range(3000)]


def steps():
    listed = subprocess.run([VMJOBD, "--list-steps"], capture_output=True, text=True, check=True).stdout.split()
    return [s for s in listed if s.split(".")[0] in ("volume", "clone", "resize")]


def killed_at_every_step(w):
    died = []
    actions = [("volume", "create", "--image=tiny", "new"), ("volume", "clone", "source", "linked"),
               ("volume", "clone", "--full", "source", "full"), ("volume", "resize", "source", "16M"), ("volume", "rm", "other")]
    for step in steps():
        w.start()
        w.ok("volume", "create", "--image=tiny", "source")
        w.ok("volume", "create", "--image=tiny", "other")
        w.disk("source", "write -P 9 0 64k")
        w.stop()
        w.start(step)
        for action in actions:
            if w.run(*action).returncode:
                w.agent.wait(30)
                died.append(step)
                break
        w.stop()
        w.start()
        for action in actions:  # again: done before, or done now
            w.run(*action)
        names = w.sound()
        assert names == ["full", "linked", "new", "source"], (step, names)
        assert w.show("source")["virtual_bytes"] == 16 << 20, step
        for name in "full", "linked", "source":
            w.disk(name, "read -P 9 0 64k")
            w.disk(name, PATTERN)
        for name in names:
            w.ok("volume", "rm", name)
        w.stop()
    assert died == steps(), set(steps()) - set(died)


def started_again_it_puts_right(w):
    w.start("volume.hide")
    w.ok("volume", "create", "--image=tiny", "data")
    w.run("volume", "rm", "data")
    assert w.agent.wait(30) != 0 and os.listdir(w.path(""))
    w.stop()
    w.start()
    for _ in range(500):  # nobody asks: the agent's start does it
        if not os.listdir(w.path("")):
            break
        time.sleep(0.02)
    assert w.sound() == []


TESTS = [volumes_come_and_go, refusals_change_nothing, users_are_apart, headers_that_point_outside, one_of_many_wins, many_are_listed,
         killed_at_every_step, started_again_it_puts_right]


def main():
    chosen = [t for t in TESTS if len(sys.argv) < 2 or t.__name__ in sys.argv[1:]]
    if os.getuid() or not shutil.which("qemu-img"):
        print("1..0 # SKIP needs root and qemu-img")
        return
    failed = 0
    print(f"1..{len(chosen)}")
    for number, test in enumerate(chosen, 1):
        with tempfile.TemporaryDirectory(prefix="vmjob-test-") as directory:
            w = World(directory)
            try:
                test(w)
                print(f"ok {number} - {test.__name__}", flush=True)
            except Exception:
                failed += 1
                with contextlib.suppress(OSError), open(directory + "/log") as log:
                    print("\n".join("# " + line for line in log.read().splitlines()[-20:]))
                print("\n".join("# " + line for line in traceback.format_exc().splitlines()))
                print(f"not ok {number} - {test.__name__}", flush=True)
            w.stop()
    sys.exit(failed != 0)


main()
