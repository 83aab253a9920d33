# SPDX-License-Identifier: BSD-3-Clause
"""cmd_attach.py - "briq-vm attach": a disk into a running machine, or nothing at all.

Each step that succeeds leaves behind how to undo it; whatever fails after that undoes all of them,
the last one first.
"""
import contextlib

from . import servers, volume as volumes
from .context import answer, connected
from .deadline import Deadline
from .disk import Settings
from .errors import BriqVmError, Refused, TimedOut
from .prepare import disk_name, prepare
from .units import format_size

UNDO_SECONDS = 10


def settings_of(args):
    """The Settings that the tuning options of launch and attach say, checked."""
    settings = Settings(tuned=not args.untuned, queues=args.queues, queue_size=args.queue_size,
                        reconnect_seconds=args.reconnect, on_error=args.on_error,
                        read_only=args.read_only)
    settings.check()
    return settings


def run(args):
    settings = settings_of(args)
    volume = volumes.parse(args.volume)
    kind = servers.kind_of(args.server)
    with connected(args) as (machine, where, deadline):
        disk_id, _ = disk_name(volume, args.id)
        refuse_if_there(machine, where, volume, disk_id)
        if not args.no_wait and machine.status() != "running":
            raise Refused(f"the machine is {machine.status()}: its guest cannot take a disk now; "
                          "resume it, or use --no-wait")
        bus = machine.free_bus()
        with contextlib.ExitStack() as undo:
            disk, server = prepare(volume, settings, where, kind, args.id)
            if server:
                undo.callback(stop_server, where, disk.id, server)
            add(machine, disk, bus, undo)
            if not args.no_wait:
                wait_for_guest(machine, where, disk, server, deadline, undo)
            remember(where, disk, server)
            undo.pop_all()
        size = machine.node_size(disk.id)
    answer(args, f"{disk.id}: {args.volume}, {format_size(size)}, serial {disk.serial}, at {bus}",
           {"id": disk.id, "serial": disk.serial, "size": size, "bus": bus, "volume": args.volume,
            "server_started": server is not None})
    return 0


def refuse_if_there(machine, where, volume, disk_id):
    """Two disks on one volume would destroy it; QEMU itself does not mind."""
    for disk in machine.disks():
        record = where.read_record(disk.id) if disk.id else None
        same = ((record and record["volume"] == volume.path)
                or disk.endpoint() == (volume.path, volume.export)
                or (disk.driver in ("host_device", "file") and disk.filename == volume.path))
        if same:
            raise Refused(f"{volume.word}: is attached already, as {disk.id or disk.path}")
    if machine.has_device(disk_id) or machine.has_node(disk_id):
        raise Refused(f"the machine has a disk {disk_id} already: give this one another --id")


def add(machine, disk, bus, undo):
    """iothread, node, device; each with its undoing."""
    execute = machine.monitor.execute
    if disk.has_iothread:
        execute("object-add", disk.iothread())
        undo.callback(quietly, execute, "object-del", {"id": disk.id})
    execute("blockdev-add", disk.blockdev())
    undo.callback(quietly, execute, "blockdev-del", {"node-name": disk.id})
    execute("device_add", disk.device(bus, machine.cpus()))
    undo.callback(quietly, machine.unplug, disk.id, Deadline(UNDO_SECONDS))


def remember(where, disk, server):
    where.create()
    where.write_record(disk.id, disk.record(server))


def wait_for_guest(machine, where, disk, server, deadline, undo):
    """A guest that did not take the disk is asked for it back. If it does not answer that either,
    the disk stays, whole: without its node or its server it would be an error waiting to happen."""
    try:
        machine.wait_for_driver(disk.id, deadline)
    except TimedOut as error:
        if machine.unplug(disk.id, Deadline(UNDO_SECONDS)):
            raise
        remember(where, disk, server)
        undo.pop_all()
        raise TimedOut(f"{error} The disk stays attached as {disk.id}: only a guest that runs can "
                       "give it back.") from error


def stop_server(where, disk_id, server):
    quietly(server.stop, Deadline(UNDO_SECONDS))
    servers.forget(where, disk_id)


def quietly(step, *arguments):
    """An undoing that fails must not hide why it was needed."""
    try:
        step(*arguments)
    except BriqVmError:
        pass
