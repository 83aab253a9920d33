# SPDX-License-Identifier: BSD-3-Clause
"""cmd_revive.py - "briq-vm revive": servers that have ended, and the machine that stopped for them.

`launch` starts the servers of its machine again by itself. This is for machines that it did not
launch or left behind, for who does not want to wait for its next try, and for a machine that was
told to stop on an error: nobody else lets that go on.
"""
import time

from . import servers
from .cmd_detach import find
from .context import answer, connected
from .errors import Refused, TimedOut

STEADY_SECONDS = 2  # without another stop
AGAIN_SECONDS = 0.5


def run(args):
    with connected(args) as (machine, where, deadline):
        ids = [find(machine, where, args.disk)] if args.disk else list(where.records())
        disks = [revived(where, disk_id, deadline) for disk_id in ids]
        resumed = machine.status() == "io-error"
        if resumed:
            resume(machine, deadline)
        status = machine.status()
    lines = [f"{disk['id']}: {disk['result']}" for disk in disks]
    answer(args, "\n".join(lines + [f"{where.name} is {status}"]),
           {"machine": where.name, "status": status, "resumed": resumed, "disks": disks})
    return 0


def revived(where, disk_id, deadline):
    record = where.read_record(disk_id)
    if record is None:
        raise Refused(f"{disk_id}: briq-vm did not attach it, and does not know its server")
    server, started = servers.revive(where, disk_id, deadline)
    if server is None:
        what = "others run its server" if record["socket"] else "it has no server"
        if record["socket"] and not servers.endpoint_of(record).reachable():
            raise Refused(f"{disk_id}: others ran its server, at {record['socket']}: start it "
                          "again there")
        return {"id": disk_id, "result": what, "pid": None}
    what = f"process {server.pid} is the new server" if started else "its server runs"
    return {"id": disk_id, "result": what, "pid": server.pid}


def resume(machine, deadline):
    """QEMU tries to connect by itself, less and less often, up to every 16 seconds. Until it has,
    requests fail at once and stop the machine again."""
    while True:
        machine.monitor.drop_events()
        machine.monitor.execute("cont")
        if not machine.monitor.wait_event(lambda name, _: name == "STOP",
                                          deadline.at_most(STEADY_SECONDS)):
            return
        if deadline.passed():
            raise TimedOut("the machine stops again and again; is every disk's server there "
                           "(briq-vm list)?")
        time.sleep(min(AGAIN_SECONDS, deadline.left()))
