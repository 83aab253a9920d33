# SPDX-License-Identifier: BSD-3-Clause
"""vm.py - what the tests of qemu/ are written with: a real QEMU, started by `briq-vm launch`.

    scene.volume("data.briq")             a new volume in the test's directory
    vm.sh("cat /sys/block/vda/size")      runs a command in the guest and returns what it printed
    vm.briq_vm("attach", "data.briq")     runs a verb on the machine, which must succeed
    vm.refused(5, "attach", "data.briq")  which must exit with 5; returns its one line

A test is a unittest.TestCase derived from MachineTest, which has a machine for all of its methods
and sees to it that each of them leaves the machine as it found it. Nothing waits for a time to
pass: commands end with a line of the guest, verbs with their exit.
"""
import glob
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = os.environ["BRIQ_SOURCE"]
BRIQ_VM = os.path.join(ROOT, "qemu", "briq-vm")
sys.path.insert(0, os.path.join(ROOT, "qemu"))

from briqvm.deadline import Deadline  # noqa: E402 (the path comes first)
from briqvm.machine import PERIPHERALS, Machine  # noqa: E402
from briqvm.qmp import Monitor  # noqa: E402

# The server under test, as in tests/lib/frontend.sh: nbdkit unless said otherwise.
SERVER = ("--server", os.environ.get("BRIQ_FRONTEND", "nbdkit"))

BOOT_SECONDS = 120  # software emulation, on a machine that may be busy
COMMAND_SECONDS = 60
VERB_SECONDS = 120


class Failed(AssertionError):
    """Something did not do what it should; the text has what it said."""


def skip(reason):
    print(reason)
    sys.exit(77)


def guest_directory(name):
    """What a function of tests/guest/lib/kernel.sh or a variable of it says."""
    script = os.path.join(ROOT, "tests", "guest", "lib", "kernel.sh")
    return run("bash", "-c", f'source "$1"; echo "{name}"', "bash", script).stdout.strip()


def cache():
    """Where kernels and images are kept."""
    return guest_directory("$GUEST_CACHE")


def kernel():
    """The directory of the test kernel, or the end of the test as skipped."""
    directory = guest_directory("$(kernel_directory)")
    if not os.path.exists(os.path.join(directory, "release")):
        skip(f"needs: a kernel in {directory}: make deps-guest")
    return directory


def run_any(*command):
    """Runs a program, however it ends; returns the CompletedProcess."""
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          check=False, timeout=VERB_SECONDS)


def run(*command, code=0):
    """Runs a program, which must exit with `code`; returns the CompletedProcess."""
    done = run_any(*command)
    if done.returncode != code:
        raise Failed(f"exit {done.returncode} and not {code} from {' '.join(command)}: "
                     f"{done.stdout}{done.stderr}")
    return done


