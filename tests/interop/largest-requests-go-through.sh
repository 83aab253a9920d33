#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Requests of 64 MiB, the most that clients send, are written, read and trimmed in one piece.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires_module nbd

make_corpus "$tmp/raw" 64M
briq create "$tmp/disk.briq" 256M
serve_volume "$tmp/disk.briq"
"$PYTHON" - "$uri" "$tmp/raw" <<'PY'
import sys
import nbd

MIB = 1 << 20
with open(sys.argv[2], "rb") as file:
    data = file.read()
h = nbd.NBD()
h.connect_uri(sys.argv[1])
if hasattr(nbd, "STRICT_PAYLOAD"): # newer libnbd keeps to the 32 MiB that the server asks for
    h.set_strict_mode(h.get_strict_mode() & ~nbd.STRICT_PAYLOAD)

h.pwrite(data, 100 * MIB + 1, nbd.CMD_FLAG_FUA)
assert h.pread(64 * MIB, 100 * MIB + 1) == data
assert h.pread(64 * MIB, 80 * MIB) == bytes(20 * MIB + 1) + data[:44 * MIB - 1]
h.trim(64 * MIB, 100 * MIB)
assert h.pread(64 * MIB, 100 * MIB) == bytes(64 * MIB)
assert h.pread(1, 164 * MIB) == data[-1:], "the byte behind the trim"
PY
stop_server
