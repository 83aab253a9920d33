# SPDX-License-Identifier: BSD-3-Clause
"""qmp.py - a client of QEMU's monitor protocol: commands, events, and an end to every wait.

A monitor socket serves one client at a time, so that whoever is connected has the machine for
itself: the steps of an attach cannot mix with those of another. A second client connects, but is
not greeted before the first has gone.

Events that arrive while a command is waited for are kept, in order, until wait_event() or
drop_events() takes them.
"""
import collections
import json
import select
import socket
import struct

from .deadline import Deadline
from .errors import Refused, TimedOut, Unreachable

# A monitor that is busy with a blocking command answers late; one that does not even greet has
# another client.
GREETING_SECONDS = 5


class Monitor:
    """A connection to one monitor. Use it in a `with` statement, from one thread."""

    def __init__(self, path, deadline):
        self.path = path
        self._events = collections.deque()
        self._buffer = b""
        self._last_id = 0
        self._socket = self._connect()
        try:
            self._greet(deadline.at_most(GREETING_SECONDS))
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def _connect(self):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            sock.connect(self.path)
        except OSError as error:
            sock.close()
            raise Unreachable(f"{self.path}: no machine answers there: {error.strerror or error}; "
                              "is it running?") from error
        return sock

    def _greet(self, deadline):
        try:
            greeting = self._read(deadline)["QMP"]
        except TimedOut as error:
            raise Unreachable(f"{self.path}: the monitor does not answer; another program may be "
                              "connected to it") from error
        except KeyError as error:
            raise Unreachable(f"{self.path}: what listens there is not a QEMU monitor") from error
        version = greeting["version"]["qemu"]
        self.version = (version["major"], version["minor"], version["micro"])
        self.can_oob = "oob" in greeting.get("capabilities", [])
        self.execute("qmp_capabilities", {"enable": ["oob"] if self.can_oob else []}, deadline)

    def server_pid(self):
        """The process that listens: QEMU."""
        size = struct.calcsize("3i")
        packed = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        return struct.unpack("3i", packed)[0]

    # ---- commands --------------------------------------------------------------------------------

    def execute(self, command, arguments=None, deadline=None):
        """Runs a command and returns what it returned.

        Raises Refused with QEMU's words, TimedOut when the answer does not come by `deadline`
        (10 s when it is None), Unreachable when the machine goes away.
        """
        return self._execute("execute", command, arguments, deadline or Deadline(10))

    def execute_oob(self, command, arguments=None, deadline=None):
        """The same, past commands that block the monitor, where QEMU can do that."""
        verb = "exec-oob" if self.can_oob else "execute"
        return self._execute(verb, command, arguments, deadline or Deadline(10))

    def _execute(self, verb, command, arguments, deadline):
        self._last_id += 1
        request = {verb: command, "id": self._last_id}
        if arguments:
            request["arguments"] = arguments
        self._send(json.dumps(request).encode() + b"\n")
        message = self._answer(command, deadline)
        if "error" in message:
            error = message["error"]
            raise Refused(f"QEMU: {error['desc']}", error["class"])
        return message["return"]

    def _answer(self, command, deadline):
        while True:
            try:
                message = self._read(deadline)
            except TimedOut as error:
                raise TimedOut(f"QEMU did not answer {command} within "
                               f"{deadline.seconds:.3g} s") from error
            if message.get("id") == self._last_id:
                return message
            # An answer with another id belongs to a command whose time was up.
            if "event" in message:
                self._events.append(message)

    # ---- events ----------------------------------------------------------------------------------

    def wait_event(self, wanted, deadline):
        """Returns the first event for which wanted(name, data) is true, or None at the deadline."""
        while True:
            while self._events:
                event = self._events.popleft()
                if wanted(event["event"], event.get("data", {})):
                    return event
            try:
                message = self._read(deadline)
            except TimedOut:
                return None
            if "event" in message:
                self._events.append(message)

    def drop_events(self):
        """Forgets what has happened so far."""
        self._events.clear()

    # ---- bytes -----------------------------------------------------------------------------------

    def _send(self, data):
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise Unreachable(f"{self.path}: the machine has gone: {error.strerror}") from error

    def _read(self, deadline):
        while b"\n" not in self._buffer:
            if not select.select([self._socket], [], [], deadline.left())[0]:
                raise TimedOut(f"{self.path}: no answer within {deadline.seconds:.3g} s")
            try:
                data = self._socket.recv(65536)
            except OSError as error:
                raise Unreachable(f"{self.path}: the machine has gone: {error.strerror}") from error
            if not data:
                raise Unreachable(f"{self.path}: the machine has gone")
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        try:
            message = json.loads(line)
        except ValueError as error:
            raise Unreachable(f"{self.path}: what listens there is not a QEMU monitor") from error
        if not isinstance(message, dict):
            raise Unreachable(f"{self.path}: what listens there is not a QEMU monitor")
        return message
