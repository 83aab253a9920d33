# SPDX-License-Identifier: BSD-3-Clause
"""servers.py - who serves a volume: found if somebody does, started if nobody does.

The rest of briq-vm knows an Endpoint (where QEMU connects) and a Server (a process of ours behind
one, which may be None). What differs between the servers, nbdkit with Briq's plugin and `briq
serve`, is in the two classes at the end.
"""
import dataclasses
import json
import os
import shutil
import signal
import subprocess

from . import nbd_probe, process
from .deadline import Deadline
from .errors import Refused, TimedOut
from .volume import FILE, NBD, Volume

KILL_SECONDS = 10
START_SECONDS = 60  # opening a volume after a crash reads what its log needs


class ContentLost(Refused):
    """What a server had was in its memory alone."""


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """An export at a Unix socket."""

    socket: str
    export: str

    def size(self):
        """Bytes. Raises Refused when the server is not there or does not have the export."""
        try:
            return nbd_probe.export_size(self.socket, self.export)
        except nbd_probe.ProbeError as error:
            raise Refused(f"{self.socket}: {error}; is the server of the volume "
                          "running?") from error

    def reachable(self):
        try:
            nbd_probe.export_size(self.socket, self.export)
        except nbd_probe.NoSuchExport:
            return True
        except nbd_probe.ProbeError:
            return False
        return True


@dataclasses.dataclass(frozen=True)
class Server:
    """A server process that briq-vm started for one volume."""

    kind: str
    pid: int
    started: int
    read_only: bool = False

    def alive(self):
        return process.alive(self.pid, self.started)

    def stop(self, deadline):
        """Lets it flush, close the volume and end. Raises TimedOut when it does not."""
        if not process.stop(self.pid, self.started, deadline):
            raise TimedOut(f"the server of the volume (process {self.pid}) did not end within "
                           f"{deadline.seconds:.3g} s")

    def kill(self):
        """Ends it at once. What it had acknowledged is not lost by that: it lies in the append
        windows, and whoever opens the volume next takes it over."""
        process.stop(self.pid, self.started, Deadline(KILL_SECONDS), signal.SIGKILL)


def server_of(record):
    """The Server that was started for the disk of a record, or None."""
    return Server(**record["server"]) if record.get("server") else None


def endpoint_of(record):
    return Endpoint(record["socket"], record["export"])


# ---- found ---------------------------------------------------------------------------------------

