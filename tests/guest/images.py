#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots the images that scripts/mkguest makes, with QEMU alone, and tries what the system tests rely on.

Run it in the build root: scripts/toolbox tests/guest/images.py [-v] [TestTiny|TestDebian12[.test_name]]
"""
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import unittest
import urllib.request

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True
sys.path.insert(0, str(TOP / "scripts"))
from qemu_guest import Guest  # noqa: E402

SCALE = float(os.environ.get("VMJOB_TIMEOUT_SCALE", "1"))
MAC = "52:54:00:76:6d:01"

# The same network in the three ways that a seed may be written.
NETWORKS = {
    "block": f"""version: 2
ethernets:
  n0:
    match:
      macaddress: '{MAC}'
    set-name: lan0
    addresses:
      - 10.0.2.77/24   # one
      - fd00:77::2/64
    gateway4: 10.0.2.2
    nameservers:
      addresses: [10.0.2.3]
""",
    "flow": f'version: 2\nethernets: {{n0: {{match: {{macaddress: "{MAC}"}}, set-name: lan0, '
            f'addresses: [10.0.2.77/24, "fd00:77::2/64"], gateway4: 10.0.2.2, nameservers: {{addresses: [10.0.2.3]}}}}}}\n',
    "json": f'{{"version":2,"ethernets":{{"n0":{{"match":{{"macaddress":"{MAC}"}},"set-name":"lan0",'
            '"addresses":["10.0.2.77/24","fd00:77::2/64"],"gateway4":"10.0.2.2","nameservers":{"addresses":["10.0.2.3"]}}}}',
}


def image(name):
    """The cached image's path, built if need be."""
    return subprocess.run([TOP / "scripts/mkguest", name], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def make_seed(folder, meta, network=None, user=None):
    """A NoCloud seed disk of the given texts."""
    path = os.path.join(folder, "seed.img")
    with open(path, "wb") as seed:
        seed.truncate(1 << 20)
    subprocess.run(["mkfs.vfat", "-n", "CIDATA", path], check=True, stdout=subprocess.DEVNULL)
    for name, text in ("meta-data", meta), ("network-config", network), ("user-data", user):
        if text is not None:
            subprocess.run(["mcopy", "-i", path, "-", f"::{name}"], input=text.encode(), check=True)
    return path


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class ImageTest(unittest.TestCase):
    recipe = memory = limit = None

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="guest-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.disk = os.path.join(self.folder, "disk.qcow2")

    def make_disk(self, size=None):
        """An overlay on the image, for this test alone."""
        base = image(self.recipe)
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", self.disk]
                       + ([size] if size else []), check=True)

    def boot(self, seed=None, args=(), cpus=1, agent=True):
        """Starts a guest on an overlay of its own and waits for its agent."""
        if not os.path.exists(self.disk):
            self.make_disk()
        args = ["-device", "pvpanic-pci", "-device", "virtio-rng-pci", "-device", "virtio-balloon-pci,id=balloon0", *args]
        if seed:
            args += ["-drive", f"file={seed},if=virtio,format=raw,readonly=on"]
        guest = Guest(self.folder, self.disk, memory=self.memory, cpus=cpus, args=args)
        self.addCleanup(guest.kill)
        if agent:
            guest.wait_agent(self.limit * SCALE)
            print(f"# {self.id()}: agent after {guest.age():.1f} s", file=sys.stderr)
        return guest

    def user_net(self, forward=None):
        forward = f",hostfwd=tcp:127.0.0.1:{forward}-10.0.2.77:80" if forward else ""
        return ["-netdev", f"user,id=n0{forward}", "-device", f"virtio-net-pci,netdev=n0,mac={MAC}"]

    def wait_file(self, guest, path):
        """Waits in the guest until path exists and returns its text."""
        loop = f"i=0; until [ -e {path} ]; do i=$((i + 1)); [ $i -lt 300 ] || exit 1; sleep 0.1; done; cat {path}"
        return guest.run("/bin/sh", "-c", loop)[1].strip()


