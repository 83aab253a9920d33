#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Write-zeroes: partial blocks keep their other bytes, NO_HOLE decides between zeros and a hole, fast
# zero always succeeds and is fast on a range far larger than one could write, and FUA is accepted.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires_module nbd

briq create "$tmp/disk.briq" 64G
serve_volume "$tmp/disk.briq"
"$PYTHON" - "$uri" <<'PY'
import sys
import nbd

BLOCK, GIB = 4096, 1 << 30
h = nbd.NBD()
h.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
h.connect_uri(sys.argv[1])
h.set_strict_mode(0) # zero-length requests are sent too

def kind(offset):
    found = []
    h.block_status(BLOCK, offset, lambda c, o, entries, e: found.extend(entries),
                   nbd.CMD_FLAG_REQ_ONE)
    return found[1]

pattern = bytes(1 + i % 255 for i in range(4 * BLOCK))
for flags in (0, nbd.CMD_FLAG_NO_HOLE, nbd.CMD_FLAG_FUA, nbd.CMD_FLAG_FAST_ZERO,
              nbd.CMD_FLAG_NO_HOLE | nbd.CMD_FLAG_FAST_ZERO | nbd.CMD_FLAG_FUA):
    for offset, length in ((1, 1), (0, 1), (BLOCK - 1, 2), (10, 3 * BLOCK), (BLOCK, BLOCK),
                           (512, 512), (0, 4 * BLOCK), (4 * BLOCK - 1, 1)):
        h.pwrite(pattern, 0)
        h.zero(length, offset, flags)
        want = pattern[:offset] + bytes(length) + pattern[offset + length:]
        assert h.pread(4 * BLOCK, 0) == want, f"zero({length}, {offset}, {flags})"

# Zeroing a block in two halves makes it zeros, whatever the map calls it.
h.pwrite(pattern, 0)
h.zero(2048, 0)
h.zero(2048, 2048)
assert h.pread(BLOCK, 0) == bytes(BLOCK)

h.pwrite(pattern, 0)
h.zero(BLOCK, 0, nbd.CMD_FLAG_NO_HOLE)
h.zero(BLOCK, BLOCK)
assert kind(0) == nbd.STATE_ZERO, "NO_HOLE made a hole"
assert kind(BLOCK) == nbd.STATE_ZERO | nbd.STATE_HOLE, "space was kept without NO_HOLE"
assert kind(2 * BLOCK) == 0

# 20 GiB at once, of a volume that has a few blocks in there.
for at in range(0, 20):
    h.pwrite(b"data", at * GIB + 12345)
for at in range(0, 20, 2):
    h.zero(2 * GIB - 512, at * GIB, nbd.CMD_FLAG_FAST_ZERO)
    h.zero(512, (at + 2) * GIB - 512, nbd.CMD_FLAG_FAST_ZERO)
for at in range(0, 20):
    assert h.pread(4, at * GIB + 12345) == bytes(4)

# The last byte of the volume, and one behind it.
h.pwrite(b"last", 64 * GIB - 4)
h.zero(1, 64 * GIB - 1)
assert h.pread(4, 64 * GIB - 4) == b"las\0"
for call in (lambda: h.zero(2, 64 * GIB - 1), lambda: h.pwrite(b"xx", 64 * GIB - 1)):
    try:
        call()
    except nbd.Error as error:
        assert error.errno == "ENOSPC", error
    else:
        raise AssertionError("a request behind the end succeeded")
assert h.pread(4, 64 * GIB - 4) == b"las\0", "a refused request changed something"
PY
stop_server
