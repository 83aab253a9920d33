#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# SIGTERM with clients connected: the server flushes, closes, ends with 0 and leaves nothing behind;
# the volume is clean and holds what was acknowledged but never flushed.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires_module nbd
requires jq --version

briq create "$tmp/disk.briq" 64M
serve_volume "$tmp/disk.briq"
"$PYTHON" - "$uri" "$server_pid" <<'PY'
import os
import signal
import sys
import nbd

handles = [nbd.NBD() for _ in range(3)]
for h in handles:
    h.connect_uri(sys.argv[1])
for i in range(300):
    handles[i % 3].pwrite(b"%08d" % i * 512, i * 4096)
os.kill(int(sys.argv[2]), signal.SIGTERM) # and no client says goodbye
PY
status=0
wait "$server_pid" || status=$?
expect_equal "exit status of the server" "$status" 0
expect_equal "complaints of the server" "$(grep -c "not closed cleanly" "$tmp/server.log" || true)" 0
expect_equal "clean" "$(briq info --json "$tmp/disk.briq" | jq .clean)" true
expect_equal "files left in the windows directory" "$(find "$windows" -type f | wc -l)" 0

serve_volume "$tmp/disk.briq"
"$PYTHON" - "$uri" <<'PY'
import sys
import nbd

h = nbd.NBD()
h.connect_uri(sys.argv[1])
for i in range(300):
    assert h.pread(4096, i * 4096) == b"%08d" % i * 512, f"write {i} is lost"
PY
stop_server
