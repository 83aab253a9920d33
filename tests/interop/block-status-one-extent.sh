#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# With REQ_ONE block status is exactly one extent inside the range; without it the extents add up,
# also on a volume scattered so badly that one reply cannot tell everything.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires_module nbd

briq create "$tmp/disk.briq" 32M
serve_volume "$tmp/disk.briq"
"$PYTHON" - "$uri" <<'PY'
import sys
import nbd

MIB, BLOCK = 1 << 20, 4096
h = nbd.NBD()
h.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
h.connect_uri(sys.argv[1])

def status(count, offset, flags=0):
    found = []
    def extent(context, start, entries, error):
        assert context == nbd.CONTEXT_BASE_ALLOCATION and start == offset
        found.extend(zip(entries[0::2], entries[1::2]))
    h.block_status(count, offset, extent, flags)
    return found

# Every second block of the first 16 MiB is data: 4096 extents.
for block in range(0, 16 * MIB // BLOCK, 2):
    h.pwrite(bytes([1 + block % 251]) * BLOCK, block * BLOCK)

for offset, count, wanted in ((0, 32 * MIB, (BLOCK, 0)), (BLOCK, 32 * MIB - BLOCK, (BLOCK, 3)),
                              (100, 200, (200, 0)), (100, 8192, (3996, 0)),
                              (20 * MIB, 5 * MIB, (5 * MIB, 3))):
    got = status(count, offset, nbd.CMD_FLAG_REQ_ONE)
    assert got == [wanted], f"REQ_ONE [{offset}, +{count}): {got} and not {wanted}"

at, replies, types = 0, 0, bytearray()
while at < 32 * MIB:
    got = status(32 * MIB - at, at)
    replies += 1
    assert got and all(length > 0 for length, _ in got)
    for length, kind in got:
        assert length % BLOCK == 0
        types += bytes([kind]) * (length // BLOCK)
        at += length
assert at == 32 * MIB, "the last extent runs past the end"
assert types == b"\x00\x03" * 2048 + b"\x03" * 4096
print(f"{replies} replies")
PY
stop_server
