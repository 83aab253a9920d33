# SPDX-License-Identifier: BSD-3-Clause
"""cmd_launch.py - "briq-vm launch": a machine with its disks, and the servers that these need.

launch stays for as long as the machine runs, in the background with --daemon: it is what starts
servers again that die (supervisor.py), and stops them when the machine has ended, also those of
disks that were attached later.
"""
import contextlib
import dataclasses
import json
import os
import shlex
import signal
import subprocess
import sys

from . import accel, commandline, servers, volume as volumes
from .cmd_attach import settings_of
from .context import run_root
from .deadline import Deadline
from .disk import Settings
from .errors import BriqVmError, Refused, Unreachable, UsageError
from .prepare import planned, prepare
from .qmp import Monitor
from .rundir import VmDir
from .servers import server_of
from .supervisor import Supervisor
from .volume import FILE, MEMORY, RAW

STOP_SECONDS = 60
KILL_SECONDS = 10
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def run(args):
    settings = settings_of(args)
    if args.form == "drive":  # in which QEMU cannot be told to reconnect
        settings = dataclasses.replace(settings, reconnect_seconds=0)
    kind = servers.kind_of(args.server)
    chosen = [(volumes.parse(word), settings) for word in args.volume]
    chosen += [small(volumes.parse(word, raw_allowed=True)) for word in args.small]
    if not chosen:
        raise UsageError("there is no VOLUME to launch a machine with")
    where = VmDir(run_root(args), args.vm or volumes.short_name(chosen[0][0].name))
    if args.print:
        return print_plan(args, where, chosen, kind)
    where.lock()
    if os.path.exists(where.file("qmp.sock")):
        refuse_if_alive(where)
    return launch(args, where, chosen, kind)


def small(volume):
    """A cloud-init seed or a firmware volume is read once: threads and queues would be waste. A
    file that is no volume of ours is not written to."""
    return volume, Settings(tuned=False, read_only=volume.kind == RAW)


def plan_of(args, where, disks):
    plan = commandline.Plan(
        name=where.name, qmp_socket=where.socket("qmp.sock"), disks=tuple(disks),
        accel=accel.choose(args.accel), cpus=args.cpus, memory=args.memory,
        spare_ports=args.ports, form=args.form, extra=tuple(args.extra),
        console=args.console or (f"file:{where.file('console.log')}" if args.daemon else "stdio"))
    plan.check()
    return plan


def print_plan(args, where, chosen, kind):
    disks = [planned(volume, settings, where) for volume, settings in chosen]
    options = commandline.build(plan_of(args, where, disks))
    starts = [kind.command(disk.volume, disk.endpoint.export, disk.endpoint.socket,
                           where.file(disk.id + ".pid"), disk.settings.read_only)
              for disk in disks if disk.volume.kind in (FILE, MEMORY)]
    if args.json:
        print(json.dumps({"servers": starts, "qemu": commandline.words(options)}, indent=2))
        return 0
    print("\n".join([f"mkdir -p {shlex.quote(where.path)}", *map(shlex.join, starts),
                     commandline.shown(options)]))
    return 0


def refuse_if_alive(where):
    """A machine outlives a launch that was killed; its name and its disks are not free."""
    try:
        Monitor(where.file("qmp.sock"), Deadline(1)).__exit__()
    except Unreachable as error:
        if isinstance(error.__cause__, OSError):
            return  # nobody listens: the remains of a machine that has ended
    raise Refused(f"a machine named {where.name} is running already: choose another --vm")


# ---- running -------------------------------------------------------------------------------------

def launch(args, where, chosen, kind):
    # Until there is a machine, a signal ends us by way of the cleaning up.
    for number in SIGNALS:
        signal.signal(number, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        disks = start_servers(where, chosen, kind)
        command = commandline.words(commandline.build(plan_of(args, where, disks)))
        if args.daemon:
            return in_background(where, command)
        return supervise_child(where, command)
    except BaseException:
        clean_up(where)
        raise


def start_servers(where, chosen, kind):
    disks = []
    for volume, settings in chosen:
        disk, server = prepare(volume, settings, where, kind)
        where.write_record(disk.id, disk.record(server))
        disks.append(disk)
    return disks


def supervise_child(where, command):
    """Runs the machine on our terminal. A signal to us ends it."""
    try:
        qemu = subprocess.Popen(command)
    except OSError as error:
        raise Refused(f"{command[0]} cannot be started: {error.strerror}") from error
    end_on_signal(qemu.pid)
    Supervisor(where, os.pidfd_open(qemu.pid)).run()
    status = qemu.wait()
    if status != 0:
        how = f"signal {-status}" if status < 0 else f"exit {status}"
        raise Refused(f"QEMU ended with {how}; what it said stands above")
    clean_up(where)
    return 0


def end_on_signal(pid):
    """From now on a signal to us ends QEMU. If a disk's server is gone QEMU would wait for it, so
    that it is killed when it does not end soon: to its guest, both are the pulling of the plug."""
    qemu = os.pidfd_open(pid)

    def end(*_):
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(qemu, signal.SIGTERM)
            signal.alarm(KILL_SECONDS)

    def kill(*_):
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(qemu, signal.SIGKILL)

    for number in SIGNALS:
        signal.signal(number, end)
    signal.signal(signal.SIGALRM, kill)


def in_background(where, command):
    """QEMU leaves this terminal once its monitor answers; a child of ours looks after it."""
    pid_file = where.file("qemu.pid")
    done = subprocess.run([*command, "-daemonize", "-pidfile", pid_file], check=False,
                          stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise Refused(f"QEMU ended with exit {done.returncode}; what it said stands above")
    with open(pid_file, encoding="utf-8") as file:
        pid = int(file.read())
    print(f"{where.name}: process {pid}, monitor {where.file('qmp.sock')}", flush=True)
    if os.fork() == 0:
        supervise_process(where, pid)
        os._exit(0)
    return 0


def supervise_process(where, pid):
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    log = os.open(where.file("launch.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream, target in enumerate((null, null, log)):
        os.dup2(target, stream)
    end_on_signal(pid)
    Supervisor(where, os.pidfd_open(pid)).run()
    clean_up(where)


def clean_up(where):
    """Stops the servers of all disks that are still known and removes the directory."""
    deadline = Deadline(STOP_SECONDS)
    for disk_id, record in where.records().items():
        server = server_of(record)
        if server:
            try:
                server.stop(deadline)
            except BriqVmError as error:
                print(f"briq-vm launch: {disk_id}: {error}", file=sys.stderr)
    where.remove()
