#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Reads, writes, zeroes, trims and cache hints of any offset and length do what they would to an array
# of bytes.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires_module nbd
requires nbdcopy --version

echo "seed $seed"
briq create "$tmp/disk.briq" $((3 << 20 | 512))
serve_volume "$tmp/disk.briq"
"$PYTHON" - "$uri" "$seed" "$tmp/model" <<'PY'
import random
import sys
import nbd

BLOCK = 4096
rng = random.Random(int(sys.argv[2]))
h = nbd.NBD()
h.connect_uri(sys.argv[1])
size = h.get_size()
model = bytearray(size)

def draw():
    """Offsets and lengths near block borders, small ones and large ones alike."""
    length = rng.choice((1, 2, 511, 512, 513, 4095, 4096, 4097, 8192, rng.randrange(1, 1 << 18)))
    offset = rng.choice((rng.randrange(size), rng.randrange(size // BLOCK) * BLOCK,
                         max(0, rng.randrange(size // BLOCK) * BLOCK - rng.randrange(1, 9))))
    return offset, min(length, size - offset)

def write(offset, length):
    data = rng.choice((rng.randbytes(length), bytes([rng.randrange(256)]) * length))
    h.pwrite(data, offset, rng.choice((0, 0, nbd.CMD_FLAG_FUA)))
    model[offset:offset + length] = data

def zero(offset, length):
    h.zero(length, offset, rng.choice((0, nbd.CMD_FLAG_NO_HOLE, nbd.CMD_FLAG_FAST_ZERO,
                                       nbd.CMD_FLAG_FUA)))
    model[offset:offset + length] = bytes(length)

def trim(offset, length):
    """A trim promises nothing in general, but here: whole blocks read as zeros, edges stay."""
    h.trim(length, offset)
    first, last = -(-offset // BLOCK) * BLOCK, (offset + length) // BLOCK * BLOCK
    if first < last:
        model[first:last] = bytes(last - first)

def read(offset, length):
    got = h.pread(length, offset)
    assert got == model[offset:offset + length], f"[{offset}, +{length}) differs"

def cache(offset, length):
    """A hint: it must succeed and change nothing."""
    h.cache(length, offset)

def everything():
    assert h.pread(size, 0) == model, "the whole volume differs"

for step in range(3000):
    operation = rng.choice((write, write, write, zero, trim, read, read, cache))
    offset, length = draw()
    try:
        operation(offset, length)
    except (AssertionError, nbd.Error):
        print(f"step {step}: {operation.__name__} [{offset}, +{length})", file=sys.stderr)
        raise
    if step % 250 == 0:
        everything()
everything()
with open(sys.argv[3], "wb") as file:
    file.write(model)
PY
stop_server
serve_volume "$tmp/disk.briq"
nbdcopy "$uri" "$tmp/out"
cmp "$tmp/model" "$tmp/out" || fail "the volume differs after it was opened again"
stop_server
briq check --deep "$tmp/disk.briq"
