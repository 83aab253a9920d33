# SPDX-License-Identifier: BSD-3-Clause
"""cmd_doctor.py - "briq-vm doctor": what a running machine could do better, and how.

Most is asked of QEMU. Whether a node passes discards on and reconnects is not to be had from it:
that is known from our own records, or read from QEMU's command line, or said to be unknown.
"""
import json

from . import accel, servers
from .context import answer, connected
from .disk import BLOCK_BYTES

SOCKET_BUFFER_BYTES = 1 << 20


def run(args):
    with connected(args) as (machine, where, _):
        records = where.records()
        given = command_line_nodes(machine.monitor.server_pid())
        findings = examine_machine(machine) + examine_host(machine)
        cpus = machine.cpus()
        disks = machine.disks()
        for disk in disks:
            facts = records.get(disk.id) or facts_of(given.get(disk.node))
            findings += examine_disk(disk, facts, cpus)
        findings += shared_iothreads(disks) + dead_servers(records)
    text = "\n".join(f"{item['about']}: {item['finding']}; {item['advice']}" for item in findings)
    answer(args, text or f"{where.name}: nothing to say about {len(disks)} disks",
           {"machine": where.name, "findings": findings})
    return 1 if findings else 0


def finding(about, what, advice):
    return {"about": about, "finding": what, "advice": advice}


# ---- the machine ---------------------------------------------------------------------------------

def examine_machine(machine):
    found = []
    if not machine.accelerated() and accel.kvm_usable():
        found.append(finding("machine", "its processor is emulated, and KVM works here",
                             "launch it with --accel kvm"))
    ports = machine.ports()
    if "i440fx" not in (machine.get("/machine", "type") or "") and not any(f for _, f in ports):
        found.append(finding("machine", f"none of its {len(ports)} hot-plug ports is free",
                             "no disk can be attached; launch it with more --ports"))
    return found


def examine_host(machine):
    """Of the host: only when the machine has a disk that a socket's buffer can slow down."""
    if not any(disk.endpoint() for disk in machine.disks()):
        return []
    with open("/proc/sys/net/core/wmem_default", encoding="utf-8") as file:
        size = int(file.read())
    if size >= SOCKET_BUFFER_BYTES:
        return []
    return [finding("host", f"a socket buffers {size} bytes, less than one large request",
                    f"sysctl -w net.core.wmem_default={SOCKET_BUFFER_BYTES}")]


# ---- one disk ------------------------------------------------------------------------------------

def examine_disk(disk, facts, cpus):
    name = disk.id or disk.node
    if (disk.properties["type"] or "").startswith("virtio-blk"):
        return (examine_device(disk, name, cpus) + examine_node(disk, name, facts))
    return [finding(name, f"it is a {disk.properties['type']}", "virtio-blk-pci is faster")]


def examine_device(disk, name, cpus):
    properties, found = disk.properties, []
    if not properties["iothread"]:
        found.append(finding(name, "it has no iothread: its requests share a thread with all else",
                             "attach it with briq-vm, or give the device an iothread="))
    if properties["num-queues"] == 1 and cpus > 1:
        found.append(finding(name, f"it has one queue, and the guest {cpus} processors",
                             f"num-queues={cpus}"))
    if properties["physical_block_size"] != BLOCK_BYTES:
        found.append(finding(name, "the guest does not see that blocks have 4096 bytes, and writes "
                             "parts of them", "physical_block_size=4096"))
    if not properties["serial"]:
        found.append(finding(name, "it has no serial number, and so no lasting name in the guest",
                             "serial=NAME"))
    return found


def examine_node(disk, name, facts):
    found = []
    if facts is None:
        return [finding(name, "it was attached over the monitor by another program, and QEMU does "
                        "not tell whether it passes discards on", "make sure of discard=unmap")]
    if facts["discard"] != "unmap" and not disk.read_only:
        found.append(finding(name, "what the guest discards is ignored, and takes space for ever",
                             "discard=unmap"))
    if disk.endpoint() and not facts["reconnect_seconds"]:
        found.append(finding(name, "a restart of its server is an error in the guest",
                             "reconnect-delay=30"))
    if disk.driver == "host_device" and facts.get("aio", "io_uring") != "io_uring":
        found.append(finding(name, f"its requests go through aio={facts['aio']}",
                             "aio=io_uring and cache.direct=on"))
    return found


def shared_iothreads(disks):
    users = {}
    for disk in disks:
        if disk.properties["iothread"]:
            users.setdefault(disk.properties["iothread"], []).append(disk.id or disk.node)
    return [finding(", ".join(names), "they share one iothread", "one for each disk")
            for names in users.values() if len(names) > 1]


def dead_servers(records):
    owned = {disk_id: servers.server_of(record) for disk_id, record in records.items()}
    return [finding(disk_id, f"its server, process {server.pid}, has ended", "briq-vm revive")
            for disk_id, server in owned.items() if server and not server.alive()]


# ---- QEMU's command line -------------------------------------------------------------------------

def command_line_nodes(pid):
    """{node name: options} of the -blockdev options that QEMU was started with."""
    try:
        with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
            words = file.read().split("\0")
    except OSError:
        return {}
    nodes = {}
    for option, value in zip(words, words[1:]):
        if option in ("-blockdev", "--blockdev"):
            options = parse_blockdev(value)
            nodes[options.get("node-name")] = options
    return nodes


def parse_blockdev(text):
    if text.startswith("{"):
        return json.loads(text)
    return dict(pair.partition("=")[::2] for pair in text.split(","))


def facts_of(options):
    """What examine_node wants to know, from the options of a node; None when they are not known."""
    if options is None:
        return None
    return {"discard": options.get("discard", "ignore"), "aio": options.get("aio", "threads"),
            "reconnect_seconds": int(options.get("reconnect-delay", 0))}
