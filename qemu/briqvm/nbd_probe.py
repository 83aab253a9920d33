# SPDX-License-Identifier: BSD-3-Clause
"""nbd_probe.py - asks an NBD server what it serves, without transferring anything.

The fixed newstyle handshake with NBD_OPT_LIST and NBD_OPT_INFO: enough to know that a server is
alive, that it has the export, and how large that is, before QEMU is told to depend on it.
"""
import socket
import struct

OPTION_MAGIC = 0x49484156454F5054
REPLY_MAGIC = 0x3E889045565A9
FLAGS_FIXED_NEWSTYLE = 1
FLAGS_NO_ZEROES = 2
OPT_ABORT, OPT_LIST, OPT_INFO = 2, 3, 6
REP_ACK, REP_SERVER, REP_INFO, REP_ERROR = 1, 2, 3, 1 << 31
REP_ERR_UNKNOWN = REP_ERROR | 6
INFO_EXPORT = 0
REPLY_BYTES_MAX = 1 << 16
SECONDS = 5


class ProbeError(Exception):
    """The server is not there, or does not speak as it should; the text says which."""


class NoSuchExport(ProbeError):
    """The server is well, and does not have the export."""


class _Session:
    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(SECONDS)
        try:
            self._socket.connect(path)
            greeting = self._receive(18)
            if greeting[:8] != b"NBDMAGIC" or greeting[8:16] != b"IHAVEOPT":
                raise ProbeError("what listens there is not an NBD server")
            flags = struct.unpack(">H", greeting[16:])[0]
            flags &= FLAGS_FIXED_NEWSTYLE | FLAGS_NO_ZEROES
            self._socket.sendall(struct.pack(">I", flags))
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.option(OPT_ABORT, b"")
        except OSError:
            pass  # a server may close without an answer
        self._socket.close()

    def _receive(self, count):
        data = b""
        while len(data) < count:
            piece = self._socket.recv(count - len(data))
            if not piece:
                raise ProbeError("the server closed the connection")
            data += piece
        return data

    def option(self, option, payload):
        header = struct.pack(">QII", OPTION_MAGIC, option, len(payload))
        self._socket.sendall(header + payload)

    def replies(self):
        """Yields (type, payload) up to the acknowledgement or the error that ends them."""
        while True:
            magic, _, kind, length = struct.unpack(">QIII", self._receive(20))
            if magic != REPLY_MAGIC or length > REPLY_BYTES_MAX:
                raise ProbeError("the server's answer is not NBD")
            payload = self._receive(length)
            yield kind, payload
            if kind == REP_ACK or kind & REP_ERROR:
                return


def _session(path):
    try:
        return _Session(path)
    except OSError as error:
        raise ProbeError(error.strerror or str(error)) from error


def exports(path):
    """The names of the exports of the server at the Unix socket `path`.

    Raises ProbeError. Blocks up to SECONDS for each message.
    """
    names = []
    with _session(path) as session:
        try:
            session.option(OPT_LIST, b"")
            for kind, payload in session.replies():
                if kind == REP_SERVER:
                    length = struct.unpack(">I", payload[:4])[0]
                    names.append(payload[4:4 + length].decode(errors="replace"))
                elif kind != REP_ACK:
                    raise ProbeError("the server does not list its exports")
        except OSError as error:
            raise ProbeError(error.strerror or str(error)) from error
    return names


def export_size(path, name):
    """The size in bytes of an export of the server at the Unix socket `path`.

    Raises NoSuchExport, or ProbeError. Blocks up to SECONDS for each message.
    """
    size = None
    encoded = name.encode()
    with _session(path) as session:
        try:
            session.option(OPT_INFO, struct.pack(">I", len(encoded)) + encoded + b"\0\0")
            for kind, payload in session.replies():
                if kind == REP_INFO and struct.unpack(">H", payload[:2])[0] == INFO_EXPORT:
                    size = struct.unpack(">Q", payload[2:10])[0]
                elif kind == REP_ERR_UNKNOWN:
                    raise NoSuchExport(f"the server has no export '{name}'")
                elif kind & REP_ERROR:
                    said = payload.decode(errors="replace")
                    raise ProbeError(f"the server refuses the export '{name}'"
                                     + (f": {said}" if said else ""))
        except OSError as error:
            raise ProbeError(error.strerror or str(error)) from error
    if size is None:
        raise ProbeError(f"the server does not tell the size of the export '{name}'")
    return size
