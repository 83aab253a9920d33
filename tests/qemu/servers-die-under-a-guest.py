#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 900
"""A server that is killed under a guest is started again: under load the guest sees a pause and no
error, and every byte is there, flushed or not. Where it cannot be started, requests wait for it, a
detach does not, and who chose not to wait sees an error and nothing worse."""
import os
import re
import signal
import sys
import unittest

sys.path.insert(0, os.path.join(os.environ["BRIQ_SOURCE"], "tests", "qemu", "lib"))
from vm import Deadline, MachineTest, run, run_any  # noqa: E402 (the path comes first)
from briqvm import process  # noqa: E402

KILLS = 3
LOAD_SECONDS = 300  # software emulation, on a machine that may be busy


class KillTest(MachineTest):
    """Servers that are killed, and some that stay dead because their volume has gone."""

    def attach(self, name, *options):
        path = self.scene.volume(name + ".briq")
        self.vm.briq_vm("attach", path, *options)
        return path

    def kill_server(self, disk_id):
        """With SIGKILL; the process is gone, and reaped by init, when this returns. Returns its
        number."""
        pid = self.vm.server_pid(disk_id)
        descriptor = os.pidfd_open(pid)
        os.kill(pid, signal.SIGKILL)
        process.wait(descriptor)
        os.close(descriptor)
        return pid

    def next_server(self, disk_id, before):
        """Waits until launch has put another in the place of process `before`."""
        deadline = Deadline(60)
        while self.vm.server_pid(disk_id) == before:
            deadline.check(f"no other server for {disk_id}")

    def kill_for_good(self, name, path):
        """Kills the server and takes the volume away, so that no other can be started."""
        self.take_away(path)
        return self.kill_server("briq-" + name)

    def take_away(self, path):
        os.rename(path, path + ".away")
        self.addCleanup(lambda: os.path.exists(path) or self.give_back(path))

    def give_back(self, path):
        os.rename(path + ".away", path)

    def launch_said(self):
        with open(self.scene.path("launch.log"), encoding="utf-8") as file:
            return file.read()

    def event(self, monitor, name):
        found = monitor.wait_event(lambda event, _: event == name, Deadline(60))
        self.assertIsNotNone(found, f"no {name}")
        return found


