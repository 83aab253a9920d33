# SPDX-License-Identifier: BSD-3-Clause
"""cmd_resize.py - "briq-vm resize": the volume, the server, QEMU's connection, the guest.

NBD has no message for "the size has changed", and QEMU refuses to resize a node beyond what the
server told it. But it asks again whenever it reconnects. So: the server lets go of its clients, a
`briq serve` after it has grown the volume, nbdkit by ending and coming back with a larger one;
anything that is read makes QEMU reconnect, and block_resize to
exactly the new size succeeds and tells the guest.
"""
import time

from . import servers, units
from .cmd_detach import find
from .context import answer, connected
from .errors import Refused, TimedOut, UsageError
from .servers import endpoint_of, server_of
from .volume import FILE

AGAIN_SECONDS = 0.1  # no event tells that QEMU has reconnected


def run(args):
    with connected(args) as (machine, where, deadline):
        disk_id = find(machine, where, args.disk)
        if not machine.has_node(disk_id):
            raise Refused(f"{args.disk}: the machine has no such disk")
        record = where.read_record(disk_id) or record_of(machine, disk_id)
        old = machine.node_size(disk_id)
        wanted = wanted_size(args.size, old)
        served = endpoint_of(record).size()
        if wanted is not None and wanted < max(old, served):
            raise Refused(f"{disk_id}: has {max(old, served)} bytes: a volume can grow and not "
                          "shrink")
        if wanted is not None and wanted != served:
            grow(where, disk_id, record, wanted, deadline)
            served = wanted
        follow(machine, disk_id, served, deadline)
    answer(args, f"{disk_id}: {units.format_size(old)} before, {units.format_size(served)} now",
           {"id": disk_id, "before": old, "size": served})
    return 0


def record_of(machine, disk_id):
    """The same facts from QEMU, for a disk that briq-vm did not attach."""
    for disk in machine.disks():
        if disk.node == disk_id and disk.endpoint():
            socket, export = disk.endpoint()
            return {"socket": socket, "export": export}
    raise Refused(f"{disk_id}: is not on an NBD server; grow its device, then use QEMU's "
                  "block_resize")


def wanted_size(text, old):
    if text is None:
        return None
    size = units.parse_size(text.removeprefix("+"))
    size += old if text.startswith("+") else 0
    if size % 512:
        raise UsageError(f"{text}: makes {size} bytes, which is not a multiple of 512")
    return size


def grow(where, disk_id, record, size, deadline):
    """Makes the volume larger and its server serve it so."""
    server = server_of(record)
    ours = server is not None and server.alive() and record["kind"] == FILE
    live = record.get("kind") == FILE and servers.grows_live(record["volume"])
    if not live and not ours:
        raise Refused(f"{disk_id}: briq-vm does not run its server: restart that with a larger "
                      "volume (briq resize), then use briq-vm resize without SIZE")
    if not record["reconnect_seconds"]:
        raise Refused(f"{disk_id}: was attached without reconnecting, and would lose its server; "
                      "detach it, briq resize it and attach it again")
    if live:
        servers.briq("resize", "--", record["volume"], str(size))
    else:
        regrow_offline(where, disk_id, size, deadline)


def regrow_offline(where, disk_id, size, deadline):
    """Ends the server, grows the volume, and serves it again whether or not that worked."""
    # Not by SIGTERM: nbdkit then answers what the guest still sends with ESHUTDOWN, which is an I/O
    # error to the guest, and waits for ever if it sends nothing. After SIGKILL, QEMU sees a broken
    # connection, and repeats on the next one whatever had not been answered.
    with where.changing_servers(deadline):
        record = where.read_record(disk_id)
        server_of(record).kill()
        try:
            servers.briq("resize", "--", record["volume"], str(size))
        finally:
            servers.start_again(where, disk_id, record)


def follow(machine, disk_id, size, deadline):
    """Lets QEMU reconnect and the guest know."""
    while True:
        # Whatever is read: if the connection is gone, it is made again for it.
        machine.monitor.execute("human-monitor-command",
                                {"command-line": f'qemu-io {disk_id} "read -q 0 512"'}, deadline)
        try:
            machine.monitor.execute("block_resize", {"node-name": disk_id, "size": size}, deadline)
            break
        except Refused as error:
            if "NBD nodes" not in str(error):
                raise
            if deadline.passed():
                raise TimedOut(f"{disk_id}: QEMU is still connected to the server as it was before "
                               "it was grown: restart that server") from error
        time.sleep(min(AGAIN_SECONDS, deadline.left()))
    now = machine.node_size(disk_id)
    if now != size:
        raise Refused(f"{disk_id}: QEMU says {now} bytes, and {size} were asked for")
