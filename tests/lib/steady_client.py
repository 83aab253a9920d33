# SPDX-License-Identifier: BSD-3-Clause
"""steady_client.py URI, steady_client.py --check FILE-OR-URI COUNT

Writes numbered blocks to an NBD export one after the other, wraps around, and now and then reads
one back. Says "connected" first, and how many writes were answered when the connection ends or
SIGTERM comes: then the exit code is 0 if all that was read was right, and for SIGTERM only if the
connection had lasted. With --check compares an export with what that many writes must have left.
"""
import signal
import sys

import nbd

BLOCK = 4096
BLOCKS = 4096


def data(number):
    return number.to_bytes(8, "big") * (BLOCK // 8)


def last_of(block, done):
    """The last write to a block among the first `done`, or below zero."""
    return done - 1 - (done - 1 - block) % BLOCKS


def connect(uri):
    h = nbd.NBD()
    h.connect_uri(uri)
    return h


def write(uri):
    told = []
    signal.signal(signal.SIGTERM, lambda *_: told.append(True))
    h = connect(uri)
    print("connected", flush=True)
    done = 0
    try:
        while not told:
            h.pwrite(data(done), done % BLOCKS * BLOCK)
            done += 1
            if done % 16 == 0:
                assert h.pread(BLOCK, (done - 16) % BLOCKS * BLOCK) == data(done - 16)
    except nbd.Error:
        if told:
            raise
    print(done, flush=True)


def check(uri, done):
    assert done > 0, "nothing was written"
    h = connect(uri)
    for block in range(BLOCKS):
        last = last_of(block, done)
        want = [data(last) if last >= 0 else bytes(BLOCK)]
        if block == done % BLOCKS:
            want.append(data(done))  # it was under way
        got = h.pread(BLOCK, block * BLOCK)
        assert got in want, f"block {block} has {got[:8]} and not one of {[w[:8] for w in want]}"


if sys.argv[1] == "--check":
    check(sys.argv[2], int(sys.argv[3]))
else:
    write(sys.argv[1])
