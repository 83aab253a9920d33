#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 1200
"""A Debian with systemd boots from a volume, over `-drive file=nbd:unix:` as people write it, with
nbdkit behind it and with `briq serve`: it reaches its multi-user target, and what was written and
synced is there after a reboot and after QEMU and the server were killed."""
import os
import signal
import sys
import unittest

sys.path.insert(0, os.path.join(os.environ["BRIQ_SOURCE"], "tests", "qemu", "lib"))
from debian import DebianTest, image  # noqa: E402 (the path comes first)
from vm import Scene  # noqa: E402


def program(pid):
    """Of a process, by its executable."""
    return os.path.basename(os.readlink(f"/proc/{pid}/exe"))


class DebianLives(DebianTest, unittest.TestCase):
    def test_it_keeps_its_files_on_nbdkit(self):
        self.live("nbdkit", "nbdkit")

    def test_it_keeps_its_files_on_briq_serve(self):
        self.live("serve", "briq")

    def live(self, kind, its_program):
        original = image()
        self.scene = Scene()
        self.addCleanup(self.scene.close)
        volume = self.scene.imported("debian.briq", original)
        options = ("--form", "drive", "--server", kind)

        vm = self.boot(volume, *options)
        self.assertIn("bookworm", vm.sh("cat /etc/os-release"))
        first = self.write(vm, "first")
        self.reboot(vm)
        self.assertEqual(vm.sh("sha256sum /root/first"), first)

        second = self.write(vm, "second")
        server = vm.server_pid("briq-debian")
        self.assertEqual(program(server), its_program)
        os.kill(vm.qemu_pid(), signal.SIGKILL)
        os.kill(server, signal.SIGKILL)
        vm.process.wait(60)
        vm = self.boot(volume, *options)
        self.assertEqual(vm.sh("sha256sum /root/first /root/second"), f"{first}\n{second}")
        self.power_off(vm)
        self.check(volume)


if __name__ == "__main__":
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    unittest.main(verbosity=2)
