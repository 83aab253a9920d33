#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What is written on connection A is seen on B at once, a flush on B covers it, and C reads it when
# the server was killed in between and even its append windows are gone.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires_module nbd

briq create "$tmp/disk.briq" 64M
serve_volume "$tmp/disk.briq"

"$PYTHON" - "$uri" <<'PY'
import sys
import nbd

def connect():
    h = nbd.NBD()
    h.connect_uri(sys.argv[1])
    assert h.can_multi_conn()
    return h

a, b, c = connect(), connect(), connect()
for round in range(200):
    offset = round * 5000 # not aligned: blocks are shared by the connections
    a.pwrite(b"A%06d" % round * 300, offset)
    assert b.pread(2100, offset) == b"A%06d" % round * 300, "B does not see what A wrote"
    b.pwrite(b"B%06d" % round * 300, offset + 2100)
    assert c.pread(4200, offset) == b"A%06d" % round * 300 + b"B%06d" % round * 300
b.flush()
a.pwrite(b"with FUA", 32 << 20, nbd.CMD_FLAG_FUA)
PY
kill_server
rm -f "$windows"/*
serve_volume "$tmp/disk.briq"
"$PYTHON" - "$uri" <<'PY'
import sys
import nbd

h = nbd.NBD()
h.connect_uri(sys.argv[1])
for round in range(200):
    want = b"A%06d" % round * 300 + b"B%06d" % round * 300
    assert h.pread(4200, round * 5000) == want, f"round {round}: what B flushed is not there"
assert h.pread(8, 32 << 20) == b"with FUA"
PY
stop_server
