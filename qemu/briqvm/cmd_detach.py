# SPDX-License-Identifier: BSD-3-Clause
"""cmd_detach.py - "briq-vm detach": a disk out of a running machine, and all that came with it.

It can be repeated: what is gone already is not missed, and what an earlier try left is cleaned up.
"""
import contextlib
import os

from . import servers, stand_in, volume as volumes
from .context import answer, connected
from .errors import Refused, TimedOut, UsageError
from .servers import endpoint_of, server_of
from .volume import ID_PREFIX


def run(args):
    with connected(args) as (machine, where, deadline):
        disk_id = find(machine, where, args.disk)
        record = where.read_record(disk_id) or {}
        present = machine.has_device(disk_id)
        leftovers = machine.has_node(disk_id) or disk_id in machine.iothreads()
        if present:
            with (stand_in_for(machine, where, disk_id, deadline) if args.force
                  else contextlib.nullcontext()):
                unplug(machine, disk_id, deadline)
        remove_parts(machine, disk_id, record, deadline)
        if record:
            stop_server(where, disk_id, deadline)
    did = "detached" if present else "cleaned up" if leftovers or record else "was not attached"
    answer(args, f"{disk_id}: {did}", {"id": disk_id, "result": did})
    return 0


def find(machine, where, word):
    """The id of the disk that `word` means: an id, with or without its prefix, or a volume."""
    known = {disk.id for disk in machine.disks() if disk.id} | set(where.records())
    for candidate in (word, ID_PREFIX + word):
        if candidate in known or candidate in machine.iothreads() or machine.has_node(candidate):
            return candidate
    for disk_id, record in where.records().items():
        if record["volume"] in (word, os.path.realpath(word)):
            return disk_id
    return by_volume(machine, word)


def by_volume(machine, word):
    """The id of a disk without a record. For a word that means no disk, the id it would have."""
    try:
        volume = volumes.parse(word, raw_allowed=True)
    except (Refused, UsageError):
        return ID_PREFIX + volumes.short_name(word)
    for disk in machine.disks():
        if disk.endpoint() == (volume.path, volume.export) or disk.filename == volume.path:
            if not disk.id:
                raise Refused(f"{word}: the disk has no id, so QEMU cannot remove it")
            return disk.id
    return ID_PREFIX + volumes.short_name(volume.name)


def unplug(machine, disk_id, deadline):
    status = machine.status()
    if status != "running":
        raise Refused(f"the machine is {status}: its guest cannot give the disk back; resume it "
                      "first" + (", with briq-vm revive" if status == "io-error" else ""))
    if not machine.unplug(disk_id, deadline):
        raise TimedOut(f"the guest did not give {disk_id} back within {deadline.seconds:.3g} s; it "
                       "was asked to, and may still; if its server is gone for good, use --force")


@contextlib.contextmanager
def stand_in_for(machine, where, disk_id, deadline):
    """What takes the place of a server that does not answer, while the disk is taken away. Nobody
    starts the server again meanwhile."""
    record = where.read_record(disk_id) or {}
    if not record.get("socket"):
        yield
        return
    with where.changing_servers(deadline):
        if endpoint_of(record).reachable():
            yield
            return
        with stand_in.serving(record["socket"], machine.node_size(disk_id)):
            yield


def remove_parts(machine, disk_id, record, deadline):
    """The node and the iothread, once the device is gone."""
    if machine.has_node(disk_id):
        # A node whose server is gone would wait for it, and the monitor with it.
        if record.get("socket") and not endpoint_of(record).reachable():
            machine.cut_connection(disk_id)
        machine.monitor.execute("blockdev-del", {"node-name": disk_id}, deadline)
    if disk_id in machine.iothreads():
        machine.monitor.execute("object-del", {"id": disk_id})


def stop_server(where, disk_id, deadline):
    """Ends what attach or launch started, and forgets the disk."""
    with where.changing_servers(deadline):
        server = server_of(where.read_record(disk_id) or {})
        if server:
            server.stop(deadline)
            servers.forget(where, disk_id)
        where.remove_record(disk_id)
