#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A memory volume gives the memory of trimmed and zeroed data back to the system.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires nbdcopy --version
case $BRIQ_BUILD in
*/thread | */address) skip "a sanitizer's own memory hides the volume's" ;;
esac
requires_module nbd

resident() { awk '/^Rss:/ { print $2 * 1024 }' "/proc/$server_pid/smaps_rollup"; }

make_corpus "$tmp/raw" 160M
serve_volume mem:256M
before=$(resident)
nbdcopy --flush "$tmp/raw" "$uri"
full=$(resident)
grown=$((full - before))
[ "$grown" -gt $((40 << 20)) ] || fail "160 MiB took only $grown bytes"

# Memory is given back beside requests, not within them: the server gets a number of requests, not
# an amount of time, to do it in.
"$PYTHON" - "$uri" "$server_pid" $((before + grown / 4)) <<'PY'
import sys
import nbd

MIB, REQUESTS = 1 << 20, 400000
uri, pid, wanted = sys.argv[1], sys.argv[2], int(sys.argv[3])
h = nbd.NBD()
h.connect_uri(uri)

def resident():
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("Rss:"))

h.trim(80 * MIB, 0)
h.zero(80 * MIB, 80 * MIB)
h.flush()
for i in range(REQUESTS):
    if i % 500 == 0 and resident() < wanted:
        print(f"{resident()} bytes after {i} requests")
        break
    assert h.pread(4096, i % 160 * MIB) == bytes(4096)
else:
    sys.exit(f"resident memory is {resident()} and should be below {wanted}")
PY
stop_server
