# SPDX-License-Identifier: GPL-2.0-or-later
"""The inner part of scripts/fresh, run in the build root: see there."""
import argparse
import os
import pathlib
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True
sys.path.insert(0, str(TOP / "scripts"))
from qemu_guest import Guest  # noqa: E402

# How much slower everything is inside, for time limits: without KVM a processor takes 10 to 20 times as long, and
# what runs in the guest's own guests is emulated twice.
SCALE = 30

CACHE = os.environ["VMJOB_CACHE"]
AS_USER = f"cd {shlex.quote(str(TOP))} && export VMJOB_TIMEOUT_SCALE={SCALE} VMJOB_ONE_BY_ONE=1 && sudo -E"
RUN = f"{AS_USER} scripts/bed run ctl --"

# The last words of the bed's daemons, for the log of a failed check.
SHOW_LOGS = (f"cd {shlex.quote(CACHE)}/bed && sudo sh -c 'tail -n 30 */host/*/upper/var/log/bed/vmjobd.log "
             "*/host/*/upper/var/log/slurm/slurm*.log'")

# (name, what it proves, command run by user alice in the guest, seconds it may take). In this order.
CHECKS = [
    ("systemd", "the machine runs systemd with the unified cgroup hierarchy",
     'test "$(cat /proc/1/comm)" = systemd && test "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs', 60),
    ("clean", "nothing of Slurm, libvirt, QEMU or a compiler is installed",
     "! command -v slurmd libvirtd qemu-system-x86_64 gcc make", 60),
    ("quickstart", "quickstart brings the bed up and runs a guest as a job",
     f"{AS_USER} scripts/quickstart", 2400),
    ("sacct", "sacct tells that the guest's job completed",
     f"{RUN} sacct -X -n -o jobid,state,exitcode,elapsed,admincomment%60 | tee /dev/stderr | grep -q COMPLETED", 300),
    ("cgroups", "the bed's hosts are in the unified hierarchy and none of the job's cgroups is left",
     f"{RUN} cat /proc/self/cgroup | tee /dev/stderr | grep -q ^0:: && "
     "! find /sys/fs/cgroup -type d -name 'job_*' | grep .", 120),
    ("down", "quickstart --down leaves no process and no cgroup of the bed",
     f"{AS_USER} scripts/quickstart --down && ! pgrep -a 'slurm|libvirtd|munged|qemu-system' && "
     "! find /sys/fs/cgroup -type d -name 'vmjob*' | grep .", 300),
    ("unit", "check unit passes", f"{AS_USER} scripts/check unit", 1800),
    ("system", "the system tests of a guest's cgroups, CPUs and accounting pass",
     f"{AS_USER} tests/system/run 'threads are in the job|vCPUs are pinned|CPU time and memory'", 2400),
    ("endings", "the system tests of endings that need cgroups pass",
     f"{AS_USER} tests/system/run 'obeys ACPI|OUT_OF_MEMORY|suspend stops'", 3600),
    ("service", "vmjobd.service starts under systemd, is ready, comes back when killed, and stops",
     f"{AS_USER} scripts/fresh.d/service", 600),
    ("compile", "the whole tree compiles from nothing",
     f"cd {shlex.quote(str(TOP))} && sudo rm -rf build && sudo -E scripts/build", 5400),
    ("machine", "no unit of the machine has failed and none of ours was added",
     "! systemctl --failed --no-legend --plain | grep . && "
     "! systemctl list-unit-files --no-legend | grep -E 'slurm|libvirt|munge|mariadb|vmjob'", 60),
]


def say(text):
    print(text, flush=True)


def run(*command, **options):
    return subprocess.run(command, check=True, **options)


def make_data_disk(folder, bring):
    """An ext4 disk with the checkout, as it is compiled, in /top and the caches in /cache, filled without mounting.

    The caches are hard-linked into place: no second copy, and the links can be removed without harm. All checks but
    the last but one use what is compiled here, since compiling takes long there.
    """
    tree, disk = os.path.join(folder, "tree"), os.path.join(folder, "data.img")
    os.makedirs(os.path.join(tree, "cache"))
    os.makedirs(os.path.join(tree, "top"))
    parts = [path for path in TOP.iterdir() if path.name == "build-aux" or not path.name.startswith(("build-", ".git"))]
    run("cp", "-a", *parts, os.path.join(tree, "top"))
    run("cp", "-al", *bring, os.path.join(tree, "cache"))
    with open(disk, "wb") as image:
        image.truncate(16 << 30)
    run("mke2fs", "-q", "-t", "ext4", "-L", "fresh", "-m", "0", "-E", "root_owner=0:0", "-d", tree, disk)
    shutil.rmtree(tree)
    return disk


