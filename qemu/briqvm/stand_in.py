# SPDX-License-Identifier: BSD-3-Clause
"""stand_in.py - an NBD server that fails every request, in the place of one that is gone for good.

Requests that wait for a server to come back can be ended in no other way: a yank ends connections,
and these have none. QEMU connects to the stand-in, repeats the requests, and passes the errors on.

Only what QEMU needs to get through the handshake is spoken: NBD_OPT_GO and EXPORT_NAME, with simple
replies.
"""
import contextlib
import os
import socket
import struct
import threading

from .nbd_probe import (FLAGS_FIXED_NEWSTYLE, FLAGS_NO_ZEROES, INFO_EXPORT, REP_ACK, REP_ERROR,
                        REP_INFO, REPLY_MAGIC)

OPT_EXPORT_NAME, OPT_GO, OPT_ABORT = 1, 7, 2
REP_ERR_UNSUP = REP_ERROR | 1
# Has flags, flush, FUA, trim, write zeroes: a disk that had them must find them again.
EXPORT_FLAGS = 1 << 0 | 1 << 2 | 1 << 3 | 1 << 5 | 1 << 6
CMD_WRITE, CMD_DISC = 1, 2
REQUEST = struct.Struct(">IHHQQI")
SIMPLE_REPLY_MAGIC = 0x67446698
EIO = 5


@contextlib.contextmanager
def serving(path, size):
    """Serves at the Unix socket `path`, in place of what is left there, for as long as the `with`
    statement runs."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as listener:
        listener.bind(path)
        listener.listen()
        clients = []
        thread = threading.Thread(target=_accept, args=(listener, size, clients), daemon=True)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for client in clients:
                with contextlib.suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)
            os.unlink(path)


def _accept(listener, size, clients):
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return  # shut down: the end
        clients.append(client)
        threading.Thread(target=_serve, args=(client, size), daemon=True).start()


def _serve(client, size):
    with client, contextlib.suppress(OSError, EOFError):
        if _handshake(client, size):
            _fail_requests(client)


def _receive(client, count):
    data = b""
    while len(data) < count:
        piece = client.recv(min(count - len(data), 1 << 16))
        if not piece:
            raise EOFError
        data += piece
    return data


def _handshake(client, size):
    """True when requests come next."""
    client.sendall(b"NBDMAGICIHAVEOPT" + struct.pack(">H", FLAGS_FIXED_NEWSTYLE | FLAGS_NO_ZEROES))
    flags = struct.unpack(">I", _receive(client, 4))[0]
    while True:
        _, option, length = struct.unpack(">QII", _receive(client, 16))
        _receive(client, length)
        if option == OPT_EXPORT_NAME:
            padding = 0 if flags & FLAGS_NO_ZEROES else 124
            client.sendall(struct.pack(">QH", size, EXPORT_FLAGS) + bytes(padding))
            return True
        if option == OPT_GO:
            info = struct.pack(">HQH", INFO_EXPORT, size, EXPORT_FLAGS)
            client.sendall(_reply(option, REP_INFO, info) + _reply(option, REP_ACK, b""))
            return True
        client.sendall(_reply(option, REP_ACK if option == OPT_ABORT else REP_ERR_UNSUP, b""))
        if option == OPT_ABORT:
            return False


def _reply(option, kind, payload):
    return struct.pack(">QIII", REPLY_MAGIC, option, kind, len(payload)) + payload


def _fail_requests(client):
    while True:
        _, _, command, cookie, _, length = REQUEST.unpack(_receive(client, REQUEST.size))
        if command == CMD_DISC:
            return
        if command == CMD_WRITE:
            _receive(client, length)
        client.sendall(struct.pack(">IIQ", SIMPLE_REPLY_MAGIC, EIO, cookie))
