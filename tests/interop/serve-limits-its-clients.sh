#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Clients that only connect are disconnected, those above the limit at once, and those that are left
# in any state of a session cost the server nothing: it serves others, and ends in time.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires_frontend serve
requires_module nbd

# The session of a client, recorded once; it is cut off behind every one of its bytes.
cat >"$tmp/client.py" <<'PY'
import socket
import struct
import sys

path, what = sys.argv[1:]

def connect():
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    return s

def greeted():
    s = connect()
    return s if len(s.recv(18, socket.MSG_WAITALL)) == 18 else None

def option(number, data=b""):
    return b"IHAVEOPT" + struct.pack(">II", number, len(data)) + data

def request(kind, cookie, off, length, flags=0):
    return struct.pack(">IHHQQI", 0x25609513, flags, kind, cookie, off, length)

session = (struct.pack(">I", 3) + option(8) + option(3) + option(6, b"\0\0\0\0\0\1\0\3") +
           option(10, b"\0\0\0\0\0\0\0\1\0\0\0\x0fbase:allocation") + option(7, b"\0\0\0\0\0\0") +
           request(1, 1, 100, 3000) + b"x" * 3000 + request(0, 2, 0, 8192) + request(7, 3, 0, 65536) +
           request(4, 4, 0, 4096) + request(6, 5, 1, 9999) + request(3, 6, 0, 0) + request(2, 7, 0, 0))

if what == "cut":
    for end in range(len(session)):
        if 0 < end % 100 < 60 and 300 < end < 3200:
            continue # the payload is long and dull
        s = greeted()
        s.sendall(session[:end])
        if end % 3 == 0:
            s.shutdown(socket.SHUT_WR)
            while s.recv(65536):
                pass
        s.close()
elif what == "many":
    kept = [greeted(), greeted()]
    third = connect()
    assert third.recv(1) == b"", "the third of two clients was let in"
    kept.pop().close()
    for _ in range(1000): # the place becomes free when the server has noticed
        s = connect()
        if len(s.recv(18, socket.MSG_WAITALL)) == 18:
            break
    else:
        raise AssertionError("the place of a client that left is never free")
elif what == "idle":
    early = [connect(), greeted(), greeted()]
    early[1].sendall(session[:20])
    for s in early:
        while s.recv(100):
            pass # up to the end, which is the server's doing
elif what == "nonsense":
    garbage = greeted()
    garbage.sendall(b"GET / HTTP/1.0\r\n\r\n")
    assert garbage.recv(1) == b""
    for length in (64 << 20) + 1, (1 << 32) - 1:
        s = greeted()
        s.sendall(struct.pack(">I", 3) + option(7, b"\0\0\0\0\0\0"))
        s.sendall(request(1, 1, 0, length) + b"x" * 100000)
        try:
            while s.recv(65536):
                pass
        except ConnectionResetError:
            pass
PY
client() {
    "$PYTHON" "$tmp/client.py" "$tmp/server.sock" "$1"
}
alive() {
    nbdsh -u "$uri" -c "assert h.pread(10, 0) == bytes(10)"
}

serve_volume mem:64M
client cut
client nonsense
alive
stop_server

serve_volume --max-connections=2 mem:64M
client many
stop_server
server_log | grep -q "a connection was refused" || fail "nothing is told of refused connections"

# Where there is place for one connection alone, clients that like to have more are told so.
serve_volume --max-connections=1 mem:64M
nbdcopy "$uri" "$tmp/copy"
expect_equal "bytes of the copy" "$(stat -c %s "$tmp/copy")" $((64 << 20))
stop_server
server_log | grep -q "a connection was refused" && fail "the copy wanted more than one connection"

serve_volume --handshake-timeout=1 mem:64M
client idle
alive
stop_server