class Scene:
    """A directory for a test, with its volumes and what its machines keep at run time."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="briq.")
        self.run_dir = self.path("run")
        os.environ["BRIQ_RUN_DIR"] = self.path("daemons")  # nobody else's are found
        self.volumes = []

    def path(self, name):
        return os.path.join(self.directory, name)

    def volume(self, name, size="64M"):
        path = self.path(name)
        run("briq", "create", path, size)
        self.volumes.append(path)
        return path

    def imported(self, name, image):
        """A volume with the content of a disk image."""
        path = self.path(name)
        run("briq", "import", "--quiet", image, path)
        self.volumes.append(path)
        return path

    def close(self):
        for path in self.volumes:
            # A server that was killed leaves its append windows to the next one.
            uuid = json.loads(run("briq", "info", "--json", path).stdout)["uuid"]
            for left in glob.glob(f"/dev/shm/briq-*{uuid}*"):
                os.unlink(left)
        shutil.rmtree(self.directory)


class Vm:
    """A running machine. It ends with the `with` statement, however that is left."""

    def __init__(self, scene, *volumes, options=(), qemu=(), boot=True, ready=True,
                 cmdline="", programs=()):
        self.scene = scene
        self.buffer = b""
        self.qmp_path = os.path.join(scene.run_dir, "vm", "qmp.sock")
        directory = kernel()
        if boot:
            initramfs = scene.path("initramfs")
            if not os.path.exists(initramfs):
                run(os.path.join(ROOT, "tests/qemu/make-initramfs"), directory, initramfs,
                    *programs)
            qemu = ("-kernel", os.path.join(directory, "vmlinuz"), "-initrd", initramfs, "-append",
                    f"console=ttyS0 quiet loglevel=1 panic=-1 rdinit=/init {cmdline}", *qemu)
        self.log = open(scene.path("launch.log"), "ab")
        self.process = subprocess.Popen(
            [BRIQ_VM, "launch", *volumes, "--run-dir", scene.run_dir, "--vm", "vm", "--accel",
             "tcg", *SERVER, "--memory", "192M", *options, "--", "-nic", "none", *qemu],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, bufsize=0)
        try:
            if boot and ready:
                self.wait_until_ready()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Ends the machine by a signal to launch, which stops the servers."""
        self.process.terminate()
        self.process.wait(VERB_SECONDS)
        self.process.stdin.close()
        self.process.stdout.close()
        self.log.close()

    def wait_until_ready(self, seconds=BOOT_SECONDS):
        """Until the guest's system takes commands."""
        self.read_until(b"@ready", seconds)

    def wait_for_monitor(self):
        """Until the machine is there, whatever its guest does. There is no event for that, so this
        asks again until the verb that it is for succeeds, or the machine has ended."""
        while run_any(*self.words("list")).returncode == 3 or not os.path.exists(self.qmp_path):
            if self.process.poll() is not None:
                raise Failed("the machine ended")

    # ---- the guest -------------------------------------------------------------------------------

    def read_until(self, mark, seconds):
        """What the guest printed before the line that begins with `mark`, and the rest of that."""
        end = time.monotonic() + seconds
        while True:
            lines = self.buffer.split(b"\n")
            for index, line in enumerate(lines[:-1]):
                if line.startswith(mark):
                    self.buffer = b"\n".join(lines[index + 1:])
                    before = b"\n".join(lines[:index]).replace(b"\r", b"")
                    return before.decode(errors="replace"), line[len(mark):].decode().strip()
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise Failed(f"the guest did not say {mark.decode()} within {seconds} s, but: "
                             f"{self.buffer[-2000:].decode(errors='replace')}")
            data = self.process.stdout.read(65536)
            if not data:
                raise Failed("the machine ended: " + self.buffer[-2000:].decode(errors="replace"))
            self.buffer += data

    def send(self, command):
        self.process.stdin.write(command.encode() + b"\n")

    def result(self, seconds=COMMAND_SECONDS):
        """(output, status) of a command that was sent."""
        output, status = self.read_until(b"@done", seconds)
        return output.strip(), int(status)

    def sh(self, command, seconds=COMMAND_SECONDS):
        """Runs a command in the guest, which must succeed; returns what it printed."""
        self.send(command)
        output, status = self.result(seconds)
        if status != 0:
            raise Failed(f"exit {status} in the guest from: {command}: {output}")
        return output

    # ---- QEMU ------------------------------------------------------------------------------------

    def monitor(self):
        return Monitor(self.qmp_path, Deadline(30))

    def qmp(self, command, **arguments):
        """One command over the monitor."""
        with self.monitor() as monitor:
            return monitor.execute(command, arguments)

    def inventory(self):
        """All that an attach adds and a detach must take away."""
        with self.monitor() as monitor:
            machine = Machine(monitor)
            return {"nodes": sorted(machine.nodes()), "iothreads": sorted(machine.iothreads()),
                    "devices": sorted(machine._children(PERIPHERALS[0])),
                    "objects": sorted(machine._children("/objects")), "ports": machine.ports(),
                    "files": sorted(os.listdir(os.path.join(self.scene.run_dir, "vm")))}

    def qemu_pid(self):
        with self.monitor() as monitor:
            return monitor.server_pid()

    def unplug(self, disk_id):
        """Takes the device alone away, as an interrupted detach does."""
        with self.monitor() as monitor:
            if not Machine(monitor).unplug(disk_id, Deadline(60)):
                raise Failed(f"the guest did not give {disk_id} back")

    def wait_for_disk(self, disk_id):
        """Until the guest's driver has taken a disk that was attached without briq-vm."""
        with self.monitor() as monitor:
            Machine(monitor).wait_for_driver(disk_id, Deadline(60))

    def server_pid(self, disk_id):
        """Of the server that was started for a disk."""
        path = os.path.join(self.scene.run_dir, "vm", disk_id + ".json")
        with open(path, encoding="utf-8") as file:
            return json.load(file)["server"]["pid"]

    # ---- verbs -----------------------------------------------------------------------------------

    def words(self, verb, *arguments):
        server = SERVER if verb == "attach" and "--server" not in arguments else ()
        return (BRIQ_VM, verb, *arguments, *server, "--run-dir", self.scene.run_dir, "--vm", "vm")

    def briq_vm(self, verb, *arguments, code=0):
        """Runs a verb that must exit with `code`; returns what it said with --json."""
        return json.loads(run(*self.words(verb, *arguments, "--json"), code=code).stdout)

    def refused(self, code, verb, *arguments):
        """Runs a verb that must fail with `code`; returns the one line that it said."""
        said = run(*self.words(verb, *arguments), code=code).stderr
        if said.count("\n") != 1 or not said.startswith(f"briq-vm {verb}: "):
            raise Failed(f"{verb} did not say one line, but: {said}")
        return said.strip()


class MachineTest(unittest.TestCase):
    """A machine with the disk root.briq, for all tests of a class."""

    options = ()
    qemu = ()
    boot = True
    programs = ()

    @classmethod
    def setUpClass(cls):
        cls.scene = Scene()
        cls.addClassCleanup(cls.scene.close)
        cls.vm = Vm(cls.scene, cls.scene.volume("root.briq"), options=cls.options, qemu=cls.qemu,
                    boot=cls.boot, programs=cls.programs)
        cls.addClassCleanup(cls.vm.close)
        if not cls.boot:
            cls.vm.wait_for_monitor()

    def setUp(self):
        self.before = self.vm.inventory()

    def tearDown(self):
        self.assertEqual(self.vm.inventory(), self.before, "it left something in the machine")
