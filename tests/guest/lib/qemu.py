# SPDX-License-Identifier: BSD-3-Clause
"""qemu.py - a guest: its disks, its power switch, and the port through which it is told what to run.

The guest has two disks besides what it carries in memory:
  disk   1 GiB behind nbdkit's cache filter, which keeps what is written until a flush or FUA sends it
         on. When QEMU and this nbdkit are killed, all that was written since the last flush is gone,
         as it may be in a power cut. (Killing QEMU alone would lose only the requests in flight: what
         it has written to a file stays in this machine's page cache, flushed or not.)
  spare  4 GiB, a sparse file

QEMU translates instructions (TCG): no /dev/kvm is needed, and none is used, so that results do not
depend on the machine. QEMU 7.2 emulates two things wrongly now and then, and the kernel panics:
cmpxchg16b, which the processor therefore does not have, and code that one processor changes while
another runs it (the kernel's jump labels), so there is one processor unless GUEST_CPUS says otherwise.
A boot that dies of its own is tried again; that is said.
"""
import os
import signal
import socket
import subprocess
import time

DISK_SIZE = 1 << 30
SPARE_SIZE = 4 << 30
BOOT_LIMIT = 300  # seconds until the guest must have said that it is up


class GuestDied(Exception):
    """The guest went away, or did not come up."""


class Disks:
    """The files below the guest's disks. They outlive the guest that uses them."""

    def __init__(self, directory):
        self.disk = os.path.join(directory, "disk.raw")
        self.spare = os.path.join(directory, "spare.raw")
        for path, size in ((self.disk, DISK_SIZE), (self.spare, SPARE_SIZE)):
            with open(path, "wb") as file:
                file.truncate(size)


class Guest:
    """One boot of a guest. Lines come from receive(), go through send(), and kill() is a power cut."""

    def __init__(self, directory):
        self.directory = directory
        self.console = os.path.join(directory, "console.log")
        self.processes = []
        self.buffer = b""
        self.port = None
        self.release = ""
        self.boot_seconds = 0.0

    def boot(self, kernel, initramfs, disks):
        """Returns when it is up. Another thread may kill() it meanwhile."""
        start = time.monotonic()
        self.start_disk(disks)
        self.start_qemu(kernel, initramfs, disks)
        words = self.receive(start + BOOT_LIMIT).split()
        if words[0] != "ready":
            raise GuestDied("it said " + " ".join(words))
        self.release = words[2]
        self.boot_seconds = time.monotonic() - start

    def path(self, name):
        return os.path.join(self.directory, name)

    def start_disk(self, disks):
        for name in ("disk.sock", "disk.pid", "port.sock"):
            if os.path.exists(self.path(name)):
                os.unlink(self.path(name))
        self.spawn("nbdkit.log", [
            "nbdkit", "-f", "--exit-with-parent", "-U", self.path("disk.sock"), "-P", self.path("disk.pid"),
            "--filter=cache", "file", disks.disk, "cache=writeback", "cache-min-block-size=4096"])
        self.wait_for_file("disk.pid")

    def wait_for_file(self, name):
        """A few tens of milliseconds, or the process has said why not."""
        while not (os.path.exists(self.path(name)) and os.path.getsize(self.path(name))):
            if self.processes[-1].poll() is not None:
                raise GuestDied("nbdkit ended: " + self.tail("nbdkit.log"))
            time.sleep(0.01)

    def start_qemu(self, kernel, initramfs, disks):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.path("port.sock"))
            listener.listen(1)
            self.spawn("qemu.log", [
                "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "qemu64,-cx16",
                "-machine", "pc", "-smp", os.environ.get("GUEST_CPUS") or "1", "-m", "2G",
                "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-kernel", kernel, "-initrd", initramfs,
                "-append", "console=ttyS0 loglevel=4 panic=-1 mitigations=off "
                "rcupdate.rcu_cpu_stall_timeout=60",
                "-serial", "file:" + self.console, "-device", "virtio-serial-pci",
                "-chardev", "socket,id=port,path=" + self.path("port.sock"),
                "-device", "virtserialport,chardev=port,name=briq",
                "-blockdev", "driver=nbd,node-name=disk,server.type=unix,server.path="
                + self.path("disk.sock"),
                "-device", "virtio-blk-pci,drive=disk,serial=disk,write-cache=on",
                "-blockdev", "driver=file,node-name=spare,discard=unmap,filename=" + disks.spare,
                "-device", "virtio-blk-pci,drive=spare,serial=spare,write-cache=on",
                "-device", "virtio-rng-pci"])
            listener.settimeout(BOOT_LIMIT)
            try:
                self.port = listener.accept()[0]
            except socket.timeout:
                raise GuestDied("QEMU did not connect: " + self.tail("qemu.log")) from None

    def spawn(self, log, command):
        environment = dict(os.environ, TMPDIR=self.directory)
        with open(self.path(log), "wb") as file:
            self.processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file,
                                                   stderr=subprocess.STDOUT, env=environment,
                                                   start_new_session=True))

    def tail(self, name, lines=20):
        try:
            with open(self.path(name), encoding="utf-8", errors="replace") as file:
                return "".join(file.readlines()[-lines:])
        except OSError:
            return ""

    def send(self, line):
        try:
            self.port.sendall(line.encode() + b"\n")
        except OSError as error:
            raise GuestDied(f"its port is closed: {error}") from None

    def receive(self, deadline):
        """The next line; TimeoutError at the deadline, GuestDied when there will be none."""
        while b"\n" not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self.port.settimeout(left)
            try:
                data = self.port.recv(65536)
            except socket.timeout:
                raise TimeoutError from None
            except OSError:
                data = b""
            if not data:
                raise GuestDied("it is gone; its console ends with:\n" + self.tail("console.log"))
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.decode(errors="replace").rstrip("\r")

    def kill(self):
        """Like a power cut: QEMU first, so that it cannot see its disk go."""
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait()
        self.processes = []
        if self.port:
            self.port.close()
