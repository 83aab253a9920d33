#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Block status says for every range whether it is data, zeros, or a hole, and keeps saying so after
# the volume was closed and opened again.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires nbdinfo --version
requires_module nbd

briq create "$tmp/disk.briq" 64M
serve_volume "$tmp/disk.briq"
nbdsh -u "$uri" -c - <<'PY'
import os
M = 1 << 20
h.pwrite(os.urandom(3 * M), 1 * M)
h.pwrite(b"\x55" * (1 * M), 4 * M)              # same-filled: data all the same
h.zero(2 * M, 8 * M, nbd.CMD_FLAG_NO_HOLE)      # explicit zeros
h.zero(1 * M, 2 * M)                            # may trim: a hole inside the data
h.trim(4096, 4 * M)
h.pwrite(b"x", 32 * M + 5000)                   # one byte makes its block data
h.pwrite(bytes(1 * M), 40 * M)                  # written zeros read as zeros, whatever they are
PY

cat >"$tmp/wanted" <<EXTENTS
0 1048576 3
1048576 1048576 0
2097152 1048576 3
3145728 1048576 0
4194304 4096 3
4198400 1044480 0
5242880 3145728 3
8388608 2097152 2
10485760 23072768 3
33558528 4096 0
33562624 8380416 3
EXTENTS
extents_up_to_40M() { # offset, length, type
    nbdinfo --map "$uri" | awk '$1 < 41943040 { print $1, ($1 + $2 < 41943040 ? $2 : 41943040 - $1), $3 }'
}
extents_up_to_40M >"$tmp/before"
diff "$tmp/wanted" "$tmp/before" || fail "the map is not what was written"
# Zeros that were written: zero is said, hole may be.
nbdinfo --map "$uri" | awk '$1 + $2 > 41943040 && $1 < 42991616 && $3 !~ /^[23]$/ { exit 1 }' ||
    fail "written zeros are not told as zeros"

stop_server
serve_volume "$tmp/disk.briq"
extents_up_to_40M >"$tmp/after"
diff "$tmp/wanted" "$tmp/after" || fail "the map changed when the volume was opened again"
nbdsh -u "$uri" -c - <<'PY'
M = 1 << 20
for offset, size in ((2 * M, M), (8 * M, 2 * M), (4 * M, 4096), (20 * M, M), (40 * M, M)):
    assert h.pread(size, offset) == bytes(size), f"not zeros at {offset}"
PY
stop_server
