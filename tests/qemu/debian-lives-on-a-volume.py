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
from vm import Scene, Vm, cache, run, run_any, skip  # noqa: E402 (the path comes first)

BOOT_SECONDS = 300


def program(pid):
    """Of a process, by its executable."""
    return os.path.basename(os.readlink(f"/proc/{pid}/exe"))


class DebianLives(unittest.TestCase):
    def boot(self, server):
        """A machine on the volume, up to its multi-user target."""
        vm = Vm(self.scene, self.volume, options=("--form", "drive", "--server", server),
                ready=False, cmdline="briq.root rw systemd.unit=multi-user.target "
                "systemd.show_status=0 mitigations=off")
        self.addCleanup(vm.close)
        self.wait_until_up(vm)
        return vm

    def wait_until_up(self, vm):
        vm.wait_until_ready(BOOT_SECONDS)
        vm.sh("systemctl is-system-running --wait || true", BOOT_SECONDS)
        self.assertEqual(vm.sh("systemctl is-active multi-user.target"), "active")
        failed = vm.sh("systemctl list-units --failed --no-legend --plain")
        self.assertEqual(failed, "", "units that failed")

    def write(self, vm, name):
        """A file, synced; returns its checksum."""
        vm.sh(f"head -c 4000000 /dev/urandom >/root/{name} && sync")
        return vm.sh(f"sha256sum /root/{name}")

    def test_it_keeps_its_files_on_nbdkit(self):
        self.live("nbdkit")

    def test_it_keeps_its_files_on_briq_serve(self):
        self.live("serve")

    def live(self, kind):
        image = os.path.join(cache(), "debian.ext4")
        if not os.path.exists(image):
            skip(f"needs: {image}: make deps-guest, as root")
        self.scene = Scene()
        self.addCleanup(self.scene.close)
        self.volume = self.scene.imported("debian.briq", image)

        vm = self.boot(kind)
        self.assertIn("bookworm", vm.sh("cat /etc/os-release"))
        first = self.write(vm, "first")
        vm.send("systemctl reboot")
        self.wait_until_up(vm)
        self.assertEqual(vm.sh("sha256sum /root/first"), first)

        second = self.write(vm, "second")
        server = vm.server_pid("briq-debian")
        self.assertEqual(program(server), "nbdkit" if kind == "nbdkit" else "briq")
        os.kill(vm.qemu_pid(), signal.SIGKILL)
        os.kill(server, signal.SIGKILL)
        vm.process.wait(60)
        vm = self.boot(kind)
        self.assertEqual(vm.sh("sha256sum /root/first /root/second"), f"{first}\n{second}")
        vm.send("systemctl poweroff")
        self.assertEqual(vm.process.wait(BOOT_SECONDS), 0)
        self.check()

    def check(self):
        """The volume and the file system on it are well."""
        run("briq", "check", "--quiet", self.volume)
        raw = self.scene.path("after.raw")
        run("briq", "export", "--quiet", self.volume, raw)
        done = run_any("e2fsck", "-fn", raw)
        self.assertEqual(done.returncode, 0, done.stdout)


if __name__ == "__main__":
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    unittest.main(verbosity=2)