def make_seed(folder, key):
    """The NoCloud seed: a user who may use sudo, as on a Debian just installed, and DHCP."""
    seed = os.path.join(folder, "seed.img")
    with open(seed, "wb") as image:
        image.truncate(1 << 20)
    run("mkfs.vfat", "-n", "CIDATA", seed, stdout=subprocess.DEVNULL)
    user = ("#cloud-config\nusers:\n  - {name: alice, shell: /bin/bash, sudo: 'ALL=(ALL) NOPASSWD:ALL', "
            f"ssh_authorized_keys: ['{key}']}}\n")
    for name, text in ("meta-data", "instance-id: fresh\nlocal-hostname: fresh\n"), ("user-data", user):
        run("mcopy", "-i", seed, "-", f"::{name}", input=text.encode())
    return seed


class Machine:
    """The fresh machine: the guest, and ssh into it."""

    def __init__(self, folder, log, image, bring):
        self.log = log
        self.key = os.path.join(folder, "key")
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "fresh", "-f", self.key)
        with open(self.key + ".pub", encoding="ascii") as public:
            seed = make_seed(folder, public.read().strip())
        disk = os.path.join(folder, "disk.qcow2")
        run("qemu-img", "create", "-q", "-f", "qcow2", "-b", image, "-F", "qcow2", disk, "12G")
        data = make_data_disk(folder, bring)
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port = sock.getsockname()[1]
        self.guest = Guest(folder, disk, memory=6144, cpus=2, accel="tcg,thread=multi,tb-size=512",
                           console_log=os.path.join(log, "console.log"), args=[
            "-device", "virtio-rng-pci",
            "-drive", f"file={data},if=virtio,format=raw,discard=unmap,cache=unsafe",
            "-drive", f"file={seed},if=virtio,format=raw,readonly=on",
            "-netdev", f"user,id=n0,hostfwd=tcp:127.0.0.1:{self.port}-:22", "-device", "virtio-net-pci,netdev=n0"])

    def ssh(self, command, seconds, output):
        """Runs a shell command as alice; its output goes to a file. Returns its exit code, 124 after `seconds`."""
        words = ["ssh", "-i", self.key, "-p", str(self.port), "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR",
                 "-o", "UserKnownHostsFile=/dev/null", "-o", "ServerAliveInterval=60", "-o", "ServerAliveCountMax=10",
                 "-o", "BatchMode=yes", "alice@127.0.0.1", f"timeout -k 10 {seconds} bash -c {shlex.quote(command)}"]
        with open(output, "ab") as file:
            return subprocess.run(words, stdin=subprocess.DEVNULL, stdout=file, stderr=file, check=False,
                                  timeout=seconds + 120).returncode

    def prepare(self):
        """Waits for the boot's end and puts the checkout and the caches where a user would have them."""
        self.guest.wait_agent(300)
        self.guest.run("cloud-init", "status", "--wait", timeout=600)
        top = shlex.quote(str(TOP))
        self.guest.run("sh", "-c", f"mkdir -p /mnt/fresh {CACHE} {top} && mount LABEL=fresh /mnt/fresh && "
                       f"mount --bind /mnt/fresh/cache {CACHE} && mount --bind /mnt/fresh/top {top}", timeout=300)

    def power_off(self):
        self.guest.monitor("system_powerdown")
        return self.guest.wait_end(180)


def check(machine, name, proves, command, seconds):
    """Runs one check and says how it went. Returns whether it passed."""
    output = os.path.join(machine.log, f"{name}.log")
    began = time.monotonic()
    try:
        code = machine.ssh(command, seconds, output)
    except subprocess.TimeoutExpired:
        code = 124
    took = time.monotonic() - began
    say(f"{'ok' if code == 0 else 'not ok'} - {name}: {proves} ({took:.0f} s)")
    if code:
        machine.ssh(SHOW_LOGS, 120, output + ".daemons")
        say(f"# exit code {code}; the end of {output}:")
        with open(output, errors="replace", encoding="utf-8") as text:
            for line in text.readlines()[-20:]:
                say("# " + line.rstrip())
    return code == 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--log", required=True)
    parser.add_argument("--image", required=True)
    parser.add_argument("--bring", action="append", default=[])
    parser.add_argument("names", nargs="*", metavar="CHECK")
    options = parser.parse_args()
    unknown = set(options.names) - {name for name, *_ in CHECKS}
    if unknown:
        parser.error(f"no check '{unknown.pop()}'; there are: {' '.join(name for name, *_ in CHECKS)}")
    wanted = [entry for entry in CHECKS if not options.names or entry[0] in options.names]

    # However it ends, the machine and its disks go: `with` below sees to that.
    for number in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    shutil.rmtree(options.log, ignore_errors=True)
    os.makedirs(options.log)
    passed = failed = 0
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="fresh.") as folder:
        began = time.monotonic()
        machine = Machine(folder, options.log, options.image, options.bring)
        with machine.guest:
            say(f"# disks made in {time.monotonic() - began - machine.guest.age():.0f} s")
            machine.prepare()
            say(f"# the machine is up after {machine.guest.age():.0f} s")
            for entry in wanted:
                good = check(machine, *entry)
                passed, failed = passed + good, failed + (not good)
            machine.power_off()
    say(f"{passed} passed, {failed} failed, {len(CHECKS) - len(wanted)} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
