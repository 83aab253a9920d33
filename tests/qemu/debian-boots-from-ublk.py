#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 1200
"""A Debian with systemd has its root on a ublk device: `briq ublk add` in the guest's initramfs
serves the volume on a disk as /dev/ublkb0. It reaches its multi-user target, the server outlives
the change of the root and the end of all processes at a reboot, and what was written and synced is
there after the reboot and after the power failed: QEMU is killed together with the server of its
disk, which keeps in its memory what no flush had sent on."""
import os
import signal
import sys
import unittest

sys.path.insert(0, os.path.join(os.environ["BRIQ_SOURCE"], "tests", "qemu", "lib"))
from debian import DebianTest, image  # noqa: E402 (the path comes first)
from vm import Deadline, Failed, Scene, run  # noqa: E402
from briqvm import process  # noqa: E402

DISK_BYTES = 1200 << 20  # the volume and room for it to grow


class DebianBootsFromUblk(DebianTest, unittest.TestCase):
    def setUp(self):
        original = image()
        self.scene = Scene()
        self.addCleanup(self.scene.close)
        self.volume = self.scene.imported("debian.briq", original)
        os.truncate(self.volume, DISK_BYTES)
        self.socket = self.scene.path("disk.sock")
        self.addCleanup(lambda: os.path.exists(self.socket) and self.cut_disk())

    def serve_disk(self):
        run("nbdkit", "-U", self.socket, "-P", self.scene.path("disk.pid"), "--filter=cache",
            "file", self.volume, "cache=writeback", "cache-min-block-size=4096")

    def disk_pid(self):
        with open(self.scene.path("disk.pid"), encoding="utf-8") as file:
            return int(file.read())

    def cut_disk(self):
        """Kills the server of the disk, and with it what was not flushed."""
        pid = self.disk_pid()
        self.assertTrue(process.stop(pid, process.start_time(pid), Deadline(60), signal.SIGKILL))
        os.unlink(self.socket)

    def wait_until_up(self, vm):
        try:
            super().wait_until_up(vm)
        except Failed as error:
            # By the shell alone: if the root is gone there is no other program.
            vm.send("while read -r said; do echo \"$said\"; done </run/ublk.log")
            disk = "lives" if process.start_time(self.disk_pid()) else "has ended"
            raise Failed(f"{error}; the server of the root said: {vm.result()[0]}; the one of its "
                         f"disk {disk}") from error

    def boot_from_ublk(self):
        self.serve_disk()
        vm = self.boot(f"nbd:unix:{self.socket}", "--memory", "512M", root="briq.ublk",
                       programs=("briq",))
        self.assertEqual(vm.sh("findmnt -n -o SOURCE /"), "/dev/ublkb0")
        self.assertEqual(vm.sh("cat /sys/block/ublkb0/ro /sys/block/ublkb0/size").split(),
                         ["0", str(os.path.getsize(image()) // 512)])
        return vm

    def test_it_keeps_its_files(self):
        vm = self.boot_from_ublk()
        first = self.write(vm, "first")
        self.reboot(vm)
        self.assertEqual(vm.sh("sha256sum /root/first"), first)

        second = self.write(vm, "second")
        os.kill(vm.qemu_pid(), signal.SIGKILL)
        vm.process.wait(60)
        self.cut_disk()
        vm = self.boot_from_ublk()
        self.assertEqual(vm.sh("sha256sum /root/first /root/second"), f"{first}\n{second}")
        self.power_off(vm)
        # Nothing that matters was left unflushed by a guest that powered off by itself.
        self.cut_disk()
        self.check(self.volume)


if __name__ == "__main__":
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    unittest.main(verbosity=2)