class LoadGoesOn(KillTest):
    """What the guest does while its server is killed, again and again."""

    options = ("--memory", "512M")
    programs = ("fio",)

    def kill_under_load(self, name, writes, stop="true"):
        """Each time when the load has done so many writes more. stop: a command that ends it."""
        pids = set()
        for _ in range(KILLS):
            self.vm.sh(f"more_writes {name} {writes} $load", LOAD_SECONDS)
            pid = self.kill_server("briq-" + name)
            self.next_server("briq-" + name, pid)
            pids.add(pid)
        self.assertEqual(len(pids), KILLS)
        self.vm.sh(f"{stop}; wait $load", LOAD_SECONDS)
        for pid in pids:
            self.assertIn(f"briq-{name}: its server, process {pid}, had ended", self.launch_said())

    def nothing_was_noticed(self):
        said = self.vm.sh("dmesg | grep -E 'I/O error|EXT4-fs (error|warning)' || true")
        self.assertEqual(said, "")
        self.assertEqual(self.vm.qmp("query-status")["status"], "running")

    # ---- fio -------------------------------------------------------------------------------------

    def test_fio_verifies_every_block_on_nbdkit(self):
        self.verify_under_kills("fio-nbdkit", "nbdkit")

    def test_fio_verifies_every_block_on_briq_serve(self):
        self.verify_under_kills("fio-serve", "serve")

    def verify_under_kills(self, name, server):
        """Written, read back soon after, and all of it once more in the end."""
        path = self.attach(name, "--server", server, "--reconnect", "3600")
        self.vm.sh("fio --name=verify --filename=$(disk " + name + ") --rw=randwrite --bs=4k "
                   "--size=64M --ioengine=libaio --direct=1 --iodepth=16 --fsync=256 "
                   "--verify=crc32c --verify_fatal=1 --verify_backlog=256 >/tmp/fio.out 2>&1 & "
                   "load=$!")
        self.kill_under_load(name, 1000)
        self.vm.sh("fio --name=verify --filename=$(disk " + name + ") --rw=randwrite --bs=4k "
                   "--size=64M --ioengine=libaio --direct=1 --iodepth=16 --verify=crc32c "
                   "--verify_fatal=1 --verify_only >/tmp/fio.out 2>&1", LOAD_SECONDS)
        self.nothing_was_noticed()
        self.vm.briq_vm("detach", name)
        run("briq", "check", "--deep", "--quiet", path)

    # ---- a file system ---------------------------------------------------------------------------

    def test_a_file_system_loses_nothing_on_nbdkit(self):
        self.file_system_under_kills("fs-nbdkit", "nbdkit")

    def test_a_file_system_loses_nothing_on_briq_serve(self):
        self.file_system_under_kills("fs-serve", "serve")

    def file_system_under_kills(self, name, server):
        path = self.formatted(name)
        self.vm.briq_vm("attach", path, "--server", server, "--reconnect", "3600")
        self.kill_with_unflushed_writes(name)
        self.vm.sh("mount -o remount,barrier=1 /mnt")
        self.vm.sh("mkdir /tmp/sums; touch /tmp/go")
        self.vm.sh("(i=0; while [ -e /tmp/go ]; do i=$((i + 1)); f=/mnt/load.$((i % 50)); "
                   "head -c 60000 /dev/urandom >$f && sync && md5sum $f >/tmp/sums/$((i % 50)) || "
                   "exit 1; done) & load=$!")
        self.kill_under_load(name, 200, stop="rm /tmp/go")
        self.forget_caches()
        self.vm.sh("cat /tmp/sums/* | md5sum -c >/tmp/checked || { cat /tmp/checked; false; }")
        self.vm.sh("umount /mnt; rm -r /tmp/sums")
        self.nothing_was_noticed()
        self.vm.briq_vm("detach", name)
        self.check(path)

    def formatted(self, name):
        """A volume with an empty ext4."""
        image = self.scene.path(name + ".raw")
        with open(image, "wb") as file:
            file.truncate(64 << 20)
        run("mke2fs", "-q", "-t", "ext4", image)
        return self.scene.imported(name + ".briq", image)

    def kill_with_unflushed_writes(self, name):
        """Without barriers a file system writes everything out, and never sends a flush."""
        self.vm.sh(f"mount -t ext4 -o nobarrier $(disk {name}) /mnt")
        flushes = self.flushes("briq-" + name)
        self.vm.sh("i=0; while [ $i -lt 60 ]; do i=$((i + 1)); "
                   "head -c 100000 /dev/urandom >/mnt/file.$i || break; done; sync")
        wrote = self.vm.sh("cat /mnt/file.* | md5sum")
        pid = self.kill_server("briq-" + name)
        self.assertEqual(self.flushes("briq-" + name), flushes)
        self.next_server("briq-" + name, pid)
        self.forget_caches()
        self.assertEqual(self.vm.sh("cat /mnt/file.* | md5sum"), wrote)
        self.assertEqual(self.vm.sh("ls /mnt | grep -c file"), "60")

    def flushes(self, disk_id):
        """That QEMU has sent to the server of a disk."""
        for entry in self.vm.qmp("query-blockstats"):
            if f"/{disk_id}/" in entry["qdev"]:
                return entry["stats"]["flush_operations"]
        self.fail(f"no {disk_id}")

    def forget_caches(self):
        self.vm.sh("sync; echo 3 >/proc/sys/vm/drop_caches")

    def check(self, path):
        """The volume and the file system on it are well."""
        run("briq", "check", "--deep", "--quiet", path)
        raw = self.scene.path("after.raw")
        run("briq", "export", "--quiet", "--force", path, raw)
        done = run_any("e2fsck", "-fn", raw)
        self.assertEqual(done.returncode, 0, done.stdout)


