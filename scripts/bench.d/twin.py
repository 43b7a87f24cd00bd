# SPDX-License-Identifier: GPL-2.0-or-later
"""Twins of a running guest: the same domain, to be started by plain `virsh create`, for comparison with vmjob."""
import os
import pathlib
import shutil
import subprocess
import uuid
import xml.etree.ElementTree as ET

FOLDER = pathlib.Path("/var/lib/vmjob-bench")


def virsh(*args, **options):
    return subprocess.run(["virsh", "-q", "-c", "qemu:///system", *args], check=True, text=True, **options)


def make_twin(job, number):
    """Writes a domain like that of job's guest, with disks, MAC and name of its own; returns the XML file's path."""
    folder = FOLDER / str(number)
    folder.mkdir(parents=True, exist_ok=True)
    xml = virsh("dumpxml", "--inactive", f"vmjob-{job}", stdout=subprocess.PIPE).stdout
    domain = ET.fromstring(xml)
    domain.find("name").text = f"bench-{number}"
    domain.find("uuid").text = str(uuid.uuid4())
    for element in domain.findall("metadata"):
        domain.remove(element)
    for disk in domain.findall("devices/disk"):
        source = disk.find("source")
        copy = folder / pathlib.Path(source.get("file")).name
        shutil.copy(source.get("file"), copy)
        owner = os.stat(source.get("file"))
        os.chown(copy, owner.st_uid, owner.st_gid)
        source.set("file", str(copy))
    for log in domain.iter("log"):
        log.set("file", str(folder / "console.log"))
    for mac in domain.iter("mac"):
        mac.set("address", "52:54:00:be:%02x:%02x" % divmod(number, 256))
    for interface in domain.findall("devices/interface"):
        for target in interface.findall("target"):
            interface.remove(target)
    for channel in domain.findall("devices/channel/source"):
        channel.set("path", str(folder / "agent.sock"))
    path = folder / "domain.xml"
    ET.ElementTree(domain).write(path)
    return path


def destroy_twin(number):
    virsh("destroy", f"bench-{number}", stdout=subprocess.DEVNULL)