class TestTiny(ImageTest):
    recipe, memory, limit = "tiny", 96, 30

    def test_login_on_the_console_and_power_button(self):
        guest = self.boot()
        guest.wait_console("tiny login: ", 20 * SCALE)
        guest.type("root\n")
        guest.wait_console("# ", 10 * SCALE)
        guest.type("echo sum=$((6 * 7))\n")
        guest.wait_console("sum=42", 10 * SCALE)
        guest.monitor("system_powerdown")
        self.assertEqual(guest.wait_end(10 * SCALE), 0)

    def test_agent_shutdown(self):
        guest = self.boot()
        guest.agent_channel.send({"execute": "guest-shutdown", "arguments": {"mode": "powerdown"}})
        self.assertEqual(guest.wait_end(10 * SCALE), 0)

    def test_panic_reaches_the_monitor(self):
        guest = self.boot(args=["-action", "panic=pause"])
        guest.type("root\n")
        guest.wait_console("# ", 20 * SCALE)
        guest.type("echo c >/proc/sysrq-trigger\n")
        self.assertEqual(guest.wait_event("GUEST_PANICKED", 10 * SCALE)["data"]["action"], "pause")

    def test_seed_sets_name_and_network(self):
        for style, network in NETWORKS.items():
            with self.subTest(style):
                port = free_port()
                seed = make_seed(self.folder, "instance-id: i1\nlocal-hostname: vm-7\n", network)
                guest = self.boot(seed, self.user_net(port))
                _, addresses = guest.run("/bin/ip", "-o", "addr", "show", "dev", "lan0")
                self.assertIn("inet 10.0.2.77/24", addresses)
                self.assertIn("inet6 fd00:77::2/64", addresses)
                self.assertIn("default via 10.0.2.2 dev lan0", guest.run("/bin/ip", "route")[1])
                self.assertEqual(guest.run("/bin/cat", "/etc/resolv.conf")[1], "nameserver 10.0.2.3\n")
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20 * SCALE) as page:
                    lines = dict(line.split() for line in page.read().decode().splitlines())
                self.assertEqual(lines["name"], "vm-7")
                self.assertEqual(lines["boot"], guest.run("/bin/cat", "/proc/sys/kernel/random/boot_id")[1].strip())
                guest.kill()

    def test_dhcp_with_and_without_seed(self):
        dhcp = f"version: 2\nethernets:\n  n0:\n    match: {{macaddress: '{MAC}'}}\n    set-name: eth0\n    dhcp4: true\n"
        for seed in None, make_seed(self.folder, "local-hostname: d\n", dhcp):
            with self.subTest(seed=seed):
                guest = self.boot(seed, self.user_net())
                guest.run("/bin/sh", "-c", "until ip -o addr show dev eth0 | grep 'inet 10.0.2.15/24'; do sleep 0.1; done")
                self.assertIn("default via 10.0.2.2", guest.run("/bin/ip", "route")[1])
                guest.kill()

    def test_two_cards_are_told_apart_by_address(self):
        other = "52:54:00:76:6d:02"
        network = (f"version: 2\nethernets: {{a: {{match: {{macaddress: '{other}'}}, set-name: back0, addresses: [10.9.0.2/16]}}, "
                   f"b: {{match: {{macaddress: '{MAC}'}}, set-name: front0, addresses: [10.8.0.2/16]}}}}\n")
        card = ["-netdev", "user,id=n1", "-device", f"virtio-net-pci,netdev=n1,mac={other}"]
        guest = self.boot(make_seed(self.folder, "local-hostname: two\n", network), self.user_net() + card)
        text = guest.run("/bin/ip", "-o", "addr")[1]
        self.assertRegex(text, r"back0 +inet 10\.9\.0\.2/16")
        self.assertRegex(text, r"front0 +inet 10\.8\.0\.2/16")

    def test_guest_that_ignores_the_power_button(self):
        guest = self.boot(make_seed(self.folder, "local-hostname: deaf\nvmjob-test: no-acpi\n"))
        guest.wait_console("deaf login: ", 20 * SCALE)
        guest.monitor("system_powerdown")
        guest.agent_channel.send({"execute": "guest-shutdown"})
        guest.wait_console("asked to shut down, and will not", 10 * SCALE)
        with self.assertRaises(subprocess.TimeoutExpired):
            guest.wait_end(4)

    def test_reboot_word_acts_once_and_files_stay(self):
        seed = make_seed(self.folder, "local-hostname: again\n", user="#cloud-config\n# vmjob-test: reboot:1\n")
        guest = self.boot(seed)
        first = guest.run("/bin/sh", "-c", "echo kept >/root/file; sync; cat /proc/sys/kernel/random/boot_id")[1]
        guest.wait_event("RESET", 20 * SCALE)
        guest.wait_agent(self.limit * SCALE)
        self.assertNotEqual(guest.run("/bin/cat", "/proc/sys/kernel/random/boot_id")[1], first)
        self.assertEqual(guest.run("/bin/cat", "/root/file")[1], "kept\n")

    def test_other_test_words(self):
        for word, event in ("poweroff", "SHUTDOWN"), ("panic", "GUEST_PANICKED"):
            with self.subTest(word):
                guest = self.boot(make_seed(self.folder, f"local-hostname: w\nvmjob-test: {word}\n"), agent=False)
                guest.wait_event(event, self.limit * SCALE)
                guest.kill()

    def test_script_in_user_data_runs_once_an_instance(self):
        script = "#!/bin/sh\necho ran >>/root/ran\n"
        for instance, runs in ("i1", 1), ("i1", 1), ("i2", 2):
            guest = self.boot(make_seed(self.folder, f"instance-id: {instance}\n", user=script))
            self.assertEqual(self.wait_file(guest, "/root/ran").split(), ["ran"] * runs)
            guest.monitor("system_powerdown")
            guest.wait_end(10 * SCALE)

    def test_processor_added_while_running(self):
        guest = self.boot(args=["-smp", "1,maxcpus=2"])
        slot = next(cpu for cpu in guest.monitor("query-hotpluggable-cpus") if "qom-path" not in cpu)
        guest.monitor("device_add", driver=slot["type"], id="cpu1", **slot["props"])
        guest.run("/bin/sh", "-c", "until [ $(nproc) = 2 ]; do sleep 0.1; done", timeout=20 * SCALE)

    def test_balloon_reports_statistics(self):
        guest = self.boot()
        path = "/machine/peripheral/balloon0"
        guest.monitor("qom-set", path=path, property="guest-stats-polling-interval", value=1)
        guest.run("/bin/sleep", "3")
        stats = guest.monitor("qom-get", path=path, property="guest-stats")["stats"]
        self.assertGreater(stats["stat-total-memory"], 32 << 20)


