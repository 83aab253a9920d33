#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 300
"""Machines whose guest has no system, or none yet, or another kind of hot-plug; monitors that are
busy, gone or something else; machines that briq-vm did not launch. All of it ends in time, with the
exit code that says what it was."""
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.environ["BRIQ_SOURCE"], "tests", "qemu", "lib"))
from vm import BRIQ_VM, Deadline, MachineTest, Scene, Vm, run  # noqa: E402 (the path comes first)
from briqvm import process  # noqa: E402


def server_pid(folder, disk_id):
    """Of the server that was started for a disk of the machine with this directory."""
    with open(os.path.join(folder, disk_id + ".json"), encoding="utf-8") as file:
        return json.load(file)["server"]["pid"]


class NoSystem(MachineTest):
    """The firmware finds nothing to boot."""

    boot = False
    options = ("--console", "none")

    def test_a_disk_that_no_guest_takes(self):
        path = self.scene.volume("late.briq")
        said = self.vm.refused(4, "attach", path, "--timeout", "1")
        self.assertIn("did not take the disk", said)
        # Without a guest nothing can be taken out again: all of it stays, and works.
        self.assertIn("briq-late", self.vm.inventory()["devices"])
        self.assertIn("attached already", self.vm.refused(5, "attach", path))
        self.assertIn("did not give", self.vm.refused(4, "detach", path, "--timeout", "1"))
        # The node is not pulled from under a device that is still there.
        self.assertIn("briq-late", self.vm.inventory()["nodes"])
        self.vm.qmp("system_reset")  # an unplug that was asked for happens at a reset
        self.assertIn(self.vm.briq_vm("detach", path)["result"], ("detached", "cleaned up"))

    def test_a_port_is_taken_before_the_firmware_knows(self):
        """query-pci shows every port as free until the firmware has numbered the buses."""
        first, second = self.scene.volume("first.briq"), self.scene.volume("second.briq")
        self.vm.qmp("system_reset")
        buses = [self.vm.briq_vm("attach", path, "--no-wait")["bus"] for path in (first, second)]
        self.assertEqual(len({"briq-port0", *buses}), 3)
        for path in (first, second):
            self.vm.refused(4, "detach", path, "--timeout", "1")
        self.vm.qmp("system_reset")
        for path in (first, second):
            self.vm.briq_vm("detach", path)

    def test_a_monitor_with_another_client(self):
        with self.vm.monitor():
            self.assertIn("another program", self.vm.refused(3, "list"))
        self.vm.briq_vm("list")


class SystemComesLater(unittest.TestCase):
    """A request to unplug that comes before the guest's system is lost, and must be repeated."""

    def test_detach_while_it_boots(self):
        scene = Scene()
        self.addCleanup(scene.close)
        path = scene.volume("early.briq")
        with Vm(scene, scene.volume("root.briq"), ready=False) as vm:
            vm.wait_for_monitor()
            vm.briq_vm("attach", path, "--no-wait")
            self.assertEqual(vm.briq_vm("detach", path, "--timeout", "100")["result"], "detached")
            vm.wait_until_ready()
            self.assertEqual(vm.sh("disk early || echo none"), "none")


class OtherHotplug(MachineTest):
    """PCI Express's own hot-plug, which takes its time and refuses a second request meanwhile."""

    qemu = ("-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off")

    def test_attach_and_detach_at_once(self):
        path = self.scene.volume("native.briq")
        self.vm.briq_vm("attach", path, "--timeout", "60")
        self.vm.sh("dd if=/dev/zero of=$(disk native) bs=4k count=1 conv=fsync 2>/dev/null")
        self.assertEqual(self.vm.briq_vm("detach", path, "--timeout", "60")["result"], "detached")


