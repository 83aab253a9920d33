# SPDX-License-Identifier: BSD-3-Clause
"""nbd_record.py - what a real client, libnbd, sends in a session with all commands."""
import os
import socket
import tempfile
import threading

import nbd as libnbd


def pump(source, sink, kept):
    while data := source.recv(1 << 16):
        kept.append(data)
        sink.sendall(data)
    sink.shutdown(socket.SHUT_WR)


def play(uri):
    """Short answers, and nothing at 8192: that is where others look whether all is well."""
    handle = libnbd.NBD()
    handle.add_meta_context("base:allocation")
    handle.connect_uri(uri)
    handle.pwrite(b"recorded" * 75, 4000)
    handle.pread(700, 3900)
    handle.pwrite(b"fua" * 10, 100, libnbd.CMD_FLAG_FUA)
    handle.pread(100, 1 << 20)
    handle.zero(5000, 2 << 20, libnbd.CMD_FLAG_NO_HOLE)
    handle.trim(8192, 1 << 20)
    handle.cache(4096, 0)
    handle.block_status(3 << 20, 1 << 20, lambda *_: 0)
    handle.flush()
    handle.shutdown()


def session(server):
    """The bytes that libnbd has sent to the server, from its flags to the disconnect."""
    sent, answers = [], []
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "s")
        listener = socket.create_server(path, family=socket.AF_UNIX)
        client = threading.Thread(target=play, args=(f"nbd+unix:///disk?socket={path}",))
        client.start()
        near, _ = listener.accept()
        with listener, near, socket.socket(socket.AF_UNIX) as far:
            far.connect(server.path)
            back = threading.Thread(target=pump, args=(far, near, answers))
            back.start()
            pump(near, far, sent)
            back.join()
        client.join()
    assert sent and answers, "nothing was recorded"
    return b"".join(sent)