class TestDebian12(ImageTest):
    recipe, memory, limit = "debian12", 768, 120

    def test_cloud_init_does_what_the_seed_says(self):
        user = ("#cloud-config\nusers:\n  - {name: alice, shell: /bin/bash, sudo: 'ALL=(ALL) NOPASSWD:ALL', "
                "ssh_authorized_keys: ['ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJustATestKeyOfNobodyAtAllXXXXXXXXXXXXXXXXX a']}\n"
                "runcmd:\n  - [sh, -c, 'echo $(hostname) >/root/ran']\n")
        seed = make_seed(self.folder, "instance-id: i1\nlocal-hostname: deb-7\n", NETWORKS["block"], user)
        self.make_disk(size="5G")
        guest = self.boot(seed, self.user_net(), cpus=2)
        code, status = guest.run("cloud-init", "status", "--wait", "--long", timeout=240 * SCALE, check=False)
        print(f"# cloud-init done after {guest.age():.1f} s", file=sys.stderr)
        self.assertIn("status: done", status)
        self.assertEqual(code, 0, status)
        self.assertEqual(self.wait_file(guest, "/root/ran"), "deb-7")
        self.assertIn("JustATestKey", guest.run("cat", "/home/alice/.ssh/authorized_keys")[1])
        self.assertIn("inet 10.0.2.77/24", guest.run("ip", "-o", "addr", "show", "dev", "lan0")[1])
        self.assertIn("default via 10.0.2.2 dev lan0", guest.run("ip", "route")[1])
        self.assertEqual(guest.run("systemctl", "is-active", "ssh")[1], "active\n")
        self.assertEqual(guest.run("stat", "-fc", "%T", "/sys/fs/cgroup")[1], "cgroup2fs\n")
        self.assertGreater(int(guest.run("sh", "-c", "df --output=size -k / | tail -1")[1]), 4 << 20)
        self.assertEqual(guest.run("systemctl", "--failed", "--no-legend", "--plain")[1], "")
        guest.wait_console("deb-7 login: ", 60 * SCALE)
        guest.monitor("system_powerdown")
        self.assertEqual(guest.wait_end(60 * SCALE), 0)

    def test_boots_without_seed_and_reboots(self):
        guest = self.boot(args=self.user_net())
        guest.run("sh", "-c", "until ip -o addr | grep 'inet 10.0.2.15/24'; do sleep 0.2; done", timeout=60 * SCALE)
        guest.run("systemctl", "is-system-running", "--wait", timeout=240 * SCALE)
        first = guest.run("cat", "/etc/machine-id")[1]
        self.assertRegex(first, "^[0-9a-f]{32}$")
        guest.agent_channel.send({"execute": "guest-shutdown", "arguments": {"mode": "reboot"}})
        guest.wait_event("RESET", 90 * SCALE)
        guest.wait_agent(self.limit * SCALE)
        self.assertEqual(guest.run("cat", "/etc/machine-id")[1], first)


if __name__ == "__main__":
    unittest.main(verbosity=2)
