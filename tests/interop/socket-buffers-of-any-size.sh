#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Replies that are far larger than the server's send buffer, and replies that fit in it as a whole,
# arrive complete: whether a send is taken in parts or at once, the next one follows.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires_frontend serve
requires_module nbd
requires nbdcopy --version

make_corpus "$tmp/raw" 40M
briq create "$tmp/disk.briq" 40M

for buffer in 4K 4M; do
    serve_volume --sndbuf="$buffer" --rcvbuf="$buffer" --threads=1 "$tmp/disk.briq"
    nbdcopy "$tmp/raw" "$uri"
    "$PYTHON" - "$uri" "$tmp/raw" <<'PY'
import sys
import nbd

with open(sys.argv[2], "rb") as file:
    data = file.read()
for structured in (True, False):
    h = nbd.NBD()
    h.set_request_structured_replies(structured)
    h.connect_uri(sys.argv[1])
    for length in (1, 4096, 1 << 20, 5 << 20, 32 << 20):
        for offset in (12345, len(data) - length):
            # alone on the wire: nothing else wakes the server
            assert h.pread(length, offset) == data[offset:offset + length], (length, offset)
    # and many at once
    buffers = [(nbd.Buffer(1 << 20), i << 20) for i in range(40)]
    cookies = [h.aio_pread(buffer, offset) for buffer, offset in buffers]
    while h.aio_in_flight() > 0:
        h.poll(-1)
        for cookie in list(cookies):
            if h.aio_command_completed(cookie):
                cookies.remove(cookie)
    for buffer, offset in buffers:
        assert buffer.to_bytearray() == data[offset:offset + (1 << 20)], offset
    h.shutdown()
PY
    stop_server
done
