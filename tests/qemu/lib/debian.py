# SPDX-License-Identifier: BSD-3-Clause
"""debian.py - what tests do with the Debian of tests/qemu/fetch-debian: boot it, write into it,
look at what it left."""
import os

from vm import Vm, cache, run, run_any, skip

BOOT_SECONDS = 300
CMDLINE = "rw systemd.unit=multi-user.target systemd.show_status=0 mitigations=off"


def image():
    """Its disk image, or the end of the test as skipped."""
    path = os.path.join(cache(), "debian.ext4")
    if not os.path.exists(path):
        skip(f"needs: {path}: make deps-qemu, as root")
    return path


class DebianTest:
    """To be derived from beside unittest.TestCase. self.scene is the test's own."""

    def boot(self, volume, *options, root="briq.root", programs=()):
        """A machine on the volume, up to its multi-user target."""
        vm = Vm(self.scene, volume, options=options, ready=False, cmdline=f"{root} {CMDLINE}",
                programs=programs)
        self.addCleanup(vm.close)
        self.wait_until_up(vm)
        return vm

    def wait_until_up(self, vm):
        vm.wait_until_ready(BOOT_SECONDS)
        vm.sh("systemctl is-system-running --wait || true", BOOT_SECONDS)
        self.assertEqual(vm.sh("systemctl is-active multi-user.target"), "active")
        failed = vm.sh("systemctl list-units --failed --no-legend --plain")
        self.assertEqual(failed, "", "units that failed")

    def reboot(self, vm):
        vm.send("systemctl reboot")
        self.wait_until_up(vm)

    def power_off(self, vm):
        vm.send("systemctl poweroff")
        self.assertEqual(vm.process.wait(BOOT_SECONDS), 0)

    def write(self, vm, name):
        """A file, synced; returns its checksum."""
        vm.sh(f"head -c 4000000 /dev/urandom >/root/{name} && sync")
        return vm.sh(f"sha256sum /root/{name}")

    def check(self, volume):
        """The volume and the file system on it are well."""
        run("briq", "check", "--quiet", volume)
        raw = self.scene.path("after.raw")
        run("briq", "export", "--quiet", volume, raw)
        done = run_any("e2fsck", "-fn", raw)
        self.assertEqual(done.returncode, 0, done.stdout)
