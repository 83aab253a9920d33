#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 300
"""Disks are attached to and detached from a guest that runs, any number of times, and nothing stays
behind: not in QEMU, not of servers, not in the file system. What cannot be is refused in one
line."""
import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.environ["BRIQ_SOURCE"], "tests", "qemu", "lib"))
from vm import MachineTest, run  # noqa: E402 (the path comes first)

ROUNDS = 50


class DisksComeAndGo(MachineTest):
    options = ("--cpus", "2", "--ports", "2")

    def test_a_disk_holds_what_the_guest_writes(self):
        data = self.scene.volume("data.briq", "32M")
        told = self.vm.briq_vm("attach", data)
        self.assertEqual((told["id"], told["size"]), ("briq-data", 32 << 20))
        self.vm.sh("head -c 1000000 /dev/urandom >/tmp/data")
        self.vm.sh("dd if=/tmp/data of=$(disk data) conv=fsync 2>/dev/null")
        wrote = self.vm.sh("md5sum </tmp/data")
        self.vm.briq_vm("detach", data)
        self.assertEqual(self.vm.sh("disk data || echo none"), "none")
        self.vm.briq_vm("attach", data)
        self.assertEqual(self.vm.sh("head -c 1000000 $(disk data) | md5sum"), wrote)
        self.vm.briq_vm("detach", "data")

    def test_the_guest_sees_the_tuning(self):
        self.vm.briq_vm("attach", self.scene.volume("tuned.briq"))
        device = self.vm.sh("basename $(disk tuned)")
        facts = self.vm.sh(f"cd /sys/block/{device}; cat queue/physical_block_size "
                           "queue/discard_granularity queue/write_cache; ls mq | wc -l; cd /")
        self.assertEqual(facts.split("\n"), ["4096", "4096", "write back", "2"])
        listed = {disk["id"]: disk for disk in self.vm.briq_vm("list")["disks"]}["briq-tuned"]
        self.assertEqual((listed["queues"], listed["iothread"], listed["serial"]),
                         (2, "briq-tuned", "tuned"))
        about = [item["about"] for item in self.doctor()]
        self.assertNotIn("briq-tuned", about)
        self.vm.briq_vm("detach", "briq-tuned")

    def doctor(self):
        """Findings, whether or not there are any: the host may have small socket buffers."""
        done = subprocess.run(self.vm.words("doctor", "--json"), capture_output=True, check=False)
        self.assertIn(done.returncode, (0, 1))
        return json.loads(done.stdout)["findings"]

    def test_doctor_names_what_an_untuned_disk_lacks(self):
        self.vm.briq_vm("attach", self.scene.volume("slow.briq"), "--untuned", "--queues", "1")
        text = " ".join(f"{item['finding']} {item['advice']}" for item in self.doctor()
                        if item["about"] == "briq-slow")
        for word in ("iothread", "discard=unmap", "physical_block_size", "reconnect-delay"):
            self.assertIn(word, text)
        self.vm.briq_vm("detach", "briq-slow")

    def test_discards_of_the_guest_reach_the_volume(self):
        data = self.scene.volume("trim.briq", "32M")
        self.vm.briq_vm("attach", data)
        self.vm.sh("yes | head -c 16000000 | dd of=$(disk trim) bs=64k conv=fsync 2>/dev/null")
        self.assertGreater(self.zero_share(), 0.4)
        self.vm.sh("blkdiscard $(disk trim)")
        self.assertEqual(self.zero_share(), 1)
        self.vm.briq_vm("detach", data)

    def zero_share(self):
        """How much of the disk trim is holes, by its server's own word."""
        socket = os.path.join(self.scene.run_dir, "vm", "briq-trim.sock")
        extents = json.loads(run("nbdinfo", "--map", "--json",
                                 f"nbd+unix:///trim?socket={socket}").stdout)
        return (sum(e["length"] for e in extents if e["type"] & 1)
                / sum(e["length"] for e in extents))

    def test_fifty_rounds_leave_nothing_behind(self):
        data = self.scene.volume("round.briq")
        qemu = self.vm.qemu_pid()
        for number in range(ROUNDS):
            self.vm.briq_vm("attach", data)
            if number % 10 == 0:
                self.vm.sh("dd if=/dev/zero of=$(disk round) bs=4k count=4 conv=fsync 2>/dev/null")
            self.vm.briq_vm("detach", data)
            self.assertEqual(self.vm.inventory(), self.before, f"after round {number}")
            if number == 0:
                files = len(os.listdir(f"/proc/{qemu}/fd"))
                threads = len(os.listdir(f"/proc/{qemu}/task"))
        self.assertLessEqual(len(os.listdir(f"/proc/{qemu}/fd")), files, "files of QEMU")
        # QEMU's pool of worker threads breathes; one thread a round would be 50.
        self.assertLess(len(os.listdir(f"/proc/{qemu}/task")), threads + 10, "threads of QEMU")

    # ---- refused ---------------------------------------------------------------------------------

    def test_a_volume_is_not_attached_twice(self):
        data = self.scene.volume("once.briq")
        self.vm.briq_vm("attach", data)
        told = self.vm.inventory()
        self.assertIn("attached already", self.vm.refused(5, "attach", data))
        self.assertIn("attached already", self.vm.refused(5, "attach", data, "--id", "other"))
        socket = os.path.join(self.scene.run_dir, "vm", "briq-once.sock")
        self.assertIn("attached already",
                      self.vm.refused(5, "attach", f"nbd:unix:{socket}:exportname=once"))
        other = self.scene.volume("other.briq")
        self.assertIn("--id", self.vm.refused(5, "attach", other, "--id", "once"))
        self.assertEqual(self.vm.inventory(), told)
        self.vm.briq_vm("detach", data)

    def test_a_full_machine_says_so(self):
        names = ["first.briq", "second.briq", "third.briq"]
        volumes = [self.scene.volume(name) for name in names]
        buses = [self.vm.briq_vm("attach", volume)["bus"] for volume in volumes[:2]]
        self.assertEqual(len(set(buses)), 2)
        said = self.vm.refused(5, "attach", volumes[2])
        self.assertIn("no free hot-plug port: all 3 are taken", said)
        for volume in volumes[:2]:
            self.vm.briq_vm("detach", volume)

    def test_too_many_queues_do_not_kill_the_guest(self):
        data = self.scene.volume("queues.briq")
        for count in ("1025", "5000", "-1"):
            self.assertIn("--queues", self.vm.refused(2, "attach", data, "--queues", count))
        self.assertIn("--queue-size", self.vm.refused(2, "attach", data, "--queue-size", "100"))
        self.vm.briq_vm("attach", data, "--queues", "1", "--queue-size", "1024")
        self.assertEqual(self.vm.sh("ls /sys/block/$(basename $(disk queues))/mq | wc -l"), "1")
        self.vm.briq_vm("detach", data)

    def test_what_qemu_refuses_is_undone(self):
        """The device is the last step: what came before it goes again, the server too."""
        data = self.scene.volume("undone.briq")
        self.vm.qmp("object-add", **{"qom-type": "iothread", "id": "briq-undone"})
        self.assertIn("QEMU: ", self.vm.refused(5, "attach", data))
        self.vm.qmp("object-del", id="briq-undone")
        self.assertEqual(self.vm.inventory(), self.before)
        self.vm.qmp("device_add", driver="virtio-rng-pci", id="briq-late", bus="briq-port1")
        self.assertIn("briq-late", self.vm.refused(5, "attach", data, "--id", "late"))
        self.vm.unplug("briq-late")

    def test_a_server_that_is_not_there(self):
        dead = self.scene.path("dead.sock")
        self.assertIn("is the server", self.vm.refused(5, "attach", f"nbd:unix:{dead}"))
        raw = self.scene.path("disk.raw")
        with open(raw, "wb") as file:
            file.truncate(1 << 20)
        self.assertIn("briq import", self.vm.refused(5, "attach", raw))
        self.assertIn("No such file", self.vm.refused(5, "attach", self.scene.path("no.briq")))

    # ---- detach ----------------------------------------------------------------------------------

    def test_detach_can_be_repeated(self):
        data = self.scene.volume("twice.briq")
        self.assertEqual(self.vm.briq_vm("detach", data)["result"], "was not attached")
        self.vm.briq_vm("attach", data)
        self.assertEqual(self.vm.briq_vm("detach", data)["result"], "detached")
        self.assertEqual(self.vm.briq_vm("detach", data)["result"], "was not attached")

    def test_detach_cleans_up_what_an_earlier_one_left(self):
        data = self.scene.volume("left.briq")
        self.vm.briq_vm("attach", data)
        self.vm.unplug("briq-left")
        self.assertEqual(self.vm.briq_vm("detach", data)["result"], "cleaned up")

    def test_a_paused_machine_is_not_waited_for(self):
        data = self.scene.volume("paused.briq")
        self.vm.qmp("stop")
        self.assertIn("paused", self.vm.refused(5, "attach", data))
        self.vm.qmp("cont")
        self.vm.briq_vm("attach", data)
        self.vm.qmp("stop")
        self.assertIn("resume it", self.vm.refused(5, "detach", data))
        self.vm.qmp("cont")
        self.assertEqual(self.vm.briq_vm("detach", data)["result"], "detached")


if __name__ == "__main__":
    unittest.main(verbosity=2)
