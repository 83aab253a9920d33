#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Whatever comes to the control socket, the daemon answers others at once and NBD clients notice
# nothing: garbage, lines without end, half lines, clients that never read, hundreds that are never
# closed. Other users are refused. Two daemons are told apart; a dead one's socket is removed.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/control.sh
source "$BRIQ_SOURCE/tests/lib/control.sh"
requires_frontend serve
requires jq --version
requires_module nbd

cat >"$tmp/abuse.py" <<'PY'
import json
import random
import socket
import sys
import time

path = sys.argv[1]
random.seed(int(sys.argv[2]))

def connect():
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    return s

def ask(line):
    s = connect()
    s.sendall(line)
    s.shutdown(socket.SHUT_WR)
    answer = b""
    while part := s.recv(1 << 20):
        answer += part
    return answer

def alive():
    begin = time.monotonic()
    assert json.loads(ask(b'{"verb":"list"}\n'))["ok"]
    assert time.monotonic() - begin < 5, "the daemon answers late"

keep = []
for _ in range(50):
    s = connect()
    try:
        s.sendall(random.randbytes(random.randrange(1, 5000)))
    except (BrokenPipeError, ConnectionResetError):
        pass # random bytes have newlines, and the answers are not read
    keep.append(s)
alive()
s = connect()
try:
    for _ in range(100):
        s.sendall(b"x" * 100000)
    raise AssertionError("ten million bytes were taken for a line")
except (BrokenPipeError, ConnectionResetError):
    pass
alive()
for end in range(1, 15): # half lines, left open
    s = connect()
    s.sendall(b'{"verb":"list"}\n'[:end])
    keep.append(s)
alive()
deaf = connect()
deaf.setblocking(False)
try:
    while True:
        deaf.send(b'{"verb":"stat"}\n' * 100)
except BlockingIOError:
    pass # it is not read from any more, as it does not read
alive()
for _ in range(300):
    keep.append(connect())
alive()
for line in (b"{}", b'{"verb":null}', b'{"verb":"attach"}', b'{"verb":"attach","volume":3}',
             b'{"verb":"attach","volume":"here"}', b'{"verb":"attach","volume":"/x","kind":"ublk"}',
             b'{"verb":"detach","export":""}', b'{"verb":"detach","export":"no"}',
             b'{"verb":"resize","export":"mem"}', b'{"verb":"resize","export":"mem","size":-1}',
             b'{"verb":"resize","export":"mem","size":1,"more":1}',
             b'{"verb":"resize","export":"mem","size":99999999999999999999999}',
             b'{"verb":"resize","export":"mem","more":9223372036854775807}',
             b'{"verb":"snapshot-stats","reset":"yes"}'):
    answer = json.loads(ask(line + b"\n"))
    assert not answer["ok"] and answer["error"] and answer["errno"] > 0, (line, answer)
alive()
PY

for engine in ring threads; do
    start_daemon one --engine "$engine" mem:16M
    nbdsh -u "$(disk_uri one mem)" -c "
import subprocess
h.pwrite(b'x' * 4096, 4096)
subprocess.run(['$PYTHON', '$tmp/abuse.py', '$BRIQ_RUN_DIR/one.control', '$seed'], check=True)
assert h.pread(4096, 4096) == b'x' * 4096"
    expect_equal "connections" "$(stat_of mem .connections)" 0

    # Two daemons.
    start_daemon two --engine "$engine" mem:1M own=mem:2M
    expect_equal "daemons" "$(briq list --json | jq length)" 2
    expect_failure 2 briq shutdown
    expect_match "message" "$said" "*the daemon: there are 2 of that*--control"
    expect_failure 2 briq resize mem +1M
    expect_match "message" "$said" "*'mem': there are 2 of that*--control"
    briq resize --control two mem +1M
    expect_equal "size" "$(nbdinfo --size "$(disk_uri two mem)")" $((2 << 20))
    expect_equal "size" "$(nbdinfo --size "$(disk_uri one mem)")" $((16 << 20))
    expect_equal "size" "$(briq info --json own | jq .size)" $((2 << 20))
    expect_failure 2 briq serve mem:1M --nbd "unix:$tmp/three.sock" --control one
    expect_match "message" "$said" "*one.control: exists, and is not the socket of a daemon that has died"

    # One that died leaves a socket that the next look removes; a name is free again.
    kill_process "$two_pid"
    [ -S "$BRIQ_RUN_DIR/two.control" ] || fail "a killed daemon leaves its socket"
    expect_equal "daemons" "$(briq list --json | jq length)" 1
    [ ! -e "$BRIQ_RUN_DIR/two.control" ] || fail "the dead socket is still there"

    # Another user, who can even get at the socket: by the directory it works in, since those above
    # are closed to it.
    if [ "$(id -u)" -eq 0 ]; then
        chmod 777 "$BRIQ_RUN_DIR/one.control" "$BRIQ_RUN_DIR"
        answer=$("$PYTHON" -c "
import os, socket, sys
os.chdir(sys.argv[1])
os.setgroups([]); os.setgid(65534); os.setuid(65534)
s = socket.socket(socket.AF_UNIX)
s.connect('one.control')
print(s.recv(1000).decode())" "$BRIQ_RUN_DIR")
        expect_match "answer" "$answer" '{"ok":false,"errno":1,*'
        expect_failure 2 briq list
        expect_match "message" "$said" "*$BRIQ_RUN_DIR: not a directory of this user that nobody else can write to"
        chmod 700 "$BRIQ_RUN_DIR"
    fi
    briq shutdown --control "$BRIQ_RUN_DIR/one.control"
    wait "$one_pid" || fail "the daemon ended with $?"
done

# Without: nothing is made. A directory that cannot be trusted costs the socket alone.
start_daemon one mem:1M
briq shutdown
briq serve --no-control --run "ls '$BRIQ_RUN_DIR'; exit 7" mem:1M >"$tmp/said" || expect_equal "exit" $? 7
expect_equal "sockets" "$(cat "$tmp/said")" ""
chmod 777 "$BRIQ_RUN_DIR"
said=$(briq serve --run true mem:1M 2>&1) || fail "it did not serve: $said"
expect_match "warning" "$said" "*no control socket: $BRIQ_RUN_DIR: not a directory*"
expect_failure 2 briq serve --control here --run true mem:1M
expect_failure 2 briq serve --control here --no-control --run true mem:1M
