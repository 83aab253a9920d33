#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# With --one-writer the first client of an export may write, on one connection; those beside it get
# the export read-only, see what it writes, and cannot write themselves. When it goes, however it
# goes, the next that comes may write. Looking at an export is not having it. On both engines.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires_frontend serve
requires_module nbd
requires qemu-img --version

cat >"$tmp/clients.py" <<'PY'
import sys
sys.path.insert(0, sys.argv[1])
import nbd
import nbd_raw

path = sys.argv[2]

def client(export="one"):
    h = nbd.NBD()
    h.set_export_name(export)
    h.connect_unix(path)
    return h

def next_writer():
    """That one has gone is the server's to notice; it is asked until it has."""
    while True:
        h = client()
        if not h.is_read_only():
            return h
        h.shutdown()

def cannot_write(h):
    h.set_strict_mode(0)
    for attempt in (lambda: h.pwrite(b"y" * 512, 0), lambda: h.zero(4096, 0), lambda: h.trim(4096, 0)):
        try:
            attempt()
        except nbd.Error as e:
            assert e.errno in ("EPERM", "EINVAL"), e
        else:
            raise AssertionError("a reader wrote")

first = client()
assert not first.is_read_only() and not first.can_multi_conn()
first.pwrite(b"x" * 4096, 0)
readers = [client() for _ in range(3)]
for reader in readers:
    assert reader.is_read_only() and reader.can_multi_conn()
    assert reader.pread(4096, 0) == b"x" * 4096
    cannot_write(reader)
assert first.pread(512, 0) == b"x" * 512

other = client("two")
assert not other.is_read_only(), "the writer of another export counts here"

# A reader that leaves makes nobody a writer; neither does one become it by waiting.
readers.pop().shutdown()
assert client().is_read_only()
first.shutdown()
second = next_writer()
second.pwrite(b"z" * 4096, 4096)
cannot_write(readers[0])

# Looking: INFO tells how it is, and takes nothing.
look = nbd_raw.Client(path)
flags = nbd_raw.struct.unpack(">H", look.ask(nbd_raw.OPT_INFO, nbd_raw.go_payload("one"))[0][1][10:12])[0]
assert flags & 2, "not read-only while there is a writer"
second.shutdown()
while True:
    flags = nbd_raw.struct.unpack(">H", look.ask(nbd_raw.OPT_INFO, nbd_raw.go_payload("one"))[0][1][10:12])[0]
    if not flags & 2:
        break
third = next_writer()

# One that dies without a word, and one that sends nonsense.
raw = nbd_raw.Client(path)
third.shutdown()
del third
while True:
    raw = nbd_raw.Client(path).go("one")
    if not raw.export_flags & 2:
        break
    raw.close()
raw.reset()
raw = None
fourth = next_writer()
fourth.shutdown()
while True:
    raw = nbd_raw.Client(path)
    raw.send(nbd_raw.option(nbd_raw.OPT_EXPORT_NAME, b"one"))
    size, flags = nbd_raw.struct.unpack(">QH", raw.recv(10))
    if not flags & 2:
        break
    raw.close()
assert client().is_read_only(), "the old way of naming an export takes no turn"
raw.send(b"nonsense" * 10)
assert raw.is_closed()
next_writer().pwrite(b"end", 0)
PY

for BRIQ_FRONTEND in serve serve-threads; do
    briq create --force "$tmp/one.briq" 4M
    briq create --force "$tmp/two.briq" 4M
    serve_volume --one-writer "$tmp/one.briq" "$tmp/two.briq"
    "$PYTHON" "$tmp/clients.py" "$BRIQ_SOURCE/tests/lib" "$tmp/server.sock"
    stop_server

    # QEMU cannot open the disk for writing beside one that has, and can for reading.
    serve_volume --one-writer "$tmp/one.briq"
    nbdsh -u "$uri" -c "import subprocess
r = subprocess.run(['qemu-io', '-f', 'raw', '-c', 'write 0 4k', '$uri'], capture_output=True, text=True)
assert r.returncode != 0 and 'Permission denied' in r.stderr, r
r = subprocess.run(['qemu-io', '-r', '-f', 'raw', '-c', 'read 0 4k', '$uri'], capture_output=True, text=True)
assert r.returncode == 0, r"
    stop_server
done