def briq(*arguments):
    """Runs the program `briq` and returns what it printed. Raises Refused with its own line."""
    try:
        done = subprocess.run(["briq", *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, check=False)
    except FileNotFoundError as error:
        raise Refused("the program briq is not in PATH: install it, or use ./run") from error
    if done.returncode != 0:
        raise Refused(_last_line(done.stderr) or f"briq {arguments[0]} failed")
    return done.stdout


def owner_of(path):
    """The pid of the process that has the volume open for writing, None when none has."""
    owner = json.loads(briq("info", "--json", "--", path))["owner"]
    return owner["pid"] if owner else None


def grows_live(path):
    """Whether a daemon of ours has the volume open that `briq resize` can ask."""
    return json.loads(briq("info", "--json", "--", path))["served"] is not None


def find(volume):
    """The endpoint where `volume` is served already, None when nobody has it open.

    Raises Refused when somebody has it and it cannot be told where, or under which name.
    """
    if volume.kind == NBD:
        return Endpoint(volume.path, volume.export)
    if volume.kind != FILE:
        return None
    pid = owner_of(volume.path)
    if pid is None:
        return None
    served = []
    for socket in process.listening_sockets(pid):
        try:
            served += [Endpoint(socket, name) for name in nbd_probe.exports(socket)]
        except nbd_probe.ProbeError:
            continue  # another socket of that process
    if len(served) == 1:
        return served[0]
    what = (f"process {pid} serves {len(served)} exports" if served else
            f"process {pid} has it open and serves no export at a Unix socket that can be seen")
    raise Refused(f"{volume.word}: {what}; name the one that is meant: "
                  "nbd:unix:SOCKET:exportname=NAME")


# ---- started -------------------------------------------------------------------------------------

class Nbdkit:
    """nbdkit with Briq's plugin. It cannot grow a volume that it has open."""

    kind = "nbdkit"

    @staticmethod
    def command(volume, export, socket, pid_file, read_only):
        """In the foreground until it serves, then in the background."""
        return ["nbdkit", *(["-r"] if read_only else []), "-U", socket, "-P", pid_file, "briq",
                volume.path, f"export={export}"]


class BriqServe:
    """The server of the program briq itself."""

    kind = "serve"

    @staticmethod
    def command(volume, export, socket, pid_file, read_only):
        """As above."""
        return ["briq", "serve", *(["--read-only"] if read_only else []), "--daemon",
                "--pid-file", pid_file, "--nbd", f"unix:{socket}", f"{export}={volume.path}"]


KINDS = {server.kind: server for server in (Nbdkit, BriqServe)}
AUTO = "auto"


def kind_of(name):
    """The class of a server by the name that --server takes; auto is briq's own if it has one."""
    if name != AUTO:
        return KINDS[name]
    try:
        briq("serve", "--help")
    except Refused:
        return Nbdkit
    return BriqServe


def start(volume, export, vm_dir, disk_id, kind, read_only=False):
    """Serves `volume` at a socket in vm_dir; returns (Endpoint, Server). It serves when this
    returns.

    Raises Refused with what the server said.
    """
    socket, pid_file = vm_dir.socket(disk_id + ".sock"), vm_dir.file(disk_id + ".pid")
    vm_dir.create()
    for stale in (socket, pid_file):
        if os.path.exists(stale):
            os.unlink(stale)
    command = kind.command(volume, export, socket, pid_file, read_only)
    if shutil.which(command[0]) is None:
        raise Refused(f"{command[0]} is not installed, and nothing serves {volume.word}")
    _run(command)
    endpoint = Endpoint(socket, export)
    size_error = None
    try:
        endpoint.size()
    except Refused as error:
        size_error = error
    # Whoever serves has written its process id before; who does not may never have come so far.
    server = _read_server(pid_file, kind, read_only)
    if size_error:
        if server:
            server.stop(Deadline(START_SECONDS))
        raise size_error
    return endpoint, server


def _read_server(pid_file, kind, read_only):
    try:
        with open(pid_file, encoding="utf-8") as file:
            pid = int(file.read())
    except (FileNotFoundError, ValueError):
        return None
    return Server(kind.kind, pid, process.start_time(pid), read_only)


def _run(command):
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              check=False, timeout=START_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise TimedOut(f"{command[0]} did not serve within {START_SECONDS} s") from error
    if done.returncode != 0:
        raise Refused(_last_line(done.stderr) or f"{command[0]} ended with {done.returncode}")


def _last_line(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


# ---- started again ------------------------------------------------------------------------------

def start_again(vm_dir, disk_id, record):
    """A server in the place of the one of a record, which has ended; returns it. To be called
    with vm_dir.changing_servers()."""
    ended = server_of(record)
    _, server = start(Volume(FILE, record["volume"], record["volume"]), record["export"], vm_dir,
                      disk_id, kind_of(ended.kind), ended.read_only)
    vm_dir.write_record(disk_id, record | {"server": dataclasses.asdict(server)})
    return server


def revive(vm_dir, disk_id, deadline):
    """Starts the server of a disk again if it has ended. Returns (Server, whether it had);
    (None, False) for a disk that has none of ours, any more or ever.

    Raises Refused with why it cannot be, or Busy. What had been acknowledged is there again; but
    not the content of a volume in memory, in whose place the guest must not find an empty one: for
    that it raises ContentLost.
    """
    with vm_dir.changing_servers(deadline):
        record = vm_dir.read_record(disk_id) or {}
        server = server_of(record)
        if server is None or server.alive():
            return server, False
        if record["kind"] != FILE:
            raise ContentLost(f"{record['volume']} was in the memory of its server, and is lost; "
                              "detach the disk with --force")
        return start_again(vm_dir, disk_id, record), True


def forget(vm_dir, disk_id):
    """Takes away the files of a server that has ended."""
    for name in (disk_id + ".sock", disk_id + ".pid"):
        try:
            os.unlink(vm_dir.file(name))
        except FileNotFoundError:
            pass
