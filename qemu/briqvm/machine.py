# SPDX-License-Identifier: BSD-3-Clause
"""machine.py - a running machine, asked over its monitor: disks, nodes, iothreads, ports.

Free ports are found in QEMU's object tree and not by query-pci: that answers from the bus numbers
which the firmware writes, so before it ran, and behind a bridge that it skipped, every port looks
free. It matters, because QEMU accepts a second device on an occupied port with success, at a place
where the guest never looks.
"""
import dataclasses
import time
import urllib.parse

from .errors import Refused, TimedOut

PERIPHERALS = ("/machine/peripheral", "/machine/peripheral-anon")
DOWNSTREAM_PORTS = ("pcie-root-port", "ioh3420", "xio3130-downstream")
DRIVER_OK = "VIRTIO_CONFIG_S_DRIVER_OK"
POLL_SECONDS = 0.05  # there is no event for "the guest's driver is up"
UNPLUG_AGAIN_SECONDS = 3  # a request that came before the guest's system did is lost


@dataclasses.dataclass
class AttachedDisk:
    """A disk as the machine has it. id is "" for one that QEMU or a script put in without any."""

    id: str
    path: str  # of its device in the object tree
    node: str
    driver: str
    filename: str
    size: int
    read_only: bool
    io_status: str
    properties: dict  # of the device
    reads: int = 0
    writes: int = 0

    def endpoint(self):
        """(socket, export) of an NBD disk on a Unix socket, else None."""
        parts = urllib.parse.urlsplit(self.filename)
        socket = urllib.parse.parse_qs(parts.query).get("socket")
        if parts.scheme != "nbd+unix" or not socket:
            return None
        return socket[0], urllib.parse.unquote(parts.path.removeprefix("/"))


