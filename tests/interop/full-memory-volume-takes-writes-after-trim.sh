#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A memory volume with a limit answers ENOSPC when it is full, keeps serving everything it has, and
# takes writes again after a trim.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires_module nbd

serve_volume mem:256M,limit=32M
"$PYTHON" - "$uri" <<'PY'
import os
import sys
import nbd

MIB = 1 << 20
h = nbd.NBD()
h.connect_uri(sys.argv[1])
pieces = [os.urandom(MIB) for _ in range(64)] # does not compress

def fill(start):
    """Writes pieces until the volume is full; returns how many it took."""
    for i in range(start, 64):
        try:
            h.pwrite(pieces[i], i * MIB)
        except nbd.Error as error:
            assert error.errno == "ENOSPC", error
            return i - start
    raise AssertionError("64 MiB of noise went into 32 MiB")

took = fill(0)
print(f"took {took} MiB of a limit of 32 MiB")
assert 24 <= took <= 32, took
for i in range(took):
    assert h.pread(MIB, i * MIB) == pieces[i], f"piece {i} is lost"
h.flush()
h.zero(MIB, 100 * MIB)  # needs no space
h.pread(MIB, 200 * MIB)

# The write that failed may have changed a part of its own range, and nothing else: give it back too.
h.trim((took + 1) * MIB, 0)
h.flush()
again = fill(0)
assert again >= took - 1, f"after trimming everything only {again} MiB fit, and {took} did before"
for i in range(again):
    assert h.pread(MIB, i * MIB) == pieces[i], f"piece {i} is lost"

# A part is enough: what one piece frees, another can take.
h.trim(8 * MIB, 0)
h.trim(MIB, again * MIB)
for i in range(6):
    h.pwrite(pieces[40 + i], (200 + i) * MIB)
for i in range(6):
    assert h.pread(MIB, (200 + i) * MIB) == pieces[40 + i]
PY
stop_server
