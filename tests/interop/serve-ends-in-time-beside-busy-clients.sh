#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A client that always has the next requests under way does not put off the end: nothing more is
# taken from it, however much time there would be for the answers to what is under way.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires_frontend serve

cat >"$tmp/busy.py" <<'PY'
import os
import signal
import sys
import threading

import nbd_raw as nbd

kind, where, pid = sys.argv[1:]
client = nbd.Client(where if kind == "unix" else ("127.0.0.1", int(where))).go(structured=False)
requests = b"".join(nbd.request(nbd.CMD_READ, 0, 4096, cookie=n) for n in range(4096))
answered = threading.Event()

def read():
    """To the end, whatever that looks like."""
    try:
        while client.sock.recv(1 << 20):
            answered.set()
    except ConnectionResetError:
        pass

reader = threading.Thread(target=read)
reader.start()
signalled = False
while reader.is_alive():
    client.send(requests)
    if answered.is_set() and not signalled:
        os.kill(int(pid), signal.SIGTERM)
        signalled = True
assert signalled
PY

for engine in ring threads; do
    for address in tcp:127.0.0.1:0 "unix:$tmp/busy.sock"; do
        exec {out}< <(exec briq serve --engine "$engine" --drain-timeout 300 --print-uri --nbd "$address" mem:16M)
        server_pid=$!
        cleanup kill_process "$server_pid"
        read -r -u "$out" uri
        where=${uri#*socket=} port=${uri##*:}
        [ "${address%%:*}" = unix ] || where=${port%/*}
        PYTHONPATH=$BRIQ_SOURCE/tests/lib timeout 60 "$PYTHON" "$tmp/busy.py" "${address%%:*}" "$where" "$server_pid" ||
            fail "$engine, $address: the server goes on"
        wait "$server_pid" || fail "$engine, $address: the server ended with $?"
        exec {out}<&-
    done
done
