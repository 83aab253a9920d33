# SPDX-License-Identifier: BSD-3-Clause
"""rundir.py - where a machine's sockets are, and what briq-vm remembers of its disks.

    RUNDIR/NAME/qmp.sock     the monitor, for briq-vm alone
    RUNDIR/NAME/lock         held by the `launch` that runs the machine
    RUNDIR/NAME/servers.lock held by who ends servers or starts them again
    RUNDIR/NAME/changed      a FIFO through which that launch hears of new records
    RUNDIR/NAME/launch.log   what the launch of a machine in the background had to say
    RUNDIR/NAME/ID.sock      a server that briq-vm started, ID.pid its process
    RUNDIR/NAME/ID.json      how disk ID was attached: what cannot be asked of QEMU itself

RUNDIR is /run/briq-vm for root, and $XDG_RUNTIME_DIR/briq-vm for others.
"""
import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import time

from .errors import Busy, Refused, UsageError

SOCKET_PATH_BYTES_MAX = 107
LOCK_AGAIN_SECONDS = 0.02  # no event comes when a lock is free and a time is up, whichever is first


def default_root():
    """RUNDIR. Raises UsageError where there is no place for it."""
    if os.geteuid() == 0:
        return "/run/briq-vm"
    if os.environ.get("XDG_RUNTIME_DIR"):
        return os.path.join(os.environ["XDG_RUNTIME_DIR"], "briq-vm")
    raise UsageError("XDG_RUNTIME_DIR is not set: say with --run-dir where sockets may lie")


class VmDir:
    """The directory of one machine, which may not exist yet."""

    def __init__(self, root, name):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
            raise UsageError(f"{name!r} cannot be the name of a machine: letters, digits, -_. only")
        self.name = name
        self.path = os.path.join(os.path.abspath(root), name)
        self._lock = None

    @classmethod
    def for_monitor(cls, root, qmp_path):
        """Of a machine that somebody else started, known by its monitor."""
        digest = hashlib.sha256(os.path.realpath(qmp_path).encode()).hexdigest()[:12]
        return cls(root, f"qmp-{digest}")

    def file(self, name):
        return os.path.join(self.path, name)

    def socket(self, name):
        """The same for a socket, whose path must be short."""
        path = self.file(name)
        if len(path.encode()) > SOCKET_PATH_BYTES_MAX:
            raise UsageError(f"{path}: is too long for a socket ({SOCKET_PATH_BYTES_MAX} bytes at "
                             "most): choose a shorter --run-dir")
        return path

    def create(self):
        try:
            os.makedirs(self.path, mode=0o700, exist_ok=True)
        except OSError as error:
            raise Refused(f"{self.path}: cannot be made: {error.strerror}") from error

    def lock(self):
        """Takes the name for this process, until it ends. Raises Refused when it is taken."""
        self.create()
        self.servers_lock().close()  # so that what is there does not depend on what happened
        self._lock = os.open(self.file("lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refused(f"a machine named {self.name} is running already: choose another "
                          "--vm") from error

    def servers_lock(self):
        """The file behind changing_servers(), open."""
        return open(self.file("servers.lock"), "a", encoding="utf-8")

    @contextlib.contextmanager
    def changing_servers(self, deadline):
        """While the `with` statement runs nobody else ends a server of this machine, starts one
        again or writes the record of it. Raises Busy when somebody does so for too long."""
        with self.servers_lock() as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if deadline.passed():
                        raise Busy("another briq-vm has been changing the servers of "
                                   f"{self.name} for {deadline.seconds:.3g} s") from None
                time.sleep(LOCK_AGAIN_SECONDS)
            yield

    def remove(self):
        """Takes away what is left of a machine that has ended."""
        for entry in os.listdir(self.path):
            os.unlink(self.file(entry))
        os.rmdir(self.path)

    # ---- records ---------------------------------------------------------------------------------

    def write_record(self, disk_id, record):
        path = self.file(disk_id + ".json")
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump(record, file, indent=2, sort_keys=True)
        os.replace(path + ".new", path)
        self._tell()

    def read_record(self, disk_id):
        """What was written, or None."""
        try:
            with open(self.file(disk_id + ".json"), encoding="utf-8") as file:
                return json.load(file)
        except FileNotFoundError:
            return None

    def remove_record(self, disk_id):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.file(disk_id + ".json"))
        self._tell()

    @contextlib.contextmanager
    def changes(self):
        """Yields a descriptor that can be read from when records have changed since the last time
        that this was done."""
        path = self.file("changed")
        if not os.path.exists(path):
            os.mkfifo(path, 0o600)
        # For writing too: there is no end of file then when a writer has gone.
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _tell(self):
        """To whom changes() serves, if there is anybody."""
        try:
            descriptor = os.open(self.file("changed"), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENXIO):
                return  # no launch has this machine
            raise
        try:
            os.write(descriptor, b"!")
        except BlockingIOError:
            pass  # it is full of what was not looked at yet
        finally:
            os.close(descriptor)

    def records(self):
        """{id: record} of all disks."""
        if not os.path.isdir(self.path):
            return {}
        ids = [entry.removesuffix(".json") for entry in sorted(os.listdir(self.path))
               if entry.endswith(".json")]
        found = {disk_id: self.read_record(disk_id) for disk_id in ids}
        return {disk_id: record for disk_id, record in found.items() if record}


def running(root):
    """The names of the machines below `root` that have a monitor."""
    if not os.path.isdir(root):
        return []
    return [name for name in sorted(os.listdir(root))
            if os.path.exists(os.path.join(root, name, "qmp.sock"))]