class Machine:
    """Questions and steps; every one may raise Refused, TimedOut or Unreachable."""

    def __init__(self, monitor):
        self.monitor = monitor

    def _children(self, path, *kinds):
        """Names below an object, of the children that are of one of these kinds (all if none)."""
        try:
            entries = self.monitor.execute("qom-list", {"path": path})
        except Refused:
            return []
        wanted = {f"child<{kind}>" for kind in kinds}
        return [entry["name"] for entry in entries
                if entry["type"] in wanted or not kinds and entry["type"].startswith("child<")]

    def get(self, path, name):
        """A property, or None when the object does not have it."""
        try:
            return self.monitor.execute("qom-get", {"path": path, "property": name})
        except Refused:
            return None

    # ---- the whole machine -----------------------------------------------------------------------

    def status(self):
        """"running", "paused", "io-error", ..."""
        return self.monitor.execute("query-status")["status"]

    def cpus(self):
        return len(self.monitor.execute("query-cpus-fast"))

    def accelerated(self):
        return self.monitor.execute("query-kvm")["enabled"]

    # ---- ports -----------------------------------------------------------------------------------

    def ports(self):
        """[(bus, whether it is free)] of all ports that take a device while the machine runs."""
        found = []
        for folder in PERIPHERALS:
            for name in self._children(folder, *DOWNSTREAM_PORTS):
                port = f"{folder}/{name}"
                found += [(bus, self._is_empty(f"{port}/{bus}"))
                          for bus in self._children(port, "PCIE")]
        return sorted(found, key=lambda port: (len(port[0]), port[0]))

    def _is_empty(self, bus):
        entries = self.monitor.execute("qom-list", {"path": bus})
        return not any(entry["name"].startswith("child[") for entry in entries)

    def free_bus(self):
        """Where the next device goes. Raises Refused when there is no such place."""
        if "i440fx" in (self.get("/machine", "type") or ""):
            return "pci.0"  # which takes devices itself, and finds a slot or says that it is full
        ports = self.ports()
        free = [bus for bus, is_free in ports if is_free]
        if free:
            return free[0]
        why = f"all {len(ports)} are taken" if ports else "it was started without any"
        raise Refused(f"the machine has no free hot-plug port: {why}; detach a disk, or start it "
                      "with more --ports")

    # ---- disks -----------------------------------------------------------------------------------

    def disks(self):
        """The AttachedDisks that have a medium, in QEMU's order."""
        counts = {entry.get("qdev"): entry["stats"]
                  for entry in self.monitor.execute("query-blockstats")}
        return [self._disk(entry, counts.get(entry["qdev"], {}))
                for entry in self.monitor.execute("query-block")
                if "inserted" in entry and entry.get("qdev")]

    def _disk(self, entry, stats):
        path = entry["qdev"].removesuffix("/virtio-backend")
        folder, _, name = path.rpartition("/")
        inserted = entry["inserted"]
        names = ("type", "iothread", "num-queues", "queue-size", "serial", "physical_block_size",
                 "discard_granularity", "werror", "rerror")
        return AttachedDisk(
            id=name if folder == PERIPHERALS[0] else "", path=path, node=inserted["node-name"],
            driver=inserted["drv"], filename=self._filename(inserted),
            size=inserted["image"]["virtual-size"], read_only=inserted["ro"],
            io_status=entry.get("io-status", "ok"),
            properties={name: self.get(path, name) for name in names},
            reads=stats.get("rd_operations", 0), writes=stats.get("wr_operations", 0))

    @staticmethod
    def _filename(inserted):
        """Of the protocol node: a raw format node on top of it has the same."""
        return inserted["image"].get("filename") or inserted["file"]

    def has_device(self, disk_id):
        return disk_id in self._children(PERIPHERALS[0])

    def has_node(self, node):
        return node in self.nodes()

    def nodes(self):
        """The names of all block nodes."""
        return [node["node-name"] for node in
                self.monitor.execute("query-named-block-nodes", {"flat": True})]

    def node_size(self, node):
        for entry in self.monitor.execute("query-named-block-nodes", {"flat": True}):
            if entry["node-name"] == node:
                return entry["image"]["virtual-size"]
        raise Refused(f"there is no block node {node}")

    def iothreads(self):
        return [thread["id"] for thread in self.monitor.execute("query-iothreads")]

    # ---- steps -----------------------------------------------------------------------------------

    def driver_is_up(self, disk_id):
        """Whether the guest's driver has taken the disk."""
        path = f"{PERIPHERALS[0]}/{disk_id}/virtio-backend"
        try:
            status = self.monitor.execute("x-query-virtio-status", {"path": path})
            return any(DRIVER_OK in text for text in status["status"]["statuses"])
        except Refused as error:
            if error.qmp_class != "CommandNotFound":
                raise
        # Before QEMU 7.2. The driver looks for a partition table first of all.
        return any(disk.id == disk_id and disk.reads for disk in self.disks())

    def wait_for_driver(self, disk_id, deadline):
        while not self.driver_is_up(disk_id):
            if deadline.passed():
                raise TimedOut(f"the guest did not take the disk within {deadline.seconds:.3g} s; "
                               "is its system up, and has it a virtio driver?")
            time.sleep(min(POLL_SECONDS, deadline.left()))

    def unplug(self, disk_id, deadline):
        """Asks the guest to give the device back until it did. True when it is gone, False at the
        deadline. Raises Refused when QEMU says that it will never be."""
        self.monitor.drop_events()
        while self.has_device(disk_id):
            try:
                self.monitor.execute("device_del", {"id": disk_id})
            except Refused as error:
                if error.qmp_class == "DeviceNotFound":
                    return True
                if "already in the process" not in str(error) and "busy" not in str(error):
                    raise
            # Two such events come: the first is for a part of the device, and does not name it.
            event = self.monitor.wait_event(
                lambda name, data: data.get("device") == disk_id
                and name in ("DEVICE_DELETED", "DEVICE_UNPLUG_GUEST_ERROR"),
                deadline.at_most(UNPLUG_AGAIN_SECONDS))
            if event and event["event"] == "DEVICE_DELETED":
                return True
            if deadline.passed():
                return False
        return True

    def cut_connection(self, node):
        """Ends a node's connection to its server for good; what waits for the server fails."""
        instances = self.monitor.execute_oob("query-yank")
        mine = {"type": "block-node", "node-name": node}
        if mine in instances:
            self.monitor.execute_oob("yank", {"instances": [mine]})
