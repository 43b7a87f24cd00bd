# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest of plain QEMU, without libvirt: for testing the images themselves and for `scripts/fresh`.

A Guest is started from a list of QEMU arguments; its monitor (QMP), agent and console are sockets in a folder
of its own. Every wait has a time limit and raises TimeoutError with a sentence.
"""
import base64
import contextlib
import json
import os
import select
import socket
import subprocess
import threading
import time


class JsonSocket:
    """One JSON value a line, both ways, over a stream socket."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = b""

    def send(self, value):
        self.sock.sendall(json.dumps(value).encode() + b"\n")

    def receive(self, timeout):
        deadline = time.monotonic() + timeout
        while b"\n" not in self.buffer:
            ready, _, _ = select.select([self.sock], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError(f"no answer within {timeout} s")
            data = self.sock.recv(65536)
            if not data:
                raise EOFError("the other end has closed")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line.replace(b"\xff", b""))


class Guest:
    """One QEMU process. Use as a context manager: at the end QEMU is gone, however the test went."""

    def __init__(self, folder, image, memory=128, cpus=1, args=(), accel="tcg", console_log=None):
        self.folder = folder
        self.console_log = console_log or os.path.join(folder, "console.log")
        sock = lambda name: os.path.join(folder, name)
        self.started = time.monotonic()
        self.errors = open(os.path.join(folder, "qemu.log"), "w+")
        self.process = subprocess.Popen([
            "setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", "-M", "q35", "-accel", accel, "-nodefaults", "-display", "none",
            "-cpu", "max", "-m", str(memory), "-smp", str(cpus),
            "-qmp", f"unix:{sock('qmp')},server=on,wait=off",
            "-serial", f"unix:{sock('console')},server=on,wait=on",
            "-device", "virtio-serial", "-chardev", f"socket,id=ga,path={sock('agent')},server=on,wait=off",
            "-device", "virtserialport,chardev=ga,name=org.qemu.guest_agent.0",
            "-drive", f"file={image},if=virtio,format=qcow2,discard=unmap,cache=unsafe", *args], stderr=self.errors)
        self.open = [self.errors]
        try:
            self.console = self._connect("console")
            self.reader = threading.Thread(target=self._log_console, daemon=True)
            self.reader.start()
            self.qmp = JsonSocket(self._connect("qmp"))
            self.agent_channel = JsonSocket(self._connect("agent"))
            self.events = []
            self.qmp.receive(30)
            self.monitor("qmp_capabilities")
        except BaseException:
            self.kill()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def _connect(self, name):
        """Connects to one of QEMU's sockets, which may not be there yet."""
        sock = socket.socket(socket.AF_UNIX)
        self.open.append(sock)
        while True:
            try:
                sock.connect(os.path.join(self.folder, name))
                return sock
            except (FileNotFoundError, ConnectionRefusedError):
                self._check_running()
                time.sleep(0.02)

    def _check_running(self):
        if self.process.poll() is not None:
            self.errors.seek(0)
            raise RuntimeError(f"QEMU has ended with code {self.process.returncode}: {self.errors.read()}")

    def kill(self):
        """Ends QEMU if it still runs, and closes what was opened; may be called again."""
        self.process.kill()
        self.process.wait()
        while self.open:
            self.open.pop().close()

    def age(self):
        """Seconds since QEMU was started."""
        return time.monotonic() - self.started

    def monitor(self, command, **arguments):
        self.qmp.send({"execute": command, "arguments": arguments})
        while True:
            answer = self.qmp.receive(30)
            if "event" in answer:
                self.events.append(answer)
            elif "error" in answer:
                raise RuntimeError(f"{command}: {answer['error']['desc']}")
            else:
                return answer["return"]

    def wait_event(self, name, timeout):
        """Returns the next event called name, seen already or yet to come."""
        deadline = time.monotonic() + timeout
        while True:
            for event in self.events:
                if event["event"] == name:
                    self.events.remove(event)
                    return event
            try:
                self.events.append(self.qmp.receive(max(0, deadline - time.monotonic())))
            except TimeoutError:
                raise TimeoutError(f"no event {name} within {timeout} s") from None

    def wait_end(self, timeout):
        """Waits for QEMU to end by itself and returns its exit code."""
        return self.process.wait(timeout)

    def console_text(self):
        with open(self.console_log, errors="replace") as log:
            return log.read()

    def wait_console(self, text, timeout):
        deadline = time.monotonic() + timeout
        while text not in self.console_text():
            if time.monotonic() > deadline:
                raise TimeoutError(f"the console has not shown '{text}' within {timeout} s")
            self._check_running()
            time.sleep(0.05)

    def _log_console(self):
        with open(self.console_log, "ab", buffering=0) as log:
            with contextlib.suppress(OSError):
                while data := self.console.recv(4096):
                    log.write(data)

    def type(self, text):
        self.console.sendall(text.encode())

    def agent(self, command, timeout=30, **arguments):
        self.agent_channel.send({"execute": command, "arguments": arguments})
        answer = self.agent_channel.receive(timeout)
        if "error" in answer:
            raise RuntimeError(f"{command}: {answer['error']['desc']}")
        return answer["return"]

    def wait_agent(self, timeout):
        """Waits until the guest's agent answers; also after a reboot of the guest."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            token = time.monotonic_ns() % 1000000007
            self.agent_channel.sock.sendall(b"\xff")
            self.agent_channel.send({"execute": "guest-sync-delimited", "arguments": {"id": token}})
            try:
                while self.agent_channel.receive(0.5).get("return") != token:
                    pass
                return
            except TimeoutError:
                continue
            except EOFError:
                self.process.wait(10)
                self._check_running()
        raise TimeoutError(f"the guest's agent does not answer after {timeout} s")

    def run(self, *command, timeout=60, check=True):
        """Runs a command in the guest through its agent; returns (exit code, output). For small outputs only."""
        pid = self.agent("guest-exec", **{"path": command[0], "arg": command[1:], "capture-output": True})["pid"]
        deadline = time.monotonic() + timeout
        while True:
            status = self.agent("guest-exec-status", pid=pid)
            if status["exited"]:
                break
            if time.monotonic() > deadline:
                raise TimeoutError(f"{command[0]} in the guest has not ended after {timeout} s")
            time.sleep(0.1)
        decode = lambda key: base64.b64decode(status.get(key, "")).decode(errors="replace")
        code, text = status.get("exitcode", 128 + status.get("signal", 0)), decode("out-data") + decode("err-data")
        if check and code:
            raise RuntimeError(f"{' '.join(command)} in the guest: exit code {code}: {text}")
        return code, text
