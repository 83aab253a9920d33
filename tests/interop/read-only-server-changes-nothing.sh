#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A volume served read-only can be read, by several servers at once, refuses every change, and its
# file stays the same to the last bit.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires_module nbd
requires nbdinfo --version
requires nbdcopy --version

make_corpus "$tmp/raw" 8M
briq create "$tmp/disk.briq" 8M
serve_volume "$tmp/disk.briq"
nbdcopy "$tmp/raw" "$uri"
stop_server
cp "$tmp/disk.briq" "$tmp/before"
chmod 0444 "$tmp/disk.briq"

serve_volume --read-only "$tmp/disk.briq"
nbdinfo --is read-only "$uri" || fail "the export says it can be written"
"$PYTHON" - "$uri" <<'PY'
import sys
import nbd

h = nbd.NBD()
h.connect_uri(sys.argv[1])
h.set_strict_mode(0) # libnbd would refuse them itself
for name, call in (("write", lambda: h.pwrite(b"x", 0)), ("trim", lambda: h.trim(4096, 0)),
                   ("zero", lambda: h.zero(4096, 0))):
    try:
        call()
    except nbd.Error as error:
        assert error.errno in ("EPERM", "EINVAL"), f"{name}: {error}"
    else:
        raise AssertionError(f"{name} succeeded")
PY
nbdcopy "$uri" "$tmp/out"
cmp "$tmp/raw" "$tmp/out"

# A second reader beside the first; a writer is refused.
if [ "$BRIQ_FRONTEND" = nbdkit ]; then
    start_nbdkit second --read-only briq windows-dir="$windows" "$tmp/disk.briq"
    # shellcheck disable=SC2154 # start_nbdkit sets it
    nbdcopy "$second_uri" "$tmp/out"
    cmp "$tmp/raw" "$tmp/out"
    if try_nbdkit third briq windows-dir="$windows" "$tmp/disk.briq"; then
        fail "a writer beside readers"
    fi
fi
stop_server
cmp "$tmp/before" "$tmp/disk.briq" || fail "the file was changed by serving it read-only"
