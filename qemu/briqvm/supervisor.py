# SPDX-License-Identifier: BSD-3-Clause
"""supervisor.py - what `launch` does while its machine runs: it waits for the machine's end, and
starts servers again that end before it.

QEMU keeps the guest's requests for as long as it was told to (--reconnect), connects to the next
server at the same socket and repeats them; so a guest does not notice. A server that cannot be
started, or that ends again and again, is tried less and less often.

Everything is an event: the end of a process is one on its descriptor, and who writes a record of a
disk says so through a FIFO (rundir.py).
"""
import dataclasses
import math
import os
import select
import sys
import time
import typing

from . import process, servers
from .deadline import Deadline
from .errors import BriqVmError, Busy

RETRY_SECONDS_MIN = 0.5
RETRY_SECONDS_MAX = 8
STEADY_SECONDS = 10  # a server that lived so long is started again at once
LOCK_SECONDS = 5


@dataclasses.dataclass
class Watch:
    """One server. descriptor: of its process, None once that has ended. due: when it is to be
    started again, by time.monotonic(). said: why that failed last time."""

    server: servers.Server
    descriptor: typing.Optional[int]
    since: float
    failures: int = 0
    due: float = 0
    said: str = ""

    def close(self):
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

    def ended(self):
        """Its process has ended: it is due at once, or later if that happens often."""
        self.close()
        if time.monotonic() - self.since >= STEADY_SECONDS:
            self.failures = 0
        self.wait()

    def wait(self):
        """Makes it due after as long as the failures so far ask for."""
        delay = min(RETRY_SECONDS_MIN * 2 ** (self.failures - 1), RETRY_SECONDS_MAX)
        self.due = time.monotonic() + (delay if self.failures else 0)
        self.failures += 1


class Supervisor:
    """Of one machine, by the directory of it and a descriptor of the process of its QEMU."""

    def __init__(self, where, qemu):
        self.where = where
        self.qemu = qemu
        self.watches = {}  # by disk

    def run(self):
        """Returns when the machine has ended."""
        with self.where.changes() as changes:
            while True:
                self._follow_records()
                self._start_due_ones()
                ready = self._wait(changes)
                if self.qemu in ready:
                    break
                for watch in self.watches.values():
                    if watch.descriptor in ready:
                        watch.ended()
        for watch in self.watches.values():
            watch.close()

    def _follow_records(self):
        """Watches exactly the servers that the records name now."""
        records = self.where.records()
        for disk_id in set(self.watches) - set(records):
            self.watches.pop(disk_id).close()
        for disk_id, record in records.items():
            server, watch = servers.server_of(record), self.watches.get(disk_id)
            # Without reconnecting QEMU would not come to another server.
            if server is None or not record["reconnect_seconds"]:
                continue
            if watch is None or watch.server != server:
                self._watch(disk_id, server, watch)

    def _watch(self, disk_id, server, before):
        failures = before.failures if before else 0
        if before:
            before.close()
        descriptor = process.descriptor_of(server.pid, server.started)
        watch = Watch(server, descriptor, time.monotonic(), failures)
        if descriptor is None:
            watch.ended()
        self.watches[disk_id] = watch

    def _start_due_ones(self):
        for disk_id, watch in self.watches.items():
            if watch.descriptor is None and watch.due <= time.monotonic():
                self._revive(disk_id, watch)

    def _revive(self, disk_id, watch):
        try:
            server, started = servers.revive(self.where, disk_id, Deadline(LOCK_SECONDS))
        except Busy:
            watch.wait()
            return
        except servers.ContentLost as error:
            watch.due = math.inf
            _say(f"{disk_id}: its server has ended: {error}")
            return
        except (BriqVmError, OSError) as error:
            watch.wait()
            if str(error) != watch.said:
                watch.said = str(error)
                _say(f"{disk_id}: its server has ended and cannot be started again, which is tried "
                     f"every {RETRY_SECONDS_MAX} seconds: {error}")
            return
        if started:
            _say(f"{disk_id}: its server, process {watch.server.pid}, had ended; process "
                 f"{server.pid} is in its place")
            self._watch(disk_id, server, watch)
        else:
            # Somebody was faster, or it is wanted no more: the record has changed.
            watch.due = time.monotonic() + RETRY_SECONDS_MIN

    def _wait(self, changes):
        """The descriptors that something has happened to; none when one is due first."""
        poll = select.poll()
        poll.register(self.qemu, select.POLLIN)
        poll.register(changes, select.POLLIN)
        for watch in self.watches.values():
            if watch.descriptor is not None:
                poll.register(watch.descriptor, select.POLLIN)
        due = min((watch.due for watch in self.watches.values() if watch.descriptor is None),
                  default=math.inf)
        limit = None if due == math.inf else max(0, due - time.monotonic()) * 1000
        ready = {descriptor for descriptor, _ in poll.poll(limit)}
        if changes in ready:
            os.read(changes, 4096)
        return ready


def _say(text):
    print(f"briq-vm launch: {text}", file=sys.stderr, flush=True)
