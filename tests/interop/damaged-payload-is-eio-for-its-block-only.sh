#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A flipped bit in stored data gives EIO for the block it is in, and never wrong bytes; every other
# block, also in the same request size, reads as before.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires_module nbd

briq create "$tmp/disk.briq" 16M
serve_volume "$tmp/disk.briq"
# Noise is stored as it is, so its place in the file can be found by its bytes.
"$PYTHON" - "$uri" "$tmp/noise" <<'PY'
import os
import sys
import nbd

noise = os.urandom(64 * 4096)
h = nbd.NBD()
h.connect_uri(sys.argv[1])
h.pwrite(noise, 1 << 20)
h.flush()
with open(sys.argv[2], "wb") as file:
    file.write(noise)
PY
stop_server
"$PYTHON" - "$tmp/disk.briq" "$tmp/noise" <<'PY'
import sys

with open(sys.argv[2], "rb") as file:
    marker = file.read()[20 * 4096 + 1000:][:64]
with open(sys.argv[1], "r+b") as file:
    image = file.read()
    at = image.find(marker)
    assert at >= 0 and image.find(marker, at + 1) < 0, "block 20 must lie in the file, and once"
    file.seek(at)
    file.write(bytes([image[at] ^ 0x10]))
PY
serve_volume "$tmp/disk.briq"
"$PYTHON" - "$uri" "$tmp/noise" <<'PY'
import sys
import nbd

with open(sys.argv[2], "rb") as file:
    noise = file.read()
h = nbd.NBD()
h.connect_uri(sys.argv[1])

def eio(length, offset):
    try:
        h.pread(length, offset)
    except nbd.Error as error:
        assert error.errno == "EIO", error
    else:
        raise AssertionError(f"[{offset}, +{length}) was read, and its data is damaged")

base = 1 << 20
for block in range(64):
    if block != 20:
        assert h.pread(4096, base + block * 4096) == noise[block * 4096:][:4096], block
eio(4096, base + 20 * 4096)
eio(1, base + 20 * 4096 + 4095)
eio(64 * 4096, base)
# Not even a partial write may build on it; a whole block mends it.
try:
    h.pwrite(b"x" * 100, base + 20 * 4096)
except nbd.Error as error:
    assert error.errno == "EIO", error
else:
    raise AssertionError("a partial write mixed itself with damaged data")
h.pwrite(noise[20 * 4096:][:4096], base + 20 * 4096)
assert h.pread(64 * 4096, base) == noise
PY
stop_server
briq check --deep "$tmp/disk.briq"
