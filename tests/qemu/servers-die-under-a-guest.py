#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 300
"""A server that is killed under a guest: requests wait for the next one and then complete, a detach
does not wait, and who chose not to wait sees an error and nothing worse."""
import os
import signal
import sys
import unittest

sys.path.insert(0, os.path.join(os.environ["BRIQ_SOURCE"], "tests", "qemu", "lib"))
from vm import Deadline, MachineTest, run  # noqa: E402 (the path comes first)
from briqvm import process  # noqa: E402


class ServersDie(MachineTest):
    options = ("--cpus", "2")

    def attach(self, name, *options):
        path = self.scene.volume(name + ".briq")
        self.vm.briq_vm("attach", path, *options)
        return path

    def kill_server(self, disk_id):
        """With SIGKILL; the process is gone, and reaped by init, when this returns."""
        pid = self.vm.server_pid(disk_id)
        descriptor = os.pidfd_open(pid)
        os.kill(pid, signal.SIGKILL)
        process.wait(descriptor)
        os.close(descriptor)

    def serve_again(self, name, path):
        """A server at the same socket, as a service manager would start it."""
        directory = os.path.join(self.scene.run_dir, "vm")
        socket = os.path.join(directory, f"briq-{name}.sock")
        os.unlink(socket)
        pid_file = self.scene.path(f"{name}.again.pid")
        run("nbdkit", "-U", socket, "-P", pid_file, "briq", path, f"export={name}")
        run("nbdinfo", "--size", f"nbd+unix:///{name}?socket={socket}")
        with open(pid_file, encoding="utf-8") as file:
            pid = int(file.read())
        self.addCleanup(self.end, pid)

    def end(self, pid):
        descriptor = os.pidfd_open(pid)
        os.kill(pid, signal.SIGTERM)
        process.wait(descriptor)
        os.close(descriptor)

    def event(self, monitor, name):
        found = monitor.wait_event(lambda event, _: event == name, Deadline(60))
        self.assertIsNotNone(found, f"no {name}")
        return found

    # ---- the guest goes on -----------------------------------------------------------------------

    def test_requests_wait_for_the_next_server(self):
        path = self.attach("waits", "--reconnect", "3600")
        self.vm.sh("head -c 8000000 /dev/urandom >/tmp/data; md5sum </tmp/data >/tmp/sum")
        self.vm.sh("dd if=/tmp/data of=$(disk waits) 2>/dev/null")  # not flushed
        self.kill_server("briq-waits")
        # fsync must not return before there is a server, and must not fail.
        self.vm.sh("waiting_for waits dd if=/dev/zero of=$(disk waits) bs=4k seek=4096 count=1 "
                   "conv=fsync,notrunc")
        self.serve_again("waits", path)
        self.vm.sh("wait $!")
        self.vm.sh("echo 3 >/proc/sys/vm/drop_caches")
        self.assertEqual(self.vm.sh("head -c 8000000 $(disk waits) | md5sum"),
                         self.vm.sh("cat /tmp/sum"))
        self.assertEqual(self.vm.qmp("query-status")["status"], "running")
        self.vm.briq_vm("detach", "waits")

    # ---- the disk goes ---------------------------------------------------------------------------

    def test_detach_does_not_wait_for_a_dead_server(self):
        """QEMU would hold up its monitor for the whole hour on blockdev-del."""
        self.attach("dead", "--reconnect", "3600")
        self.kill_server("briq-dead")
        self.assertEqual(self.vm.briq_vm("detach", "dead")["result"], "detached")

    def test_detach_of_a_dead_server_without_reconnecting(self):
        self.attach("gone", "--reconnect", "0")
        self.kill_server("briq-gone")
        self.assertEqual(self.vm.briq_vm("detach", "gone")["result"], "detached")

    def test_force_frees_a_guest_that_waits_for_a_dead_server(self):
        self.attach("stuck", "--reconnect", "3600")
        self.kill_server("briq-stuck")
        self.vm.sh("waiting_for stuck dd if=$(disk stuck) of=/dev/null bs=4k count=1 skip=99")
        said = self.vm.refused(4, "detach", "stuck", "--timeout", "3")
        self.assertIn("--force", said)
        # The guest may have given it back in between, having been asked before.
        self.assertIn(self.vm.briq_vm("detach", "stuck", "--force", "--timeout", "60")["result"],
                      ("detached", "cleaned up"))
        self.vm.sh("wait")

    # ---- errors ----------------------------------------------------------------------------------

    def test_without_reconnecting_the_guest_sees_an_error(self):
        self.attach("error", "--reconnect", "0")
        self.kill_server("briq-error")
        said = self.vm.sh("dd if=$(disk error) of=/dev/null bs=4k count=1 skip=99 2>&1 || true")
        self.assertIn("error", said.lower())
        self.vm.briq_vm("detach", "error")

    def test_on_error_stop_pauses_and_goes_on(self):
        path = self.attach("pause", "--reconnect", "1", "--on-error", "stop")
        with self.vm.monitor() as monitor:
            self.kill_server("briq-pause")
            self.vm.send("dd if=/dev/zero of=$(disk pause) bs=4k count=1 conv=fsync 2>/dev/null")
            self.event(monitor, "STOP")
        self.assertEqual(self.vm.qmp("query-status")["status"], "io-error")
        self.assertIn("its server running again", self.vm.refused(5, "detach", "pause"))
        self.serve_again("pause", path)
        self.resume()
        self.assertEqual(self.vm.result()[1], 0)
        self.vm.briq_vm("detach", "pause")

    def resume(self):
        """QEMU tries to connect by itself, less and less often, up to every 16 seconds. Until it
        has, requests fail at once and stop the machine again."""
        with self.vm.monitor() as monitor:
            deadline = Deadline(60)
            while not deadline.passed():
                monitor.execute("cont")
                if not monitor.wait_event(lambda event, _: event == "STOP", deadline.at_most(2)):
                    return
                monitor.wait_event(lambda event, _: event == "RESET", deadline.at_most(0.5))
        self.fail("it stops again and again")


if __name__ == "__main__":
    unittest.main(verbosity=2)