class ServersStayDead(KillTest):
    options = ("--cpus", "2")

    # ---- the guest goes on -----------------------------------------------------------------------

    def test_requests_wait_until_there_can_be_a_server(self):
        path = self.attach("waits", "--reconnect", "3600")
        self.vm.sh("head -c 8000000 /dev/urandom >/tmp/data; md5sum </tmp/data >/tmp/sum")
        self.vm.sh("dd if=/tmp/data of=$(disk waits) 2>/dev/null")  # not flushed
        pid = self.kill_for_good("waits", path)
        # fsync must not return before there is a server, and must not fail.
        self.vm.sh("waiting_for waits dd if=/dev/zero of=$(disk waits) bs=4k seek=4096 count=1 "
                   "conv=fsync,notrunc")
        listed = {disk["id"]: disk for disk in self.vm.briq_vm("list")["disks"]}["briq-waits"]
        self.assertEqual((listed["server"]["pid"], listed["server"]["alive"]), (pid, False))
        self.assertIn("briq-waits: its server, process", self.doctor_said())
        self.give_back(path)
        self.vm.sh("wait $!")
        self.vm.sh("echo 3 >/proc/sys/vm/drop_caches")
        self.assertEqual(self.vm.sh("head -c 8000000 $(disk waits) | md5sum"),
                         self.vm.sh("cat /tmp/sum"))
        self.assertEqual(self.vm.qmp("query-status")["status"], "running")
        self.assertRegex(self.launch_said(), "briq-waits: .* cannot be started again.*not exist")
        self.vm.briq_vm("detach", "waits")

    def doctor_said(self):
        return run(*self.vm.words("doctor"), code=1).stdout

    def test_revive_does_not_wait_for_the_next_try(self):
        path = self.attach("soon", "--reconnect", "3600")
        pid = self.kill_for_good("soon", path)
        self.assertIn("does not exist", self.vm.refused(5, "revive", "soon"))
        self.give_back(path)
        told = self.vm.briq_vm("revive", "soon")["disks"][0]
        self.assertNotIn(told["pid"], (None, pid))
        self.assertEqual(told["pid"], self.vm.server_pid("briq-soon"))
        self.assertEqual(self.vm.briq_vm("revive")["disks"][-1]["pid"], told["pid"])
        self.vm.sh("dd if=$(disk soon) of=/dev/null bs=4k count=1 skip=99 2>/dev/null")
        self.vm.briq_vm("detach", "soon")

    def test_what_was_in_memory_is_not_replaced_by_nothing(self):
        self.vm.briq_vm("attach", "mem:16M", "--reconnect", "3600")
        self.kill_server("briq-mem")
        self.assertIn("is lost", self.vm.refused(5, "revive", "mem"))
        self.assertEqual(self.vm.briq_vm("detach", "mem", "--force")["result"], "detached")
        self.assertEqual(len(re.findall("briq-mem: .* is lost", self.launch_said())), 1)

    # ---- the disk goes ---------------------------------------------------------------------------

    def test_detach_does_not_wait_for_a_dead_server(self):
        """QEMU would hold up its monitor for the whole hour on blockdev-del."""
        self.kill_for_good("dead", self.attach("dead", "--reconnect", "3600"))
        self.assertEqual(self.vm.briq_vm("detach", "dead")["result"], "detached")

    def test_detach_of_a_dead_server_without_reconnecting(self):
        self.attach("gone", "--reconnect", "0")
        self.kill_server("briq-gone")
        self.assertEqual(self.vm.briq_vm("detach", "gone")["result"], "detached")

    def test_force_frees_a_guest_that_waits_for_a_dead_server(self):
        self.kill_for_good("stuck", self.attach("stuck", "--reconnect", "3600"))
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
            self.kill_for_good("pause", path)
            self.vm.send("dd if=/dev/zero of=$(disk pause) bs=4k count=1 conv=fsync 2>/dev/null")
            self.event(monitor, "STOP")
        self.assertEqual(self.vm.qmp("query-status")["status"], "io-error")
        self.assertIn("briq-vm revive", self.vm.refused(5, "detach", "pause"))
        self.give_back(path)
        told = self.vm.briq_vm("revive", "--timeout", "60")
        self.assertEqual((told["resumed"], told["status"]), (True, "running"))
        self.assertEqual(self.vm.result()[1], 0)
        self.vm.briq_vm("detach", "pause")


if __name__ == "__main__":
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    unittest.main(verbosity=2)
