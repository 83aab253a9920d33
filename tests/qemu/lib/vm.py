# SPDX-License-Identifier: BSD-3-Clause
"""vm.py - what the tests of qemu/ are written with: a real QEMU, started by `briq-vm launch`.

    with Vm("disk.briq", cpus=2) as vm:       a guest that has booted
        vm.sh("cat /sys/block/vda/size")      runs a command in it and returns what it printed
        vm.briq_vm("attach", "data.briq")     runs a verb on it, which must succeed
        vm.refused(5, "attach", "data.briq")  which must exit with 5; returns its one line

Nothing waits for a time to pass: commands end with a line of the guest, verbs with their exit.
"""
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.environ["BRIQ_SOURCE"]
BRIQ_VM = os.path.join(ROOT, "qemu", "briq-vm")
sys.path.insert(0, os.path.join(ROOT, "qemu"))

BOOT_SECONDS = 120  # software emulation, on a machine that may be busy
COMMAND_SECONDS = 60
VERB_SECONDS = 120


class Failed(AssertionError):
    """Something did not do what it should; the text has what it said."""


def skip(reason):
    print(reason)
    sys.exit(77)


def kernel():
    """The directory of the test kernel, or the end of the test as skipped."""
    script = os.path.join(ROOT, "tests", "guest", "lib", "kernel.sh")
    directory = subprocess.run(["bash", "-c", 'source "$1"; kernel_directory', "bash", script],
                               check=True, capture_output=True, text=True).stdout.strip()
    if not os.path.exists(os.path.join(directory, "release")):
        skip(f"needs: a kernel in {directory}: make deps-guest")
    return directory


def run(*command, code=0):
    """Runs a program, which must exit with `code`; returns the CompletedProcess."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          check=False, timeout=VERB_SECONDS)
    if done.returncode != code:
        raise Failed(f"exit {done.returncode} and not {code} from {' '.join(command)}: "
                     f"{done.stdout}{done.stderr}")
    return done


class Scene:
    """A directory for a test: volumes in it, the run directory of its machines, and their end."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="briq.")
        self.run_dir = os.path.join(self.directory, "run")
        # Append windows of servers that were killed lie there until the volume is opened again.
        self.windows = set(os.listdir("/dev/shm"))

    def path(self, name):
        return os.path.join(self.directory, name)

    def volume(self, name, size="64M"):
        path = self.path(name)
        run("briq", "create", path, size)
        return path

    def close(self):
        shutil.rmtree(self.directory)


class Vm:
    """A running machine. It ends with the `with` statement, however that is left."""

    def __init__(self, scene, *volumes, options=(), qemu=(), boot=True, cmdline=""):
        self.scene = scene
        self.buffer = b""
        directory = kernel()
        if boot:
            initramfs = scene.path("initramfs")
            if not os.path.exists(initramfs):
                run(os.path.join(ROOT, "tests/qemu/make-initramfs"), directory, initramfs)
            qemu = ("-kernel", os.path.join(directory, "vmlinuz"), "-initrd", initramfs, "-append",
                    f"console=ttyS0 quiet loglevel=1 panic=-1 rdinit=/init {cmdline}", *qemu)
        self.log = open(scene.path("launch.log"), "ab")
        self.process = subprocess.Popen(
            [BRIQ_VM, "launch", *volumes, "--run-dir", scene.run_dir, "--vm", "vm", "--accel", "tcg",
             "--memory", "192M", *options, "--", "-no-reboot", "-nic", "none", *qemu],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, bufsize=0)
        try:
            if boot:
                self.read_until(b"@ready", BOOT_SECONDS)
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

    # ---- verbs -----------------------------------------------------------------------------------

    def words(self, verb, *arguments):
        return (BRIQ_VM, verb, *arguments, "--run-dir", self.scene.run_dir, "--vm", "vm")

    def briq_vm(self, verb, *arguments, code=0):
        """Runs a verb that must exit with `code`; returns what it said with --json."""
        return json.loads(run(*self.words(verb, *arguments, "--json"), code=code).stdout)

    def refused(self, code, verb, *arguments):
        """Runs a verb that must fail with `code`; returns the one line that it said."""
        said = run(*self.words(verb, *arguments), code=code).stderr
        if said.count("\n") != 1 or not said.startswith(f"briq-vm {verb}: "):
            raise Failed(f"{verb} did not say one line, but: {said}")
        return said.strip()
