#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What a connection was told is written, every other one reads at once, whichever blocks of it and from
# however many threads; and a flush on any of them covers it: it is there when the server was killed,
# its append windows are gone, and the volume is opened again.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires_module nbd

# Both engines of `briq serve` are looked at where one is.
frontends=$BRIQ_FRONTEND
if [ "$BRIQ_FRONTEND" = serve ]; then frontends="serve serve-threads"; fi

# Pairs of threads, each with two connections and a part of the volume that is divided between them in
# no way: both write anywhere in it, in turn, and the other one reads what was just written, and around
# it. A third connection of the pair flushes now and then; what was there then goes to a file.
cat >"$tmp/pairs.py" <<'PY'
import random
import sys
import threading
import nbd

uri, seed, kept = sys.argv[1], int(sys.argv[2]), sys.argv[3]
PAIRS, PART, ROUNDS = 4, 4 << 20, 400
failures = []

def connect():
    h = nbd.NBD()
    h.connect_uri(uri)
    assert h.can_multi_conn()
    return h

def draw(rng):
    length = rng.choice((1, 100, 512, 4096, 4097, 20000, 65536))
    return rng.randrange(PART - length), length

def pair(number, state):
    rng = random.Random(seed * 100 + number)
    base, shadow = number * PART, bytearray(PART)
    ends, flusher = [connect(), connect()], connect()
    for _ in range(ROUNDS):
        writer, reader = rng.sample(ends, 2)
        off, length = draw(rng)
        data = rng.randbytes(min(length, 64)) * (length // 64 + 1)
        writer.pwrite(data[:length], base + off)
        shadow[off:off + length] = data[:length]
        first, last = max(0, off - 5000), min(PART, off + length + 5000)
        if reader.pread(last - first, base + first) != shadow[first:last]:
            raise AssertionError(f"pair {number}: not what was written at {base + off}+{length}")
        if rng.random() < 0.05:
            flusher.flush()
    flusher.flush()
    state[number] = bytes(shadow)

def guarded(*args):
    try:
        pair(*args)
    except BaseException as error:
        failures.append(error)

states = [None] * PAIRS
threads = [threading.Thread(target=guarded, args=(n, states)) for n in range(PAIRS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
if failures:
    raise failures[0]
with open(kept, "wb") as file:
    file.write(b"".join(states))
PY

echo "seed $seed"
for BRIQ_FRONTEND in $frontends; do
    echo "$BRIQ_FRONTEND"
    briq create --force "$tmp/disk.briq" 16M
    serve_volume "$tmp/disk.briq"
    "$PYTHON" "$tmp/pairs.py" "$uri" "$seed" "$tmp/kept"
    kill_server
    rm -f "$windows"/*
    serve_volume "$tmp/disk.briq"
    nbdcopy "$uri" "$tmp/found"
    cmp "$tmp/kept" "$tmp/found" || fail "what was flushed is not there"
    stop_server
    briq check --deep --quiet "$tmp/disk.briq"
done
