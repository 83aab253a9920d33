# SPDX-License-Identifier: BSD-3-Clause
"""cmd_list.py - "briq-vm list": the disks of a running machine."""
import os

from . import servers
from .context import answer, connected
from .units import format_size

COLUMNS = ("ID", "SIZE", "STATE", "QUEUES", "IOTHREAD", "READS", "WRITES", "WHERE")


def run(args):
    with connected(args) as (machine, where, _):
        records = where.records()
        disks = [describe(disk, records.get(disk.id)) for disk in machine.disks()]
        ports = machine.ports()
        data = {"machine": where.name, "status": machine.status(), "disks": disks,
                "ports": {"free": sum(free for _, free in ports), "all": len(ports)}}
    answer(args, as_text(data), data)
    return 0


def describe(disk, record):
    """A disk as --json shows it."""
    endpoint = disk.endpoint()
    thread = disk.properties["iothread"]
    return {"id": disk.id, "device": disk.path, "node": disk.node, "driver": disk.driver,
            "volume": record["volume"] if record else None,
            "socket": endpoint[0] if endpoint else None,
            "export": endpoint[1] if endpoint else None,
            "file": None if endpoint else disk.filename,
            "serial": disk.properties["serial"], "size": disk.size, "read_only": disk.read_only,
            "server": server_of(record), "io_status": disk.io_status,
            "queues": disk.properties["num-queues"],
            "iothread": os.path.basename(thread) if thread else None,
            "reads": disk.reads, "writes": disk.writes}


def server_of(record):
    """The server that briq-vm started for the disk; None if it did not."""
    server = servers.server_of(record or {})
    return {"kind": server.kind, "pid": server.pid, "alive": server.alive()} if server else None


def as_text(data):
    rows = [COLUMNS] + [row(disk) for disk in data["disks"]]
    widths = [max(len(line[column]) for line in rows) for column in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
             for line in rows]
    ports = data["ports"]
    lines.append(f"{data['machine']} is {data['status']}; {ports['free']} of {ports['all']} "
                 "hot-plug ports are free")
    return "\n".join(lines)


def row(disk):
    where = disk["volume"] or disk["file"] or f"{disk['socket']}:{disk['export']}"
    state = disk["io_status"] + (", read-only" if disk["read_only"] else "")
    if disk["server"] and not disk["server"]["alive"]:
        state += ", no server"
    return (disk["id"] or "-", format_size(disk["size"]), state, str(disk["queues"] or "-"),
            disk["iothread"] or "-", str(disk["reads"]), str(disk["writes"]), where)
