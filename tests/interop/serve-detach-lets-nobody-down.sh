#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A volume with clients is not taken away, unless by force: then what they were told is there, the
# volume is closed cleanly, and clients of other volumes go on. A client that does not read its
# replies delays that by no more than the drain time.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/control.sh
source "$BRIQ_SOURCE/tests/lib/control.sh"
requires_frontend serve
requires jq --version
requires_module nbd

# Asks for much and reads nothing; ends when it is told to.
cat >"$tmp/deaf.py" <<'PY'
import socket
import struct
import sys

s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.recv(18, socket.MSG_WAITALL)
name = sys.argv[2].encode()
s.sendall(struct.pack(">I", 3) + b"IHAVEOPT" + struct.pack(">II", 1, len(name)) + name)
s.recv(10, socket.MSG_WAITALL)
s.sendall(b"".join(struct.pack(">IHHQQI", 0x25609513, 0, 0, i, 0, 1 << 20) for i in range(64)))
print("connected", flush=True)
sys.stdin.read()
PY

for engine in ring threads; do
    briq create "$tmp/taken.briq" 64M
    start_daemon one --engine "$engine" --drain-timeout 1 "$tmp/taken.briq" other=mem:64M
    start_client "$(disk_uri one other)"
    other=$client other_out=$client_out
    start_client "$(disk_uri one taken)"

    expect_failure 2 briq detach taken
    expect_match "message" "$said" "*export 'taken' has 1 connection: *by force"
    briq detach --force --json "$tmp/taken.briq" >"$tmp/detached"
    expect_equal "dropped" "$(jq .dropped "$tmp/detached")" 1
    end_of_client
    expect_equal "clean" "$(briq info --json "$tmp/taken.briq" | jq .clean)" true
    briq check --deep --quiet "$tmp/taken.briq"

    briq attach "$tmp/taken.briq" >"$tmp/uri"
    check_written "$(disk_uri one taken)"

    # One that takes nothing is let go when its time is over.
    mkfifo "$tmp/hold"
    "$PYTHON" "$tmp/deaf.py" "$tmp/one.sock" taken <"$tmp/hold" >"$tmp/deaf.out" &
    exec {hold}>"$tmp/hold"
    until grep -q connected "$tmp/deaf.out"; do
        read -r -t 0.05 <> <(:) || true
    done
    briq detach --force --json taken >"$tmp/detached"
    expect_equal "dropped" "$(jq .dropped "$tmp/detached")" 1
    exec {hold}>&-
    rm "$tmp/hold" "$tmp/deaf.out"

    expect_equal "connections of the other" "$(stat_of other .connections)" 1
    kill "$other"
    client_out=$other_out
    end_of_client
    check_written "$(disk_uri one other)"
    briq shutdown
    wait "$one_pid" || fail "the daemon ended with $?"
    rm -f "$tmp/taken.briq"
done
