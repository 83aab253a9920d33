# SPDX-License-Identifier: BSD-3-Clause
"""disk.py - how QEMU is told to use a volume: one iothread, one block node, one virtio-blk device.

The same three objects go onto the command line at launch and over the monitor at attach, all under
the same id, so that whatever belongs to a disk can be found by its name.
"""
import dataclasses

from .errors import UsageError
from .volume import DEVICE, NBD, RAW

QUEUES_MAX = 1024  # more than that makes QEMU 7.2 abort, and the guest with it
QUEUE_SIZES = (64, 128, 256, 512, 1024)
RECONNECT_SECONDS = 30
BLOCK_BYTES = 4096  # of Briq's store


@dataclasses.dataclass(frozen=True)
class Settings:
    """What can be tuned; the defaults are the tuned ones.

    queues 0: as many as the machine has processors. queue_size 0: QEMU's own. on_error: "report" to
    the guest (a full medium pauses it all the same) or "stop" the machine.
    """

    tuned: bool = True
    queues: int = 0
    queue_size: int = 0
    reconnect_seconds: int = RECONNECT_SECONDS
    on_error: str = "report"
    read_only: bool = False

    def check(self):
        """Raises UsageError. QEMU itself dies of some of these, or takes them in silence."""
        if not 0 <= self.queues <= QUEUES_MAX:
            raise UsageError(f"--queues {self.queues}: must be 1 to {QUEUES_MAX}, or 0 for as many "
                             "as processors")
        if self.queue_size and self.queue_size not in QUEUE_SIZES:
            sizes = ", ".join(map(str, QUEUE_SIZES))
            raise UsageError(f"--queue-size {self.queue_size}: must be one of {sizes}")
        if not 0 <= self.reconnect_seconds <= 3600:
            raise UsageError(f"--reconnect {self.reconnect_seconds}: must be 0 to 3600 seconds")


@dataclasses.dataclass(frozen=True)
class Disk:
    """A volume as a disk of a machine. endpoint is None for a device or a raw file."""

    id: str
    serial: str
    volume: object
    endpoint: object
    settings: Settings

    @property
    def has_iothread(self):
        return self.settings.tuned

    def iothread(self):
        return {"qom-type": "iothread", "id": self.id}

    def blockdev(self):
        """The block node, as blockdev-add and -blockdev take it."""
        node = {"node-name": self.id, **self._driver()}
        if self.settings.tuned:
            node["discard"] = "unmap"  # the default is to drop what the guest discards
        if self.settings.read_only:
            node["read-only"] = True
        return node

    def _driver(self):
        if self.volume.kind == DEVICE:
            node = {"driver": "host_device", "filename": self.volume.path}
            if self.settings.tuned:
                node |= {"aio": "io_uring", "cache": {"direct": True}}
            return node
        if self.volume.kind == RAW:
            return {"driver": "file", "filename": self.volume.path}
        node = {"driver": "nbd", "server": {"type": "unix", "path": self.endpoint.socket},
                "export": self.endpoint.export}
        if self.settings.reconnect_seconds and self.settings.tuned:
            node["reconnect-delay"] = self.settings.reconnect_seconds
        return node

    def device(self, bus, cpus):
        """The device, as device_add takes it; on the command line it is key=value."""
        device = {"driver": "virtio-blk-pci", "id": self.id, "drive": self.id,
                  "serial": self.serial}
        if bus:
            device["bus"] = bus
        if self.settings.tuned:
            device |= {"iothread": self.id,
                       "num-queues": self.settings.queues or min(cpus, QUEUES_MAX),
                       "physical_block_size": BLOCK_BYTES,
                       "discard_granularity": BLOCK_BYTES, **self._errors()}
        if self.settings.queue_size:
            device["queue-size"] = self.settings.queue_size
        return device

    def _errors(self):
        if self.settings.on_error == "stop":
            return {"werror": "stop", "rerror": "stop"}
        return {"werror": "enospc", "rerror": "report"}

    def plain_drive(self):
        """The argument of -drive that says the same in the old form, untuned but for discard."""
        if self.volume.kind in (DEVICE, RAW):
            where = self.volume.path
        else:
            where = f"nbd:unix:{self.endpoint.socket}:exportname={self.endpoint.export}"
        where = where.replace(",", ",,")
        options = f"file={where},format=raw,if=virtio,discard=unmap"
        return options + (",read-only=on" if self.settings.read_only else "")

    def record(self, server):
        """What rundir keeps: QEMU cannot be asked for it."""
        return {"volume": self.volume.path if self.volume.kind != NBD else self.volume.word,
                "kind": self.volume.kind,
                "socket": self.endpoint.socket if self.endpoint else None,
                "export": self.endpoint.export if self.endpoint else None,
                "discard": "unmap" if self.settings.tuned else "ignore",
                "reconnect_seconds": self.settings.reconnect_seconds if self.settings.tuned else 0,
                "server": dataclasses.asdict(server) if server else None}


def key_value(properties):
    """A device's properties as -device takes them: driver first, commas doubled."""
    def text(value):
        return str(value).replace(",", ",,")
    pairs = [f"{key}={text(value)}" for key, value in properties.items() if key != "driver"]
    return ",".join([properties["driver"], *pairs])