class OtherHotplugWithoutSystem(MachineTest):
    """There a port gives its device back at once when no guest's driver has it."""

    boot = False
    options = ("--console", "none")
    qemu = OtherHotplug.qemu

    def test_detach_needs_no_guest(self):
        path = self.scene.volume("early.briq")
        self.vm.briq_vm("attach", path, "--no-wait")
        self.assertEqual(self.vm.briq_vm("detach", path)["result"], "detached")


class ForeignTest(unittest.TestCase):
    """A QEMU that somebody else started, known by the socket of its monitor."""

    machine = "pc"

    def setUp(self):
        self.scene = Scene()
        self.addCleanup(self.scene.close)
        self.socket = self.scene.path("foreign.qmp")
        listening = socket.socket(socket.AF_UNIX)
        with listening:
            listening.bind(self.socket)
            listening.listen()
            # QEMU takes over a socket that listens already: there is nothing to wait for.
            self.qemu = subprocess.Popen(
                ["qemu-system-x86_64", "-M", f"{self.machine},accel=tcg", "-m", "64",
                 "-nodefaults", "-display", "none", "-chardev",
                 f"socket,id=m,fd={listening.fileno()},server=on,wait=off",
                 "-mon", "chardev=m,mode=control"], pass_fds=[listening.fileno()])
        self.addCleanup(self.qemu.wait, 60)
        self.addCleanup(self.qemu.kill)

    def briq_vm(self, *words, code=0, text=False):
        words = [*words, "--qmp", self.socket, "--run-dir", self.scene.run_dir]
        return run(BRIQ_VM, *words, *([] if text else ["--json"]), code=code)


class ForeignMachine(ForeignTest):
    """An old PC, whose root bus takes devices itself."""

    def test_a_disk_for_it(self):
        path = self.scene.volume("data.briq")
        told = json.loads(self.briq_vm("attach", path, "--no-wait").stdout)
        self.assertEqual(told["bus"], "pci.0")
        listed = json.loads(self.briq_vm("list").stdout)["disks"]
        self.assertEqual([disk["id"] for disk in listed], ["briq-data"])
        self.briq_vm("detach", path, "--timeout", "1", code=4)
        server = self.revived()
        self.qemu.kill()
        self.qemu.wait()
        self.assertIn("is it running?", self.briq_vm("list", code=3).stderr)
        os.kill(server, 15)
        subprocess.run(["tail", f"--pid={server}", "-f", "/dev/null"], check=True, timeout=60)

    def revived(self):
        """Nobody supervises a machine that launch did not start. Returns the new server's
        process."""
        dead = self.server_pid()
        self.assertTrue(process.stop(dead, process.start_time(dead), Deadline(60), signal.SIGKILL))
        self.assertIn("no server", self.briq_vm("list", text=True).stdout)
        told = json.loads(self.briq_vm("revive").stdout)["disks"]
        self.assertEqual([disk["id"] for disk in told], ["briq-data"])
        self.assertNotEqual(told[0]["pid"], dead)
        self.assertEqual(told[0]["pid"], self.server_pid())
        self.assertNotIn("no server", self.briq_vm("list", text=True).stdout)
        return self.server_pid()

    def server_pid(self):
        folder = os.path.join(self.scene.run_dir, os.listdir(self.scene.run_dir)[0])
        return server_pid(folder, "briq-data")


class NoPlaceForADisk(ForeignTest):
    """QEMU would say that its bus does not support hotplugging, after the node was added."""

    machine = "q35"

    def test_it_is_refused_before_anything_is_done(self):
        path = self.scene.volume("data.briq")
        said = self.briq_vm("attach", path, "--no-wait", code=5).stderr
        self.assertIn("no free hot-plug port: it was started without any", said)
        self.assertEqual(json.loads(self.briq_vm("list").stdout)["disks"], [])
        self.assertIsNone(json.loads(run("briq", "info", "--json", path).stdout)["owner"])


class NoBusForADisk(NoPlaceForADisk):
    machine = "microvm"


