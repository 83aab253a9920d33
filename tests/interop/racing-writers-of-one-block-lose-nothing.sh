#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Eight connections write different 512-byte sectors of the same blocks at the same time, hundreds of
# times: each finds its own sectors as it wrote them last.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires_module nbd

echo "seed $seed"
briq create "$tmp/disk.briq" 16M
serve_volume "$tmp/disk.briq"
"$PYTHON" - "$uri" "$seed" <<'PY'
import random
import sys
import nbd

SECTOR, BLOCK, WRITERS, BLOCKS, ROUNDS = 512, 4096, 8, 16, 60
rng = random.Random(int(sys.argv[2]))
handles = [nbd.NBD() for _ in range(WRITERS)]
for h in handles:
    h.connect_uri(sys.argv[1])

def content(writer, block, round):
    return (b"%d.%d.%d " % (writer, block, round) * 100)[:SECTOR - 64] + rng.randbytes(64)

last = {}
for round in range(ROUNDS):
    pending = []
    for block in rng.sample(range(BLOCKS), BLOCKS):
        for writer in rng.sample(range(WRITERS), WRITERS):
            data = content(writer, block, round)
            last[writer, block] = data
            buffer = nbd.Buffer.from_bytearray(bytearray(data))
            cookie = handles[writer].aio_pwrite(buffer, block * BLOCK + writer * SECTOR)
            pending.append((handles[writer], cookie))
    for h, cookie in pending:
        while not h.aio_command_completed(cookie):
            h.poll(-1)
    for block in range(BLOCKS):
        want = b"".join(last[writer, block] for writer in range(WRITERS))
        got = handles[round % WRITERS].pread(BLOCK, block * BLOCK)
        assert got == want, f"round {round}, block {block}: a write was lost"
PY
stop_server
briq check --deep "$tmp/disk.briq"
