#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 300
"""A volume becomes larger while a guest writes to it: the guest sees the new size, nothing it wrote
is lost, no request fails; and what cannot grow is refused before anything is touched."""
import json
import os
import signal
import sys
import unittest

sys.path.insert(0, os.path.join(os.environ["BRIQ_SOURCE"], "tests", "qemu", "lib"))
from vm import Deadline, MachineTest, run  # noqa: E402 (the path comes first)
from briqvm import process  # noqa: E402

MIB = 1 << 20


class VolumesGrow(MachineTest):
    options = ("--cpus", "2")

    def guest_mib(self, serial):
        return int(self.vm.sh(f"cat /sys/block/$(basename $(disk {serial}))/size")) // 2048

    def volume_bytes(self, path):
        return json.loads(run("briq", "info", "--json", path).stdout)["size"]

    def test_the_guest_writes_meanwhile(self):
        self.grow_under_load("busy", "serve")

    def test_the_guest_writes_meanwhile_to_nbdkit(self):
        self.grow_under_load("kitty", "nbdkit")

    def grow_under_load(self, name, server):
        path = self.scene.volume(f"{name}.briq", "32M")
        self.vm.briq_vm("attach", path, "--server", server)
        process_before = self.vm.server_pid(f"briq-{name}")
        # 24 MiB of numbered lines, over and over, each round flushed, until told to stop.
        self.vm.sh("yes 0123456789abcde | head -c 25165824 >/tmp/lines; touch /tmp/go")
        self.vm.sh(f"(while [ -e /tmp/go ]; do dd if=/tmp/lines of=$(disk {name}) bs=256k "
                   "conv=fsync,notrunc 2>/tmp/dd || exit 1; done) &")
        for size in (64, 96, 128):
            told = self.vm.briq_vm("resize", path, f"{size}M")
            self.assertEqual(told["size"], size * MIB)
            self.assertEqual(self.guest_mib(name), size)
            self.assertEqual(self.volume_bytes(path), size * MIB)
        self.assertEqual(self.vm.server_pid(f"briq-{name}") == process_before, server == "serve")
        self.vm.sh("rm /tmp/go; wait $!")
        self.vm.sh("echo 3 >/proc/sys/vm/drop_caches")
        self.assertEqual(self.vm.sh(f"head -c 25165824 $(disk {name}) | md5sum"),
                         self.vm.sh("md5sum </tmp/lines"))
        # The new end is there: it can be written and read back.
        self.vm.sh(f"echo the end | dd of=$(disk {name}) bs=512 seek=262143 conv=fsync 2>/dev/null")
        self.vm.sh(f"dd if=$(disk {name}) bs=512 skip=262143 2>/dev/null | grep -q 'the end'")
        self.vm.briq_vm("detach", path)
        run("briq", "check", "--deep", "--quiet", path)

    def test_an_idle_guest_sees_it_too(self):
        path = self.scene.volume("idle.briq", "32M")
        self.vm.briq_vm("attach", path)
        told = self.vm.briq_vm("resize", "idle", "+32M")
        self.assertEqual((told["before"], told["size"]), (32 * MIB, 64 * MIB))
        self.assertEqual(self.guest_mib("idle"), 64)
        self.assertEqual(self.vm.briq_vm("resize", "idle")["size"], 64 * MIB)
        self.vm.briq_vm("detach", path)

    def test_the_disk_that_it_boots_from(self):
        told = self.vm.briq_vm("resize", "root", "+64M")
        self.assertEqual(self.guest_mib("root"), told["size"] // MIB)

    def test_a_server_that_others_run(self):
        path = self.scene.volume("others.briq", "32M")
        pid_file = self.scene.path("others.pid")
        socket = self.scene.path("others.sock")
        self.serve(path, socket, pid_file)
        # Found by the volume's lock, though nobody said where it is served.
        self.assertFalse(self.vm.briq_vm("attach", path)["server_started"])
        said = self.vm.refused(5, "resize", path, "64M")
        self.assertIn("without SIZE", said)
        self.end(pid_file)
        run("briq", "resize", path, "64M")
        self.serve(path, socket, pid_file)
        self.assertEqual(self.vm.briq_vm("resize", path)["size"], 64 * MIB)
        self.assertEqual(self.guest_mib("others"), 64)
        self.vm.briq_vm("detach", path)
        self.end(pid_file)

    def serve(self, path, socket, pid_file):
        if os.path.exists(socket):
            os.unlink(socket)
        run("nbdkit", "-U", socket, "-P", pid_file, "briq", path)
        run("nbdinfo", "--size", f"nbd+unix:///?socket={socket}")

    def end(self, pid_file):
        """With SIGKILL: nbdkit would wait for its client, which is QEMU."""
        with open(pid_file, encoding="utf-8") as file:
            pid = int(file.read())
        self.assertTrue(process.stop(pid, process.start_time(pid), Deadline(60), signal.SIGKILL))

    def test_what_cannot_be_is_refused(self):
        path = self.scene.volume("refused.briq", "32M")
        self.vm.briq_vm("attach", path, "--reconnect", "0")
        server = self.vm.server_pid("briq-refused")
        self.assertIn("not shrink", self.vm.refused(5, "resize", path, "16M"))
        self.assertIn("multiple of 512", self.vm.refused(2, "resize", path, "33554433"))
        self.assertIn("is not a size", self.vm.refused(2, "resize", path, "lots"))
        self.assertIn("without reconnecting", self.vm.refused(5, "resize", path, "64M"))
        self.assertIn("no such disk", self.vm.refused(5, "resize", "nothing", "64M"))
        self.assertEqual(self.vm.server_pid("briq-refused"), server)
        self.assertEqual(self.guest_mib("refused"), 32)
        self.vm.briq_vm("detach", path)

    def test_a_volume_that_cannot_grow_is_served_on(self):
        path = self.scene.volume("served.briq", "32M")
        self.vm.briq_vm("attach", path)
        self.assertIn("briq resize", self.vm.refused(5, "resize", path, "7P"))
        self.assertEqual(self.guest_mib("served"), 32)
        self.vm.sh("dd if=/dev/zero of=$(disk served) bs=4k count=1 conv=fsync 2>/dev/null")
        self.vm.briq_vm("detach", path)


if __name__ == "__main__":
    unittest.main(verbosity=2)
