#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# `briq shutdown` returns when the daemon has closed its volumes: what clients were told is there,
# and others can open them at once. A compaction that runs is given up, by whoever asked for it too,
# and blocks no other verb.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/control.sh
source "$BRIQ_SOURCE/tests/lib/control.sh"
requires_frontend serve
requires jq --version
requires_module nbd

for engine in ring threads; do
    briq create "$tmp/disk.briq" 64M
    start_daemon one --engine "$engine" "$tmp/disk.briq"
    start_client "$(disk_uri one disk)"

    # Under load there is always garbage: compactions go on and off beside the client.
    for _ in 1 2 3; do
        briq compact --quiet disk
        briq checkpoint disk
        briq list >"$tmp/list"
    done
    briq snapshot-stats reset >"$tmp/snapshot"
    briq shutdown
    briq info --json "$tmp/disk.briq" >"$tmp/info"
    expect_equal "clean" "$(jq .clean "$tmp/info")" true
    expect_equal "owner" "$(jq .owner "$tmp/info")" null
    briq check --deep --quiet "$tmp/disk.briq"
    wait "$one_pid" || fail "the daemon ended with $?"

    end_of_client
    start_daemon one --engine "$engine" "$tmp/disk.briq"
    check_written "$(disk_uri one disk)"
    briq shutdown
    wait "$one_pid"
    rm -f "$tmp/disk.briq"
done

# Clients of the control socket that stay hold up neither the verb nor a signal.
cat >"$tmp/stay.py" <<'PY'
import os
import signal
import socket
import sys

def connect():
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    s.sendall(b'{"verb":"snapshot-stats"}\n')
    assert s.recv(65536).endswith(b"}\n")
    return s

idle, s = connect(), connect()
if sys.argv[2] == "verb":
    s.sendall(b'{"verb":"shutdown"}\n{"verb":"list"}\n')
    answer = b""
    while part := s.recv(1000):
        answer += part
    assert answer.startswith(b'{"ok":true,"result":{"clean":true}}\n'), answer
else:
    os.kill(int(sys.argv[2]), signal.SIGTERM)
for s in idle, s:
    try:
        while s.recv(1000):
            pass # to the end
    except ConnectionResetError:
        pass
PY
for how in verb signal; do
    start_daemon one mem:1M
    [ "$how" = verb ] || how=$one_pid
    "$PYTHON" "$tmp/stay.py" "$BRIQ_RUN_DIR/one.control" "$how"
    wait "$one_pid" || fail "the daemon ended with $?"
done