class NoMonitor(unittest.TestCase):
    """What is not a machine."""

    def setUp(self):
        self.scene = Scene()
        self.addCleanup(self.scene.close)

    def said(self, code, *words):
        said = run(BRIQ_VM, *words, "--run-dir", self.scene.run_dir, code=code).stderr
        self.assertEqual(said.count("\n"), 1, said)
        return said

    def test_nothing_listens(self):
        path = self.scene.path("none.qmp")
        self.assertIn("is it running?", self.said(3, "list", "--qmp", path))
        self.assertIn("no machine runs", self.said(2, "list"))

    def test_something_else_listens(self):
        path = self.scene.path("else.sock")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            thread = threading.Thread(target=self.greet, args=(listener,))
            thread.start()
            self.assertIn("not a QEMU monitor", self.said(3, "list", "--qmp", path))
            thread.join()

    def greet(self, listener):
        client, _ = listener.accept()
        with client:
            client.sendall(b"220 mail is here\n")

    def test_mistakes_are_one_line(self):
        self.said(2, "launch")
        self.said(2, "list", "--what")
        self.said(2, "attach")
        self.said(2, "list", "--timeout", "soon")
        self.said(2, "launch", self.scene.volume("a.briq"), "--print", "--ports", "99")
        self.said(2, "launch", self.scene.volume("b.briq"), "--print", "--vm", "a/b")
        self.said(5, "launch", "/nonexistent.briq")

    def test_in_the_background(self):
        path = self.scene.volume("root.briq")
        seed = self.scene.path("seed.iso")
        with open(seed, "wb") as file:
            file.truncate(1 << 20)
        launch = ["launch", path, "--run-dir", self.scene.run_dir, "--accel", "tcg", "--daemon"]
        run(BRIQ_VM, *launch, "--small", seed, "--", "-m", "64")
        listed = run(BRIQ_VM, "list", "--json", "--run-dir", self.scene.run_dir).stdout
        self.assertEqual([(disk["id"], disk["read_only"], disk["iothread"])
                          for disk in json.loads(listed)["disks"]],
                         [("briq-root", False, "briq-root"), ("briq-seed.iso", True, None)])
        self.assertIn("running already", self.said(5, *launch[:2], "--daemon"))
        folder = os.path.join(self.scene.run_dir, "root")
        self.kill_server(folder)
        lock = os.path.join(folder, "lock")
        with open(os.path.join(folder, "qemu.pid"), encoding="utf-8") as file:
            os.kill(int(file.read()), 9)
        # Whoever stayed behind holds the lock until everything is taken away.
        subprocess.run(["flock", lock, "true"], check=True, timeout=60)
        self.assertIsNone(json.loads(run("briq", "info", "--json", path).stdout)["owner"])

    def kill_server(self, folder):
        """Whoever stayed behind starts it again, and keeps a log. Returns when that is written."""
        pid = server_pid(folder, "briq-root")
        self.assertTrue(process.stop(pid, process.start_time(pid), Deadline(60), signal.SIGKILL))
        deadline, said = Deadline(60), ""
        while f"process {pid}, had ended" not in said:
            deadline.check(f"process {pid} got no successor; launch.log: {said}")
            with contextlib.suppress(FileNotFoundError), \
                    open(os.path.join(folder, "launch.log"), encoding="utf-8") as file:
                said = file.read()
        self.assertNotEqual(server_pid(folder, "briq-root"), pid)

    def test_qemu_that_does_not_start_leaves_nothing(self):
        path = self.scene.volume("root.briq")
        done = run(BRIQ_VM, "launch", path, "--run-dir", self.scene.run_dir, "--accel", "tcg", "--",
                   "-no-such-option", code=5)
        self.assertIn("QEMU ended with exit 1", done.stderr)
        self.assertEqual(os.listdir(self.scene.run_dir), [])
        self.assertIsNone(json.loads(run("briq", "info", "--json", path).stdout)["owner"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
